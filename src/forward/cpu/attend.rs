//! `attend`: every query head over the keys and values of its sequence, up to its own position.
//!
//! The softmax is made page by page: a running maximum and sum, and an output that is scaled down
//! whenever the maximum grows. Nothing is kept per position, so the context costs no scratch. Query
//! heads of a group read the same keys and values.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Column;
use super::cache::{KvCache, PAGE};
use super::lanes::multiply_add;
use crate::forward::params::AttendParams;

/// Multiplications below which one thread is done before another would have woken.
const WORTH_SHARING: usize = 1 << 16;

/// Writes what each head of each column gives to `out`: columns `stride` apart, heads side by side.
pub fn attend(
    params: &AttendParams,
    columns: &[Column],
    query: &[f32],
    cache: &KvCache,
    stride: usize,
    out: &mut [f32],
) {
    let size = params.head_size as usize;
    let width = params.head_count as usize * size;
    let one_column = |(column, out): (usize, &mut [f32])| {
        let at = columns[column];
        let one_head = |(head, out): (usize, &mut [f32])| {
            let query = &query[column * width + head * size..][..size];
            let kv_head = head / params.heads_per_kv as usize;
            Arch::new().dispatch(HeadAttention { params, query, cache, at, kv_head, out });
        };
        let out = &mut out[..width];
        // Several columns are shared out themselves; a single one is cut into its heads.
        if columns.len() > 1 || (at.position as usize + 1) * 2 * width < WORTH_SHARING {
            out.chunks_exact_mut(size).enumerate().for_each(one_head);
        } else {
            out.par_chunks_exact_mut(size).enumerate().for_each(one_head);
        }
    };
    match columns.len() {
        1 => one_column((0, out)),
        _ => out.par_chunks_exact_mut(stride).enumerate().for_each(one_column),
    }
}

struct HeadAttention<'a> {
    params: &'a AttendParams,
    query: &'a [f32],
    cache: &'a KvCache,
    at: Column,
    kv_head: usize,
    out: &'a mut [f32],
}

impl WithSimd for HeadAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { params, query, cache, at, kv_head, out } = self;
        let size = params.head_size as usize;
        let (mut most, mut total) = (f32::NEG_INFINITY, 0.0);
        let mut scores = [0.0; PAGE];
        out.fill(0.0);
        let length = at.position as usize + 1;
        for (keys, values) in cache.pages(params.layer as usize, at.slot as usize, kv_head, length)
        {
            // The page's maximum first: the output is scaled down once a page, not once a position.
            let mut most_here = most;
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(size)) {
                *score = dot(simd, query, key) * params.score_scale;
                most_here = most_here.max(*score);
            }
            // The first page has nothing to scale down: exp(-inf) is 0, and so are sum and output.
            let shrink = (most - most_here).exp();
            most = most_here;
            total *= shrink;
            out.iter_mut().for_each(|out| *out *= shrink);
            for (score, value) in scores.iter().zip(values.chunks_exact(size)) {
                let weight = (score - most).exp();
                total += weight;
                for (out, value) in out.iter_mut().zip(value) {
                    *out = multiply_add::<S>(weight, *value, *out);
                }
            }
        }
        let scale = 1.0 / total;
        out.iter_mut().for_each(|out| *out *= scale);
    }
}

/// The sum of products, a vector at a time.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = simd.splat_f32s(0.0);
    for (&a, &b) in a.iter().zip(b) {
        sums = simd.mul_add_e_f32s(a, b, sums);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(sums) + rest
}
