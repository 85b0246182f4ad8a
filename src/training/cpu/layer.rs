//! A layer, forwards with all that the way back needs, and backwards (specs/training.md).

use rayon::prelude::*;

use super::attention::SequenceHeads;
use super::micro_step::MicroStep;
use super::network::{Network, TrainedLayer};
use super::norm::{norm_back, row_back};
use super::product::{Dropout, LayerProduct};
use super::rows::{add, to_panels, to_rows};
use crate::forward::Interventions;
use crate::forward::bind::LayerVector;
use crate::forward::cpu::activations::Panels;
use crate::forward::cpu::lanes::{LANES, exp};
use crate::forward::cpu::norm::{normalise, normalise_head};
use crate::forward::cpu::processor::{Processor, Work, run};
use crate::forward::cpu::rope::turn;

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const OUTPUT: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

/// What a layer computed on the way forwards.
#[derive(Debug, Default)]
pub struct Activations {
    /// The residual stream after the first norm.
    normed: Panels,
    /// Query, key and value as attention reads them, heads side by side.
    rows: [Vec<f32>; 3],
    /// Query and key before their norms, where heads have norms.
    unnormed: [Vec<f32>; 2],
    log_sums: Vec<f32>,
    /// What heads give, without factors.
    given: Vec<f32>,
    /// The same with factors, as the output matrix reads it.
    attended: Panels,
    /// The residual stream between attention and feed-forward.
    middle: Panels,
    /// That after the second norm.
    middle_normed: Panels,
    gate: Panels,
    up: Panels,
    hidden: Panels,
}

/// Panels that are used over and over.
#[derive(Debug, Default)]
pub struct Scratch {
    update: Panels,
    projected: Panels,
    of_normed: Panels,
    of_rows: Panels,
    rows: Vec<f32>,
}

/// One layer and one batch.
#[derive(Debug, Clone, Copy)]
pub struct LayerPass<'a> {
    /// What it is part of.
    pub network: &'a Network,
    /// Index of the layer.
    pub layer: usize,
    /// The columns.
    pub batch: &'a MicroStep,
    /// Factors of heads and layers, as in the forward pass.
    pub interventions: &'a Interventions,
    /// What updates do not see.
    pub dropout: Dropout,
}

impl LayerPass<'_> {
    fn of(&self) -> &TrainedLayer {
        &self.network.layers[self.layer]
    }

    fn product(&self, target: usize) -> LayerProduct<'_> {
        LayerProduct { network: self.network, layer: self.layer, target, dropout: self.dropout }
    }

    fn epsilon(&self) -> f32 {
        self.network.model.config().norm_epsilon
    }

    fn heads<'a>(&'a self, rows: &'a [Vec<f32>; 3]) -> SequenceHeads<'a> {
        let config = self.network.model.config();
        SequenceHeads {
            rows: rows.each_ref().map(|rows| rows.as_slice()),
            sequences: &self.batch.sequences,
            size: config.head_size as usize,
            heads: config.head_count as usize,
            per_kv: config.heads_per_kv() as usize,
        }
    }

    /// Multiplies heads with their factors.
    fn scale_heads(&self, rows: &mut [f32]) {
        let config = self.network.model.config();
        let factors = self.interventions.heads_of(self.layer, config.head_count);
        if factors.is_empty() {
            return;
        }
        let heads = rows.chunks_exact_mut(config.head_size as usize);
        for (head, factor) in heads.zip(factors.iter().cycle()) {
            head.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// Takes the residual stream through the layer.
    pub fn forward(&self, residual: &mut Panels, kept: &mut Activations, scratch: &mut Scratch) {
        use LayerVector::*;
        let layer = self.of();
        let factor = self.interventions.layer(self.layer);
        normalise(self.epsilon(), layer.vector(AttentionNorm), residual, &mut kept.normed);
        for target in [QUERY, KEY, VALUE] {
            self.product(target).forward(self.batch, &kept.normed, &mut scratch.projected);
            to_rows(&scratch.projected, &mut kept.rows[target]);
            if target != VALUE {
                self.finish_rows(target, kept);
            }
        }
        let Activations { rows, given, log_sums, .. } = kept;
        self.heads(rows).attend(given, log_sums);
        scratch.rows.clone_from(given);
        self.scale_heads(&mut scratch.rows);
        let width = self.network.model.config().query_size() as usize;
        to_panels(&scratch.rows, width, &mut kept.attended);
        self.product(OUTPUT).forward(self.batch, &kept.attended, &mut scratch.update);
        add(residual, &scratch.update, factor);
        kept.middle.clone_from(residual);

        let norm = layer.vector(FeedForwardNorm);
        normalise(self.epsilon(), norm, residual, &mut kept.middle_normed);
        self.product(GATE).forward(self.batch, &kept.middle_normed, &mut kept.gate);
        self.product(UP).forward(self.batch, &kept.middle_normed, &mut kept.up);
        activate(&kept.gate, &kept.up, &mut kept.hidden);
        self.product(DOWN).forward(self.batch, &kept.hidden, &mut scratch.update);
        add(residual, &scratch.update, factor);
    }

    /// Norm and rotation of query or key.
    fn finish_rows(&self, target: usize, kept: &mut Activations) {
        let layer = self.of();
        let norm = layer.vector([LayerVector::QueryNorm, LayerVector::KeyNorm][target]);
        let size = self.network.model.config().head_size as usize;
        let rows = &mut kept.rows[target];
        if !norm.is_empty() {
            kept.unnormed[target].clone_from(rows);
        }
        let width = rows.len() / self.batch.columns.len();
        rows.par_chunks_mut(width).enumerate().for_each(|(column, row)| {
            let angles = self.batch.angles_of(column);
            for head in row.chunks_exact_mut(size) {
                if !norm.is_empty() {
                    normalise_head(self.epsilon(), norm, head);
                }
                turn(&layer.params.qkv.rope, angles, head);
            }
        });
    }

    /// Turns the gradient of what the layer gave into that of what it was given, `residual`, and
    /// adds the gradients of what is trained. With `is_first` nothing below is trained: the
    /// gradient of what the layer was given is not made.
    pub fn back(
        &self,
        residual: &Panels,
        kept: &Activations,
        gradient: &mut Panels,
        scratch: &mut Scratch,
        (sums, is_first): (&mut [Vec<f32>], bool),
    ) {
        self.feed_forward_back(kept, gradient, scratch, sums);
        self.attention_back(residual, kept, gradient, scratch, (sums, is_first));
    }

    fn feed_forward_back(
        &self,
        kept: &Activations,
        gradient: &mut Panels,
        scratch: &mut Scratch,
        sums: &mut [Vec<f32>],
    ) {
        let factor = self.interventions.layer(self.layer);
        let columns = self.batch.columns.len();
        let Scratch { update, projected, of_normed, .. } = scratch;
        scaled(gradient, factor, update);
        zero(projected, kept.hidden.features(), columns);
        let way = (&kept.hidden, &*update);
        self.product(DOWN).back(self.batch, way, Some(projected), sums);
        // The gradient of hidden becomes that of up, and `update` that of the gate.
        zero(update, kept.gate.features(), columns);
        activate_back(&kept.gate, &kept.up, projected, update);
        zero(of_normed, kept.middle.features(), columns);
        for (target, of_output) in [(GATE, &*update), (UP, &*projected)] {
            let way = (&kept.middle_normed, of_output);
            self.product(target).back(self.batch, way, Some(of_normed), sums);
        }
        self.norm_back(LayerVector::FeedForwardNorm, &kept.middle, of_normed, gradient, sums);
    }

    fn attention_back(
        &self,
        residual: &Panels,
        kept: &Activations,
        gradient: &mut Panels,
        scratch: &mut Scratch,
        (sums, is_first): (&mut [Vec<f32>], bool),
    ) {
        let factor = self.interventions.layer(self.layer);
        let columns = self.batch.columns.len();
        let Scratch { update, projected, of_normed, of_rows, rows } = scratch;
        scaled(gradient, factor, update);
        zero(projected, kept.attended.features(), columns);
        let way = (&kept.attended, &*update);
        self.product(OUTPUT).back(self.batch, way, Some(projected), sums);
        to_rows(projected, rows);
        self.scale_heads(rows);
        let of_heads = self.heads(&kept.rows).back(&kept.given, &kept.log_sums, rows);
        zero(of_normed, kept.normed.features(), columns);
        for (target, mut of_heads) in of_heads.into_iter().enumerate() {
            if target != VALUE {
                self.finish_rows_back(target, kept, &mut of_heads, sums);
            }
            to_panels(&of_heads, of_heads.len() / columns, of_rows);
            let of_input = (!is_first).then_some(&mut *of_normed);
            let way = (&kept.normed, &*of_rows);
            self.product(target).back(self.batch, way, of_input, sums);
        }
        if !is_first {
            self.norm_back(LayerVector::AttentionNorm, residual, of_normed, gradient, sums);
        }
    }

    /// Rotation and norm of query or key, backwards.
    fn finish_rows_back(
        &self,
        target: usize,
        kept: &Activations,
        rows: &mut [f32],
        sums: &mut [Vec<f32>],
    ) {
        let layer = self.of();
        let vector = [LayerVector::QueryNorm, LayerVector::KeyNorm][target];
        let norm = layer.vector(vector);
        let size = self.network.model.config().head_size as usize;
        let width = rows.len() / self.batch.columns.len();
        rows.par_chunks_mut(width).enumerate().for_each(|(column, row)| {
            let back: Vec<[f32; 2]> =
                self.batch.angles_of(column).iter().map(|[cos, sin]| [*cos, -sin]).collect();
            for head in row.chunks_exact_mut(size) {
                turn(&layer.params.qkv.rope, &back, head);
            }
        });
        if norm.is_empty() {
            return;
        }
        let mut of_weight = layer.vector_parameter(vector).map(|at| &mut sums[at]);
        let heads = rows.chunks_exact_mut(size).zip(kept.unnormed[target].chunks_exact(size));
        for (head, unnormed) in heads {
            let of_weight = of_weight.as_mut().map(|sums| sums.as_mut_slice());
            row_back(self.epsilon(), norm, unnormed, head, of_weight);
        }
    }

    fn norm_back(
        &self,
        vector: LayerVector,
        input: &Panels,
        of_output: &Panels,
        gradient: &mut Panels,
        sums: &mut [Vec<f32>],
    ) {
        let layer = self.of();
        let of_weight = layer.vector_parameter(vector).map(|at| sums[at].as_mut_slice());
        let weight = layer.vector(vector);
        norm_back(self.epsilon(), weight, input, of_output, gradient, of_weight);
    }
}

/// Makes panels of zeros.
pub fn zero(panels: &mut Panels, features: usize, columns: usize) {
    panels.resize(features, columns);
    panels.as_mut_slice().fill(0.0);
}

fn scaled(from: &Panels, factor: f32, to: &mut Panels) {
    to.resize(from.features(), from.columns());
    let pairs = to.as_mut_slice().iter_mut().zip(from.as_slice());
    pairs.for_each(|(to, from)| *to = factor * from);
}

/// `silu(gate) * up`.
fn activate(gate: &Panels, up: &Panels, hidden: &mut Panels) {
    hidden.clone_from(gate);
    let panel = LANES * gate.columns();
    let panels = hidden.as_mut_slice().par_chunks_mut(panel).zip(up.as_slice().par_chunks(panel));
    panels.for_each(|(hidden, up)| crate::forward::cpu::gate_up::activate(hidden, up));
}

/// From the gradient of hidden, in its place that of up, and that of the gate.
fn activate_back(gate: &Panels, up: &Panels, of_up: &mut Panels, of_gate: &mut Panels) {
    let panel = LANES * gate.columns();
    let outs = of_up
        .as_mut_slice()
        .par_chunks_mut(panel)
        .zip(of_gate.as_mut_slice().par_chunks_mut(panel));
    outs.enumerate().for_each(|(index, (of_up, of_gate))| {
        let gate = &gate.as_slice()[index * panel..][..panel];
        let up = &up.as_slice()[index * panel..][..panel];
        run(ActivateBack { gate, up, of_up, of_gate });
    });
}

struct ActivateBack<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    of_up: &'a mut [f32],
    of_gate: &'a mut [f32],
}

impl Work for ActivateBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        let read = self.gate.as_chunks::<LANES>().0.iter().zip(self.up.as_chunks::<LANES>().0);
        let of_gate = self.of_gate.as_chunks_mut::<LANES>().0;
        let written = self.of_up.as_chunks_mut::<LANES>().0.iter_mut().zip(of_gate);
        for ((of_up, of_gate), (gate, up)) in written.zip(read) {
            for lane in 0..LANES {
                let (gate, of_hidden) = (gate[lane], of_up[lane]);
                let sigmoid = 1.0 / (1.0 + exp::<P::Vectors>(-gate));
                of_gate[lane] = of_hidden * up[lane] * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                of_up[lane] = of_hidden * gate * sigmoid;
            }
        }
    }
}
