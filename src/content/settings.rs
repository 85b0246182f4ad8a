//! `order.ron` in the mods' folder: the user's own order, what is turned off, and which commands
//! may run.
//!
//! Only the user's tools write it; no mod can, since a file of this name inside a mod is none of
//! its content.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::decode::decode;
use super::parse::parse;
use super::problem::Problem;
use crate::pxi::AtomicFile;

/// The name of the file with the settings, in the mods' folder.
pub(crate) const FILE_NAME: &str = "order.ron";

/// The largest such file.
const MAX_BYTES: u64 = 1 << 20;

/// What the user has said about mods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ids in the order that is wanted where dependencies leave it open; others come after them, by
    /// id.
    pub order: Vec<String>,
    /// Ids of mods that are not loaded.
    pub disabled: BTreeSet<String>,
    /// Commands that may run for a mod.
    pub consents: Vec<Consent>,
}

/// The user's leave for one command of one mod. A command that changes by a letter needs a new one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The id of the mod that may run it.
    #[serde(rename = "for_mod")]
    pub mod_id: String,
    /// The command, for the user to read.
    pub command: String,
    /// The SHA-256 of both.
    pub digest: String,
}

/// Why the settings cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The `order.ron` that was to be written.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Settings {
    /// Reads the settings of a folder; where there are none, nothing has been said.
    ///
    /// # Errors
    /// The file is there and wrong. Nothing may then be taken as said.
    pub fn read(folder: &Path) -> Result<Self, Vec<Problem>> {
        let path = folder.join(FILE_NAME);
        let wrong = |message: String| vec![Problem::of_file(FILE_NAME, message)];
        match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
            Ok(about) if about.len() > MAX_BYTES => {
                return Err(wrong(format!("the file has more than {MAX_BYTES} bytes")));
            }
            Ok(_) => {}
        }
        let text = crate::files::read_to_string(&path)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let mut problems = Vec::new();
        let node =
            parse(&Arc::from(FILE_NAME), &text, &mut problems).map_err(|problem| vec![problem])?;
        if problems.is_empty() { decode(&node) } else { Err(problems) }
    }

    /// Writes the settings, whole or not at all.
    ///
    /// # Errors
    /// The folder or file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), SettingsError> {
        let path = folder.join(FILE_NAME);
        let failed = |source| SettingsError::Write { path: path.clone(), source };
        let style = ron::ser::PrettyConfig::new();
        let text = ron::ser::to_string_pretty(self, style)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        std::fs::create_dir_all(folder).map_err(failed)?;
        let text = format!(
            "// The user's order of mods, what is disabled, and which commands may run.\n{text}\n"
        );
        AtomicFile::replace(&path, text.as_bytes()).map_err(std::io::Error::other).map_err(failed)
    }

    /// Whether the user has allowed a command of a mod.
    pub fn allows(&self, mod_id: &str, command: &str) -> bool {
        // The digest decides: the command beside it is for people, and to edit that allows nothing.
        let digest = digest(mod_id, command);
        self.consents.iter().any(|consent| consent.digest == digest)
    }

    /// Remembers that a command of a mod may run.
    pub fn allow(&mut self, mod_id: &str, command: &str) {
        if !self.allows(mod_id, command) {
            let (mod_id, command) = (mod_id.to_owned(), command.to_owned());
            self.consents.push(Consent { digest: digest(&mod_id, &command), mod_id, command });
        }
    }

    /// Forgets all that was allowed to a mod.
    pub fn forget(&mut self, mod_id: &str) {
        self.consents.retain(|consent| consent.mod_id != mod_id);
    }

    /// The place of a mod in the user's order.
    pub fn rank(&self, id: &str) -> usize {
        // Those that are not named come after those that are; among them the id decides.
        self.order.iter().position(|known| known == id).unwrap_or(usize::MAX)
    }
}

/// What stands for exactly this command of this mod where leave is given: half a
/// SHA-256 in hexadecimal digits, which nobody can find a second text for.
pub fn command_id(mod_id: &str, command: &str) -> String {
    digest(mod_id, command)[..32].to_owned()
}

fn digest(mod_id: &str, command: &str) -> String {
    let mut hash = Sha256::new();
    // The id has no zero byte, so the two cannot run into each other.
    hash.update(mod_id);
    hash.update([0]);
    hash.update(command);
    crate::model::hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), Settings::default());
        let mut settings = Settings { order: vec!["b".into(), "a".into()], ..Settings::default() };
        settings.disabled.insert("c".into());
        settings.allow("a", "sh -c \"make\"\n");
        settings.write(folder.path()).unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), settings);
        assert_eq!((settings.rank("b"), settings.rank("x")), (0, usize::MAX));
    }

    #[test]
    fn a_consent_is_for_one_command_of_one_mod() {
        let mut settings = Settings::default();
        settings.allow("a", "make");
        assert!(settings.allows("a", "make"));
        assert!(
            !settings.allows("a", "make ")
                && !settings.allows("b", "make")
                && !settings.allows("am", "ake")
        );
        settings.forget("a");
        assert!(!settings.allows("a", "make"));
    }
}
