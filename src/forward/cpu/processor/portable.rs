//! Plain loops, for a processor with neither AVX2 nor AVX-512.

use pulp::{Arch, Simd, WithSimd};

use super::{Processor, Scaled, Work};
use crate::forward::cpu::fixed::{DIGITS, Rounded, RoundedBlock};
use crate::forward::cpu::lanes::{LANES, LINE, Words};
use crate::forward::cpu::unpack::{CHUNK, Quants};

/// Plain integers; floats in whatever vectors there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable<S>(pub S);

impl<S: Simd> Processor for Portable<S> {
    type Vectors = S;

    #[inline(always)]
    fn vectors(self) -> S {
        self.0
    }

    #[inline(always)]
    fn split_texels(self, line: &[u8; LINE], words: &mut [Words; 4]) {
        for (row, texel) in line.as_chunks::<16>().0.iter().enumerate() {
            for (words, bytes) in words.iter_mut().zip(texel.as_chunks::<4>().0) {
                words[row] = u32::from_le_bytes(*bytes);
            }
        }
    }

    #[inline(always)]
    fn lane(row: usize) -> usize {
        row
    }

    #[inline(always)]
    fn products<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    ) {
        out.fill(0);
        for (index, words) in words.iter().enumerate() {
            let x = x.four::<DIGITS>(part * WORDS + index);
            for (out, word) in out.iter_mut().zip(words) {
                let bytes = word
                    .to_le_bytes()
                    .map(|byte| if SIGNED { i32::from(byte as i8) } else { i32::from(byte) });
                *out += bytes[0] * x[0] + bytes[1] * x[1] + bytes[2] * x[2] + bytes[3] * x[3];
            }
        }
    }

    #[inline(always)]
    fn block_products<K: Scaled>(
        self,
        quants: &Quants,
        x: &RoundedBlock,
        out: &mut [[i32; LANES]; DIGITS],
    ) {
        *out = [[0; LANES]; DIGITS];
        for (at, words) in quants.bytes.as_flattened().iter().enumerate() {
            let steps = &quants.steps[at / (CHUNK / 4)][at % (CHUNK / 4) / 4];
            for (digit, out) in out.iter_mut().enumerate() {
                let x = x.digits[digit][at].to_le_bytes().map(|x| i32::from(x as i8));
                for lane in 0..LANES {
                    let bytes = words[lane].to_le_bytes().map(|byte| i32::from(byte) - K::ZERO);
                    let sum = bytes[0] * x[0] + bytes[1] * x[1] + bytes[2] * x[2] + bytes[3] * x[3];
                    out[lane] += i32::from(steps[lane] as i16) * sum;
                }
            }
        }
    }
}

/// Does a work with plain integers.
#[inline(always)]
pub(super) fn run<W: Work>(work: W) -> W::Output {
    struct Plain<W>(W);

    impl<W: Work> WithSimd for Plain<W> {
        type Output = W::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> W::Output {
            self.0.with(Portable(simd))
        }
    }

    Arch::new().dispatch(Plain(work))
}
