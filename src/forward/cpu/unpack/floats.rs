//! The plain floats: weights lie side by side in the texels of their row.

use super::{CHUNK, Planes, Values};
use crate::forward::cpu::lanes::{LANES, half, line};
use crate::forward::cpu::processor::Processor;

/// Four weights to a texel.
#[inline(always)]
pub fn f32<P: Processor>(processor: P, planes: &Planes<'_>, chunk: usize, out: &mut Values) {
    let (texels, _) = out.0.as_chunks_mut::<4>();
    each_texel::<_, { CHUNK / 4 }>(processor, planes, chunk, |texel, words| {
        for (column, words) in texels[texel].iter_mut().zip(words) {
            for lane in 0..LANES {
                column[lane] = f32::from_bits(words[lane]);
            }
        }
    });
}

/// Eight weights to a texel.
#[inline(always)]
pub fn f16<P: Processor>(processor: P, planes: &Planes<'_>, chunk: usize, out: &mut Values) {
    sixteen_bits(processor, planes, chunk, out, half);
}

/// Eight weights to a texel.
#[inline(always)]
pub fn bf16<P: Processor>(processor: P, planes: &Planes<'_>, chunk: usize, out: &mut Values) {
    sixteen_bits(processor, planes, chunk, out, |word| f32::from_bits(word << 16));
}

#[inline(always)]
fn sixteen_bits<P: Processor>(
    processor: P,
    planes: &Planes<'_>,
    chunk: usize,
    out: &mut Values,
    value: impl Fn(u32) -> f32,
) {
    let (texels, _) = out.0.as_chunks_mut::<8>();
    each_texel::<_, { CHUNK / 8 }>(processor, planes, chunk, |texel, words| {
        let (pairs, _) = texels[texel].as_chunks_mut::<2>();
        for ([low, high], words) in pairs.iter_mut().zip(words) {
            for lane in 0..LANES {
                low[lane] = value(words[lane]);
                high[lane] = value(words[lane] >> 16);
            }
        }
    });
}

/// Calls `put` with the words of each of a chunk's texels; those past the end of the plane are
/// zero.
#[inline(always)]
fn each_texel<P: Processor, const TEXELS: usize>(
    processor: P,
    planes: &Planes<'_>,
    chunk: usize,
    mut put: impl FnMut(usize, &[[u32; LANES]; 4]),
) {
    let lines = planes[0].count();
    let mut words = [[0; LANES]; 4];
    for texel in 0..TEXELS {
        let index = chunk * TEXELS + texel;
        if index < lines {
            processor.split_texels(line(planes[0], index), &mut words);
        } else {
            words = [[0; LANES]; 4];
        }
        put(texel, &words);
    }
}
