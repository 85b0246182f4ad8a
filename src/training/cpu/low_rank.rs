//! The three products of a low-rank update, each over all columns: features to the rank and the
//! rank to features, which are those of adapters that answer, and the outer product that is a
//! gradient.

use rayon::prelude::*;

use crate::forward::cpu::activations::Panels;
use crate::forward::cpu::adapters::{NarrowLayout, WidenLayout};
use crate::forward::cpu::lanes::{LANES, multiply_add};
use crate::forward::cpu::processor::{Processor, Work, run};

/// Numbers of the rank that are computed together.
const EIGHT: usize = 8;

/// One of the two matrices, laid out for both ways.
#[derive(Debug, Default)]
pub struct TrainedFactor {
    narrow: NarrowLayout,
    widen: WidenLayout,
}

/// A rank, padded to eight.
pub const fn padded(rank: usize) -> usize {
    rank.next_multiple_of(EIGHT)
}

impl TrainedFactor {
    /// From `[features, rank]` in any order: `at` gives the number of a feature and a rank.
    pub fn new(features: usize, rank: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        // The outer product takes eight ranks at a time.
        let or_zero = |feature, k| if k < rank { at(feature, k) } else { 0.0 };
        Self {
            narrow: NarrowLayout::new(features, padded(rank), or_zero),
            widen: WidenLayout::new(features, rank, &at),
        }
    }

    /// `[columns, rank up to eight]`: the sum over features of input times factor.
    pub fn narrow(&self, input: &Panels) -> Vec<f32> {
        let columns: Vec<usize> = (0..input.columns()).collect();
        self.narrow.narrow(&input.input(&[]), &columns)
    }

    /// Adds what `[columns, rank up to eight]` numbers give for panel `panel` to
    /// `[columns, 64]` numbers.
    pub fn widen(&self, panel: usize, ranks: &[f32], columns: &[usize], out: &mut [f32]) {
        self.widen.add(panel, (ranks, self.narrow.ranks()), columns, out);
    }
}

/// Adds the sum over columns of `input[feature] * ranks[k]` to `add(feature, k, sum)`.
pub fn outer(input: &Panels, ranks: &[f32], rank: usize, mut add: impl FnMut(usize, usize, f32)) {
    let wide = padded(rank);
    let panels = input.as_slice().par_chunks(LANES * input.columns());
    let sums: Vec<Vec<f32>> = panels
        .map(|input| {
            let mut out = vec![0.0; LANES * wide];
            run(Outer { input, ranks, wide, out: &mut out });
            out
        })
        .collect();
    for (panel, sums) in sums.iter().enumerate() {
        let features = LANES.min(input.features() - panel * LANES);
        for (within, sums) in sums.chunks_exact(wide).take(features).enumerate() {
            for (k, &sum) in sums.iter().take(rank).enumerate() {
                add(panel * LANES + within, k, sum);
            }
        }
    }
}

struct Outer<'a> {
    /// `[columns, 64]`
    input: &'a [f32],
    ranks: &'a [f32],
    wide: usize,
    out: &'a mut [f32],
}

impl Work for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        let Self { input, ranks, wide, out } = self;
        let columns = input.as_chunks::<LANES>().0;
        for part in (0..wide).step_by(EIGHT) {
            for first in (0..LANES).step_by(EIGHT) {
                let mut sums = [[0.0f32; EIGHT]; EIGHT];
                for (x, ranks) in columns.iter().zip(ranks.chunks_exact(wide)) {
                    let x: &[f32; EIGHT] = x[first..].first_chunk().expect("eight features");
                    let ranks: &[f32; EIGHT] = ranks[part..].first_chunk().expect("eight ranks");
                    for feature in 0..EIGHT {
                        for lane in 0..EIGHT {
                            sums[feature][lane] = multiply_add::<P::Vectors>(
                                x[feature],
                                ranks[lane],
                                sums[feature][lane],
                            );
                        }
                    }
                }
                for (out, sums) in out[first * wide..].chunks_exact_mut(wide).zip(sums) {
                    out[part..][..EIGHT].copy_from_slice(&sums);
                }
            }
        }
    }
}
