//! As Q4_K, with a fifth bit: bit `j` of byte `i` belongs to weight `i` of chunk `j`.

use super::k_scales::{nibbles, six_bit_scales};
use super::{CHUNKS, Planes, Quants};
use crate::forward::cpu::lanes::{LANES, line, split_texels};

#[inline(always)]
pub fn unpack(planes: &Planes<'_>, chunk: usize, out: &mut Quants) {
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
