//! Who may ask: keys, of which only digests are kept.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The keys that a server takes. They are compared by their digests, so that how long a comparison
/// takes tells nothing of them.
#[derive(Clone)]
pub struct ApiKeys(BTreeSet<[u8; 32]>);

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the keys in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none in it.
    #[error("{path}: there is no key in it; write one on a line of its own")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line cannot be a key.
    #[error("{path}: line {line} is no key: a key has printable ASCII characters without spaces")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl ApiKeys {
    /// Reads a file of keys, one a line; blank lines and such as begin with # are passed over.
    ///
    /// # Errors
    /// It cannot be read, has no key, or has a line that cannot be sent in a header.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyFileError::Read { path: path.into(), source })?;
        let mut keys = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeyFileError::NoKey { path: path.into(), line: number + 1 });
            }
            keys.insert(Sha256::digest(key.as_bytes()).into());
        }
        if keys.is_empty() {
            return Err(KeyFileError::Empty { path: path.into() });
        }
        Ok(Self(keys))
    }

    /// Whether the value of an `Authorization` header has one of them.
    pub(super) fn allows(&self, authorization: Option<&str>) -> bool {
        let bearer = authorization.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        bearer.is_some_and(|key| {
            let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
            self.0.contains(&digest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_file_is_taken_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# of the house\nsecret-1\n\n  secret-2  \n").unwrap();
        let keys = ApiKeys::read(&path).unwrap();
        for allowed in ["Bearer secret-1", "bearer secret-2"] {
            assert!(keys.allows(Some(allowed)), "{allowed}");
        }
        for refused in ["Bearer secret-3", "secret-1", "Basic secret-1", "Bearer ", "# of"] {
            assert!(!keys.allows(Some(refused)), "{refused}");
        }
        assert!(!keys.allows(None));
        std::fs::write(&path, "# none\n").unwrap();
        assert!(matches!(ApiKeys::read(&path), Err(KeyFileError::Empty { .. })));
        std::fs::write(&path, "a key\n").unwrap();
        assert!(matches!(ApiKeys::read(&path), Err(KeyFileError::NoKey { line: 1, .. })));
    }
}
