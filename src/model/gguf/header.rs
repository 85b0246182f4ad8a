//! The header of one file: everything before the tensors' bytes.
//!
//! Magic, version (u32), tensor count (u64), pair count (u64), the pairs, then per tensor a name, a
//! dimension count (u32), the dimensions (u64 each, the contiguous one first), a type (u32) and an
//! offset (u64) from the start of the data, which is the end of the header rounded up to the
//! alignment.

use std::io::Read;

use super::check::check_tensors;
use super::codec::{MIN_PAIR_BYTES, read_pairs};
use super::error::{At, GgufError};
use super::source::GgufSource;
use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_DIMENSIONS, MAX_NAME_BYTES,
    MAX_PAIRS, MAX_TENSORS, Metadata, Result, Value, align_up,
};
use crate::model::Encoding;

/// The bytes of the smallest tensor's entry: a name of one byte and one dimension.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// A tensor of a file: what it is and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// The dimensions in GGML's order: the first is contiguous, the columns of a row.
    pub dims: Vec<u64>,
    /// How the weights are stored.
    pub encoding: Encoding,
    /// Which file of a split model holds the bytes; 0 where there is one file.
    pub part: usize,
    /// Where the bytes begin in that file.
    pub offset: u64,
    /// The number of bytes.
    pub len: u64,
}

impl GgufTensor {
    /// Weights in a row.
    #[must_use]
    pub fn cols(&self) -> u64 {
        self.dims[0]
    }

    /// Rows, over all further dimensions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.dims[1..].iter().product()
    }
}

/// The header of one file, checked against the file's length.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufHeader {
    /// The version of the format: 2 or 3.
    pub version: u32,
    /// What the offsets of tensors are multiples of.
    pub alignment: u64,
    /// The metadata pairs, in the order of the file.
    pub metadata: Metadata,
    /// The tensors, in the order of the header.
    pub tensors: Vec<GgufTensor>,
    /// Where the data begins in the file.
    pub data_start: u64,
}

/// Reads the header of a file that is in memory, and checks it against the file's length.
///
/// # Errors
/// Where the bytes are no valid GGUF file.
pub fn parse(file: &[u8]) -> Result<GgufHeader> {
    GgufHeader::read(file, file.len() as u64)
}

impl GgufHeader {
    /// Reads a header from the start of a file of `file_len` bytes, and checks that the file holds
    /// its tensors.
    ///
    /// # Errors
    /// Where the header is not valid, or the file is too short or too long for it.
    pub fn read(reader: impl Read, file_len: u64) -> Result<Self> {
        let mut source = GgufSource::new(reader, file_len);
        let magic = source.bytes("magic")?;
        if magic != MAGIC {
            return Err(GgufError::Magic { found: magic });
        }
        let version = version(source.u32("version")?)?;
        let tensor_count = source.count("tensor count", MIN_TENSOR_BYTES, MAX_TENSORS)?;
        let pair_count = source.count("pair count", MIN_PAIR_BYTES, MAX_PAIRS)?;

        let metadata = read_pairs(&mut source, pair_count)?;
        let alignment = alignment(&metadata)?;

        // The pairs took their bytes, so the count is compared again with what remains.
        source.check_count("tensor count", tensor_count, MIN_TENSOR_BYTES, MAX_TENSORS)?;
        let mut tensors = Vec::new();
        for index in 0..tensor_count {
            let name = source.name("name", MAX_NAME_BYTES).in_tensor(index, "")?;
            tensors.push(read_tensor(&mut source, &name).in_tensor(index, &name)?);
        }

        let header_end = source.offset();
        let data_start = align_up(header_end, alignment)
            .expect("a file's length is far from the end of numbers");
        // Offsets count from the end of the header, which is known only now.
        for (index, tensor) in (0..).zip(&mut tensors) {
            tensor.offset = data_start
                .checked_add(tensor.offset)
                .ok_or(GgufError::PastEnd { offset: tensor.offset, len: tensor.len, file_len })
                .in_tensor(index, &tensor.name)?;
        }
        // Without tensors nothing need follow the header, not even the padding to where data would
        // begin.
        let data_start = if tensors.is_empty() { data_start.min(file_len) } else { data_start };
        check_tensors(&tensors, alignment, data_start, file_len)?;
        Ok(Self { version, alignment, metadata, tensors, data_start })
    }
}

fn version(found: u32) -> Result<u32> {
    match found {
        2 | 3 => Ok(found),
        // A small version in the other byte order has its two lower bytes empty.
        _ if found != 0 && found & 0xffff == 0 => Err(GgufError::BigEndian { found }),
        _ => Err(GgufError::Version { found }),
    }
}

/// The alignment that the metadata names, or the default.
pub(super) fn alignment(metadata: &[(String, Value)]) -> Result<u64> {
    let found = match metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) {
        None => return Ok(DEFAULT_ALIGNMENT),
        Some((_, Value::U32(found))) => u64::from(*found),
        Some((_, other)) => {
            let (key, found) = (ALIGNMENT_KEY.to_owned(), other.value_type());
            return Err(GgufError::WrongType { key, found, expected: "u32" });
        }
    };
    if found.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&found) {
        Ok(found)
    } else {
        Err(GgufError::Alignment { found })
    }
}

/// Reads a tensor's entry after its name; the offset is still relative to the data.
fn read_tensor<R: Read>(source: &mut GgufSource<R>, name: &str) -> Result<GgufTensor> {
    let dimensions = source.u32("dimensions")?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(GgufError::DimensionCount { found: dimensions });
    }
    let mut dims = Vec::new();
    for _ in 0..dimensions {
        dims.push(source.u64("dimension")?);
    }
    let number = source.u32("type")?;
    let encoding =
        Encoding::from_ggml(number).ok_or(GgufError::UnknownEncoding { found: number })?;
    let offset = source.u64("offset")?;
    let len = size_in_bytes(encoding, &dims)?;
    Ok(GgufTensor { name: name.to_owned(), dims, encoding, part: 0, offset, len })
}

/// The bytes of a tensor, where its dimensions make sense.
fn size_in_bytes(encoding: Encoding, dims: &[u64]) -> Result<u64> {
    for (axis, dim) in dims.iter().enumerate() {
        // GGML reads dimensions as `i64`: a number over 2^63 is a negative one and shown as that.
        let found = dim.cast_signed();
        if found <= 0 {
            return Err(GgufError::Dimension { axis, found });
        }
    }
    let overflow = || GgufError::SizeOverflow { dims: dims.to_vec() };
    // GGML counts weights and bytes in `i64`.
    let fits = |size: &u64| i64::try_from(*size).is_ok();
    let product =
        |dims: &[u64]| dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
    // Weights and bytes each need a check: F32 has four bytes a weight, Q4_0 has less than one.
    product(dims).filter(fits).ok_or_else(overflow)?;
    let cols = dims[0];
    if !cols.is_multiple_of(encoding.block_len() as u64) {
        return Err(GgufError::PartBlock { encoding, cols });
    }
    let row_bytes = encoding.row_bytes(cols).ok_or_else(overflow)?;
    let rows = product(&dims[1..]).ok_or_else(overflow)?;
    row_bytes.checked_mul(rows).filter(fits).ok_or_else(overflow)
}
