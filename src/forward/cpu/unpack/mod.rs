//! What every encoding means, read from the planes of a tile: 64 rows by 32 columns at a time.
//!
//! In: the planes of a row group within one tile. Out: for the quantised encodings one byte per
//! weight, with a scale and an offset per row for each half of the 32 columns
//! (`weight = scale * byte + offset`); for the others the weights themselves. The order of bits
//! within a block is GGML's; where its bytes lie is specs/pxi_llm.md section 5.

mod floats;
mod k_scales;
mod nibbles;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

use super::lanes::{Floats, LANES, Words};
use crate::model::Encoding;

/// Columns of a chunk: what is unpacked at a time.
pub(crate) const CHUNK: usize = 32;

/// Chunks in a block of 256 weights.
const CHUNKS: usize = 8;

/// The planes of a row group within one tile; those that an encoding lacks are empty.
pub(crate) type Planes<'a> = [&'a [u8]; 4];

/// A chunk of a quantised matrix: four columns to a word, one word per row.
#[repr(align(64))]
pub struct Quants {
    /// `bytes[i][row]` holds columns `4i` to `4i + 3`, the first in the lowest byte.
    pub bytes: [Words; CHUNK / 4],
    /// Bytes are two's complement.
    pub signed: bool,
    /// Per half of the columns.
    pub scale: [Floats; 2],
    /// Per half of the columns.
    pub offset: [Floats; 2],
}

/// The weights of a chunk: `values[column][row]`.
#[repr(align(64))]
pub struct Values(pub [Floats; CHUNK]);

impl Default for Quants {
    fn default() -> Self {
        let zeros = [[0.0; LANES]; 2];
        Self { bytes: [[0; LANES]; CHUNK / 4], signed: false, scale: zeros, offset: zeros }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self([[0.0; LANES]; CHUNK])
    }
}

/// Whether the halves of a chunk have a scale and an offset each; in the other encodings they share
/// both.
#[inline(always)]
pub(crate) fn scales_differ(encoding: Encoding) -> bool {
    encoding == Encoding::Q6_K
}

/// Whether the bytes of a quantised encoding are two's complement.
#[inline(always)]
pub(crate) fn is_signed(encoding: Encoding) -> bool {
    encoding == Encoding::Q8_0
}

/// Unpacks chunk `chunk` of planes in a quantised encoding; the plain floats go through `floats`.
#[inline(always)]
pub(crate) fn quants(encoding: Encoding, planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    match encoding {
        Encoding::Q4_0 => q4_0::unpack(planes, chunk, out),
        Encoding::Q4_1 => q4_1::unpack(planes, chunk, out),
        Encoding::Q5_0 => q5_0::unpack(planes, chunk, out),
        Encoding::Q5_1 => q5_1::unpack(planes, chunk, out),
        Encoding::Q8_0 => q8_0::unpack(planes, chunk, out),
        Encoding::Q4_K => q4_k::unpack(planes, chunk, out),
        Encoding::Q5_K => q5_k::unpack(planes, chunk, out),
        Encoding::Q6_K => q6_k::unpack(planes, chunk, out),
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => {}
    }
}

/// Unpacks chunk `chunk` of planes in any encoding to weights. `scratch` is room for what lies
/// between.
#[inline(always)]
pub fn values(
    encoding: Encoding,
    planes: &Planes<'_>,
    chunk: usize,
    scratch: &mut Quants,
    out: &mut Values,
) {
    match encoding {
        Encoding::F32 => floats::f32(planes, chunk, out),
        Encoding::F16 => floats::f16(planes, chunk, out),
        Encoding::BF16 => floats::bf16(planes, chunk, out),
        quantised => {
            quants(quantised, planes, chunk, scratch);
            if scratch.signed {
                weights::<true>(scratch, out)
            } else {
                weights::<false>(scratch, out)
            }
        }
    }
}

/// Byte `index` of a word as a number.
#[inline(always)]
fn byte<const SIGNED: bool>(word: u32, index: u32) -> f32 {
    if SIGNED {
        ((word << (24 - 8 * index)) as i32 >> 24) as f32
    } else {
        // By way of `i32`: below AVX-512 an unsigned integer takes several instructions to convert.
        (word >> (8 * index) & 0xff) as i32 as f32
    }
}

#[inline(always)]
fn weights<const SIGNED: bool>(quants: &Quants, out: &mut Values) {
    for (index, (words, columns)) in
        quants.bytes.iter().zip(out.0.as_chunks_mut::<4>().0).enumerate()
    {
        let (scale, offset) = (&quants.scale[index / 4], &quants.offset[index / 4]);
        let [first, second, third, fourth] = columns;
        for row in 0..LANES {
            let word = words[row];
            // Rounded after the product, as the reference decoder does, so that a weight is the
            // same number everywhere.
            first[row] = byte::<SIGNED>(word, 0) * scale[row] + offset[row];
            second[row] = byte::<SIGNED>(word, 1) * scale[row] + offset[row];
            third[row] = byte::<SIGNED>(word, 2) * scale[row] + offset[row];
            fourth[row] = byte::<SIGNED>(word, 3) * scale[row] + offset[row];
        }
    }
}

#[cfg(test)]
mod tests;
