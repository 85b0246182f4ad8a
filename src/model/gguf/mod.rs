//! GGUF in and out: versions 2 and 3, little-endian, whole or split.
//!
//! In: a path, or bytes. Out: metadata pairs in their order, tensors with checked places,
//! positioned reads of their bytes, and a writer for the way back. Nothing is allocated or read on
//! the word of a number that was not compared with the bytes that remain. The format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
//!
//! Read in this order: [`Value`] and its encoding (`codec`), [`Metadata`], [`GgufHeader`] with its
//! checks, [`Gguf`], [`GgufWriter`].

mod check;
mod codec;
mod error;
mod header;
mod metadata;
mod read;
mod source;
mod split;
mod strings;
mod value;
mod write;

pub use check::{check_tensors, check_vocabulary};
pub use codec::{metadata_bytes, parse_metadata};
pub use error::GgufError;
pub use header::{GgufHeader, GgufTensor, parse};
pub use metadata::{FILE_TYPE, Metadata, file_type};
pub use read::Gguf;
pub use strings::{GgufString, Strings};
pub use value::{Array, Value, ValueType};
pub use write::{GgufWriter, TensorInfo};

/// What functions of this module return.
pub type Result<T> = std::result::Result<T, GgufError>;

/// The first four bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// The version this module writes.
pub const VERSION: u32 = 3;
/// The metadata key of the alignment of tensors.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";
/// The alignment of tensors where the metadata names none.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
/// The greatest alignment: that of the largest memory pages in use. A greater one could only waste
/// space.
pub(crate) const MAX_ALIGNMENT: u64 = 1 << 16;
/// The most metadata pairs: real files have a few dozen, and the list in memory stays within a few
/// megabytes.
pub(crate) const MAX_PAIRS: u64 = 1 << 16;
/// The most tensors: real files have a few thousand, and the list in memory stays within tens of
/// megabytes.
pub(crate) const MAX_TENSORS: u64 = 1 << 17;
/// The most bytes of a key, from the format's text.
pub(crate) const MAX_KEY_BYTES: u64 = (1 << 16) - 1;
/// The most bytes of a tensor's name, from the format's text.
pub(crate) const MAX_NAME_BYTES: u64 = 64;
/// The most dimensions of a tensor, from GGML.
pub(crate) const MAX_DIMENSIONS: u32 = 4;

/// `offset` rounded up to a multiple of `alignment`, or `None` past the end of numbers.
fn align_up(offset: u64, alignment: u64) -> Option<u64> {
    offset.checked_next_multiple_of(alignment)
}
