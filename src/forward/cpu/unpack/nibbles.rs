//! What the encodings with blocks of 32 weights share, where a chunk is one block: nibbles, fifth
//! bits, scales and minima.

use super::Quants;
use crate::forward::cpu::lanes::{LANES, Words, half, line, split_texels, texel_word};

/// Byte `j` of a block holds weight `j` in its low nibble and weight `j + 16` in its high one.
#[inline(always)]
pub(crate) fn nibbles(plane: &[u8], chunk: usize, out: &mut Quants) {
    let mut packed = [[0; LANES]; 4];
    split_texels(line(plane, chunk), &mut packed);
    let (low, high) = out.bytes.split_at_mut(4);
    for ((packed, low), high) in packed.iter().zip(low).zip(high) {
        for row in 0..LANES {
            low[row] = packed[row] & 0x0f0f_0f0f;
            high[row] = packed[row] >> 4 & 0x0f0f_0f0f;
        }
    }
    out.signed = false;
}

/// Bit `j` of a block's word is bit 4 of weight `j`.
#[inline(always)]
pub(crate) fn fifth_bits(plane: &[u8], chunk: usize, out: &mut Quants) {
    let mut bits = [0; LANES];
    texel_word(line(plane, chunk / 4), chunk % 4, &mut bits);
    for (index, words) in out.bytes.iter_mut().enumerate() {
        for row in 0..LANES {
            // The product puts bit b of a nibble at bit 8b: copies shifted by 0, 7, 14 and 21.
            let spread = (bits[row] >> (4 * index) & 15).wrapping_mul(0x0020_4081) & 0x0101_0101;
            words[row] |= spread << 4;
        }
    }
}

/// A half per block, eight to a texel; `zero_point` is the number that a byte of 0 stands for.
#[inline(always)]
pub fn scales(plane: &[u8], chunk: usize, zero_point: f32, out: &mut Quants) {
    let mut words = [0; LANES];
    texel_word(line(plane, chunk / 8), chunk / 2 % 4, &mut words);
    let shift = chunk as u32 % 2 * 16;
    for ((word, scale), offset) in words.iter().zip(&mut out.scale[0]).zip(&mut out.offset[0]) {
        *scale = half(word >> shift);
        // Exact: the zero point is 0 or a power of two.
        *offset = *scale * zero_point;
    }
    repeat_halves(out);
}

/// A half for the scale and a half for the minimum per block, four pairs to a texel.
#[inline(always)]
pub(crate) fn scales_and_minima(plane: &[u8], chunk: usize, out: &mut Quants) {
    let mut words: Words = [0; LANES];
    texel_word(line(plane, chunk / 4), chunk % 4, &mut words);
    for ((word, scale), minimum) in words.iter().zip(&mut out.scale[0]).zip(&mut out.offset[0]) {
        *scale = half(*word);
        *minimum = half(word >> 16);
    }
    repeat_halves(out);
}

#[inline(always)]
fn repeat_halves(out: &mut Quants) {
    // The product takes a scale per half of a chunk, for the sake of Q6_K.
    out.scale[1] = out.scale[0];
    out.offset[1] = out.offset[0];
}
