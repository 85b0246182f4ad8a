//! From folders of mods to contents: finds, reads, orders and applies them, and tells what became
//! of each.
//!
//! A mod is applied whole or not at all. Whatever is wrong with it is in its report, it is left
//! out, and the rest goes on as if it were not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::{Contents, apply};
use super::built_in::{FOLDERS, core};
use super::decode::decode;
use super::manifest::{self, Manifest};
use super::order::{CORE, USER_OVERRIDES, order};
use super::parse::parse;
use super::patch::Patch;
use super::problem::Problem;
use super::registry::Registry;
use super::settings::{self, Settings};
use super::source::{Source, is_litter};
use super::tree::{FieldPath, Node};
use crate::folders;
use crate::terminal::one_line;

/// The most mods of a folder.
pub const MAX_MODS: usize = 2000;

/// What has become of a mod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is in use.
    Loaded,
    /// The user has turned it off.
    Disabled,
    /// It is sound but cannot be used with this program or the other mods.
    Incompatible,
    /// It is broken.
    Broken,
}

/// What is told of one mod.
#[derive(Debug, Clone, Serialize)]
pub struct ModReport {
    /// Its folder or archive, by name.
    pub label: String,
    /// Where it is; none for what is built in.
    pub path: Option<PathBuf>,
    /// What it says about itself, if that could be read.
    #[serde(flatten)]
    pub about: Option<About>,
    /// What has become of it.
    pub state: State,
    /// Why it was left out.
    pub problems: Vec<Problem>,
    /// What it brings, as `KIND/NAME`.
    pub brings: Vec<String>,
    /// Commands that would run for it, each only after the user's consent.
    pub commands: Vec<String>,
}

/// What a mod says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// Under what licence.
    pub licence: String,
    /// What it does.
    pub about: String,
}

impl ModReport {
    /// The id, or what stands for it where none could be read.
    pub fn id(&self) -> &str {
        self.about.as_ref().map_or(&self.label, |about| &about.id)
    }
}

/// Everything that mods came to.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Every mod: those in use in their order, then the others by label.
    pub mods: Vec<ModReport>,
    /// What there is.
    pub contents: Contents,
    /// What is wrong with the order file or the folder itself.
    pub problems: Vec<Problem>,
    /// What the user has said.
    pub settings: Settings,
}

/// A command of a mod that the user has not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unallowed {
    /// The mod.
    pub mod_id: String,
    /// The command, as `mods allow` takes it.
    pub command: String,
}

impl std::fmt::Display for Unallowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mod_id, command } = self;
        let (command, command_id) = (one_line(command), settings::command_id(mod_id, command));
        write!(f, "the mod {mod_id} would run {command}; ")?;
        write!(f, "allow it with: pixel-llm mods allow {mod_id} --command-id {command_id}")
    }
}

impl Loaded {
    /// A content as its schema reads it; `None` where there is none of the name.
    ///
    /// # Errors
    /// The type is another than the one that is registered for the kind.
    pub fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Option<Result<T, Vec<Problem>>> {
        self.contents.get(kind, name).map(|content| decode(&content.node))
    }

    /// The names of all contents of a kind.
    pub fn names<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.contents.of_kind(kind).map(|(name, _)| name)
    }

    /// The commands of a content that the user has not allowed. What is the program's or the user's
    /// own needs no leave.
    pub fn unallowed(&self, kind: &str, name: &str) -> Vec<Unallowed> {
        let Some(content) = self.contents.get(kind, name) else { return Vec::new() };
        let Some(mod_id) = content.last_mod() else { return Vec::new() };
        let waiting =
            content.commands.iter().filter(|command| !self.settings.allows(mod_id, command));
        waiting
            .map(|command| Unallowed { mod_id: mod_id.into(), command: command.clone() })
            .collect()
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
            && self
                .mods
                .iter()
                .all(|report| !matches!(report.state, State::Broken | State::Incompatible))
    }

    /// The mod of an id.
    pub fn find(&self, id: &str) -> Option<&ModReport> {
        self.mods.iter().find(|report| report.id() == id)
    }
}

/// The user's mods folder: `$PIXEL_LLM_MODS`, else `mods` in the platform's data folder for
/// `pixel-llm`.
pub fn user_folder() -> Option<PathBuf> {
    let own = folders::variable("PIXEL_LLM_MODS").map(PathBuf::from);
    own.or_else(|| Some(folders::data()?.join("mods")))
}

/// Loads the built-in assets and the mods of a folder, with the folder's settings.
pub fn load(registry: &Registry, folder: Option<&Path>) -> Loaded {
    load_with(registry, folder, None)
}

/// As [`load()`], and after all mods the user's own assets: a folder laid out as that of the
/// built-in ones.
pub fn load_with(registry: &Registry, folder: Option<&Path>, own: Option<&Path>) -> Loaded {
    let mut problems = Vec::new();
    let (mut sources, mut settings) = (Vec::new(), Settings::default());
    if let Some(folder) = folder {
        sources = find(folder, &mut problems)
            .into_par_iter()
            .map(|path| (path.clone(), Source::read(&path)))
            .collect();
        settings = Settings::read(folder).unwrap_or_else(|wrong| {
            problems.extend(wrong);
            Settings::default()
        });
    }
    let own = own.map(|own| Source::read_folders(own, &FOLDERS.each_ref().map(|(name, _)| *name)));
    Loaded { problems, ..assemble(registry, sources, settings, own) }
}

/// What in a folder can be a mod: folders and `.zip` files, by name.
fn find(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let shown = folder.display().to_string();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // The user may never have had a mod.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::of_file(shown, format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if is_litter(&name) || name == settings::FILE_NAME {
            continue;
        }
        if path.is_dir()
            || path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
        {
            found.push(path);
        } else {
            problems.push(Problem::of_file(
                name,
                "is neither a folder nor a .zip file, so it is no mod",
            ));
        }
    }
    found.sort();
    if found.len() > MAX_MODS {
        let message =
            format!("the folder has {} mods; only the first {MAX_MODS} are looked at", found.len());
        problems.push(Problem::of_file(shown, message));
        found.truncate(MAX_MODS);
    }
    found
}

/// A mod whose files have been read as far as that goes without the other mods.
struct Parsed {
    report: ModReport,
    manifest: Option<Manifest>,
    /// The manifest with its places.
    written: Option<Node>,
    files: Files,
}

impl Parsed {
    /// Leaves the mod out for a reason that a field of its manifest gives.
    fn reject(&mut self, field: &str, message: &str) {
        self.report.state = State::Incompatible;
        let written = self.written.as_ref().expect("a mod without a manifest is broken");
        let place = &written.nearest(&FieldPath::parse(field).unwrap_or_default()).place;
        self.report.problems.push(Problem::at(place, Some(field), message.into()));
    }
}

/// The contents and patches of a mod.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub contents: Vec<(String, String, Arc<Node>)>,
    pub patches: Vec<(String, String, Patch, super::tree::Place)>,
}

/// Loads the built-in assets and mods whose files were read, under settings of the caller's.
pub fn load_sources(
    registry: &Registry,
    sources: Vec<(PathBuf, Result<Source, Vec<Problem>>)>,
    settings: &Settings,
) -> Loaded {
    assemble(registry, sources, settings.clone(), None)
}

fn assemble(
    registry: &Registry,
    sources: Vec<(PathBuf, Result<Source, Vec<Problem>>)>,
    settings: Settings,
    own: Option<Result<Source, Vec<Problem>>>,
) -> Loaded {
    let mut parsed: Vec<Parsed> =
        sources.into_par_iter().map(|(path, source)| read(registry, path, source)).collect();
    parsed.insert(0, parse_source(registry, &core(), true));
    mark_doubles(&mut parsed);
    for one in &mut parsed {
        if settings.disabled.contains(one.report.id()) && one.report.id() != CORE {
            one.report.state = State::Disabled;
        }
    }
    let candidates: Vec<usize> = parsed
        .iter()
        .enumerate()
        .filter(|(_, one)| one.report.state == State::Loaded)
        .map(|(at, _)| at)
        .collect();
    let manifests: Vec<&Manifest> = candidates
        .iter()
        .map(|&at| parsed[at].manifest.as_ref().expect("a mod without one is broken"))
        .collect();
    let version = Version::parse(env!("CARGO_PKG_VERSION")).expect("cargo has checked the version");
    let order = order(&manifests, &settings, &version);
    let needs: Vec<Vec<String>> = manifests
        .iter()
        .map(|manifest| manifest.needs.iter().map(|need| need.id.clone()).collect())
        .collect();
    for (at, reasons) in &order.skipped {
        reasons
            .iter()
            .for_each(|reason| parsed[candidates[*at]].reject(&reason.field, &reason.message));
    }
    let mut contents = Contents::default();
    let mut in_use = BTreeSet::new();
    let mut sequence = Vec::new();
    for &at in &order.loads {
        let one = &mut parsed[candidates[at]];
        // What it needs may have been broken by a patch only now.
        if let Some((place, need)) =
            needs[at].iter().enumerate().find(|(_, need)| !in_use.contains(*need))
        {
            one.reject(
                &format!("needs[{place}]"),
                &format!("needs `{need}`, which was not loaded"),
            );
            continue;
        }
        match apply(registry, &mut contents, one.report.id(), &one.files) {
            Ok(()) => {
                in_use.insert(one.report.id().to_owned());
                sequence.push(candidates[at]);
            }
            Err(problems) => {
                one.report.state = State::Broken;
                one.report.problems.extend(problems);
            }
        }
    }
    let mut reports: Vec<Option<ModReport>> =
        parsed.into_iter().map(|one| Some(one.report)).collect();
    let mut mods: Vec<ModReport> =
        sequence.into_iter().filter_map(|at| reports[at].take()).collect();
    if let Some(own) = own {
        mods.push(apply_own(registry, &mut contents, own));
    }
    for report in mods.iter_mut() {
        // A patch may have made a command what it is.
        let id = report.id().to_owned();
        let of_it = contents.iter().filter(|(.., content)| content.last_mod() == Some(&id));
        report.commands = of_it.flat_map(|(.., content)| content.commands.clone()).collect();
    }
    mods.extend(reports.into_iter().flatten());
    Loaded { mods, contents, problems: Vec::new(), settings }
}

/// Puts the user's own assets over everything.
fn apply_own(
    registry: &Registry,
    contents: &mut Contents,
    source: Result<Source, Vec<Problem>>,
) -> ModReport {
    let (mut report, files) = match source {
        Ok(source) => {
            let parsed = parse_source(registry, &source, false);
            (parsed.report, parsed.files)
        }
        Err(problems) => (
            ModReport { state: State::Broken, problems, ..blank(String::new(), None) },
            Files::default(),
        ),
    };
    report.label = USER_OVERRIDES.into();
    if report.state == State::Loaded
        && let Err(problems) = apply(registry, contents, USER_OVERRIDES, &files)
    {
        (report.state, report.problems) = (State::Broken, problems);
    }
    report
}

fn read(registry: &Registry, path: PathBuf, source: Result<Source, Vec<Problem>>) -> Parsed {
    match source {
        Ok(source) => parse_source(registry, &source, true),
        Err(problems) => {
            let mut report = blank(super::source::label_of(&path), Some(path));
            (report.state, report.problems) = (State::Broken, problems);
            Parsed { report, manifest: None, written: None, files: Files::default() }
        }
    }
}

fn blank(label: String, path: Option<PathBuf>) -> ModReport {
    ModReport {
        label,
        path,
        about: None,
        state: State::Loaded,
        problems: Vec::new(),
        brings: Vec::new(),
        commands: Vec::new(),
    }
}

/// Reads all files of a mod, and goes on behind each that is wrong.
fn parse_source(registry: &Registry, source: &Source, is_mod: bool) -> Parsed {
    let mut problems = Vec::new();
    let mut report = blank(source.label.clone(), source.path.clone());
    let (mut manifest, mut written, mut files) = (None, None, Files::default());
    let mut has_manifest = false;
    let mut known = BTreeMap::new();
    for file in &source.files {
        let shown: Arc<str> = format!("{}/{}", source.label, file.path).into();
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let is_manifest = file.path == manifest::FILE_NAME;
        has_manifest |= is_manifest;
        let content = match registry.classify(name) {
            _ if is_manifest => None,
            Ok(content) => Some(content),
            Err(why) => {
                problems.push(Problem::of_file(&*shown, why));
                continue;
            }
        };
        let before = problems.len();
        let node = match parse(&shown, &file.text, &mut problems) {
            Ok(node) => node,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let Some(content) = content else {
            match Manifest::read(&node) {
                Ok(read) => manifest = Some(read),
                Err(wrong) => problems.extend(wrong),
            }
            written = Some(node);
            continue;
        };
        let id = format!("{}/{}", content.kind.name(), content.name);
        if let Some(other) = known.insert((id.clone(), content.is_patch), file.path.clone()) {
            problems.push(Problem::of_file(&*shown, format!("{other} brings {id} already")));
            continue;
        }
        if content.is_patch {
            match Patch::read(&node) {
                Ok(patch) => files.patches.push((
                    content.kind.name().into(),
                    content.name,
                    patch,
                    node.place,
                )),
                Err(wrong) => problems.extend(wrong),
            }
        } else {
            problems.extend(content.kind.check(&node));
            if problems.len() == before {
                report.commands.extend(content.kind.commands(&node));
            }
            files.contents.push((content.kind.name().into(), content.name, Arc::new(node)));
        }
        report.brings.push(if content.is_patch { format!("{id} (patch)") } else { id });
    }
    if is_mod && !has_manifest {
        let message = format!("there is no {}; every mod begins with one", manifest::FILE_NAME);
        problems.insert(0, Problem::of_file(&source.label, message));
    }
    if manifest.as_ref().is_some_and(|read| read.id == CORE) && source.path.is_some() {
        let file = format!("{}/{}", source.label, manifest::FILE_NAME);
        problems.push(Problem::of_file(file, "the id `core` is that of the built-in assets"));
        manifest = None;
    }
    report.about = manifest.as_ref().map(|read| About {
        id: read.id.clone(),
        name: read.name.clone(),
        version: read.version.to_string(),
        author: read.author.clone(),
        licence: read.licence.clone(),
        about: read.about.clone(),
    });
    report.brings.sort();
    if !problems.is_empty() {
        (report.state, report.problems) = (State::Broken, problems);
    }
    Parsed { report, manifest, written, files }
}

/// Of mods that share an id only the first by label stays.
fn mark_doubles(parsed: &mut [Parsed]) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for one in parsed {
        let Some(manifest) = &one.manifest else { continue };
        if let Some(other) = first.get(&manifest.id) {
            let file = format!("{}/{}", one.report.label, manifest::FILE_NAME);
            let message =
                format!("the id `{}` is that of {other} too, which is taken", manifest.id);
            one.report.problems.push(Problem::of_file(file, message));
            one.report.state = State::Broken;
        } else {
            first.insert(manifest.id.clone(), one.report.label.clone());
        }
    }
}
