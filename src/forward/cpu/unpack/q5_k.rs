//! As Q4_K, with a fifth bit: bit `j` of byte `i` belongs to weight `i` of chunk `j`.

use super::k_scales::{nibbles, six_bit_scales};
use super::{Planes, Quants};
use crate::forward::cpu::lanes::{LANES, line};
use crate::forward::cpu::processor::Processor;

#[inline(always)]
pub fn unpack<P: Processor>(processor: P, planes: &Planes<'_>, block: usize, out: &mut Quants) {
    nibbles(processor, planes[0], block, out);
    let mut bits = [[0; LANES]; 4];
    for texel in 0..2 {
        processor.split_texels(line(planes[1], block * 2 + texel), &mut bits);
        for (chunk, bytes) in out.bytes.iter_mut().enumerate() {
            for (words, bits) in bytes[4 * texel..].iter_mut().zip(&bits) {
                for lane in 0..LANES {
                    words[lane] |= (bits[lane] >> chunk & 0x0101_0101) << 4;
                }
            }
        }
    }
    six_bit_scales(processor, planes[2], block, out);
}
