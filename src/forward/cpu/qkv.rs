//! `qkv`: RMS norm, then query, key and value rows with their biases, per-head norms and RoPE.

use rayon::prelude::*;

use super::Column;
use super::activations::{Panels, copy_runs};
use super::adapters::{AdapterPoint, LayerAdapters};
use super::fixed::ActivationBits;
use super::hooks::Tap;
use super::lanes::LANES;
use super::matrix::Matrix;
use super::multiply::multiply_row_group;
use super::norm::{normalise, normalise_head};
use super::rope::turn;
use crate::forward::HookPoint;
use crate::forward::params::QkvParams;

/// The weights that the kernel reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QkvWeights<'a> {
    /// Tiles of query, key and value.
    pub matrices: [&'a [u8]; 3],
    /// Weight of the norm.
    pub norm: &'a [f32],
    /// Biases of query, key and value; empty where there are none.
    pub biases: [&'a [f32]; 3],
    /// Norms of a head's query and key; empty where there are none.
    pub head_norms: [&'a [f32]; 2],
    /// What activations are rounded to before they meet the matrices.
    pub activation_bits: ActivationBits,
}

/// What the kernel writes.
pub(crate) struct QkvOutput<'a> {
    /// The residual stream after the norm.
    pub normed: &'a mut Panels,
    /// Query, key and value as the matrices give them.
    pub projected: &'a mut [Panels; 3],
    /// Query, key and value of each column, heads side by side.
    pub rows: [&'a mut Vec<f32>; 3],
}

/// Computes query, key and value of every column; `angles` has a cosine and sine per pair and
/// column.
pub(super) fn qkv(
    params: &QkvParams,
    weights: &QkvWeights<'_>,
    columns: &[Column],
    angles: &[[f32; 2]],
    residual: &Panels,
    output: QkvOutput<'_>,
    adapters: LayerAdapters<'_>,
    tap: &mut Tap<'_>,
) {
    let QkvOutput { normed, projected, rows } = output;
    normalise(params.norm_epsilon, weights.norm, residual, normed);
    tap.panels(HookPoint::AttentionNorm(params.layer), columns, normed);

    let [query, key, value] = weights.matrices;
    let matrices = [
        Matrix::new(&params.query, query),
        Matrix::new(&params.key, key),
        Matrix::new(&params.value, value),
    ];
    for (panels, matrix) in projected.iter_mut().zip(&matrices) {
        panels.resize(matrix.rows(), columns.len());
    }
    let input = normed.input_in_bits(weights.activation_bits, &matrices.each_ref());
    let updates = adapters.updates(AdapterPoint::Qkv, &input);
    let panel = LANES * columns.len();
    // One parallel section for all three: their row groups are one list.
    let [query, key, value] =
        projected.each_mut().map(|panels| panels.as_mut_slice().par_chunks_mut(panel).enumerate());
    let of = |index: usize| move |(group, out)| (index, group, out);
    query.map(of(0)).chain(key.map(of(1))).chain(value.map(of(2))).for_each(
        |(index, group, out)| {
            multiply_row_group(&matrices[index], group, &input, out);
            updates.add(index, group, out);
        },
    );

    for (index, (rows, panels)) in rows.into_iter().zip(projected.iter()).enumerate() {
        let features = panels.features();
        rows.resize(features * columns.len(), 0.0);
        let finish = |(column, row): (usize, &mut [f32])| {
            copy_runs(panels.column(column), row);
            finish_row(
                params,
                weights,
                index,
                &angles[column * angles.len() / columns.len()..],
                row,
            );
        };
        // A single column is done before another thread would have woken.
        match columns.len() {
            1 => finish((0, rows)),
            _ => rows.par_chunks_mut(features).enumerate().for_each(finish),
        }
        let point = [HookPoint::Query, HookPoint::Key, HookPoint::Value][index](params.layer);
        tap.rows(point, columns, rows, features, features);
    }
}

/// Bias, per-head norm and RoPE of one column's query (0), key (1) or value (2).
fn finish_row(
    params: &QkvParams,
    weights: &QkvWeights<'_>,
    index: usize,
    angles: &[[f32; 2]],
    row: &mut [f32],
) {
    if params.has_biases != 0 {
        row.iter_mut().zip(weights.biases[index]).for_each(|(value, bias)| *value += bias);
    }
    // Value has neither a norm nor a position.
    let Some(norm) = weights.head_norms.get(index) else { return };
    for head in row.chunks_exact_mut(params.head_size as usize) {
        if params.has_head_norms != 0 {
            normalise_head(params.norm_epsilon, norm, head);
        }
        turn(&params.rope, angles, head);
    }
}
