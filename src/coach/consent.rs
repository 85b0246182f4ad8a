//! Which commands the user has allowed: in the user's settings, never in a plan or a queue, so that no file from elsewhere can bring its own leave.
//!
//! Leave is given to a line, word for word: a plan that changes its command by a letter has to ask again. Spec: `specs/coach.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{CoachError, plan};
use crate::folders;
use crate::pxi::AtomicFile;

/// The file in the user's folder for settings.
const FILE_NAME: &str = "allowed-commands.ron";
/// The largest such file that is read: it is made of clicks.
const MAX_BYTES: u64 = 1 << 20;

/// Where leave is kept.
#[derive(Debug, Clone)]
pub struct Consents {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    allowed: BTreeSet<Vec<String>>,
}

impl Consents {
    /// Leave that is kept in this file, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The user's: in the folder for settings. None where there is no home folder.
    pub fn of_user() -> Option<Self> {
        Some(Self::new(folders::settings()?.join(FILE_NAME)))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<Kept, CoachError> {
        let size = match fs::metadata(&self.path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(CoachError::io(&self.path, "read")(error)),
        };
        if size > MAX_BYTES {
            let source = io::Error::other(format!("{size} bytes, and it has at most {MAX_BYTES}"));
            return Err(CoachError::io(&self.path, "read")(source));
        }
        let text = fs::read_to_string(&self.path).map_err(CoachError::io(&self.path, "read"))?;
        plan::parse_ron(&self.path.display().to_string(), &text)
    }

    /// Whether exactly this line may run.
    ///
    /// # Errors
    /// The file is there and cannot be read: then nothing may.
    pub fn allows(&self, line: &[String]) -> Result<bool, CoachError> {
        Ok(self.read()?.allowed.contains(line))
    }

    /// Gives leave to exactly this line, or takes it back.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn allow(&self, line: &[String], allowed: bool) -> Result<(), CoachError> {
        let mut kept = self.read()?;
        if allowed {
            kept.allowed.insert(line.to_vec());
        } else {
            kept.allowed.remove(line);
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(CoachError::io(folder, "make the folder"))?;
        }
        let style = ron::ser::PrettyConfig::new().depth_limit(2).new_line("\n");
        let text = ron::ser::to_string_pretty(&kept, style).expect("lists of words can be written as RON");
        Ok(AtomicFile::replace(&self.path, format!("{text}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_is_for_one_line_word_for_word_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let consents = Consents::new(folder.path().join("deep/allowed-commands.ron"));
        let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert!(!consents.allows(&line(&["df", "-h"])).unwrap());
        consents.allow(&line(&["df", "-h"]), true).unwrap();
        let again = Consents::new(consents.path());
        assert!(again.allows(&line(&["df", "-h"])).unwrap());
        for other in [&["df"][..], &["df", "-h", "/"], &["df -h"]] {
            assert!(!again.allows(&line(other)).unwrap(), "{other:?}");
        }
        again.allow(&line(&["df", "-h"]), false).unwrap();
        assert!(!consents.allows(&line(&["df", "-h"])).unwrap());
        fs::write(consents.path(), "(allowed: 7)").unwrap();
        let error = consents.allows(&line(&["df", "-h"])).unwrap_err().to_string();
        assert!(error.contains("allowed-commands.ron:1:"), "{error}");
    }
}
