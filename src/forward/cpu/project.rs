//! `project`: the attention output matrix, added to the residual stream; each head's output has a
//! factor, 0 where it is muted.

use rayon::prelude::*;

use super::Column;
use super::activations::{Input, Panels};
use super::adapters::{AdapterPoint, LayerAdapters, Updates};
use super::fixed::ActivationBits;
use super::hooks::Tap;
use super::lanes::LANES;
use super::matrix::Matrix;
use super::multiply::multiply_row_group;
use crate::forward::HookPoint;
use crate::forward::params::ProjectParams;

/// Scales the heads in `attended` (columns `stride` apart), multiplies, and adds to `residual`.
/// `update` is scratch. `head_scale` has a factor per head or is empty.
pub(super) fn project(
    params: &ProjectParams,
    (weights, bias): (&[u8], &[f32]),
    (layer, columns, bits): (u32, &[Column], ActivationBits),
    (attended, stride): (&mut [f32], usize),
    head_scale: &[f32],
    (update, residual): (&mut Panels, &mut Panels),
    adapters: LayerAdapters<'_>,
    tap: &mut Tap<'_>,
) {
    let matrix = Matrix::new(&params.matrix, weights);
    tap.rows(HookPoint::HeadOutput(layer), columns, attended, stride, matrix.columns());
    for row in attended.chunks_exact_mut(stride) {
        for (head, scale) in row.chunks_exact_mut(params.head_size as usize).zip(head_scale) {
            head.iter_mut().for_each(|value| *value *= scale);
        }
    }
    let point = HookPoint::AttentionOutput(layer);
    let input = Input::rows_in_bits(attended, stride, bits, &[&matrix]);
    let updates = adapters.updates(AdapterPoint::Output, &input);
    add_product(
        (&matrix, bias, &updates),
        &input,
        params.layer_scale,
        (point, columns),
        (update, residual),
        tap,
    );
}

/// Adds `scale * (matrix * input + updates + bias)` to the residual stream; an empty bias is none.
/// Hooks see the sum before it is scaled.
pub(super) fn add_product(
    (matrix, bias, updates): (&Matrix<'_>, &[f32], &Updates<'_>),
    input: &Input<'_>,
    scale: f32,
    (point, columns): (HookPoint, &[Column]),
    (update, residual): (&mut Panels, &mut Panels),
    tap: &mut Tap<'_>,
) {
    update.resize(matrix.rows(), columns.len());
    let panel = LANES * columns.len();
    let watched = tap.wants(point);
    let add = |residual: &mut [f32], update: &[f32]| {
        residual.iter_mut().zip(update).for_each(|(residual, update)| *residual += scale * update);
    };
    let groups = update
        .as_mut_slice()
        .par_chunks_mut(panel)
        .zip(residual.as_mut_slice().par_chunks_mut(panel));
    groups.enumerate().for_each(|(group, (update, residual))| {
        multiply_row_group(matrix, group, input, update);
        updates.add(0, group, update);
        add_bias(bias, group, update);
        // A hook may change the update of any row: it acts before anything is added.
        if !watched {
            add(residual, update);
        }
    });
    if watched {
        tap.panels(point, columns, update);
        add(residual.as_mut_slice(), update.as_slice());
    }
}

/// Adds a bias to what a row group gives, `[columns, 64]`; an empty bias is none.
pub(super) fn add_bias(bias: &[f32], group: usize, out: &mut [f32]) {
    let Some(bias) = bias.get(group * LANES..) else { return };
    for column in out.chunks_exact_mut(LANES) {
        column.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}
