//! Every kernel of the forward pass on its own, at awkward sizes: what it leaves on the device
//! against its CPU twin, place by place and layer by layer, or against its definition in `f64` on
//! the device's own inputs.
//!
//! Errors are counted against the largest number of a row, since rounding is.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::forward::open;
use crate::common::gpu::{ask, engine, read_numbers};
use crate::common::tiny::{Shape, Tiny};
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::{Batch, Column, Engine, QueryKind};
use pixel_llm::forward::cpu::{Column as CpuColumn, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::sampling::{Sampler, SamplingParams};
use pixel_llm::forward::{HookPoint, Hooks, Interventions};
use pixel_llm::model::gguf::Value;
use pixel_llm::model::quant::dequantize;
use pixel_llm::model::{Encoding, ModelConfig, PixelModel};

/// Positions of a slot, as `engine` makes them.
const CONTEXT: usize = 64;

/// What every place may be off by, of the largest number of its row: sums of up to 288 products in
/// `f32`, in another order. The processor rounds activations to 20 bits before it multiplies
/// quantised weights, which moves a key by 1.3e-5 with Q5_K.
const BUDGETS: [(&str, f64); 8] = [
    ("embed", 1e-6),
    ("query", 1e-5),
    ("key", 2e-5),
    ("value", 2e-5),
    ("attend", 2e-5),
    ("hidden", 3e-5),
    ("residual", 1e-5),
    ("logits", 1e-5),
];

/// Sizes of which none is a multiple of what kernels work in: heads of 24 of which 16 dimensions
/// turn, three to a KV head, a vocabulary and matrices that end within a group of rows.
fn awkward(architecture: &str, encoding: Encoding) -> Tiny {
    // The K encodings have blocks of 256.
    let (width, heads, hidden) =
        if encoding.block_len() == 256 { (256, 32, 256) } else { (96, 12, 160) };
    let (kv_heads, head_size) = if heads == 32 { (4, 8) } else { (4, 24) };
    let shape = Shape { width, vocab: 301, hidden, heads, kv_heads, head_size, layers: 3 };
    let mut tiny = Tiny::shaped(architecture, encoding, 11, shape);
    // So small that scores stay small too: an error of a score is one of its exponential.
    for (info, bytes) in tiny.tensors.iter_mut().filter(|(info, _)| info.dims.len() == 2) {
        soften(info.encoding, bytes);
    }
    if head_size == 24 {
        tiny.set(&format!("{architecture}.rope.dimension_count"), Value::U32(16));
    }
    tiny
}

/// Makes random weights smaller, to about a tenth.
fn soften(encoding: Encoding, bytes: &mut [u8]) {
    // Q5_K multiplies its scales by numbers up to 63.
    let factor = if encoding == Encoding::Q5_K { 0.005 } else { 0.2 };
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

fn written(tiny: &Tiny) -> Arc<PixelModel> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    tiny.write(&path);
    Arc::new(open(&path))
}

/// Two sequences that take turns: 38 positions of slot 1 around 7 of slot 0.
fn two_sequences(vocab: u32) -> Vec<Column> {
    let column = |slot: u32, position: u32| Column {
        token: (position * position * 7 + position * 3 + slot * 50) % vocab,
        slot,
        position,
    };
    let (first, last) =
        ((0..30).map(|position| column(1, position)), (30..38).map(|position| column(1, position)));
    first.chain((0..7).map(|position| column(0, position))).chain(last).collect()
}

fn on_cpu(model: &Arc<PixelModel>, columns: &[Column]) -> Hooks {
    let cpu = CpuModel::new(Arc::clone(model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 2, CONTEXT);
    let columns: Vec<CpuColumn> = columns
        .iter()
        .map(|&Column { token, slot, position }| CpuColumn {
            token,
            slot,
            position,
            wants_logits: true,
        })
        .collect();
    let mut seen = Hooks::watching(HookPoint::all(model.config()), columns.len());
    cpu.forward(&mut cache, &columns, &Interventions::default(), Some(&mut seen)).unwrap();
    seen
}

/// The largest errors so far, by what was compared.
#[derive(Default)]
struct Worst(BTreeMap<&'static str, f64>);

impl Worst {
    fn compare(&mut self, what: &'static str, found: &[f32], expected: &[f32]) {
        let expected: Vec<f64> = expected.iter().map(|&value| f64::from(value)).collect();
        self.compare_wide(what, found, &expected);
    }

    fn compare_wide(&mut self, what: &'static str, found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let size = expected.iter().fold(1e-9, |most: f64, value| most.max(value.abs()));
        let worst = self.0.entry(what).or_default();
        for (&found, expected) in found.iter().zip(expected) {
            let error = (f64::from(found) - expected).abs() / size;
            // A number that is none is the largest error.
            *worst = if error <= *worst { *worst } else { error };
        }
    }

    fn check(&self, name: &str) {
        println!("{name}: {:?}", self.0);
        for (what, budget) in BUDGETS {
            let worst = self.0.get(what).copied().unwrap_or(0.0);
            assert!(worst <= budget, "{name}, {what}: {worst} of the largest number");
        }
    }
}

/// The activations of the last pass, column by column.
struct Activations {
    numbers: Vec<f32>,
}

impl Activations {
    fn of(engine: &GpuEngine) -> Self {
        Self { numbers: read_numbers(engine, &engine.network().0.buffers.activations) }
    }

    /// A column of `features` numbers of what begins at the quad `place`.
    fn row(&self, place: u32, column: usize, features: u32) -> &[f32] {
        &self.numbers[place as usize * 4 + column * features as usize..][..features as usize]
    }
}

/// Runs columns and asks for the logits of none.
fn pass(engine: &mut GpuEngine, columns: &[Column]) {
    engine.logits(&Batch { columns: columns.to_vec(), steps: 1, ..Batch::default() }, &[]).unwrap();
}

/// All columns but the last in one pass, then that one alone: the pieces of the columns.
fn pieces(columns: &[Column]) -> [std::ops::Range<usize>; 2] {
    let last = columns.len() - 1;
    [0..last, last..columns.len()]
}

/// The places that the last layer leaves, after each piece.
fn compare_last_layer(engine: &mut GpuEngine, columns: &[Column], seen: &Hooks, worst: &mut Worst) {
    let config = engine.network().0.config.clone();
    let layer = config.layer_count - 1;
    let places = engine.network().0.buffers.places;
    for piece in pieces(columns) {
        pass(engine, &columns[piece.clone()]);
        let activations = Activations::of(engine);
        for (index, column) in piece.enumerate() {
            for (what, place, features, point) in [
                ("query", places.query, config.query_size(), HookPoint::Query(layer)),
                ("attend", places.attended, config.query_size(), HookPoint::HeadOutput(layer)),
                ("hidden", places.hidden, config.hidden_size, HookPoint::Hidden(layer)),
                ("residual", places.residual, config.embedding_size, HookPoint::Residual(layer)),
            ] {
                worst.compare(
                    what,
                    activations.row(place, index, features),
                    seen.seen(point).unwrap().column(column),
                );
            }
        }
    }
}

/// The residual stream after the first `layers` layers, the others muted; after none, it is the
/// embedding.
fn compare_residual(
    engine: &mut GpuEngine,
    columns: &[Column],
    seen: &Hooks,
    layers: u32,
    worst: &mut Worst,
) {
    let (network, _, queue) = engine.network();
    let (width, place) = (network.config.embedding_size, network.buffers.places.residual);
    let skipped = (layers..network.config.layer_count).map(|layer| (layer, 0.0));
    let sizes = [network.config.layer_count, network.config.head_count];
    network.set_interventions(queue, &Interventions::new(sizes, [], skipped));
    let (what, point) = if layers == 0 {
        ("embed", HookPoint::Embedding)
    } else {
        ("residual", HookPoint::Residual(layers - 1))
    };
    for piece in pieces(columns) {
        pass(engine, &columns[piece.clone()]);
        let activations = Activations::of(engine);
        for (index, column) in piece.enumerate() {
            worst.compare(
                what,
                activations.row(place, index, width),
                seen.seen(point).unwrap().column(column),
            );
        }
    }
}

/// Keys and values of every layer where the cache has them.
fn compare_cache(engine: &GpuEngine, columns: &[Column], seen: &Hooks, worst: &mut Worst) {
    let (network, _, _) = engine.network();
    let size = network.config.kv_size() as usize;
    for (layer, [keys, values]) in (0..).zip(&network.buffers.cache) {
        for (what, buffer, point) in
            [("key", keys, HookPoint::Key(layer)), ("value", values, HookPoint::Value(layer))]
        {
            let numbers = read_numbers(engine, buffer);
            for (index, column) in columns.iter().enumerate() {
                let row = column.slot as usize * CONTEXT + column.position as usize;
                worst.compare(
                    what,
                    &numbers[row * size..][..size],
                    seen.seen(point).unwrap().column(index),
                );
            }
        }
    }
}

#[test]
fn every_place_of_every_layer_holds_what_the_twin_has_there() {
    for (architecture, encoding) in [
        ("llama", Encoding::Q4_1),
        ("qwen2", Encoding::Q8_0),
        ("qwen3", Encoding::F32),
        ("llama", Encoding::Q5_K),
    ] {
        let name = format!("{architecture} {encoding}");
        let mut worst = Worst::default();
        for layers in 1..=3 {
            let mut tiny = awkward(architecture, encoding);
            tiny.shorten(layers);
            let model = written(&tiny);
            let columns = two_sequences(model.config().vocab_size);
            let seen = on_cpu(&model, &columns);
            let Some(mut engine) = engine(Arc::clone(&model), 2) else { return };
            compare_last_layer(&mut engine, &columns, &seen, &mut worst);
            if layers == 3 {
                compare_cache(&engine, &columns, &seen, &mut worst);
                (0..=layers).for_each(|layers| {
                    compare_residual(&mut engine, &columns, &seen, layers, &mut worst)
                });
            }
        }
        worst.check(&name);
    }
}

/// Attention of one head by its definition, in `f64`.
fn attend(query: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f64> {
    let dot = |key: &&[f32]| {
        query.iter().zip(*key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>()
    };
    let scores: Vec<f64> = keys.iter().map(|key| dot(key) / (query.len() as f64).sqrt()).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    let of_dimension = |dimension: usize| {
        weights
            .iter()
            .zip(values)
            .map(|(weight, value)| weight * f64::from(value[dimension]))
            .sum::<f64>()
            / total
    };
    (0..query.len()).map(of_dimension).collect()
}

#[test]
fn attention_is_that_of_the_devices_own_queries_keys_and_values() {
    for encoding in [Encoding::Q4_1, Encoding::Q5_K] {
        let mut tiny = awkward("llama", encoding);
        tiny.shorten(1);
        let model = written(&tiny);
        let ModelConfig { head_size, .. } = *model.config();
        let (query_size, kv_size) =
            (model.config().query_size(), model.config().kv_size() as usize);
        let heads_per_kv = model.config().heads_per_kv() as usize;
        let Some(mut engine) = engine(Arc::clone(&model), 2) else { return };
        let (places, size) = (engine.network().0.buffers.places, head_size as usize);
        let columns = two_sequences(model.config().vocab_size);
        let mut worst = Worst::default();
        for piece in pieces(&columns) {
            pass(&mut engine, &columns[piece.clone()]);
            let activations = Activations::of(&engine);
            let [keys, values] = engine.network().0.buffers.cache[0]
                .each_ref()
                .map(|buffer| read_numbers(&engine, buffer));
            for (index, column) in columns[piece].iter().enumerate() {
                let query = activations.row(places.query, index, query_size);
                let found = activations.row(places.attended, index, query_size);
                for (head, (query, found)) in
                    query.chunks_exact(size).zip(found.chunks_exact(size)).enumerate()
                {
                    let first = column.slot as usize * CONTEXT;
                    let rows = first..=first + column.position as usize;
                    let [keys, values] = [&keys, &values].map(|numbers| {
                        let of_row = |row: usize| {
                            &numbers[row * kv_size + head / heads_per_kv * size..][..size]
                        };
                        rows.clone().map(of_row).collect::<Vec<_>>()
                    });
                    worst.compare_wide("attend", found, &attend(query, &keys, &values));
                }
            }
        }
        worst.check(&format!("attend alone, {encoding}"));
    }
}

#[test]
fn logits_are_the_output_matrix_times_the_norm_of_the_devices_own_residual_stream() {
    for encoding in [Encoding::Q4_1, Encoding::F16, Encoding::Q5_K] {
        let mut tiny = awkward("llama", encoding);
        tiny.shorten(1);
        let model = written(&tiny);
        let config = model.config().clone();
        let (width, vocab) = (config.embedding_size as usize, config.vocab_size as usize);
        let mut numbers = |name: &str, count: usize| {
            let (info, bytes) = tiny.tensor(name);
            let mut out = vec![0.0; count];
            dequantize(info.encoding, bytes, &mut out);
            out
        };
        // The embedding is the output matrix too.
        let matrix = numbers("token_embd.weight", vocab * width);
        let gain = numbers("output_norm.weight", width);
        let Some(mut engine) = engine(Arc::clone(&model), 2) else { return };
        let place = engine.network().0.buffers.places.residual;
        let columns = two_sequences(config.vocab_size);
        let mut worst = Worst::default();
        // Some of many columns, no multiple of four; and one column alone.
        for (columns, wanted) in
            [(&columns[..44], vec![0u32, 1, 5, 6, 20, 42, 43]), (&columns[44..], vec![0])]
        {
            let batch = Batch { columns: columns.to_vec(), steps: 1, ..Batch::default() };
            let found = engine.logits(&batch, &wanted).unwrap();
            let activations = Activations::of(&engine);
            for (&column, found) in wanted.iter().zip(&found) {
                let residual = activations.row(place, column as usize, config.embedding_size);
                let squares: f64 = residual.iter().map(|&value| f64::from(value).powi(2)).sum();
                let scale = 1.0 / (squares / width as f64 + f64::from(config.norm_epsilon)).sqrt();
                let normed: Vec<f64> = residual
                    .iter()
                    .zip(&gain)
                    .map(|(&value, &gain)| f64::from(value) * scale * f64::from(gain))
                    .collect();
                let of_row = |row: &[f32]| {
                    row.iter().zip(&normed).map(|(&weight, x)| f64::from(weight) * x).sum::<f64>()
                };
                let expected: Vec<f64> = matrix.chunks_exact(width).map(of_row).collect();
                worst.compare_wide("logits", found, &expected);
            }
        }
        worst.check(&format!("logits alone, {encoding}"));
    }
}

/// Ways to draw in which ties matter.
fn ways() -> Vec<SamplingParams> {
    let base = SamplingParams {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        temperature: 1.0,
        ..SamplingParams::default()
    };
    let mut ways = vec![SamplingParams::greedy(), SamplingParams::default(), base.clone()];
    for top_k in [7, 8, 9, 10, 17, 63, 64, 65, 300, 301] {
        ways.push(SamplingParams { top_k, ..base.clone() });
    }
    for top_p in [0.013, 0.17, 0.37, 0.73, 0.98] {
        ways.push(SamplingParams { top_p, temperature: 1.7, ..base.clone() });
        ways.push(SamplingParams { top_p, min_p: 0.2, ..base.clone() });
    }
    let logit_bias = vec![(300, 4.0), (0, -3.0), (63, 2.0), (64, 2.0)];
    let penalties = SamplingParams {
        repeat_penalty: 1.4,
        frequency_penalty: 0.3,
        repeat_last_n: 9,
        ..base.clone()
    };
    ways.push(SamplingParams { logit_bias: logit_bias.clone(), ..SamplingParams::greedy() });
    ways.push(SamplingParams { logit_bias, top_k: 20, ..penalties.clone() });
    ways.push(SamplingParams { temperature: 0.0, ..penalties });
    ways
}

/// Draws seven at a time, each at a column of its own, from logits of which every one comes eight
/// times or nine.
fn draw_among_ties(ways: &[SamplingParams]) {
    let mut tiny = awkward("llama", Encoding::Q4_1);
    tiny.shorten(1);
    // Tokens 37 apart have equal rows, and so equal logits.
    let (_, bytes) = tiny.tensor("token_embd.weight");
    let row = bytes.len() / 301;
    for token in 37..301 {
        bytes.copy_within(token % 37 * row..(token % 37 + 1) * row, token * row);
    }
    let model = written(&tiny);
    let Some(mut engine) = engine(Arc::clone(&model), 1) else { return };
    let ids: Vec<u32> = (0..20).map(|position| (position * position * 5 + 3) % 301).collect();
    let columns = crate::common::gpu::columns(&ids, 0, 0);
    for (turn, ways) in (0..).zip(ways.chunks(7)) {
        // The last columns, each with a draw of its own.
        let first = columns.len() - ways.len();
        let asks: Vec<_> = ways
            .iter()
            .enumerate()
            .map(|(index, way)| {
                let way = SamplingParams { seed: turn, ..way.clone() };
                ask((first + index) as u32, &way, index as u32, &ids[..=first + index])
            })
            .collect();
        let wanted: Vec<u32> = asks.iter().map(|ask| ask.column).collect();
        let batch =
            Batch { columns: columns.clone(), asks: asks.clone(), steps: 1, ..Batch::default() };
        let drawn = engine.step(&batch).unwrap();
        let logits = engine
            .logits(&Batch { columns: columns.clone(), steps: 1, ..Batch::default() }, &wanted)
            .unwrap();
        for (index, ask) in asks.iter().enumerate() {
            let ties = logits[index].iter().filter(|&&logit| logit == logits[index][40]).count();
            assert!(ties >= 8, "equal rows give equal logits");
            let QueryKind::Draw { words, window, bias, .. } = &ask.kind else { unreachable!() };
            let expected = Sampler::default().sample(&logits[index], words, window, bias).unwrap();
            assert_eq!(drawn[index][0].token, expected, "{:?}", ways[index]);
        }
    }
    // And all of them greedy, which is a kernel of its own.
    let all_greedy: Vec<_> =
        (15..20u32).map(|column| ask(column, &SamplingParams::greedy(), 0, &[])).collect();
    let batch = Batch { columns: columns.clone(), asks: all_greedy, steps: 1, ..Batch::default() };
    let drawn = engine.step(&batch).unwrap();
    assert!(
        drawn.iter().all(|drawn| drawn[0].token < 37),
        "of equal logits the first token is taken: {drawn:?}"
    );
}

#[test]
fn many_draws_of_one_pass_among_equal_logits_are_those_of_the_twin() {
    draw_among_ties(&ways());
}

#[test]
fn equal_logits_at_the_edge_of_what_a_filter_begins_with_are_cut_as_the_twin_cuts_them() {
    let base =
        SamplingParams { top_p: 1.0, min_p: 0.0, temperature: 1.0, ..SamplingParams::default() };
    // The best of the groups of 64 tokens are so many equal logits that top-k finds its edge at
    // once.
    let mut ways: Vec<_> =
        [1, 2, 3, 4, 5].map(|top_k| SamplingParams { top_k, ..base.clone() }).to_vec();
    // What top-k leaves is one set of equal logits, of which top-p needs some.
    let both = |top_k| SamplingParams { top_k, top_p: 0.61, temperature: 2.0, ..base.clone() };
    ways.extend([1, 2, 3, 7, 8, 9, 10, 17, 63, 64, 65, 300, 301].map(both));
    draw_among_ties(&ways);
}
