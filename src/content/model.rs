//! `*.model.ron`: a model file that lies in the mod, under what licence, and its checksum.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::apply::Contents;
use super::decode::decode;
use super::problem::Problem;
use super::registry::Review;
use super::source::{Source, check_path};
use super::tree::{FieldPath, Step};

/// A model that a mod brings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename = "Model")]
pub(crate) struct ModelFile {
    /// What people call it.
    pub name: String,
    /// The file in the mod's folder, with `/` between folders.
    pub file: String,
    /// The SHA-256 of the file, in 64 hexadecimal digits.
    pub sha256: String,
    /// Under what licence, as an SPDX expression.
    pub licence: String,
    /// Where it comes from, for people to read.
    #[serde(default)]
    pub source: String,
}

/// Why a mod's model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ModelFileError {
    /// The file is not there, or leads out of the mod.
    #[error("{path} is no file of the mod")]
    Outside {
        /// The file, as the mod names it.
        path: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file, with links resolved.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is another file than the one that was meant.
    #[error("{path} has the SHA-256 {found}; expected {expected}")]
    Checksum {
        /// The file, with links resolved.
        path: PathBuf,
        /// The SHA-256 that it has, in 64 hexadecimal digits.
        found: String,
        /// What the mod says.
        expected: String,
    },
}

impl ModelFile {
    /// What a type cannot say.
    pub fn review(&self, review: &mut Review<'_>) {
        review.require(!self.name.trim().is_empty(), "name", || {
            "expected a name, found an empty text".into()
        });
        review.require(!self.licence.trim().is_empty(), "licence", || {
            "expected a licence, found an empty text".into()
        });
        if let Err(why) = check_path(&self.file) {
            review.wrong("file", why);
        } else {
            let is_model = self.file.ends_with(".pxi") || self.file.ends_with(".gguf");
            review.require(is_model, "file", || {
                format!("expected a .pxi or .gguf file, found {:?}", self.file)
            });
        }
        let digits =
            self.sha256.len() == 64 && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        review.require(digits, "sha256", || "expected 64 hexadecimal digits".into());
    }

    /// The file, after its checksum has been compared.
    ///
    /// # Errors
    /// It is not in the mod, cannot be read or is another file.
    pub fn open(&self, folder: &Path) -> Result<PathBuf, ModelFileError> {
        let outside = || ModelFileError::Outside { path: self.file.clone() };
        // Asked again, since a model can be decoded without having been reviewed.
        check_path(&self.file).map_err(|_| outside())?;
        // With links resolved on both sides: one in the mod's folder may lead out of it.
        let inside = |folder: &Path| {
            Some((folder.canonicalize().ok()?, folder.join(&self.file).canonicalize().ok()?))
        };
        let (folder, path) = inside(folder).ok_or_else(outside)?;
        if !path.starts_with(&folder) || !path.is_file() {
            return Err(outside());
        }
        let found =
            digest(&path).map_err(|source| ModelFileError::Read { path: path.clone(), source })?;
        // PowerShell's Get-FileHash writes capital letters.
        if !found.eq_ignore_ascii_case(&self.sha256) {
            return Err(ModelFileError::Checksum {
                path,
                found,
                expected: self.sha256.to_ascii_lowercase(),
            });
        }
        Ok(path)
    }
}

/// What is wrong with the files that the models of a mod on the disk name. In a folder the
/// checksums are compared too; what lies in an archive is read when it has been unpacked.
pub(crate) fn check_files(contents: &Contents, mod_id: &str, path: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let others = match Source::list_others(path) {
        Ok(others) => others.files,
        Err(problems) => return problems,
    };
    for (_, content) in
        contents.of_kind("model").filter(|(_, content)| content.last_mod() == Some(mod_id))
    {
        // One that the schema does not take is reported as such.
        let Ok(model) = decode::<ModelFile>(&content.node) else { continue };
        let place =
            |field: &str| &content.node.nearest(&FieldPath(vec![Step::Field(field.into())])).place;
        if !others.contains(&model.file) {
            let message = format!("the mod has no file {:?}", model.file);
            problems.push(Problem::at(place("file"), Some("file"), message));
        } else if path.is_dir()
            && let Err(error) = model.open(path)
        {
            problems.push(Problem::at(place("sha256"), Some("sha256"), error.to_string()));
        }
    }
    problems
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = crate::files::open_regular(path)?;
    let mut hash = Sha256::new();
    // In pieces, since a model may be larger than the memory.
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(crate::model::hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
