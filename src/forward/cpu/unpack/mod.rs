//! What every encoding means, read from the planes of a tile: 64 rows by up to 256 columns at a
//! time.
//!
//! In: the planes of a row group within one tile. Out: for the quantised encodings one byte per
//! weight, with a scale and an offset per row for each 32 columns or each half of them
//! (`weight = scale * byte + offset`); for the others the weights themselves. Rows lie in the lanes
//! of [`Processor::lane`]. The order of bits within a block is GGML's; where its bytes lie is
//! specs/pxi_llm.md section 5.

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

use super::lanes::{Floats, LANES, Lines, Words};
use super::processor::Processor;
use crate::model::Encoding;

/// Columns of a chunk: what has a scale of its own, but for the halves of Q6_K.
pub(crate) const CHUNK: usize = 32;

/// Chunks in a block of 256 weights, which are unpacked together: they share texels of scales.
pub(crate) const CHUNKS: usize = 8;

/// Weights of a block of the encodings with scales of scales.
pub(crate) const BLOCK: usize = CHUNK * CHUNKS;

/// The planes of a row group within one tile; those that an encoding lacks are empty.
pub(crate) type Planes<'a> = [Lines<'a>; 4];

/// Eight chunks of a quantised matrix or fewer: four columns to a word, one word per row.
#[repr(align(64))]
pub struct Quants {
    /// `bytes[chunk][i][lane]` holds columns `4i` to `4i + 3` of a chunk, the first in the lowest
    /// byte.
    pub bytes: [[Words; CHUNK / 4]; CHUNKS],
    /// Per chunk; of the encodings whose halves differ, per half. Else the second is not used.
    pub scale: [[Floats; 2]; CHUNKS],
    /// As the scale.
    pub offset: [[Floats; 2]; CHUNKS],
    /// Of the encodings with scales of scales: the scale of a block's scales.
    pub whole: Floats,
    /// Their scales as integers, in the lower 16 bits of a word, for each half of a chunk.
    pub steps: [[Words; 2]; CHUNKS],
}

/// The weights of a chunk: `values[column][lane]`.
#[repr(align(64))]
pub struct Values(pub [Floats; CHUNK]);

impl Default for Quants {
    fn default() -> Self {
        let zeros = [[[0.0; LANES]; 2]; CHUNKS];
        Self {
            bytes: [[[0; LANES]; CHUNK / 4]; CHUNKS],
            scale: zeros,
            offset: zeros,
            whole: [0.0; LANES],
            steps: [[[0; LANES]; 2]; CHUNKS],
        }
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

/// Unpacks the first `chunks` chunks of block `block` of planes in a quantised encoding; the plain
/// floats go through `floats`.
#[inline(always)]
pub(crate) fn quants<P: Processor>(
    processor: P,
    encoding: Encoding,
    planes: &Planes<'_>,
    (block, chunks): (usize, usize),
    out: &mut Quants,
) {
    match encoding {
        Encoding::Q4_0 => q4_0::unpack(processor, planes, block, chunks, out),
        Encoding::Q4_1 => q4_1::unpack(processor, planes, block, chunks, out),
        Encoding::Q5_0 => q5_0::unpack(processor, planes, block, chunks, out),
        Encoding::Q5_1 => q5_1::unpack(processor, planes, block, chunks, out),
        Encoding::Q8_0 => q8_0::unpack(processor, planes, block, chunks, out),
        Encoding::Q4_K => q4_k::unpack(processor, planes, block, out),
        Encoding::Q5_K => q5_k::unpack(processor, planes, block, out),
        Encoding::Q6_K => q6_k::unpack(processor, planes, block, out),
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => {}
    }
}

/// Unpacks chunk `chunk` of planes of plain floats.
#[inline(always)]
pub(crate) fn plain<P: Processor>(
    processor: P,
    encoding: Encoding,
    planes: &Planes<'_>,
    chunk: usize,
    out: &mut Values,
) {
    match encoding {
        Encoding::F32 => floats::f32(processor, planes, chunk, out),
        Encoding::F16 => floats::f16(processor, planes, chunk, out),
        Encoding::BF16 => floats::bf16(processor, planes, chunk, out),
        _ => {}
    }
}

/// Shows `see` the weights of each of the first `chunks` chunks of planes in any encoding.
#[inline(always)]
pub(crate) fn each_chunk<P: Processor>(
    processor: P,
    encoding: Encoding,
    planes: &Planes<'_>,
    chunks: usize,
    mut see: impl FnMut(usize, &Values),
) {
    let mut values = Values::default();
    if !encoding.is_quantised() {
        for chunk in 0..chunks {
            plain(processor, encoding, planes, chunk, &mut values);
            see(chunk, &values);
        }
        return;
    }
    let mut packed = Quants::default();
    for block in 0..chunks.div_ceil(CHUNKS) {
        let here = CHUNKS.min(chunks - block * CHUNKS);
        quants(processor, encoding, planes, (block, here), &mut packed);
        for chunk in 0..here {
            weights(encoding, &packed, chunk, &mut values);
            see(block * CHUNKS + chunk, &values);
        }
    }
}

/// Unpacks the first chunks of block `block` of planes in any encoding, one of `out` for each.
#[inline(always)]
pub(crate) fn weights_of_block<P: Processor>(
    processor: P,
    encoding: Encoding,
    planes: &Planes<'_>,
    block: usize,
    packed: &mut Quants,
    out: &mut [Values],
) {
    if encoding.is_quantised() {
        quants(processor, encoding, planes, (block, out.len()), packed);
    }
    for (chunk, values) in out.iter_mut().enumerate() {
        if encoding.is_quantised() {
            weights(encoding, packed, chunk, values);
        } else {
            plain(processor, encoding, planes, block * CHUNKS + chunk, values);
        }
    }
}

/// Byte `index` of a word as a number.
#[inline(always)]
fn byte(word: u32, index: u32, is_signed: bool) -> f32 {
    if is_signed {
        ((word << (24 - 8 * index)) as i32 >> 24) as f32
    } else {
        // By way of `i32`: below AVX-512 an unsigned integer takes several instructions to convert.
        (word >> (8 * index) & 0xff) as i32 as f32
    }
}

/// The weights of one unpacked chunk.
#[inline(always)]
fn weights(encoding: Encoding, quants: &Quants, chunk: usize, out: &mut Values) {
    let is_signed = is_signed(encoding);
    let columns = out.0.as_chunks_mut::<4>().0;
    for (index, (words, columns)) in quants.bytes[chunk].iter().zip(columns).enumerate() {
        let half = if scales_differ(encoding) { index / 4 } else { 0 };
        let (scale, offset) = (&quants.scale[chunk][half], &quants.offset[chunk][half]);
        for (at, column) in (0..).zip(columns) {
            for lane in 0..LANES {
                // Rounded after the product, as the reference decoder does, so that a weight is the
                // same number everywhere.
                column[lane] = byte(words[lane], at, is_signed) * scale[lane] + offset[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests;
