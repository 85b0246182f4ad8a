//! How weights are stored: the encodings this project reads, one file each, and their table.
//!
//! In: a type number from a file, or whole blocks as they lie in a GGUF tensor. Out: the geometry
//! of a block, from which every size in the formats is computed; one `f32` per weight, equal bit
//! for bit to the values of the `gguf` Python package, which is the reference (tests/vectors); and
//! the way back for one weight.
//!
//! A row of a tensor is a whole number of blocks, and a block is a fixed number of weights in a
//! fixed number of bytes. Products are exact: a half float has 11 significant bits, a group's scale
//! at most 7 and a value at most 5 (7 in Q8_0, which has no groups), together less than the 24 of
//! an `f32`. Only adding a minimum rounds, so a fused multiply-add, here or on a GPU, gives the
//! same bits. The loops have constant lengths and no branches, so that the compiler makes vector
//! code of them.

mod code;
mod encode;
mod fifth_bit;
mod fit;
mod floats;
mod format;
mod k_scales;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod silence;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::planes::Plane;
use format::BlockFormat;

pub use code::{Code, code_of, set_nearest};
pub use encode::{BlockError, encode};
pub(crate) use fit::fit;
pub use silence::silence;

/// How the weights of a tensor are stored; the discriminant is the GGML type number.
#[expect(non_camel_case_types, reason = "Q4_K, Q5_K and Q6_K are the names the field knows")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u32)]
pub enum Encoding {
    /// IEEE single precision, 4 bytes a weight.
    F32 = 0,
    /// IEEE half precision, 2 bytes a weight.
    F16 = 1,
    /// 32 weights: a half scale and 4-bit values from -8.
    Q4_0 = 2,
    /// 32 weights: a half scale, a half minimum and 4-bit values.
    Q4_1 = 3,
    /// 32 weights: a half scale and 5-bit values from -16, their fifth bits in a word of their own.
    Q5_0 = 6,
    /// 32 weights: a half scale, a half minimum and 5-bit values, their fifth bits in a word of
    /// their own.
    Q5_1 = 7,
    /// 32 weights: a half scale and signed bytes.
    Q8_0 = 8,
    /// 256 weights: eight groups of 32 with 6-bit scales and minima, 4-bit values.
    Q4_K = 12,
    /// 256 weights: eight groups of 32 with 6-bit scales and minima, 5-bit values.
    Q5_K = 13,
    /// 256 weights: sixteen groups of 16 with signed 8-bit scales, 6-bit values from -32.
    Q6_K = 14,
    /// The upper half of IEEE single precision.
    BF16 = 30,
}

impl Encoding {
    /// Every encoding, in the order of the GGML type numbers.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::BF16,
    ];

    /// What its file says of it.
    const fn format(self) -> &'static BlockFormat {
        match self {
            Self::F32 => &floats::F32,
            Self::F16 => &floats::F16,
            Self::Q4_0 => &q4_0::FORMAT,
            Self::Q4_1 => &q4_1::FORMAT,
            Self::Q5_0 => &q5_0::FORMAT,
            Self::Q5_1 => &q5_1::FORMAT,
            Self::Q8_0 => &q8_0::FORMAT,
            Self::Q4_K => &q4_k::FORMAT,
            Self::Q5_K => &q5_k::FORMAT,
            Self::Q6_K => &q6_k::FORMAT,
            Self::BF16 => &floats::BF16,
        }
    }

    /// The encoding with this GGML type number, or `None` where this project does not read it.
    #[must_use]
    pub fn from_ggml(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.ggml() == number)
    }

    /// The GGML type number.
    #[must_use]
    pub const fn ggml(self) -> u32 {
        self as u32
    }

    /// The name the field uses, such as `Q4_K`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.format().name
    }

    /// Weights in one block; 1 for the plain floats.
    #[must_use]
    pub const fn block_len(self) -> usize {
        self.format().block_len
    }

    /// Bytes in one block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.format().block_bytes
    }

    /// How a block's bytes lie in a tile: its planes, in the order in which a row group stores
    /// them.
    #[must_use]
    pub const fn planes(self) -> &'static [Plane] {
        self.format().planes
    }

    /// Where in a block half floats lie: its scales, or the weight itself.
    #[must_use]
    pub const fn half_floats(self) -> &'static [usize] {
        self.format().half_floats
    }

    /// True where weights share scales in blocks, false for the plain floats.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.block_len() > 1
    }

    /// Bytes in a row of `cols` weights, or `None` where the row is no whole number of blocks or
    /// its size overflows.
    #[must_use]
    pub fn row_bytes(self, cols: u64) -> Option<u64> {
        let block_len = self.block_len() as u64;
        if !cols.is_multiple_of(block_len) {
            return None;
        }
        (cols / block_len).checked_mul(self.block_bytes() as u64)
    }
}

/// Writes the weights in `bytes`, whole blocks of `encoding` in GGUF order, to `out`.
///
/// # Panics
/// When `out` has not exactly one place per weight, or `bytes` is no whole number of blocks: the
/// caller sizes both from the same checked shape.
pub fn dequantize(encoding: Encoding, bytes: &[u8], out: &mut [f32]) {
    let blocks = out.len() / encoding.block_len();
    assert!(
        blocks * encoding.block_len() == out.len()
            && blocks * encoding.block_bytes() == bytes.len(),
        "{} bytes of {encoding} are not {} weights",
        bytes.len(),
        out.len()
    );
    (encoding.format().decode)(bytes, out);
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_serde_agree() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_ggml(encoding.ggml()), Some(encoding));
            assert_eq!(serde_json::to_string(&encoding).unwrap(), format!("\"{encoding}\""));
        }
    }

    #[test]
    fn numbers_this_project_does_not_read_are_none() {
        // Q4_2 and Q4_3 were removed from GGML; 10, 11 and 15 are Q2_K, Q3_K and Q8_K.
        for number in [4, 5, 9, 10, 11, 15, 16, 29, 31, u32::MAX] {
            assert_eq!(Encoding::from_ggml(number), None, "{number}");
        }
    }

    #[test]
    fn all_is_sorted_and_complete() {
        assert!(Encoding::ALL.is_sorted());
        assert!(Encoding::ALL.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn row_bytes_refuses_part_blocks_and_overflow() {
        assert_eq!(Encoding::Q4_1.row_bytes(576), Some(360));
        assert_eq!(Encoding::Q4_1.row_bytes(0), Some(0));
        assert_eq!(Encoding::Q4_1.row_bytes(33), None);
        assert_eq!(Encoding::Q6_K.row_bytes(256), Some(210));
        assert_eq!(Encoding::Q6_K.row_bytes(128), None);
        assert_eq!(Encoding::F32.row_bytes(u64::MAX), None);
        // Less than a byte per weight: the largest row still has a size.
        assert_eq!(Encoding::Q4_0.row_bytes(u64::MAX - 31), Some((u64::MAX / 32) * 18));
    }
}
