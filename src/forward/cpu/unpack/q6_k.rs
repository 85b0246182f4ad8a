//! Six bits from -32; per 16 weights a signed byte as scale, times a half per block.

use super::{CHUNKS, Planes, Quants};
use crate::forward::cpu::lanes::{LANES, Words, half, line, split_texels, texel_word};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    // A block is two halves of 128 weights: 64 bytes of low nibbles and 32 bytes of two high bits.
    // Of the four chunks of a half, the first and third share their bytes of nibbles, the second
    // and fourth theirs.
    let (block, in_block) = (chunk / CHUNKS, chunk % CHUNKS);
    let (half_block, quarter) = (in_block / 4, in_block % 4);
    let (low_shift, high_shift) = (quarter / 2 * 4, quarter * 2);
    let (texels, _) = out.bytes.as_chunks_mut::<4>();
    for (texel, words) in texels.iter_mut().enumerate() {
        let (mut low, mut high) = ([[0; LANES]; 4], [[0; LANES]; 4]);
        split_texels(
            line(planes[0], block * 8 + half_block * 4 + quarter % 2 * 2 + texel),
            &mut low,
        );
        split_texels(line(planes[1], block * 4 + half_block * 2 + texel), &mut high);
        for ((words, low), high) in words.iter_mut().zip(&low).zip(&high) {
            for row in 0..LANES {
                words[row] = low[row] >> low_shift & 0x0f0f_0f0f
                    | (high[row] >> high_shift & 0x0303_0303) << 4;
            }
        }
    }
    out.signed = false;

    let (mut scales, mut whole): (Words, Words) = ([0; LANES], [0; LANES]);
    texel_word(line(planes[2], block), in_block / 2, &mut scales);
    texel_word(line(planes[3], block / 8), block / 2 % 4, &mut whole);
    let (first, whole_shift) = (in_block % 2 * 2, block % 2 * 16);
    for part in 0..2 {
        let shift = 24 - 8 * (first + part);
        for row in 0..LANES {
            let scale =
                half(whole[row] >> whole_shift) * ((scales[row] << shift) as i32 >> 24) as f32;
            // Exact, as the scale is: 11 bits by 8, then by a power of two.
            out.scale[part][row] = scale;
            out.offset[part][row] = scale * -32.0;
        }
    }
}
