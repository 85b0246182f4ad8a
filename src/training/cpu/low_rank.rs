//! The three products of a low-rank update, each over all columns: features to the rank, the rank
//! to features, and the outer product that is a gradient.
//!
//! Matrices lie so that every inner loop runs over numbers that are side by side: for the way in
//! and for gradients a feature's `rank` numbers, padded to eight; for the way out the features of
//! one row of the rank, padded to panels.

use rayon::prelude::*;

use crate::forward::cpu::activations::Panels;
use crate::forward::cpu::lanes::{LANES, multiply_add};
use crate::forward::cpu::processor::{Processor, Work, run};

/// Numbers of the rank that are computed together.
const EIGHT: usize = 8;
/// Columns whose sums are held in registers together.
const COLUMNS: usize = 4;
/// Columns that one thread takes at a time.
const PIECE: usize = 16;

/// One of the two matrices, laid out for both ways.
#[derive(Debug, Default)]
pub struct Factor {
    /// `[features up to a panel, rank up to eight]`
    by_feature: Vec<f32>,
    /// `[rank, features up to a panel]`
    by_rank: Vec<f32>,
    features: usize,
    rank: usize,
}

/// A rank, padded to eight.
pub const fn padded(rank: usize) -> usize {
    rank.next_multiple_of(EIGHT)
}

impl Factor {
    /// From `[features, rank]` in any order: `at` gives the number of a feature and a rank.
    pub fn new(features: usize, rank: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let (wide, room) = (padded(rank), features.next_multiple_of(LANES));
        let (mut by_feature, mut by_rank) = (vec![0.0; room * wide], vec![0.0; rank * room]);
        for feature in 0..features {
            for k in 0..rank {
                let value = at(feature, k);
                by_feature[feature * wide + k] = value;
                by_rank[k * room + feature] = value;
            }
        }
        Self { by_feature, by_rank, features, rank }
    }

    /// `[columns, rank up to eight]`: the sum over features of input times factor.
    pub fn narrow(&self, input: &Panels) -> Vec<f32> {
        assert_eq!(input.features(), self.features, "features of a low-rank product");
        let wide = padded(self.rank);
        let mut out = vec![0.0; input.columns() * wide];
        out.par_chunks_mut(PIECE * wide).enumerate().for_each(|(piece, out)| {
            run(Narrow { input, factor: &self.by_feature, first: piece * PIECE, wide, out });
        });
        out
    }

    /// Adds what `[columns, rank up to eight]` numbers give for panel `panel` to
    /// `[columns, 64]` numbers, times `scale`.
    pub fn widen(&self, panel: usize, ranks: &[f32], scale: f32, out: &mut [f32]) {
        let room = self.features.next_multiple_of(LANES);
        let factor = &self.by_rank[panel * LANES..];
        run(Widen { factor, room, rank: self.rank, ranks, scale, out });
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

struct Narrow<'a> {
    input: &'a Panels,
    factor: &'a [f32],
    first: usize,
    wide: usize,
    out: &'a mut [f32],
}

impl Work for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        let Self { input, factor, first, wide, out } = self;
        let mut column = first;
        for out in out.chunks_mut(COLUMNS * wide) {
            // The last columns are computed again in the place of those that are not there.
            let count = out.len() / wide;
            let at: [usize; COLUMNS] = std::array::from_fn(|index| column + index.min(count - 1));
            for part in (0..wide).step_by(EIGHT) {
                let mut sums = [[0.0f32; EIGHT]; COLUMNS];
                let panels = input.as_slice().chunks_exact(LANES * input.columns());
                for (panel, factor) in panels.zip(factor.chunks_exact(LANES * wide)) {
                    let (panel, _) = panel.as_chunks::<LANES>();
                    let x = at.map(|column| &panel[column]);
                    for (feature, row) in factor.chunks_exact(wide).take(LANES).enumerate() {
                        let row: &[f32; EIGHT] = row[part..].first_chunk().expect("eight ranks");
                        for index in 0..COLUMNS {
                            for lane in 0..EIGHT {
                                sums[index][lane] = multiply_add::<P::Vectors>(
                                    x[index][feature],
                                    row[lane],
                                    sums[index][lane],
                                );
                            }
                        }
                    }
                }
                for (out, sums) in out.chunks_exact_mut(wide).zip(sums) {
                    out[part..part + EIGHT].copy_from_slice(&sums);
                }
            }
            column += count;
        }
    }
}

struct Widen<'a> {
    factor: &'a [f32],
    room: usize,
    rank: usize,
    ranks: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl Work for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        let Self { factor, room, rank, ranks, scale, out } = self;
        for (out, ranks) in
            out.as_chunks_mut::<LANES>().0.iter_mut().zip(ranks.chunks(padded(rank)))
        {
            let mut sums = [0.0f32; LANES];
            for (k, x) in ranks.iter().take(rank).enumerate() {
                let row: &[f32; LANES] = factor[k * room..].first_chunk().expect("a panel");
                for lane in 0..LANES {
                    sums[lane] = multiply_add::<P::Vectors>(*x, row[lane], sums[lane]);
                }
            }
            for lane in 0..LANES {
                out[lane] += scale * sums[lane];
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
