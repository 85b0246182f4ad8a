//! `h = A x`, from all features of a column to a few numbers.
//!
//! A rank has sixteen sums side by side, of features that are sixteen apart, and they are added up
//! at the end: the same for every processor's vectors, and for one column as for many.

use pulp::Simd;
use rayon::prelude::*;

use super::{RANKS, SUMS};
use crate::forward::cpu::activations::Input;
use crate::forward::cpu::lanes::LANES;
use crate::forward::cpu::processor::{Processor, Work, run};

/// Columns whose sums are held in registers together: with four ranks, twelve of the sixteen
/// registers of AVX2.
const COLUMNS: usize = 3;
/// Columns of a piece of the work of one thread.
const PIECE: usize = 4 * COLUMNS;
/// Products below which one thread is done before another would have woken.
const WORTH_SHARING: usize = 1 << 16;

/// A as this product reads it: `[rank / 4][quarter of a panel][panel][rank % 4][16]`. What is
/// multiplied with the same 16 features lies together, and is read in this order.
#[derive(Debug, Default)]
pub(crate) struct NarrowLayout {
    numbers: Vec<f32>,
    ranks: usize,
    panels: usize,
}

impl NarrowLayout {
    /// From numbers in any order: `at` gives that of a feature and a rank. The ranks are padded
    /// with zeros to whole blocks of 4.
    pub fn new(features: usize, rank: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let (ranks, panels) = (rank.next_multiple_of(RANKS), features.div_ceil(LANES));
        let mut numbers = vec![0.0; ranks * panels * LANES];
        for rank in 0..rank {
            for feature in 0..features {
                let (panel, quarter) = (feature / LANES, feature % LANES / SUMS);
                let block = (rank / RANKS * (LANES / SUMS) + quarter) * panels + panel;
                let place = (block * RANKS + rank % RANKS) * SUMS + feature % SUMS;
                numbers[place] = at(feature, rank);
            }
        }
        Self { numbers, ranks, panels }
    }

    /// Ranks, with those that are padding.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// Numbers, with those that are padding.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// A times the features of some columns: `[column][rank]`.
    pub fn narrow(&self, input: &Input<'_>, columns: &[usize]) -> Vec<f32> {
        let mut out = vec![0.0; columns.len() * self.ranks];
        let piece = |(out, columns): (&mut [f32], &[usize])| {
            run(Narrow { layout: self, input, columns, out });
        };
        if columns.len() * self.numbers.len() < WORTH_SHARING {
            piece((&mut out, columns));
        } else {
            let pieces = out.par_chunks_mut(PIECE * self.ranks).zip(columns.par_chunks(PIECE));
            pieces.for_each(piece);
        }
        out
    }
}

struct Narrow<'a> {
    layout: &'a NarrowLayout,
    input: &'a Input<'a>,
    columns: &'a [usize],
    out: &'a mut [f32],
}

impl Work for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { layout, input, columns, out } = self;
        let (blocks, rest) = columns.as_chunks::<COLUMNS>();
        let (of_blocks, of_rest) = out.split_at_mut(blocks.len() * COLUMNS * layout.ranks);
        for (columns, out) in blocks.iter().zip(of_blocks.chunks_mut(COLUMNS * layout.ranks)) {
            narrow_columns(processor.vectors(), layout, input, columns, out);
        }
        for (column, out) in rest.iter().zip(of_rest.chunks_mut(layout.ranks)) {
            narrow_columns(processor.vectors(), layout, input, &[*column], out);
        }
    }
}

/// All ranks of some columns.
#[inline(always)]
fn narrow_columns<S: Simd, const C: usize>(
    simd: S,
    layout: &NarrowLayout,
    input: &Input<'_>,
    columns: &[usize; C],
    out: &mut [f32],
) {
    let ranks = layout.ranks;
    let block = layout.panels * LANES * RANKS;
    for (first, a) in (0..ranks).step_by(RANKS).zip(layout.numbers.chunks_exact(block)) {
        let mut sums = [[[0.0; SUMS]; RANKS]; C];
        for vector in 0..SUMS / S::F32_LANES {
            let held = products(simd, (a, layout.panels), input, columns, vector);
            for (sums, held) in sums.iter_mut().zip(&held) {
                for (sums, held) in sums.iter_mut().zip(held) {
                    S::as_mut_simd_f32s(sums).0[vector] = *held;
                }
            }
        }
        for (column, sums) in sums.iter().enumerate() {
            for (rank, sums) in sums.iter().enumerate() {
                out[column * ranks + first + rank] = total(sums);
            }
        }
    }
}

/// One vector of the sums of four ranks and some columns.
#[inline(always)]
fn products<S: Simd, const C: usize>(
    simd: S,
    (a, panels): (&[f32], usize),
    input: &Input<'_>,
    columns: &[usize; C],
    vector: usize,
) -> [[S::f32s; RANKS]; C] {
    let mut sums = [[simd.splat_f32s(0.0); RANKS]; C];
    let (quarters, _) = a.as_chunks::<{ RANKS * SUMS }>();
    for (quarter, a) in quarters.chunks_exact(panels).enumerate() {
        for (panel, a) in a.iter().enumerate() {
            let a = S::as_simd_f32s(a).0;
            for (sums, &column) in sums.iter_mut().zip(columns) {
                let x = input.sixteen(column, panel * LANES + quarter * SUMS);
                let x = S::as_simd_f32s(x).0[vector];
                for (rank, sum) in sums.iter_mut().enumerate() {
                    let a = a[rank * (SUMS / S::F32_LANES) + vector];
                    *sum = simd.mul_add_e_f32s(a, x, *sum);
                }
            }
        }
    }
    sums
}

/// The sum of sixteen numbers, in halves.
#[inline(always)]
fn total(sums: &[f32; SUMS]) -> f32 {
    let mut sums = *sums;
    let mut half = SUMS / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
