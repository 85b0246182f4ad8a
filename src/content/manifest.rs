//! `mod.ron`: what a mod is called, what it needs and what it works with.

use semver::{Version, VersionReq};
use serde::Deserialize;

use super::decode::decode;
use super::problem::Problem;
use super::registry::{Kind, Review, check_id};
use super::renamed::Renamed;
use super::tree::Node;

/// The file's name, at the top of a mod.
pub(crate) const FILE_NAME: &str = "mod.ron";

/// Fields that had other names.
pub(super) const RENAMED: Renamed = &[("about", "description")];

/// The most dependencies of each sort.
const MAX_RELATIONS: usize = 100;

/// `mod.ron` as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    name: String,
    version: String,
    pixel_llm: String,
    author: String,
    licence: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    needs: Vec<WrittenRelation>,
    #[serde(default)]
    wants: Vec<WrittenRelation>,
    #[serde(default)]
    conflicts: Vec<WrittenRelation>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename = "Mod")]
struct WrittenRelation {
    id: String,
    #[serde(default)]
    version: Option<String>,
}

/// What a mod says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What other mods and the order file call it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its version, as semantic versioning has it.
    pub version: Version,
    /// The versions of this program that it works with.
    pub pixel_llm: VersionReq,
    /// Who made it, in 1 to 200 characters.
    pub author: String,
    /// Under what licence, as an SPDX expression.
    pub licence: String,
    /// What it does, in a sentence; may be empty.
    pub description: String,
    /// Mods without which it cannot be; they come before it.
    pub needs: Vec<Relation>,
    /// Mods that come before it where they are there.
    pub wants: Vec<Relation>,
    /// Mods beside which it cannot be.
    pub conflicts: Vec<Relation>,
}

/// Another mod that a mod has something to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The other's id, never the mod's own.
    pub id: String,
    /// The versions of it that are meant.
    pub version: VersionReq,
}

impl Relation {
    /// Whether a mod is meant.
    pub(crate) fn is_met_by(&self, manifest: &Manifest) -> bool {
        self.id == manifest.id && self.version.matches(&manifest.version)
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version == VersionReq::STAR {
            true => write!(f, "`{}`", self.id),
            false => write!(f, "`{}` {}", self.id, self.version),
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Vec<Problem>> {
        // As a content is checked, so that all that is wrong is told at once and with its place.
        let problems = Kind::new("mod", "", Written::review).check(node);
        if !problems.is_empty() {
            return Err(problems);
        }
        let written: Written = decode(node)?;
        let read = |relations: Vec<WrittenRelation>| {
            relations.into_iter().map(WrittenRelation::read).collect()
        };
        Ok(Self {
            version: Version::parse(&written.version).expect("the review has parsed it"),
            pixel_llm: requirement(Some(&written.pixel_llm)),
            needs: read(written.needs),
            wants: read(written.wants),
            conflicts: read(written.conflicts),
            id: written.id,
            name: written.name,
            author: written.author,
            licence: written.licence,
            description: written.description,
        })
    }
}

fn requirement(text: Option<&str>) -> VersionReq {
    text.map_or(VersionReq::STAR, |text| VersionReq::parse(text).expect("the review has parsed it"))
}

impl WrittenRelation {
    fn read(self) -> Relation {
        Relation { version: requirement(self.version.as_deref()), id: self.id }
    }
}

impl Written {
    fn review(&self, review: &mut Review<'_>) {
        if let Err(why) = check_id(&self.id) {
            review.wrong("id", why);
        }
        for (field, text) in
            [("name", &self.name), ("author", &self.author), ("licence", &self.licence)]
        {
            let length = text.chars().count();
            review.require((1..=200).contains(&length), field, || {
                format!("expected 1 to 200 characters, found {length}")
            });
        }
        if let Err(error) = Version::parse(&self.version) {
            review.wrong(
                "version",
                format!("expected a version such as \"1.0.0\", found {:?}: {error}", self.version),
            );
        }
        review_requirement(review, "pixel_llm", &self.pixel_llm);
        for (field, relations) in
            [("needs", &self.needs), ("wants", &self.wants), ("conflicts", &self.conflicts)]
        {
            review.require(relations.len() <= MAX_RELATIONS, field, || {
                format!("expected at most {MAX_RELATIONS} mods, found {}", relations.len())
            });
            for (at, relation) in relations.iter().enumerate() {
                let path = format!("{field}[{at}].id");
                if let Err(why) = check_id(&relation.id) {
                    review.wrong(&path, why);
                } else if relation.id == self.id {
                    review.wrong(&path, "a mod cannot name itself here");
                }
                if let Some(version) = &relation.version {
                    review_requirement(review, &format!("{field}[{at}].version"), version);
                }
            }
        }
    }
}

fn review_requirement(review: &mut Review<'_>, path: &str, text: &str) {
    if let Err(error) = VersionReq::parse(text) {
        review.wrong(
            path,
            format!("expected versions such as \">=0.1, <0.3\", found {text:?}: {error}"),
        );
    }
}
