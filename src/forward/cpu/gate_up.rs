//! `gate_up`: RMS norm, the gate and up matrices, and `silu(gate) * up`.

use rayon::prelude::*;

use super::Column;
use super::activations::Panels;
use super::adapters::{AdapterPoint, LayerAdapters};
use super::fixed::ActivationBits;
use super::hooks::Tap;
use super::lanes::{LANES, exp};
use super::matrix::Matrix;
use super::multiply::multiply_row_group;
use super::norm::normalise;
use super::processor::{Processor, Work, run};
use super::project::add_bias;
use crate::forward::HookPoint;
use crate::forward::params::GateUpParams;

/// Writes the hidden activations of every column to `gate`; `normed` and `up` are scratch.
/// `weights` are the tiles of gate and up, `norm` the norm's weight, `biases` those of gate and up,
/// empty where there are none.
pub(super) fn gate_up(
    params: &GateUpParams,
    (weights, norm, biases): ([&[u8]; 2], &[f32], [&[f32]; 2]),
    (layer, columns, bits): (u32, &[Column], ActivationBits),
    residual: &Panels,
    [normed, gate, up]: [&mut Panels; 3],
    adapters: LayerAdapters<'_>,
    tap: &mut Tap<'_>,
) {
    normalise(params.norm_epsilon, norm, residual, normed);
    tap.panels(HookPoint::FeedForwardNorm(layer), columns, normed);
    let matrices = [Matrix::new(&params.gate, weights[0]), Matrix::new(&params.up, weights[1])];
    gate.resize(matrices[0].rows(), columns.len());
    up.resize(matrices[1].rows(), columns.len());
    let panel = LANES * columns.len();
    let input = normed.input_in_bits(bits, &matrices.each_ref());
    let updates = adapters.updates(AdapterPoint::GateUp, &input);
    let watched = tap.wants(HookPoint::Gate(layer)) || tap.wants(HookPoint::Up(layer));
    let groups =
        gate.as_mut_slice().par_chunks_mut(panel).zip(up.as_mut_slice().par_chunks_mut(panel));
    groups.enumerate().for_each(|(group, (gate, up))| {
        multiply_row_group(&matrices[0], group, &input, gate);
        multiply_row_group(&matrices[1], group, &input, up);
        updates.add(0, group, gate);
        updates.add(1, group, up);
        add_bias(biases[0], group, gate);
        add_bias(biases[1], group, up);
        // The activation overwrites the gate, which a hook has to see before.
        if !watched {
            activate(gate, up);
        }
    });
    if watched {
        tap.panels(HookPoint::Gate(layer), columns, gate);
        tap.panels(HookPoint::Up(layer), columns, up);
        activate(gate.as_mut_slice(), up.as_slice());
    }
    tap.panels(HookPoint::Hidden(layer), columns, gate);
}

/// `silu(gate) * up`, in place of the gate.
pub(crate) fn activate(gate: &mut [f32], up: &[f32]) {
    run(Activate { gate, up });
}

struct Activate<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Work for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        // Panels are whole row groups.
        let gate = self.gate.as_chunks_mut::<LANES>().0;
        for (gate, up) in gate.iter_mut().zip(self.up.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let silu = gate[lane] / (1.0 + exp::<P::Vectors>(-gate[lane]));
                gate[lane] = silu * up[lane];
            }
        }
    }
}
