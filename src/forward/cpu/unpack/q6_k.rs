//! Six bits from -32; per 16 weights a signed byte as scale, times a half per block.

use super::{CHUNKS, Planes, Quants};
use crate::forward::cpu::lanes::{LANES, half, line};
use crate::forward::cpu::processor::Processor;

#[inline(always)]
pub fn unpack<P: Processor>(processor: P, planes: &Planes<'_>, block: usize, out: &mut Quants) {
    // A block is two halves of 128 weights: 64 bytes of low nibbles and 32 bytes of two high bits.
    // Of the four chunks of a half, the first and third share their bytes of nibbles, the second
    // and fourth theirs; all four share those of high bits.
    let (mut low, mut high) = ([[0; LANES]; 4], [[0; LANES]; 4]);
    for (half_block, chunks) in out.bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        for texel in 0..2 {
            let index = block * 4 + half_block * 2 + texel;
            processor.split_texels(line(planes[1], index), &mut high);
            for pair in 0..2 {
                let index = block * 8 + half_block * 4 + pair * 2 + texel;
                processor.split_texels(line(planes[0], index), &mut low);
                for (chunk, low_shift) in [(pair, 0), (pair + 2, 4)] {
                    let words = &mut chunks[chunk][4 * texel..];
                    for ((words, low), high) in words.iter_mut().zip(&low).zip(&high) {
                        for lane in 0..LANES {
                            words[lane] = low[lane] >> low_shift & 0x0f0f_0f0f
                                | (high[lane] >> (2 * chunk) & 0x0303_0303) << 4;
                        }
                    }
                }
            }
        }
    }

    let (mut scales, mut wholes) = ([[0; LANES]; 4], [[0; LANES]; 4]);
    processor.split_texels(line(planes[2], block), &mut scales);
    processor.split_texels(line(planes[3], block / 8), &mut wholes);
    let mut whole = [0.0; LANES];
    for lane in 0..LANES {
        whole[lane] = half(wholes[block / 2 % 4][lane] >> (block % 2 * 16));
    }
    out.whole = whole;
    for chunk in 0..CHUNKS {
        for part in 0..2 {
            let (bytes, shift) = (&scales[chunk / 2], 24 - 8 * (chunk % 2 * 2 + part));
            let (scale, offset) = (&mut out.scale[chunk][part], &mut out.offset[chunk][part]);
            let steps = &mut out.steps[chunk][part];
            for lane in 0..LANES {
                let step = (bytes[lane] << shift) as i32 >> 24;
                steps[lane] = step as u32 & 0xffff;
                scale[lane] = whole[lane] * step as f32;
                // Exact, as the scale is: 11 bits by 8, then by a power of two.
                offset[lane] = scale[lane] * -32.0;
            }
        }
    }
}
