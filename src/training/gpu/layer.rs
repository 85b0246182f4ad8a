//! The dispatches of a layer, forward and back.

use super::kernels::Name;
use super::params::{AttentionParams, HeadParams, LoraInParams, NONE, OuterParams, SwigluParams};
use super::program::{Builder, DispatchRows, Op, ProductPlaces};
use crate::forward::bind::{BoundLayer, LayerVector, rope_params};
use crate::forward::gpu::adapter_places::{Adapted, AdaptedLayer, FactorPlace};

/// Columns that a workgroup of `lora_in` multiplies at once.
const LORA_COLUMNS: u32 = 8;
/// Quads of a column that a workgroup of `swiglu` takes.
const SWIGLU_QUADS: u32 = 128;
/// Columns whose keys a workgroup of `attend_back_key` goes back to.
const KEYS: u32 = 4;
/// The most query heads of a workgroup.
const MOST_HEADS: u32 = 4;

/// How many query heads share a workgroup, of those that share a KV head.
pub(super) fn heads_together(heads_per_kv: u32) -> u32 {
    (1..=MOST_HEADS).rev().find(|heads| heads_per_kv.is_multiple_of(*heads)).unwrap_or(1)
}

/// Groups of matrices that share their inputs, as `adapter` has them.
const QKV: usize = 0;
const OUTPUT: usize = 1;
const GATE_UP: usize = 2;
const DOWN: usize = 3;

/// A matrix of a layer: its number among the adapter's targets, and its bias.
#[derive(Debug, Clone, Copy)]
struct TrainedMatrix {
    target: usize,
    group: usize,
    bias: LayerVector,
}

const MATRICES: [TrainedMatrix; 7] = [
    TrainedMatrix { target: 0, group: QKV, bias: LayerVector::QueryBias },
    TrainedMatrix { target: 1, group: QKV, bias: LayerVector::KeyBias },
    TrainedMatrix { target: 2, group: QKV, bias: LayerVector::ValueBias },
    TrainedMatrix { target: 3, group: OUTPUT, bias: LayerVector::OutputBias },
    TrainedMatrix { target: 4, group: GATE_UP, bias: LayerVector::GateBias },
    TrainedMatrix { target: 5, group: GATE_UP, bias: LayerVector::UpBias },
    TrainedMatrix { target: 6, group: DOWN, bias: LayerVector::DownBias },
];

/// What a matrix multiplies and where its product lies, or the gradients of both.
#[derive(Debug, Clone, Copy)]
struct Sides {
    input: u32,
    output: u32,
    /// Quads from one column of the output to the next.
    stride: u32,
}

impl Builder<'_> {
    /// A layer from its entrance on: to the next one's, or to what its way back reads.
    pub(super) fn layer(&mut self, index: usize, whole: bool) -> Vec<Op> {
        let (w, places) = (self.places.work(index), self.places);
        let (entrance, exit) = (places.residual[index], places.residual[index + 1]);
        let bound = self.bound;
        let layer = &bound.layers[index];
        let width = self.config.embedding_size / 4;
        let projected = projected_quads(layer);
        let mut ops = Vec::new();

        ops.push(self.norm(
            entrance,
            w.first_norm,
            self.gain(index, LayerVector::AttentionNorm),
            None,
        ));
        self.low(index, QKV, w.first_norm, &mut ops);
        let mut output = w.projected;
        for matrix in &MATRICES[..3] {
            let sides = Sides { input: w.first_norm, output, stride: projected };
            ops.push(self.adapted_product(index, *matrix, sides, None));
            output += layer.qkv[matrix.target].params.rows / 4;
        }
        ops.push(self.rotation(Name::Rotate, index));
        ops.push(self.attention_op(Name::Attend, index));
        self.low(index, OUTPUT, w.attended, &mut ops);
        let sides = Sides { input: w.attended, output: w.middle, stride: width };
        ops.push(self.adapted_product(index, MATRICES[3], sides, Some(entrance)));

        let gain = self.gain(index, LayerVector::FeedForwardNorm);
        ops.push(self.norm(w.middle, w.second_norm, gain, None));
        self.low(index, GATE_UP, w.second_norm, &mut ops);
        let hidden = layer.gate.params.rows / 4;
        for (matrix, output) in [(MATRICES[4], w.gate), (MATRICES[5], w.up)] {
            let sides = Sides { input: w.second_norm, output, stride: hidden };
            ops.push(self.adapted_product(index, matrix, sides, None));
        }
        ops.push(self.swiglu(Name::Swiglu, index));
        self.low(index, DOWN, w.hidden, &mut ops);
        if whole {
            let sides = Sides { input: w.hidden, output: exit, stride: width };
            ops.push(self.adapted_product(index, MATRICES[6], sides, Some(w.middle)));
        }
        ops
    }

    /// A layer back: gradients of its factors, and, where somebody below reads it, of its entrance.
    pub(super) fn layer_back(&mut self, index: usize, to_entrance: bool) -> Vec<Op> {
        let (w, g, places) = (self.places.work(index), self.places.gradients, self.places);
        let (bound, adapter) = (self.bound, self.adapter);
        let (layer, adapted) = (&bound.layers[index], &adapter.layers[index]);
        let width = self.config.embedding_size / 4;
        let hidden = layer.gate.params.rows / 4;
        let mut ops = Vec::new();
        let residual = |output| Sides { input: g.residual, output, stride: width };
        let of_hidden = |input| Sides { input, output: g.norm, stride: hidden };

        self.back_through(index, &MATRICES[6..], &[residual(g.hidden)], w.hidden, true, &mut ops);
        ops.push(self.swiglu(Name::SwigluBack, index));
        let sides = [of_hidden(w.gate), of_hidden(w.up)];
        self.back_through(index, &MATRICES[4..6], &sides, w.second_norm, true, &mut ops);
        let gain = self.gain(index, LayerVector::FeedForwardNorm);
        ops.push(self.norm_back(w.middle, g.norm, gain, (false, None)));

        let sides = [residual(g.attended)];
        self.back_through(index, &MATRICES[3..4], &sides, w.attended, true, &mut ops);
        // The key's kernel reads what the query's leaves.
        ops.push(self.attention_op(Name::AttendBackQuery, index));
        ops.push(self.attention_op(Name::AttendBackKey, index));
        ops.push(self.rotation(Name::RotateBack, index));
        let mut input = g.projected;
        let sides = layer.qkv.map(|matrix| {
            let sides = Sides { input, output: g.norm, stride: projected_quads(layer) };
            input += matrix.params.rows / 4;
            sides
        });
        if to_entrance || adapted.first[QKV].quads > 0 {
            self.back_through(index, &MATRICES[..3], &sides, w.first_norm, to_entrance, &mut ops);
        }
        if to_entrance {
            let gain = self.gain(index, LayerVector::AttentionNorm);
            let entrance = places.residual[index];
            ops.push(self.norm_back(entrance, g.norm, gain, (false, Some(index))));
        }
        ops
    }

    fn gain(&self, layer: usize, vector: LayerVector) -> u32 {
        self.vectors.place(layer, vector).unwrap_or(NONE)
    }

    /// The first factors of a group times its inputs.
    fn low(&mut self, index: usize, group: usize, input: u32, ops: &mut Vec<Op>) {
        let adapter = self.adapter;
        let adapted = &adapter.layers[index];
        let first = adapted.first[group];
        let output = self.places.work(index).low[group];
        // Each target has a scale of its own, which its second factor's gradient needs as well.
        let mut before = 0;
        for target in members(adapted, group) {
            let params = LoraInParams {
                input,
                quads: first.rows / 4,
                stride: first.rows / 4,
                factor: first.place,
                low_quads: first.quads,
                output,
                output_stride: first.quads,
                scale: target.scale,
            };
            if members(adapted, group).all(|other| other.scale == target.scale) {
                ops.push(self.lora_in(&params, first.quads));
                return;
            }
            // A part of the factor's lines: 64 quads for each quad of rank.
            let params = LoraInParams {
                factor: first.place + before * 64,
                output: output + before,
                ..params
            };
            ops.push(self.lora_in(&params, target.quads));
            before += target.quads;
        }
    }

    fn lora_in(&mut self, params: &LoraInParams, quads: u32) -> Op {
        self.op(Name::LoraIn, Vec::new(), params, quads, DispatchRows::Columns(LORA_COLUMNS))
    }

    fn adapted_product(
        &mut self,
        layer: usize,
        matrix: TrainedMatrix,
        sides: Sides,
        added: Option<u32>,
    ) -> Op {
        let (bound, adapter) = (self.bound, self.adapter);
        let adapted = &adapter.layers[layer];
        let bias = self.vectors.place(layer, matrix.bias);
        let Sides { input, output, stride } = sides;
        let product = ProductPlaces { input, output, stride, bias, added, wanted: None };
        let group = matrix.group;
        let low = adapted.targets[matrix.target].as_ref().map(|target| {
            let low = self.places.work(layer).low[group] + target.before;
            [low, adapted.first[group].quads, target.quads, target.second.place]
        });
        self.product(bound.layers[layer].matrices()[matrix.target], product, low)
    }

    /// Through matrices that share their inputs: gradients of their factors, and of the inputs,
    /// which are at `inputs`.
    fn back_through(
        &mut self,
        layer: usize,
        matrices: &[TrainedMatrix],
        sides: &[Sides],
        inputs: u32,
        to_inputs: bool,
        ops: &mut Vec<Op>,
    ) {
        let (bound, adapter) = (self.bound, self.adapter);
        let adapted = &adapter.layers[layer];
        let group = matrices[0].group;
        let first = adapted.first[group];
        let low = self.places.work(layer).low[group];
        let gradient = self.places.gradients.low[group];
        for (matrix, side) in matrices.iter().zip(sides) {
            let Some(target) = &adapted.targets[matrix.target] else { continue };
            let second = target.second;
            let params = LoraInParams {
                input: side.input,
                quads: second.rows / 4,
                stride: side.stride,
                factor: second.place,
                low_quads: second.quads,
                output: gradient + target.before,
                output_stride: first.quads,
                scale: target.scale,
            };
            ops.push(self.lora_in(&params, second.quads));
            let low = low + target.before;
            ops.push(self.outer(side.input, side.stride, second, low, first.quads));
        }
        if first.quads > 0 {
            ops.push(self.outer(inputs, first.rows / 4, first, gradient, first.quads));
        }
        if !to_inputs {
            return;
        }
        for (index, (matrix, side)) in matrices.iter().zip(sides).enumerate() {
            let product = ProductPlaces {
                input: side.input,
                output: side.output,
                stride: side.stride,
                bias: None,
                added: (index > 0).then_some(side.output),
                wanted: None,
            };
            let is_last = index + 1 == matrices.len();
            let low = is_last.then_some([gradient, first.quads, first.place]);
            ops.extend(self.back(bound.layers[layer].matrices()[matrix.target], product, low));
        }
    }

    fn outer(
        &mut self,
        input: u32,
        stride: u32,
        factor: FactorPlace,
        low: u32,
        low_stride: u32,
    ) -> Op {
        let params = OuterParams {
            input,
            stride,
            rows: factor.rows,
            low,
            low_stride,
            low_quads: factor.quads,
            gradient: self.adapter.quads + factor.place,
            padding: 0,
        };
        let down = DispatchRows::Fixed(factor.quads.div_ceil(2));
        self.op(Name::Outer, Vec::new(), &params, factor.rows.div_ceil(32), down)
    }

    fn rotation(&mut self, name: Name, index: usize) -> Op {
        let (config, w, g) = (self.config, self.places.work(index), self.places.gradients);
        let rope = rope_params(config);
        let params = HeadParams {
            projected: w.projected,
            stride: projected_quads(&self.bound.layers[index]),
            query: w.query,
            key: w.key,
            query_quads: config.query_size() / 4,
            key_quads: config.kv_size() / 4,
            quads: config.head_size / 4,
            turned: rope.size / 4,
            kind: rope.kind,
            norm: self.vectors.place(index, LayerVector::QueryNorm).unwrap_or(NONE),
            epsilon: config.norm_epsilon,
            gradient: g.projected,
            query_gradient: g.query,
            key_gradient: g.key,
            padding: [0; 2],
        };
        let heads = config.head_count + config.head_count / config.heads_per_kv();
        self.op(name, Vec::new(), &params, heads, DispatchRows::Columns(1))
    }

    fn attention_op(&mut self, name: Name, index: usize) -> Op {
        let (config, w, g) = (self.config, self.places.work(index), self.places.gradients);
        let before = (config.query_size() + config.kv_size()) / 4;
        let params = AttentionParams {
            query: w.query,
            key: w.key,
            value: w.projected + before,
            value_stride: projected_quads(&self.bound.layers[index]),
            attended: w.attended,
            gradient: g.attended,
            lse: w.lse,
            delta: g.delta,
            query_gradient: g.query,
            key_gradient: g.key,
            value_gradient: g.projected + before,
            head_count: config.head_count,
            heads_per_kv: config.heads_per_kv(),
            score_scale: 1.0 / (config.head_size as f32).sqrt(),
            padding: [0; 2],
        };
        let (units, together) = match name {
            Name::AttendBackKey => (config.head_count / config.heads_per_kv(), KEYS),
            _ => (config.head_count / heads_together(config.heads_per_kv()), 1),
        };
        let defs = self.attention();
        self.op(name, defs, &params, units, DispatchRows::Columns(together))
    }

    fn swiglu(&mut self, name: Name, index: usize) -> Op {
        let (w, g) = (self.places.work(index), self.places.gradients);
        let quads = self.bound.layers[index].gate.params.rows / 4;
        let hidden = if name == Name::SwigluBack { g.hidden } else { w.hidden };
        let params = SwigluParams { gate: w.gate, up: w.up, hidden, quads };
        self.op(name, Vec::new(), &params, quads.div_ceil(SWIGLU_QUADS), DispatchRows::Columns(1))
    }
}

/// Adapted matrices of a group, in the order of their parts of the first factor.
fn members(adapted: &AdaptedLayer, group: usize) -> impl Iterator<Item = &Adapted> {
    let of_group = MATRICES.iter().filter(move |matrix| matrix.group == group);
    let mut members: Vec<_> =
        of_group.filter_map(|matrix| adapted.targets[matrix.target].as_ref()).collect();
    members.sort_by_key(|target| target.before);
    members.into_iter()
}

/// Quads of query, key and value side by side.
fn projected_quads(layer: &BoundLayer) -> u32 {
    layer.qkv.iter().map(|matrix| matrix.params.rows / 4).sum()
}
