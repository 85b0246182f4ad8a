//! Attention within the sequences of a batch, forwards with what the way back needs, and backwards
//! (Dao 2023, <https://arxiv.org/abs/2307.08691>, section 2.3).
//!
//! In: query, key and value of every column, heads side by side. A head of a sequence is one unit
//! of work; weights of the softmax are made again from the logarithm of their sum, so that nothing
//! of the size positions times positions is kept.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use crate::forward::cpu::lanes::exp;
use crate::forward::cpu::processor::{Processor, Work, run};

/// Queries that go over the keys together.
const QUERIES: usize = 4;
/// Numbers that are computed side by side.
const SIDE: usize = 32;

/// What attention is made with.
#[derive(Debug, Clone, Copy)]
pub struct SequenceHeads<'a> {
    /// Query, key and value: `[columns, heads * size]`, of the last two with KV heads.
    pub rows: [&'a [f32]; 3],
    /// The columns of each sequence.
    pub sequences: &'a [Range<usize>],
    /// Numbers of a head.
    pub size: usize,
    /// Query heads.
    pub heads: usize,
    /// Query heads that read the same keys.
    pub per_kv: usize,
}

/// What a head of a sequence gives.
struct Given {
    /// `[columns of the sequence, size up to 32]`
    rows: Vec<f32>,
    /// Of each column, the logarithm of the sum of its weights.
    log_sums: Vec<f32>,
}

/// Gradients of a head of a sequence: query, key and value, each
/// `[columns of the sequence, size up to 32]`.
type HeadGradients = [Vec<f32>; 3];

impl SequenceHeads<'_> {
    fn columns(&self) -> usize {
        self.rows[0].len() / (self.heads * self.size)
    }

    /// All heads of all sequences, one sequence after another.
    fn units(&self) -> impl IndexedParallelIterator<Item = (Range<usize>, usize)> {
        (0..self.sequences.len() * self.heads)
            .into_par_iter()
            .map(|unit| (self.sequences[unit / self.heads].clone(), unit % self.heads))
    }

    /// Writes what each head of each column gives, heads side by side, and the logarithm of its
    /// weights' sum, `[columns, heads]`.
    pub fn attend(&self, out: &mut Vec<f32>, log_sums: &mut Vec<f32>) {
        let (size, heads) = (self.size, self.heads);
        let units: Vec<Given> =
            self.units().map(|(columns, head)| run(Attend { all: self, columns, head })).collect();
        out.resize(self.columns() * heads * size, 0.0);
        log_sums.resize(self.columns() * heads, 0.0);
        let wide = size.next_multiple_of(SIDE);
        for (unit, given) in units.iter().enumerate() {
            let (columns, head) = (&self.sequences[unit / heads], unit % heads);
            let rows = given.rows.chunks_exact(wide).zip(&given.log_sums);
            for (column, (row, &log_sum)) in columns.clone().zip(rows) {
                out[(column * heads + head) * size..][..size].copy_from_slice(&row[..size]);
                log_sums[column * heads + head] = log_sum;
            }
        }
    }

    /// Gradients of query, key and value, from those of what [`SequenceHeads::attend`] gave.
    pub fn back(&self, given: &[f32], log_sums: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
        let (size, heads, per_kv) = (self.size, self.heads, self.per_kv);
        let kv_heads = heads / per_kv;
        let units: Vec<HeadGradients> = self
            .units()
            .map(|(columns, head)| {
                run(AttendBack { all: self, columns, head, given, log_sums, gradient })
            })
            .collect();
        let mut out = [heads, kv_heads, kv_heads].map(|n| vec![0.0; self.columns() * n * size]);
        let wide = size.next_multiple_of(SIDE);
        // In the order of the heads, whatever thread was first.
        for (unit, [query, key, value]) in units.iter().enumerate() {
            let (columns, head) = (&self.sequences[unit / heads], unit % heads);
            for (within, column) in columns.clone().enumerate() {
                let from = within * wide;
                let to = (column * heads + head) * size;
                out[0][to..][..size].copy_from_slice(&query[from..][..size]);
                let to = (column * kv_heads + head / per_kv) * size;
                for (out, of_head) in out[1..].iter_mut().zip([key, value]) {
                    let sums = out[to..][..size].iter_mut().zip(&of_head[from..]);
                    sums.for_each(|(sum, part)| *sum += part);
                }
            }
        }
        out
    }

    /// The rows of one head of a sequence, `[columns, size up to 32]`.
    #[inline(always)]
    fn of_head(&self, rows: &[f32], columns: &Range<usize>, head: usize, heads: usize) -> Vec<f32> {
        let wide = self.size.next_multiple_of(SIDE);
        let mut out = vec![0.0; columns.len() * wide];
        for (row, column) in out.chunks_exact_mut(wide).zip(columns.clone()) {
            let from = &rows[(column * heads + head) * self.size..][..self.size];
            row[..self.size].copy_from_slice(from);
        }
        out
    }
}

/// Rows `[columns, wide]` turned to `[wide, columns up to 32]`.
#[inline(always)]
fn turned(rows: &[f32], wide: usize) -> Vec<f32> {
    let columns = rows.len() / wide;
    let room = columns.next_multiple_of(SIDE);
    let mut out = vec![0.0; wide * room];
    for (column, row) in rows.chunks_exact(wide).enumerate() {
        for (feature, &value) in row.iter().enumerate() {
            out[feature * room + column] = value;
        }
    }
    out
}

/// For each of four rows, its products with the columns of `turned`, those from 0 up to `count`.
#[inline(always)]
fn scores<S: Simd>(
    simd: S,
    rows: [&[f32]; QUERIES],
    turned: &[f32],
    (room, count): (usize, usize),
    out: &mut [f32],
) {
    for pair in 0..SIDE / (2 * S::F32_LANES) {
        for first in (0..count).step_by(SIDE) {
            let mut sums = [[simd.splat_f32s(0.0); 2]; QUERIES];
            let of_features = rows[0].iter().zip(rows[1]).zip(rows[2].iter().zip(rows[3]));
            for (column, ((a, b), (c, d))) in turned.chunks_exact(room).zip(of_features) {
                let vectors = S::as_simd_f32s(&column[first..][..SIDE]).0;
                let pair = [vectors[2 * pair], vectors[2 * pair + 1]];
                for (sums, x) in sums.iter_mut().zip([*a, *b, *c, *d]) {
                    let x = simd.splat_f32s(x);
                    sums[0] = simd.mul_add_e_f32s(x, pair[0], sums[0]);
                    sums[1] = simd.mul_add_e_f32s(x, pair[1], sums[1]);
                }
            }
            for (out, sums) in out.chunks_exact_mut(room).zip(sums) {
                let vectors = S::as_mut_simd_f32s(&mut out[first..][..SIDE]).0;
                [vectors[2 * pair], vectors[2 * pair + 1]] = sums;
            }
        }
    }
}

/// For each of four rows of weights, the weighted sum of the first `count` of `rows`.
#[inline(always)]
fn weighted<S: Simd>(
    simd: S,
    weights: [&[f32]; QUERIES],
    rows: &[f32],
    (wide, count): (usize, usize),
    out: &mut [f32],
) {
    for part in (0..wide).step_by(2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; QUERIES];
        let of_rows = weights[0].iter().zip(weights[1]).zip(weights[2].iter().zip(weights[3]));
        for (row, ((a, b), (c, d))) in rows.chunks_exact(wide).take(count).zip(of_rows) {
            let vectors = S::as_simd_f32s(&row[part..][..2 * S::F32_LANES]).0;
            let pair = [vectors[0], vectors[1]];
            for (sums, weight) in sums.iter_mut().zip([*a, *b, *c, *d]) {
                let weight = simd.splat_f32s(weight);
                sums[0] = simd.mul_add_e_f32s(weight, pair[0], sums[0]);
                sums[1] = simd.mul_add_e_f32s(weight, pair[1], sums[1]);
            }
        }
        for (out, sums) in out.chunks_exact_mut(wide).zip(sums) {
            let vectors = S::as_mut_simd_f32s(&mut out[part..][..2 * S::F32_LANES]).0;
            [vectors[0], vectors[1]] = sums;
        }
    }
}

/// Adds to each of the first `count` of `sums` the four rows times their weights for it.
#[inline(always)]
fn spread<S: Simd>(
    simd: S,
    weights: [&[f32]; QUERIES],
    rows: [&[f32]; QUERIES],
    (wide, count): (usize, usize),
    sums: &mut [f32],
) {
    for part in (0..wide).step_by(2 * S::F32_LANES) {
        let rows = rows.map(|row| {
            let vectors = S::as_simd_f32s(&row[part..][..2 * S::F32_LANES]).0;
            [vectors[0], vectors[1]]
        });
        let of_sums = weights[0].iter().zip(weights[1]).zip(weights[2].iter().zip(weights[3]));
        for (sums, ((a, b), (c, d))) in sums.chunks_exact_mut(wide).take(count).zip(of_sums) {
            let vectors = S::as_mut_simd_f32s(&mut sums[part..][..2 * S::F32_LANES]).0;
            let mut pair = [vectors[0], vectors[1]];
            for (row, weight) in rows.iter().zip([*a, *b, *c, *d]) {
                let weight = simd.splat_f32s(weight);
                pair[0] = simd.mul_add_e_f32s(weight, row[0], pair[0]);
                pair[1] = simd.mul_add_e_f32s(weight, row[1], pair[1]);
            }
            [vectors[0], vectors[1]] = pair;
        }
    }
}

/// Weights of four rows, `room` apart.
#[inline(always)]
fn rows_of(weights: &[f32], room: usize) -> [&[f32]; QUERIES] {
    std::array::from_fn(|index| &weights[index * room..][..room])
}

/// Four rows from the `first`; in the place of those past the last, the last.
#[inline(always)]
fn four(rows: &[f32], wide: usize, first: usize) -> [&[f32]; QUERIES] {
    let last = rows.len() / wide - 1;
    std::array::from_fn(|index| &rows[(first + index).min(last) * wide..][..wide])
}

struct Attend<'a> {
    all: &'a SequenceHeads<'a>,
    columns: Range<usize>,
    head: usize,
}

impl Work for Attend<'_> {
    type Output = Given;

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> Given {
        let Self { all, columns, head } = self;
        let simd = processor.vectors();
        let kv_heads = all.heads / all.per_kv;
        let (count, wide) = (columns.len(), all.size.next_multiple_of(SIDE));
        let query = all.of_head(all.rows[0], &columns, head, all.heads);
        let key = all.of_head(all.rows[1], &columns, head / all.per_kv, kv_heads);
        let value = all.of_head(all.rows[2], &columns, head / all.per_kv, kv_heads);
        let keys = turned(&key, wide);
        let room = count.next_multiple_of(SIDE);
        let scale = 1.0 / (all.size as f32).sqrt();
        let mut weights = vec![0.0; QUERIES * room];
        let mut four_rows = vec![0.0; QUERIES * wide];
        let mut given = Given { rows: vec![0.0; count * wide], log_sums: vec![0.0; count] };
        for first in (0..count).step_by(QUERIES) {
            let here = QUERIES.min(count - first);
            let seen = first + here;
            scores(simd, four(&query, wide, first), &keys, (room, seen), &mut weights);
            let mut factors = [0.0; QUERIES];
            for (index, weights) in weights.chunks_exact_mut(room).take(here).enumerate() {
                let (row, rest) = weights.split_at_mut(first + index + 1);
                rest.fill(0.0);
                let most = row.iter().fold(f32::NEG_INFINITY, |most, &score| most.max(score));
                let mut sum = 0.0;
                for weight in row.iter_mut() {
                    *weight = exp::<P::Vectors>((*weight - most) * scale);
                }
                for weight in row.iter() {
                    sum += f64::from(*weight);
                }
                factors[index] = (1.0 / sum) as f32;
                given.log_sums[first + index] = (f64::from(most * scale) + sum.ln()) as f32;
            }
            weighted(simd, rows_of(&weights, room), &value, (wide, seen), &mut four_rows);
            let rows = given.rows[first * wide..].chunks_exact_mut(wide).zip(factors);
            for ((row, factor), sums) in rows.zip(four_rows.chunks_exact(wide)).take(here) {
                row.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * factor);
            }
        }
        given
    }
}

struct AttendBack<'a> {
    all: &'a SequenceHeads<'a>,
    columns: Range<usize>,
    head: usize,
    given: &'a [f32],
    log_sums: &'a [f32],
    gradient: &'a [f32],
}

impl Work for AttendBack<'_> {
    type Output = HeadGradients;

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> HeadGradients {
        let simd = processor.vectors();
        let Self { all, columns, head, given, log_sums, gradient } = self;
        let kv_heads = all.heads / all.per_kv;
        let (count, wide) = (columns.len(), all.size.next_multiple_of(SIDE));
        let [query, given, gradient] =
            [all.rows[0], given, gradient].map(|rows| all.of_head(rows, &columns, head, all.heads));
        let [key, value] = [all.rows[1], all.rows[2]]
            .map(|rows| all.of_head(rows, &columns, head / all.per_kv, kv_heads));
        let (keys, values) = (turned(&key, wide), turned(&value, wide));
        let room = count.next_multiple_of(SIDE);
        let scale = 1.0 / (all.size as f32).sqrt();
        let (mut weights, mut of_scores) = (vec![0.0; QUERIES * room], vec![0.0; QUERIES * room]);
        let mut four_rows = vec![0.0; QUERIES * wide];
        let [mut of_query, mut of_key, mut of_value] = [(); 3].map(|()| vec![0.0; count * wide]);
        for first in (0..count).step_by(QUERIES) {
            let here = QUERIES.min(count - first);
            let seen = first + here;
            let (queries, gradients) = (four(&query, wide, first), four(&gradient, wide, first));
            scores(simd, queries, &keys, (room, seen), &mut weights);
            scores(simd, gradients, &values, (room, seen), &mut of_scores);
            let rows = weights.chunks_exact_mut(room).zip(of_scores.chunks_exact_mut(room));
            for (index, (weights, of_scores)) in rows.enumerate() {
                // Of what is not there, and of positions that a column does not see, nothing comes.
                let seen = if index < here { first + index + 1 } else { 0 };
                weights[seen..].fill(0.0);
                of_scores[seen..].fill(0.0);
                if seen == 0 {
                    continue;
                }
                let row = (first + index) * wide;
                let log_sum = log_sums[(columns.start + first + index) * all.heads + head];
                let delta: f32 =
                    given[row..][..wide].iter().zip(&gradient[row..]).map(|(a, da)| a * da).sum();
                for (weight, of_score) in weights.iter_mut().zip(of_scores).take(seen) {
                    *weight = exp::<P::Vectors>(*weight * scale - log_sum);
                    *of_score = *weight * (*of_score - delta) * scale;
                }
            }
            let [weights, of_scores] = [&weights, &of_scores].map(|rows| rows_of(rows, room));
            weighted(simd, of_scores, &key, (wide, seen), &mut four_rows);
            of_query[first * wide..][..here * wide].copy_from_slice(&four_rows[..here * wide]);
            spread(simd, of_scores, queries, (wide, seen), &mut of_key);
            spread(simd, weights, gradients, (wide, seen), &mut of_value);
        }
        [of_query, of_key, of_value]
    }
}
