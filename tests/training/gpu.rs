//! Training on an adapter, held to the same float64 oracle as training on the processor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pixel_llm::training::gpu::kernels::BackShape;
use pixel_llm::training::gpu::{GpuTrainer, GpuTraining};
use pixel_llm::training::optimizer::{AdamW, Decay, Schedule};
use pixel_llm::training::{LoraSettings, Sequence, TrainError, Trained, Trainer, TrainingSettings};

use crate::common::gpu::{engine_for, has_adapter, together};
use crate::common::{forward, shared, smollm2};
use crate::golden::{Budget, Learner, adapter, hold, read, settings};

const SMALL: Budget = Budget { loss: 5e-5, norm: 1e-4, entry: 5e-4, steps: 3e-4 };
const SMOLLM2: Budget = Budget { loss: 5e-4, norm: 2e-3, entry: 5e-3, steps: 5e-3 };

impl Learner for GpuTrainer {
    fn gradients_of(&self) -> Vec<(String, Vec<f32>)> {
        let gradients = self.gradients().unwrap().into_iter();
        gradients.map(|(name, _, _, numbers)| (name, numbers)).collect()
    }
}

/// With room for all sequences together and what their layers leave, and with one to a pass and
/// room for as little as will do.
fn hold_model(gguf: &Path, golden: &Path, budget: &Budget, case: &str) {
    let (golden, sequences) = read(golden);
    let model = Arc::new(forward::open(gguf));
    let lora = LoraSettings { rank: golden.rank, alpha: golden.alpha, ..Default::default() };
    let settings = settings(&golden, Trained::Lora(lora));
    let start = adapter(&model, &golden);
    let longest = sequences.iter().map(|of| of.columns() as u32).max().unwrap();
    for columns in [128, longest] {
        let training = GpuTraining {
            columns,
            memory: (columns == longest).then_some(0),
            choice: Default::default(),
            shape: None,
            shaders: shaders(),
        };
        let trainer = GpuTrainer::new(model.clone(), &settings, Some(&start), &training).unwrap();
        let case = format!("{case}, {columns} columns");
        hold(trainer, &settings, (&sequences, &golden.lora), budget, &case);
    }
}

#[test]
fn small_models_learn_as_the_oracle_says() {
    if !has_adapter() {
        return;
    }
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
    if has_adapter() {
        hold_model(&gguf, &golden, &SMALL, "seedling");
    }
}

#[test]
fn smollm2_learns_as_the_oracle_says() {
    let Some(golden) = shared("golden/train-smollm2.json") else { return };
    let Some(gguf) = smollm2() else { return };
    if has_adapter() {
        hold_model(&gguf, &golden, &SMOLLM2, "SmolLM2");
    }
}

/// The folder that `PIXEL_LLM_SHADERS` names: its shaders stand in for ours, without a build.
pub fn shaders() -> Option<PathBuf> {
    std::env::var_os("PIXEL_LLM_SHADERS").map(PathBuf::from)
}

pub fn rank_eight() -> TrainingSettings {
    TrainingSettings {
        what: Trained::Lora(LoraSettings::default()),
        optimizer: AdamW::default(),
        schedule: Schedule { decay: Decay::Constant, rate: 1e-3, least: 0.0, warmup: 0, steps: 9 },
        seed: 3,
    }
}

#[test]
fn a_step_dispatch_by_dispatch_is_the_same_step_and_given_up_leaves_nothing() {
    let Some(gguf) = shared("golden/train-qwen3.gguf") else { return };
    if !has_adapter() {
        return;
    }
    let model = Arc::new(forward::open(&gguf));
    let settings = rank_eight();
    let sequences = [sequence(40, 144), sequence(23, 144), sequence(9, 144)];
    let open = || {
        let training = GpuTraining {
            columns: 48,
            memory: None,
            choice: Default::default(),
            shape: None,
            shaders: shaders(),
        };
        GpuTrainer::new(Arc::clone(&model), &settings, None, &training).unwrap()
    };
    let (mut whole, mut cut) = (open(), open());
    for rate in [1e-3, 2e-3, 5e-4] {
        let expected = whole.step(&sequences, rate, &|| false).unwrap();
        let stopped = cut.step(&sequences, rate, &|| true);
        assert!(matches!(stopped, Err(TrainError::Stopped)), "{stopped:?}");
        let mut given_up = cut.begin(&sequences[1..], true).unwrap();
        for _ in 0..50 {
            assert!(cut.go_on(&mut given_up).unwrap().is_none());
        }
        let mut step = cut.begin(&sequences, true).unwrap();
        let losses = loop {
            if let Some(losses) = cut.go_on(&mut step).unwrap() {
                break losses;
            }
        };
        assert_eq!(cut.finish(&sequences, losses, rate).unwrap(), expected);
    }
    let state = whole.state().unwrap();
    assert_eq!(cut.state().unwrap(), state, "to the last bit");
    // Another trainer goes on from there as this one does.
    let mut resumed = open();
    resumed.restore(state).unwrap();
    let reports = [&mut whole, &mut resumed]
        .map(|trainer| trainer.step(&sequences, 1e-3, &|| false).unwrap());
    assert_eq!(reports[0], reports[1]);
    assert_eq!(whole.state().unwrap(), resumed.state().unwrap());
}

/// Numbers of one sequence of `count` columns, every token of it a target.
pub fn sequence(count: usize, vocabulary: u32) -> Sequence {
    let tokens = (0..=count as u32).map(|at| (at * at * 31 + at * 17 + 5) % vocabulary).collect();
    Sequence::from_first_target(tokens, 1)
}

/// Training beside the engine's own prefill in the same run. Not a test: prints what it measures.
#[test]
#[ignore = "it measures, which takes a quiet machine"]
fn speed() {
    let path = std::env::var_os("PIXEL_LLM_MODEL").map(PathBuf::from);
    let Some(gguf) = path.or_else(smollm2) else { return };
    let model = Arc::new(forward::open(&gguf));
    let vocabulary = model.config().vocab_size;
    let settings = rank_eight();
    let count = 256;
    let mut engine = engine_for(Arc::clone(&model), 1, count + 8).unwrap();
    let sequences = [sequence(count, vocabulary)];
    for shape in BackShape::ALL {
        let started = Instant::now();
        let training = GpuTraining {
            columns: count as u32,
            memory: None,
            shape: Some(shape),
            choice: Default::default(),
            shaders: shaders(),
        };
        let mut trainer = GpuTrainer::new(Arc::clone(&model), &settings, None, &training).unwrap();
        println!("{shape:?}: opened in {:?}, {:?} bytes", started.elapsed(), trainer.memory());
        for _ in 0..2 {
            let started = Instant::now();
            together(&mut engine, &sequences[0].tokens[..count]);
            let prefill = started.elapsed();
            let started = Instant::now();
            trainer.loss(&sequences, &|| false).unwrap();
            let forward = started.elapsed();
            let started = Instant::now();
            let report = trainer.step(&sequences, 1e-3, &|| false).unwrap();
            let step = started.elapsed();
            println!(
                "prefill with all logits {prefill:.2?}, forward {forward:.2?}, step {step:.2?}: \
                 {:.3} of prefill; loss {}",
                prefill.as_secs_f64() / step.as_secs_f64(),
                report.loss
            );
        }
        let mut times = trainer.kernel_times(&sequences).unwrap();
        times.sort_by_key(|of| std::cmp::Reverse(of.1));
        for (kernel, time, dispatches) in times {
            println!("  {kernel:18} {time:9.1?} in {dispatches} dispatches");
        }
    }
}
