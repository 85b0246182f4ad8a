//! What can be wrong with a GGUF file: each variant names the field, what was found and what was
//! expected.
//!
//! The wrappers [`GgufError::InFile`], [`GgufError::InPair`] and [`GgufError::InTensor`] say where;
//! every message is complete, and [`GgufError::problem`] gives the innermost error.

use std::io;
use std::path::{Path, PathBuf};

use super::{MAX_ALIGNMENT, MAX_DIMENSIONS, Result, ValueType};
use crate::model::Encoding;
use crate::pxi::PxiError;

/// A GGUF file that cannot be read or written, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum GgufError {
    #[error("{}: {error}", path.display())]
    InFile { path: PathBuf, error: Box<GgufError> },
    #[error("pair {index} ({key:?}): {error}")]
    InPair { index: u64, key: String, error: Box<GgufError> },
    #[error("tensor {index} ({name:?}): {error}")]
    InTensor { index: u64, name: String, error: Box<GgufError> },

    #[error(transparent)]
    Output(#[from] PxiError),
    #[error("cannot {action}: {error}")]
    Io { action: &'static str, error: io::Error },
    #[error("{field}: {needed} bytes are needed at offset {offset}, but {remaining} remain")]
    Truncated { field: &'static str, offset: u64, needed: u64, remaining: u64 },
    #[error("magic: found {:?}, expected \"GGUF\"", found.escape_ascii().to_string())]
    Magic { found: [u8; 4] },
    #[error("version: found {found}, this program reads 2 and 3")]
    Version { found: u32 },
    #[error(
        "version: found {found:#010x}, so the file is big-endian and this program reads \
         little-endian files; gguf-convert-endian of the gguf Python package converts it"
    )]
    BigEndian { found: u32 },
    #[error("{field}: found {found}, but at most {limit} are possible here")]
    TooMany { field: &'static str, found: u64, limit: u64 },
    #[error("{field}: found {found} bytes, but at most {limit} are allowed")]
    TooLong { field: &'static str, found: u64, limit: u64 },
    #[error("{field}: is empty")]
    Empty { field: &'static str },
    #[error("{field}: {found:?} is not UTF-8")]
    NotUtf8 { field: &'static str, found: String },
    #[error("{field}: {count} bytes are left over after the last one")]
    Trailing { field: &'static str, count: u64 },

    #[error("{field}: found {found}, which is no GGUF value type")]
    UnknownValueType { field: &'static str, found: u32 },
    #[error("value: is an array of arrays, which no known file has and this program does not read")]
    NestedArray,
    #[error("{field}: found {found}, expected 0 or 1")]
    NotBool { field: &'static str, found: u8 },
    #[error("key: {key:?} is already the key of pair {first}")]
    DuplicateKey { key: String, first: u64 },
    #[error("{key}: is missing")]
    MissingKey { key: String },
    #[error("{key}: found a value of type {found}, expected {expected}")]
    WrongType { key: String, found: ValueType, expected: &'static str },
    #[error("{key}: found an array of {found}, expected an array of {expected}")]
    WrongElement { key: String, found: ValueType, expected: &'static str },
    #[error("{key}: found {found}, which does not fit {expected}")]
    OutOfRange { key: String, found: i128, expected: &'static str },
    #[error("general.alignment: found {found}, expected a power of two from 8 to {MAX_ALIGNMENT}")]
    Alignment { found: u64 },
    #[error("{key}: found {found}, but the vocabulary ({vocabulary}) has {expected}")]
    Vocabulary { key: &'static str, found: u64, vocabulary: String, expected: u64 },

    #[error("dimensions: found {found}, expected 1 to {MAX_DIMENSIONS}")]
    DimensionCount { found: u32 },
    #[error("dimension {axis}: found {found}, expected 1 or more")]
    Dimension { axis: usize, found: i64 },
    #[error("dimensions: the size of {dims:?} weights does not fit 63 bits")]
    SizeOverflow { dims: Vec<u64> },
    #[error(
        "type: found {found}{}, which this program does not read; it reads {}",
        known_as(*found), readable()
    )]
    UnknownEncoding { found: u32 },
    #[error(
        "dimension 0: found {cols}, expected a multiple of {}, the block of {encoding}",
        encoding.block_len()
    )]
    PartBlock { encoding: Encoding, cols: u64 },
    #[error("name: is already the name of tensor {first}")]
    DuplicateTensor { first: u64 },
    #[error("offset: found {found}, expected a multiple of {alignment}")]
    Unaligned { found: u64, alignment: u64 },
    #[error("offset: {len} bytes at offset {offset} end past the file's {file_len}")]
    PastEnd { offset: u64, len: u64, file_len: u64 },
    #[error("offset: found {found}, which overlaps {other}, which ends at {end}")]
    Overlap { found: u64, other: String, end: u64 },
    #[error(
        "offset: found {found}, expected {expected}: a gap of {} bytes that no tensor owns",
        found - expected
    )]
    Gap { found: u64, expected: u64 },
    #[error("{len} bytes at offset {offset} were asked for, but it has {tensor_len}")]
    OutsideTensor { offset: u64, len: u64, tensor_len: u64 },

    #[error(
        "the file is part {number} of {count}, but is not named so: expected a name that ends in \
         {expected:?}, from which the other parts' names follow"
    )]
    SplitName { number: u64, count: u64, expected: String },
    #[error("split.no: found {number} of {count} parts")]
    SplitNumber { number: u64, count: u64 },
    #[error(
        "the file is one part of {count}, of which {} are missing: {}",
        missing.len(), list(missing)
    )]
    MissingParts { count: u64, missing: Vec<PathBuf> },
    #[error("{key}: found {found}, expected {expected} as in the other parts")]
    SplitDisagrees { key: &'static str, found: u64, expected: u64 },

    #[error(
        "the next tensor has {len} bytes, of which {written} are written and {more} more were given"
    )]
    TooManyBytes { len: u64, written: u64, more: u64 },
    #[error("{written} of {expected} bytes of tensors were written")]
    Unfinished { written: u64, expected: u64 },
}

impl GgufError {
    /// The innermost error, without the places.
    #[must_use]
    pub fn problem(&self) -> &Self {
        match self {
            Self::InFile { error, .. }
            | Self::InPair { error, .. }
            | Self::InTensor { error, .. } => error.problem(),
            _ => self,
        }
    }

    /// The error of a key that a file must have and has not.
    #[must_use]
    pub fn missing(key: &str) -> Self {
        Self::MissingKey { key: key.to_owned() }
    }

    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, error }
    }
}

/// Adds a place to an error.
pub(super) trait At<T> {
    fn in_file(self, path: &Path) -> Result<T>;
    fn in_pair(self, index: u64, key: &str) -> Result<T>;
    fn in_tensor(self, index: u64, name: &str) -> Result<T>;
}

impl<T> At<T> for Result<T> {
    fn in_file(self, path: &Path) -> Self {
        self.map_err(|error| match error {
            // It names the file already.
            GgufError::Output(_) => error,
            _ => GgufError::InFile { path: path.to_owned(), error: Box::new(error) },
        })
    }

    fn in_pair(self, index: u64, key: &str) -> Self {
        self.map_err(|error| GgufError::InPair {
            index,
            key: key.to_owned(),
            error: Box::new(error),
        })
    }

    fn in_tensor(self, index: u64, name: &str) -> Self {
        self.map_err(|error| GgufError::InTensor {
            index,
            name: name.to_owned(),
            error: Box::new(error),
        })
    }
}

/// The names of the encodings that are read.
fn readable() -> String {
    Encoding::ALL.map(Encoding::name).join(", ")
}

/// The name of a GGML type that is not read, in parentheses, for who has to choose another file.
fn known_as(number: u32) -> String {
    let name = match number {
        // The type numbers of GGML that name a type without being in `Encoding`.
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return String::new(),
    };
    format!(" ({name})")
}

/// The first few of many paths.
fn list(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> =
        paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = if paths.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
