//! What Q4_K and Q5_K share: nibbles, and scales and minima of 6 bits.

use super::{CHUNKS, Quants};
use crate::forward::cpu::lanes::{LANES, Lines, half, line};
use crate::forward::cpu::processor::Processor;

/// Chunks `2i` and `2i + 1` share 32 bytes: the first has the low nibbles, the second the high
/// ones.
#[inline(always)]
pub(crate) fn nibbles<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    block: usize,
    out: &mut Quants,
) {
    let mut packed = [[0; LANES]; 4];
    for (pair, [low, high]) in out.bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        for texel in 0..2 {
            processor.split_texels(line(plane, block * 8 + pair * 2 + texel), &mut packed);
            let (low, high) = (&mut low[4 * texel..], &mut high[4 * texel..]);
            for ((packed, low), high) in packed.iter().zip(low).zip(high) {
                for lane in 0..LANES {
                    low[lane] = packed[lane] & 0x0f0f_0f0f;
                    high[lane] = packed[lane] >> 4 & 0x0f0f_0f0f;
                }
            }
        }
    }
}

/// A texel per block: two halves, then twelve bytes with eight scales and eight minima of 6 bits.
/// Bytes 0 to 3 hold scales 0 to 3, bytes 4 to 7 minima 0 to 3, both in their low 6 bits; bytes 8
/// to 11 hold the low nibbles of scales 4 to 7 and of minima 4 to 7, whose upper 2 bits are the
/// upper 2 bits of the first eight bytes.
#[inline(always)]
pub(crate) fn six_bit_scales<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    block: usize,
    out: &mut Quants,
) {
    let mut words = [[0; LANES]; 4];
    processor.split_texels(line(plane, block), &mut words);
    let [wholes, scales, minima, rest] = &words;
    // Four scales or minima to a word, a byte each, and what all of a block are multiplied with.
    let mut bytes = [[[0; LANES]; 2]; 2];
    let mut factors = [[0.0; LANES]; 2];
    for lane in 0..LANES {
        let upper = [scales[lane], minima[lane]].map(|bytes| bytes >> 2 & 0x3030_3030);
        bytes[0][0][lane] = scales[lane] & 0x3f3f_3f3f;
        bytes[0][1][lane] = minima[lane] & 0x3f3f_3f3f;
        bytes[1][0][lane] = rest[lane] & 0x0f0f_0f0f | upper[0];
        bytes[1][1][lane] = rest[lane] >> 4 & 0x0f0f_0f0f | upper[1];
        factors[0][lane] = half(wholes[lane]);
        factors[1][lane] = half(wholes[lane] >> 16);
    }
    out.whole = factors[0];
    for chunk in 0..CHUNKS {
        let ([scales, minima], shift) = (&bytes[chunk / 4], chunk % 4 * 8);
        let (scale, offset) = (&mut out.scale[chunk][0], &mut out.offset[chunk][0]);
        let steps = &mut out.steps[chunk];
        for lane in 0..LANES {
            let [scales, minima] = [scales[lane], minima[lane]].map(|of| of >> shift & 63);
            // Both products are exact: 11 bits by 6 fit the 24 of an `f32`.
            scale[lane] = factors[0][lane] * scales as i32 as f32;
            steps[0][lane] = scales;
            steps[1][lane] = scales;
            offset[lane] = -(factors[1][lane] * minima as i32 as f32);
        }
    }
}
