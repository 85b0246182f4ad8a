//! Puts one mod after the other over what is there, and remembers who set what.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::load::ModFiles;
use super::order::{CORE, USER_OVERRIDES};
use super::problem::{Problem, did_you_mean};
use super::registry::Registry;
use super::tree::{FieldPath, Node, Step};

/// What a mod did to a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The id of the mod that did it.
    #[serde(rename = "mod")]
    pub mod_id: String,
    /// What it did to the content as it was before.
    #[serde(flatten)]
    pub what: What,
}

/// What can be done to a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum What {
    /// Brought it, when there was none of its name.
    Brought,
    /// Put its own in the place of what was there.
    Overrode,
    /// Changed single fields by a patch.
    Patched {
        /// The paths of the fields, such as `prompts[0].text`.
        fields: Vec<String>,
    },
}

/// A content and how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The value, with its places.
    pub node: Arc<Node>,
    /// Who did what to it, first to last.
    pub history: Vec<Change>,
    /// The commands that it would have run, each only after the user's consent.
    pub commands: Vec<String>,
    /// What no other content of its kind may have, where there is such a thing.
    own_text: Option<(&'static str, String)>,
}

impl Content {
    /// The mod that changed it last, where that is none of the program's and the user's own.
    pub(crate) fn last_mod(&self) -> Option<&str> {
        let mut ids = self.history.iter().rev().map(|change| change.mod_id.as_str());
        ids.find(|id| !matches!(*id, CORE | USER_OVERRIDES))
    }
}

/// All contents, by kind and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents(BTreeMap<(String, String), Content>);

impl Contents {
    /// The content of a kind and name.
    pub fn get(&self, kind: &str, name: &str) -> Option<&Content> {
        self.0.get(&(kind.to_owned(), name.to_owned()))
    }

    /// All contents with their kinds and names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Content)> {
        self.0.iter().map(|((kind, name), content)| (kind.as_str(), name.as_str(), content))
    }

    /// All contents of a kind, by name.
    pub(crate) fn of_kind<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Content)> {
        self.iter().filter(move |(of, ..)| *of == kind).map(|(_, name, content)| (name, content))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts a mod over what is there; where anything is wrong, all stays as it was.
pub(super) fn apply(
    registry: &Registry,
    contents: &mut Contents,
    mod_id: &str,
    files: &ModFiles,
) -> Result<(), Vec<Problem>> {
    // A mod is applied whole or not at all: until its last file is sound, nothing goes into
    // `contents`.
    let mut touched: BTreeMap<(String, String), Content> = BTreeMap::new();
    let mut problems = Vec::new();
    for (kind, name, node) in &files.contents {
        let id = (kind.clone(), name.clone());
        let before = contents.0.get(&id).map(|content| content.history.clone());
        let what = if before.is_some() { What::Overrode } else { What::Brought };
        let mut history = before.unwrap_or_default();
        history.push(Change { mod_id: mod_id.into(), what });
        let node = Arc::clone(node);
        touched.insert(id, Content { node, history, commands: Vec::new(), own_text: None });
    }
    for (kind, name, patch, place) in &files.patches {
        let id = (kind.clone(), name.clone());
        // A mod may patch what it brings itself: its contents come before its patches.
        let Some(mut content) = touched.get(&id).or_else(|| contents.0.get(&id)).cloned() else {
            let names: Vec<_> = contents.of_kind(kind).map(|(name, _)| name).collect();
            let message = format!(
                "no mod before this one brings {kind}/{name}; whose contents are patched is named \
                 in `needs` or `wants`{}",
                did_you_mean(name, names)
            );
            problems.push(Problem::at(place, None, message));
            continue;
        };
        // Copies what `contents` shares: should this mod fail, the node there stays as it was.
        if let Err(wrong) = patch.apply(Arc::make_mut(&mut content.node)) {
            problems.extend(wrong);
            continue;
        }
        // Checked after all changes, since one alone may leave what only the next makes sound.
        let wrong = registry.kind(kind).map_or_else(Vec::new, |kind| kind.check(&content.node));
        if !wrong.is_empty() {
            // What is missing after a change is found where it was, in a file that is not to blame.
            problems.extend(wrong.into_iter().map(|problem| match problem.file == *place.file {
                true => problem,
                false => Problem {
                    message: format!("{}, after the changes of {}", problem.message, place.file),
                    ..problem
                },
            }));
            continue;
        }
        let fields = patch.fields().collect();
        content.history.push(Change { mod_id: mod_id.into(), what: What::Patched { fields } });
        touched.insert(id, content);
    }
    // Read after the patches: the commands that need leave are those that would run.
    for ((kind, _), content) in &mut touched {
        if let Some(kind) = registry.kind(kind) {
            content.commands = kind.commands(&content.node);
            content.own_text = kind.unique(&content.node);
        }
    }
    problems.extend(twins(contents, &touched));
    if problems.is_empty() {
        contents.0.extend(touched);
        return Ok(());
    }
    Err(problems)
}

/// Contents that have what another of their kind has, where each must have its own.
fn twins(contents: &Contents, touched: &BTreeMap<(String, String), Content>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((kind, name), content) in touched {
        let Some((field, text)) = &content.own_text else { continue };
        // Keys are sorted by kind, then name: a kind's contents lie together, from the empty name
        // on.
        let of_kind = (kind.clone(), String::new())..;
        let others = contents.0.range(of_kind).take_while(|(id, _)| id.0 == *kind);
        // What this mod replaces no longer counts; what it puts there does.
        let mut others = others.filter(|(id, _)| !touched.contains_key(*id)).chain(touched);
        let is_twin = |(id, other): &(&(String, String), &Content)| {
            id.0 == *kind
                && id.1 != *name
                && other.own_text.as_ref().is_some_and(|own| own.1 == *text)
        };
        if let Some(((_, other), _)) = others.find(is_twin) {
            let place = &content.node.nearest(&FieldPath(vec![Step::Field((*field).into())])).place;
            let message = format!("{text:?} is that of {kind}/{other} already");
            problems.push(Problem::at(place, Some(field), message));
        }
    }
    problems
}
