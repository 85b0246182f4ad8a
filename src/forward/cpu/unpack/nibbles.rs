//! What the encodings with blocks of 32 weights share, where a chunk is one block: nibbles, fifth
//! bits, scales and minima.

use super::{CHUNKS, Quants};
use crate::forward::cpu::lanes::{LANES, Lines, half, line};
use crate::forward::cpu::processor::Processor;

/// Byte `j` of a block holds weight `j` in its low nibble and weight `j + 16` in its high one.
#[inline(always)]
pub(crate) fn nibbles<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    (block, chunks): (usize, usize),
    out: &mut Quants,
) {
    let mut packed = [[0; LANES]; 4];
    for (chunk, bytes) in out.bytes[..chunks].iter_mut().enumerate() {
        processor.split_texels(line(plane, block * CHUNKS + chunk), &mut packed);
        let (low, high) = bytes.split_at_mut(4);
        for ((packed, low), high) in packed.iter().zip(low).zip(high) {
            for lane in 0..LANES {
                low[lane] = packed[lane] & 0x0f0f_0f0f;
                high[lane] = packed[lane] >> 4 & 0x0f0f_0f0f;
            }
        }
    }
}

/// Bit `j` of a block's word is bit 4 of weight `j`.
#[inline(always)]
pub(crate) fn fifth_bits<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    (block, chunks): (usize, usize),
    out: &mut Quants,
) {
    let mut bits = [[0; LANES]; 4];
    for (texel, chunks) in out.bytes[..chunks].chunks_mut(4).enumerate() {
        processor.split_texels(line(plane, block * 2 + texel), &mut bits);
        for (bytes, bits) in chunks.iter_mut().zip(&bits) {
            for (index, words) in bytes.iter_mut().enumerate() {
                for lane in 0..LANES {
                    // The product puts bit b of a nibble at bit 8b: copies shifted by 0, 7, 14 and
                    // 21.
                    let nibble = bits[lane] >> (4 * index) & 15;
                    words[lane] |= (nibble.wrapping_mul(0x0020_4081) & 0x0101_0101) << 4;
                }
            }
        }
    }
}

/// A half per block, eight to a texel; `zero_point` is the number that a byte of 0 stands for.
#[inline(always)]
pub(crate) fn scales<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    (block, chunks): (usize, usize),
    zero_point: f32,
    out: &mut Quants,
) {
    let mut words = [[0; LANES]; 4];
    processor.split_texels(line(plane, block), &mut words);
    for chunk in 0..chunks {
        let (scale, offset) = (&mut out.scale[chunk][0], &mut out.offset[chunk][0]);
        for lane in 0..LANES {
            scale[lane] = half(words[chunk / 2][lane] >> (chunk % 2 * 16));
            // Exact: the zero point is 0 or a power of two.
            offset[lane] = scale[lane] * zero_point;
        }
    }
}

/// A half for the scale and a half for the minimum per block, four pairs to a texel.
#[inline(always)]
pub(crate) fn scales_and_minima<P: Processor>(
    processor: P,
    plane: Lines<'_>,
    (block, chunks): (usize, usize),
    out: &mut Quants,
) {
    let mut words = [[0; LANES]; 4];
    for chunk in 0..chunks {
        if chunk % 4 == 0 {
            processor.split_texels(line(plane, block * 2 + chunk / 4), &mut words);
        }
        let (scale, minimum) = (&mut out.scale[chunk][0], &mut out.offset[chunk][0]);
        for lane in 0..LANES {
            scale[lane] = half(words[chunk % 4][lane]);
            minimum[lane] = half(words[chunk % 4][lane] >> 16);
        }
    }
}
