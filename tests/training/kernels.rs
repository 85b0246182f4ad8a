//! Every dispatch of a training step on its own, at awkward sizes: what it leaves on the device
//! against its definition in `f64` on the device's own inputs. What is not its own stays as it was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pixel_llm::forward::params::MatrixParams;
use pixel_llm::model::gguf::Value;
use pixel_llm::model::quant::dequantize;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::training::gpu::kernels::BackShape;
use pixel_llm::training::gpu::params::{
    AdamwParams, AttentionParams, BackParams, EmbedParams, GradientNormParams, HeadParams,
    LoraInParams, LossParams, NONE, NormBackParams, NormParams, OuterParams, ProductParams,
    SwigluParams,
};
use pixel_llm::training::gpu::{Dispatched, GpuTrainer, GpuTraining};
use pixel_llm::training::optimizer::{AdamW, Decay, Schedule};
use pixel_llm::training::{LoraSettings, Sequence, Trained, TrainingSettings};

use crate::common::forward::open;
use crate::common::gpu::has_adapter;
use crate::common::tiny::{Random, Shape, Tiny};

/// Of the largest number that a dispatch leaves: sums of up to 301 products in `f32`.
const BUDGET: f64 = 2e-5;
/// Rotated dimensions, of 24.
const TURNED: usize = 16;

/// Heads of 24 of which 16 dimensions turn, three to a KV head; a vocabulary and matrices that end
/// within a group of 64 rows.
fn awkward(architecture: &str, encoding: Encoding) -> Tiny {
    let k = encoding.block_len() == 256;
    let (width, hidden) = if k { (256, 256) } else { (96, 160) };
    let (heads, kv_heads, head_size) = if k { (32, 4, 8) } else { (12, 4, 24) };
    let shape = Shape { width, vocab: 301, hidden, heads, kv_heads, head_size, layers: 2 };
    let mut tiny = Tiny::shaped(architecture, encoding, 11, shape);
    for (info, bytes) in tiny.tensors.iter_mut().filter(|(info, _)| info.dims.len() == 2) {
        soften(info.encoding, bytes);
    }
    if !k {
        let turned = Value::U32(TURNED as u32);
        tiny.set(&format!("{architecture}.rope.dimension_count"), turned);
    }
    tiny
}

/// Makes random weights smaller, so that scores stay small too.
fn soften(encoding: Encoding, bytes: &mut [u8]) {
    // Their scales are multiplied by numbers up to 63 and 127.
    let factor = match encoding {
        Encoding::Q5_K => 0.005,
        Encoding::Q6_K => 0.02,
        _ => 0.2,
    };
    for block in bytes.chunks_exact_mut(encoding.block_bytes()) {
        for &at in encoding.half_floats() {
            let scale = half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32() * factor;
            block[at..at + 2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
        }
        if let (Encoding::F32, Ok(value)) = (encoding, <[u8; 4]>::try_from(&*block)) {
            block.copy_from_slice(&(f32::from_le_bytes(value) * factor).to_le_bytes());
        }
    }
}

/// What a column is.
#[derive(Debug, Clone, Copy)]
struct Column {
    token: u32,
    position: usize,
    first: usize,
    end: usize,
    target: Option<u32>,
}

/// A model, what it learns from, and the definitions of its kernels.
struct Case {
    weights: HashMap<u32, Vec<f64>>,
    columns: Vec<Column>,
    wanted: Vec<usize>,
    vectors: Vec<f32>,
    base: f64,
}

/// What a dispatch is to leave: numbers by their places, and whether they are activations, trained
/// or results.
#[derive(Default)]
struct Left {
    activations: BTreeMap<usize, f64>,
    trained: BTreeMap<usize, f64>,
    results: BTreeMap<usize, f64>,
}

fn params<P: bytemuck::Pod>(seen: &Dispatched<'_>) -> P {
    bytemuck::pod_read_unaligned(&seen.params[..size_of::<P>()])
}

/// Where a quad of a factor's row begins, in numbers.
fn factor_at(place: u32, row: usize, column: usize, quads: u32) -> usize {
    let (quads, quad) = (quads as usize, column / 4);
    (place as usize + (row / 64 * quads + quad) * 64 + row % 64) * 4 + column % 4
}

impl Case {
    fn new(model: &PixelModel, tiny: &mut Tiny, sequences: &[Sequence]) -> Self {
        let mut weights = HashMap::new();
        for tensor in model.tensors().iter().filter(|tensor| tensor.dimensions.len() == 2) {
            let (info, bytes) = tiny.tensor(&tensor.name);
            let mut numbers = vec![0.0; tensor.weight_count() as usize];
            dequantize(info.encoding, bytes, &mut numbers);
            weights.insert(tensor.first_tile, numbers.into_iter().map(f64::from).collect());
        }
        let (mut columns, mut wanted) = (Vec::new(), Vec::new());
        for sequence in sequences {
            let (first, count) = (columns.len(), sequence.columns());
            for position in 0..count {
                let target =
                    sequence.is_target[position + 1].then(|| sequence.tokens[position + 1]);
                wanted.extend(target.map(|_| columns.len()));
                let (token, end) = (sequence.tokens[position], first + count);
                columns.push(Column { token, position, first, end, target });
            }
        }
        let base = f64::from(model.config().rope_base);
        Self { weights, columns, wanted, vectors: Vec::new(), base }
    }

    fn matrix(&self, m: &MatrixParams) -> impl Fn(usize, usize) -> f64 {
        let (numbers, inputs) = (&self.weights[&m.first_tile], m.columns as usize);
        move |row, column| numbers[row * inputs + column]
    }

    fn vector(&self, place: u32, at: usize) -> f64 {
        if place == NONE { 0.0 } else { f64::from(self.vectors[place as usize * 4 + at]) }
    }

    /// The columns of the rows that a dispatch computes.
    fn rows(&self, first: u32, most: u32) -> Vec<usize> {
        if first == NONE {
            return (0..self.columns.len()).collect();
        }
        self.wanted.iter().copied().skip(first as usize).take(most as usize).collect()
    }

    /// What a dispatch is to leave.
    fn left(&self, seen: &Dispatched<'_>) -> Left {
        match seen.name {
            "embed" => self.embed(&params(seen)),
            "norm" => self.norm(seen, &params(seen)),
            "lora_in" => self.lora_in(seen, &params(seen)),
            "product" => self.product(seen, &params(seen)),
            "rotate" => self.rotate(seen, &params(seen)),
            "attend" => self.attend(seen, &params(seen)),
            "swiglu" | "swiglu_back" => self.swiglu(seen, &params(seen)),
            "loss" => self.loss(seen, &params(seen)),
            "back" => self.back(seen, &params(seen)),
            "norm_back" => self.norm_back(seen, &params(seen)),
            "attend_back_query" => self.attend_back_query(seen, &params(seen)),
            "attend_back_key" => self.attend_back_key(seen, &params(seen)),
            "rotate_back" => self.rotate_back(seen, &params(seen)),
            "outer" => self.outer(seen, &params(seen)),
            "gradient_norm" => gradient_norm(seen, &params(seen)),
            "adamw" => adamw(seen, &params(seen)),
            other => panic!("{other} has no definition"),
        }
    }

    fn embed(&self, p: &EmbedParams) -> Left {
        let (w, inputs) = (self.matrix(&p.matrix), p.matrix.columns as usize);
        let mut left = Left::default();
        for (index, column) in self.columns.iter().enumerate() {
            for i in 0..inputs {
                let at = p.output as usize * 4 + index * inputs + i;
                left.activations.insert(at, w(column.token as usize, i));
            }
        }
        left
    }

    fn norm(&self, seen: &Dispatched<'_>, p: &NormParams) -> Left {
        let (x, n) = (&seen.before.activations, p.quads as usize * 4);
        let mut left = Left::default();
        let most = if p.first == NONE { 0 } else { 32 };
        for (row, column) in self.rows(p.first, most).into_iter().enumerate() {
            let x = &x[p.input as usize * 4 + column * n..][..n];
            let rho = rho(x, p.epsilon);
            for (i, x) in x.iter().enumerate() {
                let y = f64::from(*x) * rho * self.vector(p.gain, i);
                left.activations.insert(p.output as usize * 4 + row * n + i, y);
            }
        }
        left
    }

    fn lora_in(&self, seen: &Dispatched<'_>, p: &LoraInParams) -> Left {
        let (x, f) = (&seen.before.activations, &seen.before.trained);
        let mut left = Left::default();
        for column in 0..self.columns.len() {
            for r in 0..p.low_quads as usize * 4 {
                let product = |i: usize| {
                    let x = x[p.input as usize * 4 + column * p.stride as usize * 4 + i];
                    f64::from(x) * f64::from(f[factor_at(p.factor, i, r, p.low_quads)])
                };
                let sum: f64 = (0..p.quads as usize * 4).map(product).sum();
                let at = (p.output as usize + column * p.output_stride as usize) * 4 + r;
                left.activations.insert(at, sum * f64::from(p.scale));
            }
        }
        left
    }

    fn product(&self, seen: &Dispatched<'_>, p: &ProductParams) -> Left {
        let (a, f) = (&seen.before.activations, &seen.before.trained);
        let (w, inputs) = (self.matrix(&p.matrix), p.matrix.columns as usize);
        let mut left = Left::default();
        for row in 0..self.rows(p.first, p.most).len() {
            let x = &a[p.input as usize * 4 + row * inputs..][..inputs];
            for o in 0..p.rows as usize {
                // Surplus rows of logits are not read.
                let mut y = f64::NAN;
                if o < p.matrix.rows as usize {
                    y = x.iter().enumerate().map(|(i, x)| f64::from(*x) * w(o, i)).sum();
                    y += self.vector(p.bias, o);
                    for r in 0..p.low_quads as usize * 4 {
                        let h = a[(p.low as usize + row * p.low_stride as usize) * 4 + r];
                        let b = f[factor_at(p.factor, o, r, p.low_quads)];
                        y += f64::from(h) * f64::from(b);
                    }
                    if p.added != NONE {
                        y += f64::from(a[(p.added + row as u32 * p.stride) as usize * 4 + o]);
                    }
                }
                let at = (p.output as usize + row * p.stride as usize) * 4 + o;
                left.activations.insert(at, y);
            }
        }
        left
    }

    fn back(&self, seen: &Dispatched<'_>, p: &BackParams) -> Left {
        let (a, f) = (&seen.before.activations, &seen.before.trained);
        let (w, inputs) = (self.matrix(&p.matrix), p.matrix.columns as usize);
        let rows =
            p.first_group as usize * 64..(p.last_group as usize * 64).min(p.matrix.rows as usize);
        let mut left = Left::default();
        for row in 0..self.rows(p.first, p.most).len() {
            let dy = &a[(p.input as usize + row * p.stride as usize) * 4..];
            for i in 0..inputs {
                let at = p.output as usize * 4 + row * inputs + i;
                let mut dx: f64 = rows.clone().map(|o| f64::from(dy[o]) * w(o, i)).sum();
                for r in 0..p.low_quads as usize * 4 {
                    let e = a[(p.low as usize + row * p.low_quads as usize) * 4 + r];
                    dx += f64::from(e) * f64::from(f[factor_at(p.factor, i, r, p.low_quads)]);
                }
                if p.added == 1 {
                    dx += f64::from(a[at]);
                }
                left.activations.insert(at, dx);
            }
        }
        left
    }

    fn norm_back(&self, seen: &Dispatched<'_>, p: &NormBackParams) -> Left {
        let (a, n) = (&seen.before.activations, p.quads as usize * 4);
        let mut left = Left::default();
        for column in 0..self.columns.len() {
            let x = &a[p.input as usize * 4 + column * n..][..n];
            let output = p.output as usize * 4 + column * n;
            let row = if p.begins == 1 {
                self.wanted.iter().position(|wanted| *wanted == column)
            } else {
                Some(column)
            };
            let Some(row) = row else {
                left.activations.extend((output..output + n).map(|at| (at, 0.0)));
                continue;
            };
            let dy = &a[p.gradient as usize * 4 + row * n..][..n];
            let gains: Vec<f64> = (0..n).map(|i| self.vector(p.gain, i)).collect();
            let mut squares = 0.0;
            for (i, dx) in norm_back(x, dy, &gains, p.epsilon).into_iter().enumerate() {
                let added = if p.begins == 1 { 0.0 } else { f64::from(a[output + i]) };
                squares += (dx + added) * (dx + added);
                left.activations.insert(output + i, dx + added);
            }
            if p.result != NONE {
                let at = p.result as usize + column;
                let before = f64::from(seen.before.results[at]);
                left.results.insert(at, before + squares);
            }
        }
        left
    }

    fn swiglu(&self, seen: &Dispatched<'_>, p: &SwigluParams) -> Left {
        let (a, mut left) = (&seen.before.activations, Left::default());
        for at in 0..self.columns.len() * p.quads as usize * 4 {
            let [gate, up, hidden] = [p.gate, p.up, p.hidden].map(|place| place as usize * 4 + at);
            let [g, u, d] = [gate, up, hidden].map(|at| f64::from(a[at]));
            let sigmoid = 1.0 / (1.0 + (-g).exp());
            if seen.name == "swiglu" {
                left.activations.insert(hidden, g * sigmoid * u);
            } else {
                left.activations.insert(gate, d * u * sigmoid * (1.0 + g * (1.0 - sigmoid)));
                left.activations.insert(up, d * g * sigmoid);
            }
        }
        left
    }

    fn loss(&self, seen: &Dispatched<'_>, p: &LossParams) -> Left {
        let mut left = Left::default();
        for (row, column) in self.rows(p.first, 32).into_iter().enumerate() {
            let first = (p.logits as usize + row * p.stride as usize) * 4;
            let logits = &seen.before.activations[first..][..p.vocabulary as usize];
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let all: f64 = logits.iter().map(|z| f64::from(z - most).exp()).sum();
            let lse = all.ln() + f64::from(most);
            let target = self.columns[column].target.unwrap() as usize;
            let loss = lse - f64::from(logits[target]);
            left.results.insert(p.first as usize + row, loss);
            for token in 0..p.stride as usize * 4 {
                let dz = logits.get(token).map_or(0.0, |z| {
                    (f64::from(*z) - lse).exp() - f64::from(u8::from(token == target))
                });
                left.activations.insert(first + token, dz);
            }
        }
        left
    }

    fn rotate(&self, seen: &Dispatched<'_>, p: &HeadParams) -> Left {
        let (a, n, mut left) = (&seen.before.activations, p.quads as usize * 4, Left::default());
        for (column, head, at, output) in self.heads(p, [p.query, p.key]) {
            let mut x: Vec<f64> = a[at..][..n].iter().map(|x| f64::from(*x)).collect();
            if p.norm != NONE {
                let rho = rho(&a[at..][..n], p.epsilon);
                for (i, x) in x.iter_mut().enumerate() {
                    *x *= rho * self.head_gain(p, head, i);
                }
            }
            self.turn(p, &mut x, self.columns[column].position as f64);
            left.activations.extend(x.into_iter().enumerate().map(|(i, x)| (output + i, x)));
        }
        left
    }

    fn rotate_back(&self, seen: &Dispatched<'_>, p: &HeadParams) -> Left {
        let (a, n, mut left) = (&seen.before.activations, p.quads as usize * 4, Left::default());
        for (column, head, at, from) in self.heads(p, [p.query_gradient, p.key_gradient]) {
            let mut d: Vec<f64> = a[from..][..n].iter().map(|d| f64::from(*d)).collect();
            self.turn(p, &mut d, -(self.columns[column].position as f64));
            if p.norm != NONE {
                let gains: Vec<f64> = (0..n).map(|i| self.head_gain(p, head, i)).collect();
                d = norm_back_wide(&a[at..][..n], &d, &gains, p.epsilon);
            }
            let output = at - p.projected as usize * 4 + p.gradient as usize * 4;
            left.activations.extend(d.into_iter().enumerate().map(|(i, d)| (output + i, d)));
        }
        left
    }

    /// Column, head, where its product is and where its query or key is.
    fn heads(&self, p: &HeadParams, places: [u32; 2]) -> Vec<(usize, usize, usize, usize)> {
        let (queries, keys) = (p.query_quads / p.quads, p.key_quads / p.quads);
        let mut heads = Vec::new();
        for column in 0..self.columns.len() {
            for head in 0..queries + keys {
                let at = p.projected as usize + column * p.stride as usize;
                let turned = if head < queries {
                    places[0] + column as u32 * p.query_quads + head * p.quads
                } else {
                    places[1] + column as u32 * p.key_quads + (head - queries) * p.quads
                };
                let at = (at + (head * p.quads) as usize) * 4;
                heads.push((column, head as usize, at, turned as usize * 4));
            }
        }
        heads
    }

    fn head_gain(&self, p: &HeadParams, head: usize, i: usize) -> f64 {
        let is_key = head >= (p.query_quads / p.quads) as usize;
        self.vector(p.norm + if is_key { p.quads } else { 0 }, i)
    }

    fn turn(&self, p: &HeadParams, x: &mut [f64], position: f64) {
        let size = p.turned as usize * 4;
        for pair in 0..size / 2 {
            let angle = position * self.base.powf(-2.0 * pair as f64 / size as f64);
            let (i, j) =
                if p.kind == 0 { (2 * pair, 2 * pair + 1) } else { (pair, pair + size / 2) };
            (x[i], x[j]) =
                (x[i] * angle.cos() - x[j] * angle.sin(), x[i] * angle.sin() + x[j] * angle.cos());
        }
    }

    fn attend(&self, seen: &Dispatched<'_>, p: &AttentionParams) -> Left {
        let mut left = Left::default();
        let heads = Heads::new(&seen.before.activations, p, self.base_size(p));
        for (column, facts) in self.columns.iter().enumerate() {
            for head in 0..p.head_count as usize {
                let (weights, lse) = heads.weights(column, head, facts.first);
                for i in 0..heads.size {
                    let of = |(row, w): (usize, &f64)| w * heads.value(facts.first + row, head, i);
                    let at = heads.spot(p.attended, column, head) + i;
                    left.activations.insert(at, weights.iter().enumerate().map(of).sum());
                }
                let at = (p.lse as usize + column * p.head_count as usize + head) * 4;
                left.activations.extend((at..at + 4).map(|at| (at, lse)));
            }
        }
        left
    }

    fn attend_back_query(&self, seen: &Dispatched<'_>, p: &AttentionParams) -> Left {
        let mut left = Left::default();
        let heads = Heads::new(&seen.before.activations, p, self.base_size(p));
        for (column, facts) in self.columns.iter().enumerate() {
            for head in 0..p.head_count as usize {
                let (slopes, delta) = heads.slopes(column, head, facts.first);
                for i in 0..heads.size {
                    let of = |(row, s): (usize, &f64)| s * heads.key(facts.first + row, head, i);
                    let sum: f64 = slopes.iter().enumerate().map(of).sum();
                    let at = heads.spot(p.query_gradient, column, head) + i;
                    left.activations.insert(at, sum * f64::from(p.score_scale));
                }
                let at = (p.delta as usize + column * p.head_count as usize + head) * 4;
                left.activations.extend((at..at + 4).map(|at| (at, delta)));
            }
        }
        left
    }

    fn attend_back_key(&self, seen: &Dispatched<'_>, p: &AttentionParams) -> Left {
        let mut left = Left::default();
        let heads = Heads::new(&seen.before.activations, p, self.base_size(p));
        let (share, kv_heads) = (p.heads_per_kv as usize, p.head_count / p.heads_per_kv);
        for (column, facts) in self.columns.iter().enumerate() {
            for kv in 0..kv_heads as usize {
                let (mut dk, mut dv) = (vec![0.0; heads.size], vec![0.0; heads.size]);
                for head in kv * share..(kv + 1) * share {
                    for later in column..facts.end {
                        let (weights, _) = heads.weights(later, head, facts.first);
                        let (slopes, _) = heads.slopes(later, head, facts.first);
                        let row = column - facts.first;
                        for i in 0..heads.size {
                            let scale = f64::from(p.score_scale);
                            dk[i] += slopes[row] * heads.query(later, head, i) * scale;
                            dv[i] += weights[row] * heads.given(later, head, i);
                        }
                    }
                }
                let row = (column * kv_heads as usize + kv) * heads.size;
                let of_value = column * p.value_stride as usize * 4 + kv * heads.size;
                for i in 0..heads.size {
                    left.activations.insert(p.key_gradient as usize * 4 + row + i, dk[i]);
                    left.activations.insert(p.value_gradient as usize * 4 + of_value + i, dv[i]);
                }
            }
        }
        left
    }

    /// Dimensions of a head, by what the scores are divided by.
    fn base_size(&self, p: &AttentionParams) -> usize {
        (1.0 / f64::from(p.score_scale).powi(2)).round() as usize
    }

    fn outer(&self, seen: &Dispatched<'_>, p: &OuterParams) -> Left {
        let (a, mut left) = (&seen.before.activations, Left::default());
        for row in 0..p.rows as usize {
            for r in 0..p.low_quads as usize * 4 {
                let product = |column: usize| {
                    let x = a[(p.input as usize + column * p.stride as usize) * 4 + row];
                    let h = a[(p.low as usize + column * p.low_stride as usize) * 4 + r];
                    f64::from(x) * f64::from(h)
                };
                let sum = (0..self.columns.len()).map(product).sum();
                left.trained.insert(factor_at(p.gradient, row, r, p.low_quads), sum);
            }
        }
        left
    }
}

/// Queries, keys and values of a layer.
struct Heads<'a> {
    numbers: &'a [f32],
    p: &'a AttentionParams,
    size: usize,
}

impl<'a> Heads<'a> {
    fn new(numbers: &'a [f32], p: &'a AttentionParams, size: usize) -> Self {
        Self { numbers, p, size }
    }

    fn spot(&self, place: u32, column: usize, head: usize) -> usize {
        place as usize * 4 + (column * self.p.head_count as usize + head) * self.size
    }

    fn query(&self, column: usize, head: usize, i: usize) -> f64 {
        f64::from(self.numbers[self.spot(self.p.query, column, head) + i])
    }

    fn given(&self, column: usize, head: usize, i: usize) -> f64 {
        f64::from(self.numbers[self.spot(self.p.gradient, column, head) + i])
    }

    fn key(&self, column: usize, head: usize, i: usize) -> f64 {
        let (share, heads) = (self.p.heads_per_kv as usize, self.p.head_count as usize);
        let row = (column * (heads / share) + head / share) * self.size;
        f64::from(self.numbers[self.p.key as usize * 4 + row + i])
    }

    fn value(&self, column: usize, head: usize, i: usize) -> f64 {
        let row = column * self.p.value_stride as usize * 4;
        let head = head / self.p.heads_per_kv as usize * self.size;
        f64::from(self.numbers[self.p.value as usize * 4 + row + head + i])
    }

    /// Weights of all columns from `first` on, and the logarithm of their sum.
    fn weights(&self, column: usize, head: usize, first: usize) -> (Vec<f64>, f64) {
        let dot = |row: usize| {
            let product = |i| self.query(column, head, i) * self.key(row, head, i);
            (0..self.size).map(product).sum::<f64>() * f64::from(self.p.score_scale)
        };
        let scores: Vec<f64> = (first..=column).map(dot).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln();
        (scores.iter().map(|score| (score - lse).exp()).collect(), lse)
    }

    /// Gradients of the scores, and the sum of weights times gradients of weights.
    fn slopes(&self, column: usize, head: usize, first: usize) -> (Vec<f64>, f64) {
        let (weights, _) = self.weights(column, head, first);
        let dot = |row: usize| {
            (0..self.size).map(|i| self.given(column, head, i) * self.value(row, head, i)).sum()
        };
        let of_weights: Vec<f64> = (first..=column).map(dot).collect();
        let delta = weights.iter().zip(&of_weights).map(|(p, d)| p * d).sum::<f64>();
        (weights.iter().zip(&of_weights).map(|(p, d)| p * (d - delta)).collect(), delta)
    }
}

fn rho(x: &[f32], epsilon: f32) -> f64 {
    let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    1.0 / (squares / x.len() as f64 + f64::from(epsilon)).sqrt()
}

fn norm_back(x: &[f32], dy: &[f32], gains: &[f64], epsilon: f32) -> Vec<f64> {
    let dy: Vec<f64> = dy.iter().map(|d| f64::from(*d)).collect();
    norm_back_wide(x, &dy, gains, epsilon)
}

fn norm_back_wide(x: &[f32], dy: &[f64], gains: &[f64], epsilon: f32) -> Vec<f64> {
    let rho = rho(x, epsilon);
    let t: f64 = (0..x.len()).map(|j| gains[j] * dy[j] * f64::from(x[j])).sum();
    let of = |i: usize| rho * gains[i] * dy[i] - f64::from(x[i]) * rho.powi(3) / x.len() as f64 * t;
    (0..x.len()).map(of).collect()
}

fn gradient_norm(seen: &Dispatched<'_>, p: &GradientNormParams) -> Left {
    let gradient = &seen.before.trained[p.gradient as usize * 4..][..p.quads as usize * 4];
    let mut left = Left::default();
    // Whole rows of 256 workgroups; behind them are results of the residual stream.
    let pieces = gradient.len().div_ceil(4096).next_multiple_of(256);
    for at in 0..pieces {
        let piece = gradient.chunks(4096).nth(at).unwrap_or_default();
        let sum = piece.iter().map(|g| f64::from(*g).powi(2)).sum();
        left.results.insert(p.result as usize + at, sum);
    }
    left
}

fn adamw(seen: &Dispatched<'_>, p: &AdamwParams) -> Left {
    let (t, mut left) = (&seen.before.trained, Left::default());
    for i in 0..p.quads as usize * 4 {
        let at = [p.values, p.gradient, p.moment, p.square].map(|place| place as usize * 4 + i);
        let [value, g, m, v] = at.map(|at| f64::from(t[at]));
        let [beta1, beta2] = [p.beta1, p.beta2].map(f64::from);
        let g = g * f64::from(p.clip);
        let m = beta1 * m + (1.0 - beta1) * g;
        let v = beta2 * v + (1.0 - beta2) * g * g;
        let root = (v * f64::from(p.second_factor)).sqrt() + f64::from(p.epsilon);
        let step = f64::from(p.rate) * m * f64::from(p.first_factor) / root;
        left.trained.insert(at[0], value * f64::from(p.keep) - step);
        left.trained.insert(at[2], m);
        left.trained.insert(at[3], v);
    }
    left
}

/// The largest error of a dispatch, as a share of the largest number.
fn compare(name: &str, before: &[f32], after: &[f32], left: &BTreeMap<usize, f64>) -> f64 {
    let is_number = |expected: &&f64| !expected.is_nan();
    let largest = left.values().filter(is_number).fold(1e-9, |most: f64, v| most.max(v.abs()));
    let mut worst = 0f64;
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        match left.get(&at) {
            // What is written there is nobody's.
            Some(expected) if expected.is_nan() => {}
            Some(expected) => {
                let error = (f64::from(*after) - expected).abs() / largest;
                // A number that is none is the largest error.
                worst = if error <= worst { worst } else { error };
            }
            None => assert_eq!(before.to_bits(), after.to_bits(), "{name} wrote to {at}"),
        }
    }
    worst
}

fn learning() -> TrainingSettings {
    TrainingSettings {
        what: Trained::Lora(LoraSettings { rank: 6, ..Default::default() }),
        optimizer: AdamW::default(),
        schedule: Schedule { decay: Decay::Constant, rate: 1.0, least: 0.0, warmup: 0, steps: 1 },
        seed: 3,
    }
}

/// Holds every dispatch of a step.
fn hold(name: &str, tiny: &mut Tiny, shape: Option<BackShape>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny.write(&path);
    let model = Arc::new(open(&path));
    let tokens = |count: u32, seed: u32| (0..count).map(move |t| (t * t * 7 + t * 3 + seed) % 301);
    let sequences = [
        Sequence::from_first_target(tokens(22, 5).collect(), 3),
        Sequence::from_first_target(tokens(17, 90).collect(), 1),
    ];
    let settings = learning();
    let training = GpuTraining {
        columns: 37,
        memory: Some(0),
        choice: Default::default(),
        shape,
        shaders: crate::gpu::shaders(),
    };
    let mut start = pixel_llm::training::start::parameters(&model, &settings, None).unwrap();
    // A new adapter's second factor is zero: nothing would come of it.
    let mut random = Random(9);
    for value in start.iter_mut().flat_map(|parameter| &mut parameter.values) {
        *value += (random.below(2001) as f32 - 1000.0) * 1e-4;
    }
    let start = pixel_llm::training::start::adapter(&model, &settings, &start);
    let mut trainer =
        GpuTrainer::new(Arc::clone(&model), &settings, start.as_ref(), &training).unwrap();
    let mut case = Case::new(&model, tiny, &sequences);
    case.vectors = trainer.vectors().to_vec();
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    let mut see = |seen: &Dispatched<'_>| {
        let left = case.left(seen);
        let (before, after) = (seen.before, seen.after);
        let errors = [
            compare(seen.name, &before.activations, &after.activations, &left.activations),
            compare(seen.name, &before.trained, &after.trained, &left.trained),
            compare(seen.name, &before.results, &after.results, &left.results),
        ];
        let worst = worst.entry(seen.name).or_default();
        *worst = errors.into_iter().fold(*worst, |a, b| if b <= a { a } else { b });
    };
    trainer.watch(&sequences, &mut see).unwrap();
    println!("{name}: {worst:?}");
    assert_eq!(worst.len(), pixel_llm::training::gpu::kernels::SOURCES.len(), "all kernels ran");
    for (kernel, error) in worst {
        assert!(error <= BUDGET, "{name}, {kernel}: {error} of the largest number");
    }
}

#[test]
fn every_dispatch_leaves_what_its_definition_says() {
    if !has_adapter() {
        return;
    }
    for (architecture, encoding) in
        [("llama", Encoding::Q4_1), ("qwen2", Encoding::F32), ("qwen3", Encoding::Q8_0)]
    {
        let mut tiny = awkward(architecture, encoding);
        if architecture == "llama" {
            tiny.add_biases(&mut Random(12), 0..1);
        }
        hold(&format!("{architecture} {encoding}"), &mut tiny, None);
    }
}

#[test]
fn every_encoding_is_read_both_ways() {
    if !has_adapter() {
        return;
    }
    for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
        let shape = BackShape::ALL[index % BackShape::ALL.len()];
        hold(&format!("{encoding} {shape:?}"), &mut awkward("llama", encoding), Some(shape));
    }
}
