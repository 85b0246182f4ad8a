//! What Q4_K and Q5_K share: nibbles, and scales and minima of 6 bits.

use super::{CHUNKS, Quants};
use crate::forward::cpu::lanes::{LANES, half, line, split_texels};

/// Chunks `2i` and `2i + 1` share 32 bytes: the first has the low nibbles, the second the high
/// ones.
#[inline(always)]
pub(crate) fn nibbles(plane: &[u8], chunk: usize, out: &mut Quants) {
    let (block, in_block) = (chunk / CHUNKS, chunk % CHUNKS);
    let shift = in_block % 2 * 4;
    let (texels, _) = out.bytes.as_chunks_mut::<4>();
    for (texel, words) in texels.iter_mut().enumerate() {
        let mut packed = [[0; LANES]; 4];
        split_texels(line(plane, block * 8 + in_block / 2 * 2 + texel), &mut packed);
        for (words, packed) in words.iter_mut().zip(&packed) {
            for row in 0..LANES {
                words[row] = packed[row] >> shift & 0x0f0f_0f0f;
            }
        }
    }
    out.signed = false;
}

/// A texel per block: two halves, then twelve bytes with eight scales and eight minima of 6 bits.
/// Bytes 0 to 3 hold scales 0 to 3, bytes 4 to 7 minima 0 to 3, both in their low 6 bits; bytes 8
/// to 11 hold the low nibbles of scales 4 to 7 and of minima 4 to 7, whose upper 2 bits are the
/// upper 2 bits of the first eight bytes.
#[inline(always)]
pub(crate) fn six_bit_scales(plane: &[u8], chunk: usize, out: &mut Quants) {
    let (block, in_block) = (chunk / CHUNKS, chunk % CHUNKS);
    let mut words = [[0; LANES]; 4];
    split_texels(line(plane, block), &mut words);
    let shift = in_block % 4 * 8;
    let [wholes, scales, minima, rest] = &words;
    for row in 0..LANES {
        let [scales, minima, rest] = [scales, minima, rest].map(|words| words[row] >> shift);
        let (scale, minimum) = if in_block < 4 {
            (scales & 63, minima & 63)
        } else {
            (rest & 15 | (scales >> 6 & 3) << 4, rest >> 4 & 15 | (minima >> 6 & 3) << 4)
        };
        // Both products are exact: 11 bits by 6 fit the 24 of an `f32`.
        out.scale[0][row] = half(wholes[row]) * scale as i32 as f32;
        out.offset[0][row] = -(half(wholes[row] >> 16) * minimum as i32 as f32);
    }
    out.scale[1] = out.scale[0];
    out.offset[1] = out.offset[0];
}
