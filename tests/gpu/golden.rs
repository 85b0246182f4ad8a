//! The forward pass on the GPU against figures of a float64 oracle, on whole models; and many
//! requests at once, which get the texts that each gets alone.
//!
//! A test whose model or adapter is not there says so and passes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::common::engine::{batch, on_gpu};
use crate::common::forward::{next, open, prefill};
use crate::common::golden::{GoldenCase, MARGIN, decode_greedily, seedling_cases, smollm2_cases};
use crate::common::gpu::{alone, engine_for, failed_barriers, together};
use crate::common::{shared, smollm2};
use pixel_llm::batch::{Defaults, ModelText, Progress, Prompt, Request, RunReport, TextModel, run};
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::{Batch, Capacity, CpuEngine, Engine, EngineError, Sampled};
use pixel_llm::forward::cpu::{CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::sampling::SamplingParams;
use pixel_llm::model::PixelModel;

/// What a log-probability may be off by, in nats, where the weights have four bits.
const BUDGET: f32 = 0.01;

/// The logits after one more token at `position`.
fn step(gpu: &mut GpuEngine, position: &mut usize, token: u32) -> Vec<f32> {
    let row = on_gpu(gpu, &batch(&[token], 0, *position as u32)).remove(0);
    *position += 1;
    row
}

#[test]
fn smollm2_has_the_oracles_probabilities_and_continuations() {
    let Some(path) = smollm2() else { return };
    let Some(mut gpu) = engine_for(Arc::new(open(&path)), 1, 128) else { return };
    let (one, many) =
        (gpu.network().0.dispatches_per_layer(1), gpu.network().0.dispatches_per_layer(2));
    println!("dispatches of a layer: {one} for one column, {many} for several");
    let (mut worst, mut continued) = ([0f32; 2], 0);
    for case in smollm2_cases() {
        let rows = together(&mut gpu, &case.ids);
        worst[0] = worst[0].max(case.check("together", &rows, BUDGET));
        let rows_alone = alone(&mut gpu, &case.ids);
        println!("{} barriers failed", failed_barriers(&gpu));
        worst[1] = worst[1].max(case.check("one by one", &rows_alone, BUDGET));
        let mut position = case.ids.len();
        let next = |token| step(&mut gpu, &mut position, token);
        continued += decode_greedily(rows.last().unwrap(), &case.greedy, MARGIN, &case.name, next);
    }
    println!(
        "largest error of a log-probability: {worst:?} (together, one by one); \
         {continued} tokens continued"
    );
}

#[test]
fn the_seedling_has_pytorchs_logits_and_continuations() {
    let Some(folder) = shared("models/seedling") else { return };
    let model = Arc::new(open(&folder.join("seedling-f32.gguf")));
    let Some(mut gpu) = engine_for(model, 1, 128) else { return };
    let mut worst = [0f32; 2];
    for case in seedling_cases(&folder) {
        let rows = together(&mut gpu, &case.ids);
        worst[0] = worst[0].max(case.check("together", rows.last().unwrap(), 1e-3));
        let rows = alone(&mut gpu, &case.ids);
        println!("{} barriers failed", failed_barriers(&gpu));
        worst[1] = worst[1].max(case.check("one by one", rows.last().unwrap(), 1e-3));
        let mut position = case.ids.len();
        let next = |token| step(&mut gpu, &mut position, token);
        decode_greedily(rows.last().unwrap(), &case.greedy, 0.005, &case.prompt, next);
    }
    println!("largest error of a logit: {worst:?} (together, one by one)");
}

#[test]
fn weights_on_the_device_take_no_more_than_their_bytes() {
    let Some(path) = smollm2() else { return };
    let model = Arc::new(open(&path));
    let Some(gpu) = engine_for(Arc::clone(&model), 1, 64) else { return };
    let tensors: u64 = model.tensors().iter().map(|tensor| tensor.tiling.size_in_bytes()).sum();
    let pages = gpu.network().0.pages.size_in_bytes();
    println!("{tensors} bytes of tensors, {pages} bytes of pages");
    assert!(pages >= tensors && pages as f64 <= tensors as f64 * 1.05, "{pages} for {tensors}");
}

/// Counts what a run asks of an engine.
struct Watched<E> {
    engine: E,
    copies: usize,
    most_columns: usize,
    most_steps: u32,
}

impl<E: Engine> Engine for Watched<E> {
    fn capacity(&self) -> Capacity {
        self.engine.capacity()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        self.copies += batch.copies.len();
        self.most_columns = self.most_columns.max(batch.columns.len());
        self.most_steps = self.most_steps.max(batch.steps);
        self.engine.step(batch)
    }
}

/// The texts by id, the tokens taken over from other sequences, and what the engine was asked.
struct Texts<E> {
    texts: BTreeMap<String, String>,
    shared_tokens: u64,
    watched: Watched<E>,
}

fn texts_of<E: Engine>(engine: E, text: &ModelText, requests: &[Request]) -> Texts<E> {
    let mut watched = Watched { engine, copies: 0, most_columns: 0, most_steps: 0 };
    let (mut texts, mut progress) = (BTreeMap::new(), Progress::new(requests.len() as u64, 0));
    let cancel = AtomicBool::new(false);
    run(&mut watched, text, requests.iter().cloned().map(Ok), &mut progress, &cancel, |report| {
        if let RunReport::Finished { request, outcome, .. } = report {
            texts.insert(request.id.clone(), outcome.as_ref().unwrap().text.clone());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(texts.len(), requests.len());
    Texts { texts, shared_tokens: progress.shared_tokens, watched }
}

/// The texts of the cases, texts that begin as they do and go on differently, and the same texts
/// once more.
fn requests(cases: &[GoldenCase]) -> Vec<Request> {
    let mut prompts: Vec<(String, Vec<u32>, usize)> =
        cases.iter().map(|case| (case.name.clone(), case.ids.clone(), case.greedy.len())).collect();
    let start = |name: &str, tokens: usize| {
        cases.iter().find(|case| case.name == name).unwrap().ids[..tokens].to_vec()
    };
    prompts.push(("fisher".into(), [start("story", 14), start("fox", 6)].concat(), 24));
    prompts.push(("capital question".into(), [start("chat", 24), start("capital", 5)].concat(), 9));
    prompts.push(("fox question".into(), [start("chat", 24), start("fox", 11)].concat(), 40));
    for name in ["story", "code", "numbers"] {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        prompts.push((format!("{name} again"), case.ids.clone(), 20));
    }
    let defaults = Defaults { sampling: SamplingParams::greedy(), ..Defaults::default() };
    let request = |(id, ids, tokens): (String, Vec<u32>, usize)| Request {
        prompt: Prompt::Tokens(ids),
        max_tokens: tokens as u32,
        ..defaults.request(id, "")
    };
    prompts.into_iter().map(request).collect()
}

/// The text of tokens up to one that ends an answer, and whether one does.
fn text_of(text: &ModelText, tokens: &[u32]) -> (String, bool) {
    let (mut bytes, mut decoder) = (Vec::new(), text.decoder());
    let answer: Vec<u32> =
        tokens.iter().copied().take_while(|&token| !text.is_end(token)).collect();
    answer.iter().for_each(|&token| decoder.push(token, &mut bytes));
    let ended = answer.len() < tokens.len();
    if ended {
        decoder.finish(&mut bytes);
    }
    (String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').to_owned(), ended)
}

#[test]
fn requests_get_the_same_texts_together_and_one_after_another() {
    let Some(path) = smollm2() else { return };
    let model: Arc<PixelModel> = Arc::new(open(&path));
    let text = ModelText::new(&model).unwrap();
    let cases = smollm2_cases();
    let mut requests = requests(&cases);
    let Some(gpu) = engine_for(Arc::clone(&model), 1, 192) else { return };
    let one = texts_of(gpu, &text, &requests);
    let gpu = engine_for(Arc::clone(&model), 8, 192).unwrap();
    let eight = texts_of(gpu, &text, &requests);
    println!(
        "one at a time: {} copies, up to {} columns, {} steps; \
         eight: {} copies, {} columns, {} steps, {} tokens shared",
        one.watched.copies,
        one.watched.most_columns,
        one.watched.most_steps,
        eight.watched.copies,
        eight.watched.most_columns,
        eight.watched.most_steps,
        eight.shared_tokens
    );
    assert!(
        one.watched.most_steps > 1 && eight.watched.most_steps > 1,
        "tokens are fed back on the device"
    );
    assert!(
        eight.watched.copies > 2 && eight.shared_tokens > 60,
        "beginnings are copied on the device"
    );
    for request in &requests {
        assert_eq!(one.texts[&request.id], eight.texts[&request.id], "{}", request.id);
    }

    // The oracle's own continuation, up to where two tokens are too close to call.
    let cpu = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(cpu.config(), 1, 192);
    let mut firm_tokens = 0;
    for case in &cases {
        let rows = prefill(&cpu, &mut cache, &case.ids);
        let step = |token| next(&cpu, &mut cache, token);
        let firm = decode_greedily(rows.last().unwrap(), &case.greedy, MARGIN, &case.name, step);
        firm_tokens += firm;
        let (expected, ended) = text_of(&text, &case.greedy[..firm]);
        let found = &one.texts[&case.name];
        assert!(found.starts_with(&expected), "{}: {found:?} for {expected:?}", case.name);
        assert!(!ended || *found == expected, "{}: {found:?} for {expected:?}", case.name);
    }
    println!("{firm_tokens} golden tokens compared");

    // The texts that no oracle has gone on with, and drawn ones, are held to the CPU's.
    let on_cpu = texts_of(CpuEngine::new(cpu, 1, 192), &text, &requests);
    let same = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
        a.iter().filter(|(id, text)| b[*id] == **text).count()
    };
    println!(
        "{} of {} greedy texts are those of the CPU",
        same(&one.texts, &on_cpu.texts),
        requests.len()
    );

    for request in &mut requests {
        request.sampling = SamplingParams { seed: 5, ..SamplingParams::default() };
        request.max_tokens = request.max_tokens.min(12);
    }
    let one = texts_of(one.watched.engine, &text, &requests);
    let eight = texts_of(eight.watched.engine, &text, &requests);
    for request in &requests {
        assert_eq!(one.texts[&request.id], eight.texts[&request.id], "{} with seed 5", request.id);
    }
    let on_cpu = texts_of(on_cpu.watched.engine, &text, &requests);
    println!(
        "{} of {} drawn texts are those of the CPU",
        same(&one.texts, &on_cpu.texts),
        requests.len()
    );
}
