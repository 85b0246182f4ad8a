//! The files of a mod, from a folder, a zip archive or the program itself. Nothing outside the mod
//! can be reached.
//!
//! Links, `..`, absolute paths and names that some platform reads as another file are refused; so
//! are kinds of file that a mod has no use for. Sizes and counts are bounded, for an archive by
//! what really comes out of it.

mod archive;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::problem::Problem;
use crate::files::open_regular;

pub use archive::read_archive;

/// The largest RON file: thousands of prompts fit in it.
pub const MAX_FILE_IN_BYTES: u64 = 4 << 20;
/// The most that all RON files of a mod take together.
pub(crate) const MAX_MOD_IN_BYTES: u64 = 32 << 20;
/// The most files of a mod.
pub(crate) const MAX_FILES: usize = 4096;
/// The deepest folder of a mod.
pub(crate) const MAX_FOLDERS_DEEP: usize = 8;
/// The largest archive as it lies on the disk.
pub(crate) const MAX_ARCHIVE_IN_BYTES: u64 = 64 << 20;
/// The longest path of a file in a mod, in bytes.
const MAX_PATH: usize = 200;

/// What a mod may hold beside RON: what people read, and models that `*.model.ron` names.
const OTHER_FILES: [&str; 8] = ["md", "txt", "png", "jpg", "jpeg", "pxi", "gguf", "json"];

/// A RON file of a mod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the mod, with `/` between folders.
    pub path: String,
    /// Its text, at most [`MAX_FILE_IN_BYTES`].
    pub text: String,
}

/// The files of a mod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What problems call the mod: the name of its folder or archive.
    pub label: String,
    /// Where it is; none for what is built in.
    pub path: Option<PathBuf>,
    /// Its RON files, by path.
    pub files: Vec<SourceFile>,
}

impl Source {
    /// Reads a mod from a folder or a `.zip` file.
    ///
    /// # Errors
    /// Everything about its files that cannot be.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let label = label_of(path);
        let files = Intake::of(path, &label).finish()?;
        Ok(Self { label, path: Some(path.to_owned()), files })
    }

    /// Tells which files a mod on the disk has beside those that [`read`](Self::read) reads.
    ///
    /// # Errors
    /// Everything about its files that cannot be.
    pub(crate) fn list_others(path: &Path) -> Result<Others, Vec<Problem>> {
        let label = label_of(path);
        let mut intake = Intake::of(path, &label);
        let mut others = std::mem::take(&mut intake.others);
        intake.finish()?;
        others.files.sort();
        others.left_out.sort();
        Ok(others)
    }

    /// Reads what some folders of a folder hold, without a manifest. What is not there holds
    /// nothing.
    ///
    /// # Errors
    /// Everything about the files that cannot be.
    pub(crate) fn read_folders(path: &Path, folders: &[&str]) -> Result<Self, Vec<Problem>> {
        let label = path.display().to_string();
        let mut intake = Intake::new(&label);
        for name in folders {
            let inside = path.join(name);
            if inside.is_dir() {
                walk(&inside, name, 1, &mut intake);
            }
        }
        let files = intake.finish()?;
        Ok(Self { label, path: Some(path.to_owned()), files })
    }
}

/// The files of a mod that are no RON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// What belongs to the mod: what people read, and models. By path.
    pub files: Vec<String>,
    /// What systems, file managers and version control put there, and is none of the mod's.
    pub left_out: Vec<String>,
}

/// Whether a file or folder is one that a system, a file manager or version control put there.
pub(crate) fn is_litter(name: &str) -> bool {
    const NAMES: [&str; 6] =
        ["__macosx", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"];
    // `..` is no such file, nor is `..\x`: they lead somewhere.
    let is_hidden =
        name.starts_with('.') && !name.contains('\\') && name.chars().any(|letter| letter != '.');
    is_hidden || NAMES.contains(&name.to_lowercase().as_str())
}

/// What problems call a mod.
pub(crate) fn label_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Takes files in and counts what they come to.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    label: &'a str,
    files: Vec<SourceFile>,
    others: Others,
    problems: Vec<Problem>,
    /// Every path that was seen, in small letters: two that differ in case are one file on some
    /// platforms.
    seen: std::collections::BTreeSet<String>,
    bytes: u64,
}

impl<'a> Intake<'a> {
    /// What a mod on the disk holds, a folder or a `.zip` file.
    fn of(path: &Path, label: &'a str) -> Self {
        let mut intake = Self::new(label);
        if path.is_dir() {
            walk(path, "", 0, &mut intake);
        } else {
            read_zip(path, &mut intake);
        }
        intake
    }

    fn new(label: &'a str) -> Self {
        Self {
            label,
            files: Vec::new(),
            others: Others::default(),
            problems: Vec::new(),
            seen: std::collections::BTreeSet::new(),
            bytes: 0,
        }
    }

    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.len() < super::decode::MAX_PROBLEMS {
            let file = if path.is_empty() {
                self.label.to_owned()
            } else {
                format!("{}/{path}", self.label)
            };
            self.problems.push(Problem::of_file(file, message));
        }
    }

    /// Whether there is room for one more file; says so once where there is not.
    fn has_room(&mut self) -> bool {
        if self.seen.len() == MAX_FILES {
            self.wrong("", format!("the mod has more than {MAX_FILES} files"));
        }
        self.seen.len() < MAX_FILES
    }

    /// Whether a file of this path is to be read.
    fn wants(&mut self, path: &str) -> bool {
        if let Err(why) = check_path(path) {
            self.wrong(path, why);
            return false;
        }
        if !self.seen.insert(path.to_lowercase()) {
            self.wrong(path, "two files have this name");
            return false;
        }
        match path
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
            .map(|(_, ending)| ending)
        {
            Some("ron") => true,
            Some("wgsl" | "spv" | "glsl" | "hlsl" | "metal") => {
                self.wrong(path, "a mod cannot bring shaders");
                false
            }
            Some(ending) if !OTHER_FILES.contains(&ending.to_lowercase().as_str()) => {
                self.wrong(
                    path,
                    format!("a mod cannot bring .{ending} files; it holds .ron and {}", others()),
                );
                false
            }
            _ => {
                // Files without an ending too, such as `LICENCE`.
                self.others.files.push(path.to_owned());
                false
            }
        }
    }

    /// Passes over what is none of the mod's.
    fn leave_out(&mut self, path: &str) {
        // `has_room` does not count these, so the list has its own bound.
        if self.others.left_out.len() < MAX_FILES {
            self.others.left_out.push(path.to_owned());
        }
    }

    /// Takes a file's text.
    fn take(&mut self, path: &str, file: impl Read) {
        let mut bytes = Vec::new();
        // Cannot wrap: no file takes more than is left.
        let most = MAX_FILE_IN_BYTES.min(MAX_MOD_IN_BYTES - self.bytes);
        // One byte more tells a file that is too large from one that just fits, and no more is
        // unpacked.
        if let Err(error) = file.take(most + 1).read_to_end(&mut bytes) {
            self.wrong(path, format!("cannot be read: {error}"));
            return;
        }
        if bytes.len() as u64 > most {
            let message = match most == MAX_FILE_IN_BYTES {
                true => format!("the file has more than {MAX_FILE_IN_BYTES} bytes"),
                false => format!("the mod's files have more than {MAX_MOD_IN_BYTES} bytes"),
            };
            self.wrong(path, message);
            return;
        }
        self.bytes += bytes.len() as u64;
        match String::from_utf8(bytes) {
            Ok(text) => self.files.push(SourceFile { path: path.into(), text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.wrong(path, format!("the file is not UTF-8 from byte {at} on"));
            }
        }
    }

    fn finish(mut self) -> Result<Vec<SourceFile>, Vec<Problem>> {
        if !self.problems.is_empty() {
            self.problems.sort_by(|a, b| a.file.cmp(&b.file));
            return Err(self.problems);
        }
        // Folders and archives list in any order: the same mod is read alike from both.
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.files)
    }
}

fn others() -> String {
    OTHER_FILES.map(|ending| format!(".{ending}")).join(", ")
}

fn walk(folder: &Path, inside: &str, depth: usize, intake: &mut Intake<'_>) {
    if depth > MAX_FOLDERS_DEEP {
        intake.wrong(inside, format!("folders are nested deeper than {MAX_FOLDERS_DEEP}"));
        return;
    }
    let entries = match fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => return intake.wrong(inside, format!("cannot be read: {error}")),
    };
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_litter = is_litter(&name);
        let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        if is_litter {
            intake.leave_out(&path);
            continue;
        }
        // The type of the entry itself: a link is not followed to see what it leads to.
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => {
                intake.wrong(&path, "is a link; a mod holds its files itself")
            }
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &path, depth + 1, intake),
            Ok(kind) if kind.is_file() => {
                if !intake.has_room() {
                    return;
                }
                if intake.wants(&path) {
                    // A pipe that has taken the file's place by now is refused, and not waited for.
                    match open_regular(&entry.path()) {
                        Ok(file) => intake.take(&path, file),
                        Err(error) => intake.wrong(&path, format!("cannot be read: {error}")),
                    }
                }
            }
            Ok(_) => intake.wrong(&path, "is neither a file nor a folder"),
            Err(error) => intake.wrong(&path, format!("cannot be read: {error}")),
        }
    }
}

fn read_zip(path: &Path, intake: &mut Intake<'_>) {
    match open_regular(path) {
        Ok(file) => match file.metadata() {
            Ok(about) if about.len() > MAX_ARCHIVE_IN_BYTES => {
                intake.wrong("", format!("the archive has more than {MAX_ARCHIVE_IN_BYTES} bytes"));
            }
            Ok(_) => archive::read_into(std::io::BufReader::new(file), intake),
            Err(error) => intake.wrong("", format!("cannot be read: {error}")),
        },
        Err(error) => intake.wrong("", format!("cannot be read: {error}")),
    }
}

/// Whether a path is one of a file in a mod on every platform.
///
/// # Errors
/// The error says what is wrong with it.
pub fn check_path(path: &str) -> Result<(), String> {
    let shown = super::tree::shortened(path);
    if path.is_empty() || path.len() > MAX_PATH {
        return Err(format!("the path has {} bytes; expected 1 to {MAX_PATH}", path.len()));
    }
    if path.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) || path.contains(char::is_control) {
        return Err(format!("{shown:?} has a character that paths cannot have on every platform"));
    }
    if path.starts_with('/') {
        return Err(format!("{shown:?} is an absolute path; a mod reaches nothing outside itself"));
    }
    for part in path.split('/') {
        match part {
            ".." => {
                return Err(format!(
                    "{shown:?} leads out of its folder; a mod reaches nothing outside itself"
                ));
            }
            "" | "." => return Err(format!("{shown:?} has an empty part")),
            // Windows drops these, so that two names would be one file.
            _ if part.ends_with(['.', ' ']) => {
                return Err(format!("{shown:?} has a part that ends with a dot or space"));
            }
            _ if is_device(part) => {
                return Err(format!("{shown:?} names a device on some platforms"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether Windows takes a name for a device, whatever its ending.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}
