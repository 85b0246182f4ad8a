//! `down`: the feed-forward block's way back, added to the residual stream with the layer's factor.

use super::Column;
use super::activations::Panels;
use super::adapters::{AdapterPoint, LayerAdapters};
use super::fixed::ActivationBits;
use super::hooks::Tap;
use super::matrix::Matrix;
use super::project::add_product;
use crate::forward::HookPoint;
use crate::forward::params::DownParams;

/// Multiplies `hidden`, adds the bias, which is empty where there is none, and adds to `residual`;
/// `update` is scratch.
pub(super) fn down(
    params: &DownParams,
    (weights, bias): (&[u8], &[f32]),
    (layer, columns, bits): (u32, &[Column], ActivationBits),
    hidden: &Panels,
    (update, residual): (&mut Panels, &mut Panels),
    adapters: LayerAdapters<'_>,
    tap: &mut Tap<'_>,
) {
    let matrix = Matrix::new(&params.matrix, weights);
    let point = HookPoint::FeedForwardOutput(layer);
    let input = hidden.input_in_bits(bits, &[&matrix]);
    let updates = adapters.updates(AdapterPoint::Down, &input);
    add_product(
        (&matrix, bias, &updates),
        &input,
        params.layer_scale,
        (point, columns),
        (update, &mut *residual),
        tap,
    );
    tap.panels(HookPoint::Residual(layer), columns, residual);
}
