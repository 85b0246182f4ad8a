//! What is kept in the cache: conversions, when each was last used, and what killed runs left.
//!
//! Beside `NAME.pxi` lies `.NAME.pxi.used`: which files it was made of, and how the system
//! described it when it was last known to be sound. Its time of change is that of the last use. Who
//! uses a conversion holds a shared lock on it.

use std::fs::{self, File, TryLockError::WouldBlock};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::key::{is_conversion, state};

/// A conversion in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptEntry {
    /// The conversion's file in the cache.
    pub file: PathBuf,
    /// The files it was made of, where that is known.
    pub made_of: Vec<PathBuf>,
    /// Its size in bytes.
    pub size_in_bytes: u64,
    /// When it was last used.
    #[serde(skip)]
    pub used: SystemTime,
}

/// What is known of a conversion.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Note {
    pub made_of: Vec<PathBuf>,
    sound: String,
}

fn note_path(file: &Path) -> PathBuf {
    file.with_file_name(format!(".{}.used", file.file_name().unwrap_or_default().to_string_lossy()))
}

impl Note {
    pub fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&crate::files::read(&note_path(file)).ok()?).ok()
    }

    /// Says that a conversion is sound as it is now. Where that cannot be kept it is found out
    /// again.
    pub fn write(file: &Path, made_of: Vec<PathBuf>) {
        let Ok(about) = file.metadata() else { return };
        let note = Self { made_of, sound: state(&about) };
        let text = serde_json::to_vec(&note).expect("paths and a line can be written as JSON");
        let _ = crate::pxi::AtomicFile::replace(note_path(file), &text);
    }

    /// Whether nothing has touched the conversion since it was known to be sound.
    pub fn holds(&self, file: &Path) -> bool {
        file.metadata().is_ok_and(|about| self.sound == state(&about))
    }
}

/// Says that a conversion is not known to be sound any more: it is looked at whole before its next
/// use.
pub(crate) fn distrust(file: &Path) {
    let Some(note) = Note::read(file) else { return };
    // Where it cannot be kept, whoever uses the file finds the damage again. What it was made of
    // stays known.
    let text = serde_json::to_vec(&Note { sound: String::new(), ..note });
    let _ = text.map(|text| crate::pxi::AtomicFile::replace(note_path(file), &text));
}

/// Says that a conversion is used now.
pub(super) fn touch(file: &Path) {
    // Only the order in which conversions go depends on it.
    let note = File::options().write(true).open(note_path(file));
    let _ = note.and_then(|note| note.set_modified(SystemTime::now()));
}

/// All conversions of a folder, those first that were not used for longest.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn entries(folder: &Path) -> io::Result<Vec<KeptEntry>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries: Vec<_> = listed
        .flatten()
        .filter(|entry| is_conversion(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| {
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let file = entry.path();
            let noted = note_path(&file).metadata().and_then(|about| about.modified());
            let used = noted.or_else(|_| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let made_of = Note::read(&file).map(|note| note.made_of).unwrap_or_default();
            Some(KeptEntry { file, made_of, size_in_bytes: about.len(), used })
        })
        .collect();
    entries.sort_by(|one, other| (one.used, &one.file).cmp(&(other.used, &other.file)));
    Ok(entries)
}

impl KeptEntry {
    /// Whether a process uses the conversion now.
    pub(crate) fn is_in_use(&self) -> bool {
        let locked = File::open(&self.file).map(|file| matches!(file.try_lock(), Err(WouldBlock)));
        locked.unwrap_or(false)
    }

    /// Removes the conversion, unless a process uses it: then `false`.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self) -> io::Result<bool> {
        // Its lock is held to the end, so that nobody begins to use the conversion meanwhile.
        let file = File::open(&self.file)?;
        if matches!(file.try_lock(), Err(WouldBlock)) {
            return Ok(false);
        }
        fs::remove_file(&self.file)?;
        let _ = fs::remove_file(note_path(&self.file));
        Ok(true)
    }
}

/// Removes from a folder the temporary files of processes that are gone, and gives their number and
/// size in bytes.
pub fn remove_leftovers(folder: &Path) -> (u32, u64) {
    let (mut count, mut size) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(".pixel-llm-").and_then(|rest| rest.strip_suffix(".tmp"));
        let process = process.and_then(|rest| rest.split_once('-')?.0.parse().ok());
        let Some(about) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
        if process.is_none_or(is_alive) {
            continue;
        }
        // A process in another container is not seen, but its lock is.
        let is_free = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_free && fs::remove_file(entry.path()).is_ok() {
            count += 1;
            size += about.len();
        }
    }
    (count, size)
}

#[cfg(unix)]
fn is_alive(process: i32) -> bool {
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
    // To `kill`, zero and what is below are groups of processes.
    process <= 0 || kill(Pid::from_raw(process), None) != Err(Errno::ESRCH)
}

/// Only the lock tells.
#[cfg(not(unix))]
fn is_alive(process: i32) -> bool {
    process == std::process::id() as i32
}

/// Bytes that may still be written to the disk of a folder, where the system says so.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = nix::sys::statvfs::statvfs(folder).ok()?;
        // The types differ from system to system.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "they do on others")]
        Some((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// A lock that lets one process convert a model; others wait. It goes when this does.
pub(crate) struct KeepTurn {
    path: PathBuf,
    _file: File,
}

impl KeepTurn {
    /// Takes the lock; `waiting` hears when another process has it.
    ///
    /// # Errors
    /// The file of the lock cannot be made.
    pub fn take(path: &Path, mut waiting: impl FnMut()) -> io::Result<Self> {
        loop {
            let mut options = File::options();
            options.write(true).create(true).truncate(false);
            let file = crate::files::open_regular_with(path, &mut options)?;
            if matches!(file.try_lock(), Err(WouldBlock)) {
                waiting();
                // Where locks are not to be had, two conversions cost time and each is whole.
                let _ = file.lock();
            }
            // Who had the lock took the file away: what is locked here is then nothing.
            let is_there = path
                .metadata()
                .is_ok_and(|there| file.metadata().is_ok_and(|held| state(&held) == state(&there)));
            if is_there {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

impl Drop for KeepTurn {
    fn drop(&mut self) {
        // An empty file that stays is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}
