//! The encodings with blocks of 256 weights: eight chunks to a block.

use super::{Planes, Quants};
use crate::forward::cpu::lanes::{LANES, Words, half, line, split_texels, texel_word};

/// Chunks in a block.
const CHUNKS: usize = 8;

/// Nibbles; per chunk a scale and a minimum of 6 bits, times a half each per block.
#[inline(always)]
pub fn q4_k(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    six_bit_scales(planes[1], chunk, out);
}

/// As Q4_K, with a fifth bit: bit `j` of byte `i` belongs to weight `i` of chunk `j`.
#[inline(always)]
pub fn q5_k(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
    nibbles(planes[0], chunk, out);
    let (block, in_block) = (chunk / CHUNKS, chunk % CHUNKS);
    let (texels, _) = out.bytes.as_chunks_mut::<4>();
    for (texel, words) in texels.iter_mut().enumerate() {
        let mut bits = [[0; LANES]; 4];
        split_texels(line(planes[1], block * 2 + texel), &mut bits);
        for (words, bits) in words.iter_mut().zip(&bits) {
            for row in 0..LANES {
                words[row] |= (bits[row] >> in_block & 0x0101_0101) << 4;
            }
        }
    }
    six_bit_scales(planes[2], chunk, out);
}

/// Six bits from -32; per 16 weights a signed byte as scale, times a half per block.
#[inline(always)]
pub fn q6_k(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
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
            out.scale[part][row] = scale;
            out.offset[part][row] = scale * -32.0;
        }
    }
}

/// Chunks `2i` and `2i + 1` share 32 bytes: the first has the low nibbles, the second the high
/// ones.
#[inline(always)]
fn nibbles(plane: &[u8], chunk: usize, out: &mut Quants) {
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
fn six_bit_scales(plane: &[u8], chunk: usize, out: &mut Quants) {
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
        out.scale[0][row] = half(wholes[row]) * scale as i32 as f32;
        out.offset[0][row] = -(half(wholes[row] >> 16) * minimum as i32 as f32);
    }
    out.scale[1] = out.scale[0];
    out.offset[1] = out.offset[0];
}
