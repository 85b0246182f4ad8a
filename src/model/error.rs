//! What can be wrong with a model, in words that name the field or tile, what was found and what
//! was expected.

use std::path::PathBuf;

use super::gguf::GgufError;
use crate::pxi::PxiError;

/// Why a model cannot be read, converted or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The `.pxi` container is unsound.
    #[error(transparent)]
    Pxi(#[from] PxiError),
    /// The GGUF file is unsound.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A field of the PXI-LLM head has a value that it must not have.
    #[error("{field}: found {found}, expected {expected}")]
    Field {
        /// Name of the field as in specs/pxi_llm.md.
        field: String,
        /// What the file says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A metadata pair that the model needs is missing or has the wrong type.
    #[error("metadata {key}: {problem}")]
    Metadata {
        /// The GGUF key, with the family's name in front where it has one.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor is missing, misshapen or holds what cannot be computed with.
    #[error("tensor {name}: {problem}")]
    Tensor {
        /// The tensor's name in GGUF.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The head's bytes are not those that were written.
    #[error(
        "head ({section}): SHA-256 is {found}, expected {expected}; the file is damaged, convert \
         it again"
    )]
    Head {
        /// Which checksum failed: `head_checksum` or `root`.
        section: &'static str,
        /// The hash of what is there.
        found: String,
        /// The hash that is stored.
        expected: String,
    },
    /// A tile's bytes are not those that were written.
    #[error(
        "tile {tile} of {tensor} (rows {rows}, columns {columns}): SHA-256 does not match; the \
         tile is damaged; {what_next}"
    )]
    Tile {
        /// Index in the tile table.
        tile: u32,
        /// Name of its tensor.
        tensor: String,
        /// Its rows, as `a..b`.
        rows: String,
        /// Its columns, as `a..b`.
        columns: String,
        /// What mends it, for a person to read.
        what_next: &'static str,
    },
    /// The operating system said no.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An error with the file it happened in.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file that was read or written.
        path: PathBuf,
        /// What happened in it.
        source: Box<ModelError>,
    },
}

impl ModelError {
    /// A field that does not hold what it should.
    pub(crate) fn field(
        field: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Field {
            field: field.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A metadata pair with a problem.
    pub(crate) fn metadata(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Metadata { key: key.into(), problem: problem.into() }
    }

    /// A tensor with a problem.
    pub(crate) fn tensor(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), problem: problem.into() }
    }

    /// The same error with the file it happened in; container errors name theirs already.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::InFile { .. } | Self::Pxi(_) | Self::Gguf(GgufError::InFile { .. }) => self,
            source => Self::InFile { path: path.to_owned(), source: Box::new(source) },
        }
    }
}
