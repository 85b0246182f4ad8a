//! A file that several processes change: each takes a lock beside it, reads, changes, and replaces
//! it whole before it gives the lock back. Locks are the operating system's, which lets go of them
//! however a process ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{AtomicFile, PxiError};
use crate::files::{self, open_regular_with};

/// Where such a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    path: PathBuf,
}

/// Why a document in such a file cannot be read.
#[derive(Debug)]
pub enum DocumentError {
    /// The system does not give it.
    Io(io::Error),
    /// It is not what is written there.
    Damaged {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// In words.
        reason: String,
    },
}

impl LockedFile {
    /// A file that need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // Two names of one file have one lock, and a link stays one.
        let path = if path.is_symlink() { path.canonicalize().unwrap_or(path) } else { path };
        Self { path }
    }

    /// The file; a link is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// A file beside it, of its name and more.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        self.path.with_file_name(name)
    }

    /// The lock's file. It is never removed: who waits for it would get a lock that nobody else
    /// sees.
    pub fn lock_path(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// The right to change the file, until what is given goes. It is on a file beside it, since the
    /// file itself is replaced.
    ///
    /// # Errors
    /// The lock's file cannot be made or locked; in words that follow "cannot".
    pub fn lock(&self) -> Result<File, (&'static str, io::Error)> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = open_regular_with(&self.lock_path(), &mut options);
        let file = file.map_err(|error| ("open", error))?;
        file.lock().map_err(|error| ("lock", error))?;
        Ok(file)
    }

    /// The text of the file, of no more than so many bytes.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is no text.
    pub fn read_text(&self, most_bytes: u64) -> Result<String, DocumentError> {
        let size = fs::metadata(&self.path).map_err(DocumentError::Io)?.len();
        let damaged = |reason| DocumentError::Damaged { line: 1, column: 1, reason };
        if size > most_bytes {
            return Err(damaged(format!("{size} bytes, and at most {most_bytes} are read")));
        }
        let bytes = files::read(&self.path).map_err(DocumentError::Io)?;
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            damaged(format!("byte {valid} is no text"))
        })
    }

    /// The file's document in JSON.
    ///
    /// # Errors
    /// As [`LockedFile::read_text`], or it is no such document.
    pub fn read_json<T: DeserializeOwned>(&self, most_bytes: u64) -> Result<T, DocumentError> {
        serde_json::from_str(&self.read_text(most_bytes)?).map_err(|error| damaged(&error))
    }

    /// Puts bytes in the place of the file; when this returns, they are on the disk.
    ///
    /// # Errors
    /// The file cannot be written or renamed; it then is as it was.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), PxiError> {
        AtomicFile::replace(&self.path, bytes)
    }
}

/// Where and why a text is no such document.
pub fn damaged(error: &serde_json::Error) -> DocumentError {
    // The place stands before the message already.
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    DocumentError::Damaged {
        line: error.line().max(1),
        column: error.column().max(1),
        reason: reason.to_owned(),
    }
}
