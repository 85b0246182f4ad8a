//! Losses, gradients and optimiser steps of `../shared/golden/train-*.json`: computed in float64 by
//! PyTorch's autograd on the decoded weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pixel_llm::forward::sampling::Key;
use pixel_llm::model::adapter::TARGETS;
use pixel_llm::model::{Adapter, LowRank, PixelModel};
use pixel_llm::training::cpu::CpuTrainer;
use pixel_llm::training::optimizer::{AdamW, Decay, Schedule};
use pixel_llm::training::{LoraSettings, Sequence, Trained, Trainer, TrainingSettings};
use serde::Deserialize;

use crate::common::{forward, shared, smollm2};

#[derive(Deserialize)]
pub struct Golden {
    pub rank: usize,
    pub alpha: f32,
    optimizer: Optimizer,
    sequences: Vec<Tokens>,
    full: Option<Run>,
    pub lora: Run,
}

#[derive(Deserialize)]
struct Optimizer {
    lr: f32,
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    clip: f32,
    warmup: u64,
    steps: u64,
    lr_min: f32,
}

#[derive(Deserialize)]
struct Tokens {
    ids: Vec<u32>,
    first: usize,
}

#[derive(Deserialize)]
pub struct Run {
    loss: f64,
    loss_without: Option<f64>,
    gradients: BTreeMap<String, Gradient>,
    steps: Vec<Step>,
    loss_after: f64,
    weights_after: BTreeMap<String, Vec<(usize, f64)>>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    entries: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    grad_norm: f64,
    lr: f64,
}

/// How far figures may be off: the loss and the losses of the steps in nats, norms as shares,
/// entries as shares of their tensor's largest.
pub struct Budget {
    pub loss: f64,
    pub norm: f64,
    pub entry: f64,
    pub steps: f64,
}

const SMALL: Budget = Budget { loss: 1e-5, norm: 1e-5, entry: 5e-5, steps: 5e-5 };
const SMOLLM2: Budget = Budget { loss: 5e-5, norm: 5e-4, entry: 1e-3, steps: 5e-4 };

fn uniform(seed: u64, name: &str, count: usize, bound: f64) -> Vec<f32> {
    let stream = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let key = Key::new(seed, stream);
    let word = |at: usize| key.noise(0, (at / 4) as u32)[at % 4];
    let number = |at| bound * (2.0 * (f64::from(word(at)) + 0.5) * 2.0f64.powi(-32) - 1.0);
    (0..count).map(|at| number(at) as f32).collect()
}

/// The oracle's adapter.
pub fn adapter(model: &PixelModel, golden: &Golden) -> Adapter {
    let layers = 0..model.config().layer_count;
    let names = layers.flat_map(|layer| TARGETS.map(|of| format!("blk.{layer}.{of}.weight")));
    let update = |tensor: String| {
        let tiling = &model.tensor(&tensor).unwrap().tiling;
        let (inputs, outputs) = (tiling.columns as usize, tiling.rows as usize);
        let bound = (inputs as f64).powf(-0.5);
        let rank = golden.rank;
        let a = uniform(7, &format!("{tensor}.lora_a"), rank * inputs, bound);
        let b = uniform(7, &format!("{tensor}.lora_b"), outputs * rank, 0.05);
        LowRank { tensor, inputs, outputs, rank, a, b }
    };
    Adapter {
        architecture: model.config().architecture,
        alpha: golden.alpha,
        updates: names.map(update).collect(),
        base: None,
        run: None,
    }
}

pub fn settings(golden: &Golden, what: Trained) -> TrainingSettings {
    let o = &golden.optimizer;
    TrainingSettings {
        what,
        optimizer: AdamW {
            beta1: o.betas[0],
            beta2: o.betas[1],
            epsilon: o.eps,
            weight_decay: o.weight_decay,
            clip: o.clip,
        },
        schedule: Schedule {
            decay: Decay::Cosine,
            rate: o.lr,
            least: o.lr_min,
            warmup: o.warmup,
            steps: o.steps,
        },
        seed: 7,
    }
}

/// A trainer whose gradients can be looked at.
pub trait Learner: Trainer {
    /// Names and gradients of the last step.
    fn gradients_of(&self) -> Vec<(String, Vec<f32>)>;
}

impl Learner for CpuTrainer {
    fn gradients_of(&self) -> Vec<(String, Vec<f32>)> {
        self.gradients().map(|(name, numbers)| (name.to_owned(), numbers.to_vec())).collect()
    }
}

/// Holds a trainer at its start to the oracle: the loss, every gradient, four steps and what they
/// come to.
pub fn hold(
    mut trainer: impl Learner,
    settings: &TrainingSettings,
    (sequences, run): (&[Sequence], &Run),
    budget: &Budget,
    case: &str,
) {
    let go_on = &|| false;
    let found = trainer.loss(sequences, go_on).unwrap().mean();
    let loss_error = (found - run.loss).abs();
    assert!(loss_error < budget.loss, "{case}: loss {found} for {}", run.loss);
    let (mut norms, mut entries, mut losses) = (0f64, 0f64, 0f64);
    for (index, step) in run.steps.iter().enumerate() {
        let rate = settings.schedule.at(index as u64);
        assert!((f64::from(rate) - step.lr).abs() < 1e-9, "{case}: rate {rate}");
        let report = trainer.step(sequences, rate, go_on).unwrap();
        if index == 0 {
            let found: BTreeMap<String, Vec<f32>> = trainer.gradients_of().into_iter().collect();
            assert_eq!(found.len(), run.gradients.len(), "{case}: tensors that are trained");
            for (name, expected) in &run.gradients {
                let gradient = &found[name.as_str()];
                let norm =
                    gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
                let error = (norm / expected.norm - 1.0).abs();
                norms = norms.max(error);
                assert!(error < budget.norm, "{case} {name}: norm {norm} for {}", expected.norm);
                let largest = expected.entries.iter().map(|(_, g)| g.abs()).fold(0.0, f64::max);
                for &(at, expected) in &expected.entries {
                    let error = (f64::from(gradient[at]) - expected).abs() / largest;
                    entries = entries.max(error);
                    let found = gradient[at];
                    assert!(error < budget.entry, "{case} {name}[{at}]: {found} for {expected}");
                }
            }
        }
        let error = (report.loss - step.loss).abs();
        losses = losses.max(error);
        assert!(error < budget.steps, "{case} step {index}: {} for {}", report.loss, step.loss);
        let error = (report.gradient_norm / step.grad_norm - 1.0).abs();
        assert!(error < 20.0 * budget.norm, "{case} step {index}: norm {}", report.gradient_norm);
    }
    let after = trainer.loss(sequences, go_on).unwrap().mean();
    losses = losses.max((after - run.loss_after).abs());
    assert!(losses < budget.steps, "{case}: {after} after, {} expected", run.loss_after);
    let state = trainer.state().unwrap();
    let mut weights = 0f64;
    for (name, expected) in &run.weights_after {
        let parameter = state.parameters.iter().find(|of| of.name == *name).unwrap();
        for &(at, expected) in expected {
            weights = weights.max((f64::from(parameter.values[at]) - expected).abs());
        }
    }
    println!(
        "{case}: loss {loss_error:.1e}, norms {norms:.1e}, entries {entries:.1e}, \
         steps {losses:.1e}, weights after {weights:.1e}"
    );
    // A step is at most the rate: figures whose gradients are near 0 may turn their sign.
    assert!(weights < 4.0 * 2e-3, "{case}: weights after four steps are off by {weights}");
}

/// Figures of a file, and the sequences that they are of.
pub fn read(golden: &Path) -> (Golden, Vec<Sequence>) {
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let sequences = golden
        .sequences
        .iter()
        .map(|of| Sequence::from_first_target(of.ids.clone(), of.first))
        .collect();
    (golden, sequences)
}

fn hold_model(gguf: &Path, golden: &Path, budget: &Budget, case: &str) {
    let (golden, sequences) = read(golden);
    let model = Arc::new(forward::open(gguf));
    let lora = LoraSettings { rank: golden.rank, alpha: golden.alpha, ..Default::default() };
    let of_lora = settings(&golden, Trained::Lora(lora));
    let start = adapter(&model, &golden);
    if let Some(without) = golden.lora.loss_without {
        // A new adapter changes nothing.
        let mut fresh = CpuTrainer::new(model.clone(), &of_lora, None).unwrap();
        let found = fresh.loss(&sequences, &|| false).unwrap().mean();
        assert!((found - without).abs() < budget.loss, "{case}: {found} without, {without}");
    }
    for kept in [usize::MAX, 1] {
        let trainer = CpuTrainer::new(model.clone(), &of_lora, Some(&start)).unwrap().keeping(kept);
        let case = format!("{case} lora, {kept} layers kept");
        hold(trainer, &of_lora, (&sequences, &golden.lora), budget, &case);
    }
    if let Some(full) = &golden.full {
        let of_full = settings(&golden, Trained::Full);
        // Of quantised models the oracle trains the decoded weights, which ours refuses.
        match CpuTrainer::new(model.clone(), &of_full, None) {
            Ok(trainer) => {
                let case = format!("{case} full");
                hold(trainer, &of_full, (&sequences, full), budget, &case);
            }
            Err(why) => assert!(why.to_string().contains("stored as"), "{why}"),
        }
    }
}

#[test]
fn small_models_learn_as_the_oracle_says() {
    for case in ["llama", "qwen2", "qwen3", "llama-q8_0", "llama-q4_1"] {
        let Some(gguf) = shared(&format!("golden/train-{case}.gguf")) else { return };
        let golden = gguf.with_extension("json");
        hold_model(&gguf, &golden, &SMALL, case);
    }
}

#[test]
fn the_seedling_learns_as_the_oracle_says() {
    let Some(golden) = shared("golden/train-seedling.json") else { return };
    let Some(gguf) = shared("models/seedling/seedling-f32.gguf") else { return };
    hold_model(&gguf, &golden, &SMALL, "seedling");
}

#[test]
fn smollm2_learns_as_the_oracle_says() {
    let Some(golden) = shared("golden/train-smollm2.json") else { return };
    let Some(gguf) = smollm2() else { return };
    hold_model(&gguf, &golden, &SMOLLM2, "SmolLM2");
}
