//! Hot reload: notices that a mods folder has changed, loads it again, and keeps the last good state.
//!
//! It looks at names, sizes and times rather than asking the platform to be told: that works on every file system, needs no thread
//! of its own, and takes milliseconds for thousands of files. Call [`Reloader::poll`] a few times a second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::load::{Loaded, State, load};
use super::registry::Registry;
use super::source::{MAX_FILES, MAX_FOLDERS_DEEP};

/// The most files that are looked at.
const MAX_WATCHED: usize = 16 * MAX_FILES;

type Fingerprint = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// What a look at the folder came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// Nothing has changed.
    Unchanged,
    /// The folder was loaded again, and what it holds is in use.
    Reloaded,
    /// The folder was loaded again, and something is wrong that was not wrong before: the last good state stays in use, and
    /// [`Reloader::latest`] says what is wrong.
    Kept,
}

/// A folder of mods that is loaded again when it changes.
pub struct Reloader {
    registry: Registry,
    folder: PathBuf,
    seen: Fingerprint,
    good: Loaded,
    latest: Loaded,
}

impl Reloader {
    /// Loads a folder for the first time.
    pub fn new(registry: Registry, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        // Looked at before it is loaded: a change in between is seen by the next look.
        let seen = fingerprint(&folder);
        let latest = load(&registry, Some(&folder));
        Self { registry, folder, seen, good: latest.clone(), latest }
    }

    /// What is in use.
    pub fn good(&self) -> &Loaded {
        &self.good
    }

    /// What the folder came to when it was loaded last; its reports say what is wrong.
    pub fn latest(&self) -> &Loaded {
        &self.latest
    }

    /// Looks whether the folder has changed, and loads it again if so.
    pub fn poll(&mut self) -> Poll {
        let now = fingerprint(&self.folder);
        if now == self.seen {
            return Poll::Unchanged;
        }
        self.seen = now;
        self.latest = load(&self.registry, Some(&self.folder));
        // A mod that is in use and is bad now is somebody's unfinished work; one that never was in use harms nobody.
        let lost = |report: &super::load::ModReport| {
            report.state == State::Loaded
                && self.latest.mods.iter().any(|now| {
                    let is_bad = matches!(now.state, State::Broken | State::Incompatible);
                    is_bad && now.label == report.label
                })
        };
        if self.good.mods.iter().any(lost)
            || (self.good.problems.is_empty() && !self.latest.problems.is_empty())
        {
            return Poll::Kept;
        }
        self.good = self.latest.clone();
        Poll::Reloaded
    }
}

fn fingerprint(folder: &Path) -> Fingerprint {
    let mut files = Fingerprint::new();
    look(folder, 0, &mut files);
    files
}

fn look(folder: &Path, depth: usize, files: &mut Fingerprint) {
    // One deeper than a mod's own folders, since the mods lie in a folder themselves.
    if depth > MAX_FOLDERS_DEEP + 1 {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if files.len() >= MAX_WATCHED {
            return;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() || (depth == 0 && kind.is_symlink() && entry.path().is_dir()) {
            look(&entry.path(), depth + 1, files);
        }
        if let Ok(about) = entry.metadata() {
            // A folder's own time changes with what is written beside the files that count.
            let state = if kind.is_dir() { (0, None) } else { (about.len(), about.modified().ok()) };
            files.insert(entry.path(), state);
        }
    }
}
