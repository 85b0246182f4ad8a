//! Which commands the user has allowed: in the user's settings, never in a plan or a queue, so that
//! no file from elsewhere can bring its own leave.
//!
//! Leave is given to a line, word for word, in one folder: a plan that changes its command by a
//! letter, and a command that would run elsewhere, where its words mean other files, has to ask
//! again. Spec: `specs/coach.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CoachError, plan};
use crate::folders;
use crate::pxi::AtomicFile;

/// The file in the user's folder for settings.
const FILE_NAME: &str = "allowed-commands.ron";
/// The largest such file that is read: it is made of clicks.
const MAX_BYTES: u64 = 1 << 20;

/// Where leave is kept.
#[derive(Debug, Clone)]
pub struct AllowedCommands {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedLines {
    /// Lines that may run in any folder, as earlier versions gave leave.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    allowed: BTreeSet<Vec<String>>,
    /// Lines that may run, by folder.
    #[serde(default)]
    allowed_in: BTreeMap<PathBuf, BTreeSet<Vec<String>>>,
}

/// What stands for exactly these words where leave is given: half a
/// SHA-256 in hexadecimal digits, which nobody can find a second text for.
pub fn command_id(line: &[String]) -> String {
    let mut hash = Sha256::new();
    for word in line {
        // With its length before it, no word runs into the next.
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    crate::model::hex(&hash.finalize()[..16])
}

/// Where commands run: the folder that the program was started in, with links followed.
///
/// # Errors
/// The folder is gone.
pub fn working_folder() -> Result<PathBuf, CoachError> {
    let here = Path::new(".");
    here.canonicalize().map_err(CoachError::io(here, "find the folder"))
}

impl AllowedCommands {
    /// Leave that is kept in this file, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The user's: in the folder for settings. None where there is no home folder.
    pub(crate) fn of_user() -> Option<Self> {
        Some(Self::new(folders::settings()?.join(FILE_NAME)))
    }

    /// The file that keeps the leave; it need not be there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<AllowedLines, CoachError> {
        let size = match fs::metadata(&self.path) {
            Ok(about) => about.len(),
            // Nobody has given leave yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(AllowedLines::default());
            }
            Err(error) => return Err(CoachError::io(&self.path, "read")(error)),
        };
        if size > MAX_BYTES {
            let source = io::Error::other(format!("{size} bytes, and it has at most {MAX_BYTES}"));
            return Err(CoachError::io(&self.path, "read")(source));
        }
        let text =
            crate::files::read_to_string(&self.path).map_err(CoachError::io(&self.path, "read"))?;
        plan::parse_ron(&self.path.display().to_string(), &text)
    }

    /// Whether exactly this line may run in a folder.
    ///
    /// # Errors
    /// The file is there and cannot be read: then nothing may.
    pub fn allows(&self, folder: &Path, line: &[String]) -> Result<bool, CoachError> {
        let kept = self.read()?;
        let here = kept.allowed_in.get(folder);
        Ok(kept.allowed.contains(line) || here.is_some_and(|lines| lines.contains(line)))
    }

    /// Gives leave to exactly this line in a folder, or takes it back.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn allow(&self, folder: &Path, line: &[String], allowed: bool) -> Result<(), CoachError> {
        let mut kept = self.read()?;
        let here = kept.allowed_in.entry(folder.to_owned()).or_default();
        if allowed {
            here.insert(line.to_vec());
        } else {
            // What earlier versions kept holds in any folder, and is taken back in all.
            here.remove(line);
            kept.allowed.remove(line);
        }
        // `entry` has made a list also where there was nothing to take back.
        kept.allowed_in.retain(|_, lines| !lines.is_empty());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(CoachError::io(folder, "make the folder"))?;
        }
        let style = ron::ser::PrettyConfig::new().depth_limit(3).new_line("\n");
        let text =
            ron::ser::to_string_pretty(&kept, style).expect("lists of words can be written as RON");
        Ok(AtomicFile::replace(&self.path, format!("{text}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_is_for_one_line_word_for_word_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let allowed_commands =
            AllowedCommands::new(folder.path().join("deep/allowed-commands.ron"));
        let (here, there) = (Path::new("/here"), Path::new("/there"));
        let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert!(!allowed_commands.allows(here, &line(&["df", "-h"])).unwrap());
        allowed_commands.allow(here, &line(&["df", "-h"]), true).unwrap();
        let again = AllowedCommands::new(allowed_commands.path());
        assert!(again.allows(here, &line(&["df", "-h"])).unwrap());
        assert!(!again.allows(there, &line(&["df", "-h"])).unwrap());
        for other in [&["df"][..], &["df", "-h", "/"], &["df -h"]] {
            assert!(!again.allows(here, &line(other)).unwrap(), "{other:?}");
        }
        again.allow(here, &line(&["df", "-h"]), false).unwrap();
        assert!(!allowed_commands.allows(here, &line(&["df", "-h"])).unwrap());
        // Leave of an earlier version holds in any folder until it is taken back.
        fs::write(allowed_commands.path(), "(allowed: [[\"df\"]])").unwrap();
        assert!(allowed_commands.allows(there, &line(&["df"])).unwrap());
        allowed_commands.allow(here, &line(&["df"]), false).unwrap();
        assert!(!allowed_commands.allows(there, &line(&["df"])).unwrap());
        fs::write(allowed_commands.path(), "(allowed: 7)").unwrap();
        let error = allowed_commands.allows(here, &line(&["df", "-h"])).unwrap_err().to_string();
        assert!(error.contains("allowed-commands.ron:1:"), "{error}");
    }

    #[test]
    fn an_id_stands_for_the_words_and_their_division() {
        let id = |words: &[&str]| {
            command_id(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        let ids = [
            id(&["df -h"]),
            id(&["df", "-h"]),
            id(&["df", "-", "h"]),
            id(&["df", "-h", ""]),
            id(&[]),
        ];
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        assert!(ids.iter().all(|id| crate::terminal::is_plain_word(id) && id.len() == 32));
    }
}
