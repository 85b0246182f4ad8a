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
use super::registry::{FileContent, Registry};
use super::renamed::rename;
use super::settings::{self, Settings};
use super::source::{Source, SourceFile, is_litter};
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
    /// Something in it is wrong, or cannot be applied.
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
    /// What is as good as it was and is written otherwise now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Problem>,
    /// What it brings, as `KIND/NAME`.
    pub brings: Vec<String>,
    /// Commands that would run for it, each only after the user's consent.
    pub commands: Vec<String>,
}

/// What a mod says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its id, unique among mods.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its version, as semantic versioning has it.
    pub version: String,
    /// Who made it, for people to read.
    pub author: String,
    /// Under what licence, as an SPDX expression.
    pub licence: String,
    /// What it does, in a sentence; may be empty.
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
    /// What all mods in use came to.
    pub contents: Contents,
    /// What is wrong with the order file or the folder itself.
    pub problems: Vec<Problem>,
    /// What the user has said.
    pub settings: Settings,
}

/// A command of a mod that the user has not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unallowed {
    /// The id of the mod that set the command last.
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
    pub(crate) fn unallowed(&self, kind: &str, name: &str) -> Vec<Unallowed> {
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
        // A file that is wrong says nothing: no consent is taken from one that is read in part.
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
    // Folders list their entries in any order, and of two mods with one id the first is taken.
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
struct ParsedMod {
    report: ModReport,
    manifest: Option<Manifest>,
    /// The manifest with its places.
    written: Option<Node>,
    files: ModFiles,
}

impl ParsedMod {
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
pub(super) struct ModFiles {
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
    let mut parsed: Vec<ParsedMod> =
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
    // Copied, since `manifests` borrows the mods that are changed below.
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
            ModFiles::default(),
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

fn read(registry: &Registry, path: PathBuf, source: Result<Source, Vec<Problem>>) -> ParsedMod {
    match source {
        Ok(source) => parse_source(registry, &source, true),
        Err(problems) => {
            let mut report = blank(super::source::label_of(&path), Some(path));
            (report.state, report.problems) = (State::Broken, problems);
            ParsedMod { report, manifest: None, written: None, files: ModFiles::default() }
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
        hints: Vec::new(),
        brings: Vec::new(),
        commands: Vec::new(),
    }
}

/// Reads all files of a mod, and goes on behind each that is wrong.
fn parse_source(registry: &Registry, source: &Source, is_mod: bool) -> ParsedMod {
    let mut reading = Reading::of(source);
    for file in &source.files {
        reading.file(registry, file);
    }
    let Reading { mut report, mut manifest, written, files, mut problems, .. } = reading;
    let has_manifest = source.files.iter().any(|file| file.path == manifest::FILE_NAME);
    if is_mod && !has_manifest {
        let message = format!("there is no {}; every mod begins with one", manifest::FILE_NAME);
        problems.insert(0, Problem::of_file(&source.label, message));
    }
    // Only the built-in `core` has no path.
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
        about: read.description.clone(),
    });
    report.brings.sort();
    if !problems.is_empty() {
        (report.state, report.problems) = (State::Broken, problems);
    }
    ParsedMod { report, manifest, written, files }
}

/// A mod on its way from its files.
struct Reading<'a> {
    source: &'a Source,
    report: ModReport,
    manifest: Option<Manifest>,
    written: Option<Node>,
    files: ModFiles,
    problems: Vec<Problem>,
    /// Which file brings a content or patches it, by its id and which of the two it is.
    brought_by: BTreeMap<(String, bool), &'a str>,
}

impl<'a> Reading<'a> {
    fn of(source: &'a Source) -> Self {
        Self {
            source,
            report: blank(source.label.clone(), source.path.clone()),
            manifest: None,
            written: None,
            files: ModFiles::default(),
            problems: Vec::new(),
            brought_by: BTreeMap::new(),
        }
    }

    fn file(&mut self, registry: &Registry, file: &'a SourceFile) {
        let shown: Arc<str> = format!("{}/{}", self.source.label, file.path).into();
        if file.path == manifest::FILE_NAME {
            self.manifest(&shown, &file.text);
            return;
        }
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let content = match registry.classify(name) {
            Ok(content) => content,
            Err(why) => return self.problems.push(Problem::of_file(&*shown, why)),
        };
        let before = self.problems.len();
        let Some(mut node) = self.parse(&shown, &file.text) else { return };
        let id = format!("{}/{}", content.kind.name(), content.name);
        let brought = (id.clone(), content.is_patch);
        if let Some(other) = self.brought_by.insert(brought, &file.path) {
            let message = format!("{other} brings {id} already");
            return self.problems.push(Problem::of_file(&*shown, message));
        }
        self.report.brings.push(if content.is_patch { format!("{id} (patch)") } else { id });
        if content.is_patch {
            return self.patch(content, node);
        }
        let FileContent { kind, name, .. } = content;
        rename(&mut node, kind.renamed(), &mut self.report.hints);
        self.problems.extend(kind.check(&node));
        if self.problems.len() == before {
            self.report.commands.extend(kind.commands(&node));
        }
        self.files.contents.push((kind.name().into(), name, Arc::new(node)));
    }

    fn parse(&mut self, shown: &Arc<str>, text: &str) -> Option<Node> {
        let parsed = parse(shown, text, &mut self.problems);
        parsed.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn manifest(&mut self, shown: &Arc<str>, text: &str) {
        let Some(mut node) = self.parse(shown, text) else { return };
        rename(&mut node, manifest::RENAMED, &mut self.report.hints);
        match Manifest::read(&node) {
            Ok(read) => self.manifest = Some(read),
            Err(wrong) => self.problems.extend(wrong),
        }
        self.written = Some(node);
    }

    fn patch(&mut self, content: FileContent<'_>, node: Node) {
        let FileContent { kind, name, .. } = content;
        match Patch::read(&node) {
            Ok(mut patch) => {
                patch.rename(kind.renamed(), &mut self.report.hints);
                self.files.patches.push((kind.name().into(), name, patch, node.place));
            }
            Err(wrong) => self.problems.extend(wrong),
        }
    }
}

/// Of mods that share an id only the first by label stays.
fn mark_doubles(parsed: &mut [ParsedMod]) {
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
