//! A short timed trial that decides how a model is computed on this machine, and its outcome, which is kept.
//!
//! In: a model and an adapter. Out: a [`Verdict`]: the fastest plan that gives the right logits, what a token takes with it, and on a software adapter
//! what it takes on the processor. It is kept in `trials.ron` in the cache folder, by adapter, driver, program version and model.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{GpuEngine, GpuEngineError, Plan};
use crate::app::headless::{AdapterFacts, GpuChoice};
use crate::model::PixelModel;
use crate::passes::kernels::Family;
use crate::passes::reference::{CpuModel, CpuOptions};
use crate::passes::threads::{Busy, workers};
use crate::pxi::AtomicFile;
use crate::tokens::{Ask, Batch, Column, CpuEngine, Engine, EngineError};

/// Positions of the trial's sequence.
const CONTEXT: usize = 64;
/// Tokens of each timed run, and runs.
const TOKENS: u32 = 8;
const RUNS: usize = 5;
/// How far logits of two ways to compute may be apart. Two plans of one model differ by rounding alone.
const TOLERANCE: f32 = 2e-3;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The model cannot be run on the GPU.
    #[error(transparent)]
    Gpu(#[from] GpuEngineError),
    /// It ended early.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model cannot be run on the processor either.
    #[error(transparent)]
    Cpu(#[from] crate::passes::reference::ForwardError),
}

/// What a trial has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Adapter, driver and the version of this program.
    pub adapter: String,
    /// Name, parameters and size of the model.
    pub model: String,
    /// Whether products split their inputs among lanes.
    pub split: bool,
    /// Whether lanes exchange values by subgroup operations.
    pub subgroups: bool,
    /// Whether activations are in textures.
    pub textures: bool,
    /// Whether a layer of one column is one dispatch.
    pub whole_layers: bool,
    /// Milliseconds for a token on the adapter.
    pub gpu_milliseconds: f64,
    /// Milliseconds for a token on the processor, where the adapter is a software one.
    pub cpu_milliseconds: Option<f64>,
    /// Whether the machine was too busy to try every way to compute.
    pub disturbed: bool,
}

impl Verdict {
    /// The fastest plan.
    pub fn plan(&self) -> Plan {
        let family = Family { split: self.split, subgroups: self.subgroups, textures: self.textures };
        Plan { family, whole_layers: self.whole_layers }
    }

    /// Whether the processor's own path is faster than the adapter, which is a software one.
    pub fn prefers_processor(&self) -> bool {
        self.cpu_milliseconds.is_some_and(|cpu| cpu < self.gpu_milliseconds)
    }

    /// Whether it holds although the machine was busy: `auto` need not know the fastest way on an adapter that is far behind the processor.
    pub fn holds(&self, auto: bool) -> bool {
        const FAR: f64 = 2.0;
        let far = self.cpu_milliseconds.is_some_and(|cpu| cpu * FAR < self.gpu_milliseconds);
        !self.disturbed || (auto && far)
    }

    /// In one line.
    pub fn line(&self) -> String {
        let plan = self.plan().name();
        let cpu = self.cpu_milliseconds.map_or(String::new(), |cpu| format!("; processor {cpu:.1} ms"));
        format!("a token takes {:.1} ms on this adapter ({plan}){cpu}", self.gpu_milliseconds)
    }
}

/// The verdict that is kept for an adapter and a model.
pub fn recall(folder: &Path, adapter: &AdapterFacts, model: &PixelModel) -> Option<Verdict> {
    let (adapter, model) = (adapter_key(adapter), model_key(model));
    verdicts(folder).into_iter().find(|known| known.adapter == adapter && known.model == model)
}

/// Keeps a verdict in the place of an earlier one.
///
/// # Errors
/// The file cannot be written.
pub fn keep(folder: &Path, verdict: &Verdict) -> std::io::Result<()> {
    let mut all = verdicts(folder);
    all.retain(|known| known.adapter != verdict.adapter || known.model != verdict.model);
    all.push(verdict.clone());
    let text =
        ron::ser::to_string_pretty(&all, ron::ser::PrettyConfig::default()).map_err(std::io::Error::other)?;
    std::fs::create_dir_all(folder)?;
    AtomicFile::replace(folder.join("trials.ron"), text.as_bytes()).map_err(std::io::Error::other)
}

/// A file that is not there or cannot be read is one without verdicts: the trial is made again.
fn verdicts(folder: &Path) -> Vec<Verdict> {
    let text = std::fs::read_to_string(folder.join("trials.ron")).unwrap_or_default();
    ron::from_str(&text).unwrap_or_default()
}

fn adapter_key(adapter: &AdapterFacts) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let threads = if adapter.is_software() { workers() } else { 0 };
    let adapter = &adapter.info;
    let (name, backend) = (&adapter.name, adapter.backend);
    let (driver, info) = (&adapter.driver, &adapter.driver_info);
    format!("{name} | {backend:?} | {driver} | {info} | {threads} threads | pixel-llm {version}")
}

fn model_key(model: &PixelModel) -> String {
    let config = model.config();
    let bytes: u64 = model.tensors().iter().map(|tensor| tensor.tiling.size_in_bytes()).sum();
    format!(
        "{:?} | {} layers of {} | {bytes} bytes",
        config.architecture, config.layer_count, config.embedding_size
    )
}

/// Makes the trial.
///
/// # Errors
/// No plan runs on the adapter.
pub fn make(model: &Arc<PixelModel>, choice: &GpuChoice) -> Result<Verdict, TrialError> {
    let busy = Busy::now();
    let mut engine = GpuEngine::new(Arc::clone(model), 1, CONTEXT, choice)?;
    let adapter = engine.adapter().clone();
    let software = adapter.is_software();
    let usual = engine.plan();
    let mut disturbed = false;
    let mut best: Option<(f64, Plan)> = None;
    let mut enter = |time: f64, plan: Plan| {
        if best.is_none_or(|(least, _)| time < least) {
            best = Some((time, plan));
        }
    };
    // The plain form is what others are held to.
    engine.set_whole_layers(false);
    let expected = logits(&mut engine)?;
    enter(time(&mut engine)?, engine.plan());
    // Before any workgroup waits for another.
    busy.pin_busiest(workers());
    engine.set_whole_layers(usual.whole_layers);
    if engine.plan().whole_layers {
        let found = logits(&mut engine)?;
        // A meeting that failed has switched it off again: other programs have kept a thread from its processor.
        disturbed = !engine.plan().whole_layers;
        if !disturbed && agree(&expected, &found) {
            enter(time(&mut engine)?, engine.plan());
        }
    }
    drop(engine);
    if !software {
        let family = Family { split: !usual.family.split, ..usual.family };
        let plan = Plan { family, whole_layers: false };
        if let Ok(mut engine) = GpuEngine::with_plan(Arc::clone(model), 1, CONTEXT, choice, Some(plan))
            && agree(&expected, &logits(&mut engine)?)
        {
            enter(time(&mut engine)?, plan);
        }
    }
    let cpu_milliseconds = if software {
        let model = CpuModel::new(Arc::clone(model), CpuOptions { verify: false })?;
        Some(time(&mut CpuEngine::new(model, 1, CONTEXT))?)
    } else {
        None
    };
    let (gpu_milliseconds, plan) = best.expect("the plain form was entered");
    Ok(Verdict {
        adapter: adapter_key(&adapter),
        model: model_key(model),
        split: plan.family.split,
        subgroups: plan.family.subgroups,
        textures: plan.family.textures,
        whole_layers: plan.whole_layers,
        gpu_milliseconds,
        cpu_milliseconds,
        disturbed,
    })
}

/// Has the threads of a software adapter run on processors of their own, if layers are computed by several that wait for each other.
///
/// # Errors
/// The device was lost.
pub fn settle(engine: &mut GpuEngine) -> Result<(), EngineError> {
    if engine.plan().whole_layers {
        let busy = Busy::now();
        let repeats = engine.sizes.repeats.min(engine.sizes.context);
        // In dispatches that nobody waits in.
        engine.set_whole_layers(false);
        step(engine, 0, repeats)?;
        busy.pin_busiest(workers());
        engine.set_whole_layers(true);
    }
    Ok(())
}

fn step(engine: &mut dyn Engine, position: u32, repeats: u32) -> Result<(), EngineError> {
    let asks = vec![Ask::greedy(0)];
    engine.step(&Batch {
        columns: vec![Column { token: 1, slot: 0, position }],
        asks,
        repeats,
        ..Batch::default()
    })?;
    Ok(())
}

/// Milliseconds for a token: the median of some runs, of which the first does not count.
fn time(engine: &mut dyn Engine) -> Result<f64, EngineError> {
    let repeats = TOKENS.min(engine.capacity().repeats as u32);
    let mut times = Vec::new();
    for run in 0..=RUNS {
        let start = Instant::now();
        for first in (0..TOKENS).step_by(repeats as usize) {
            step(engine, first, repeats)?;
        }
        if run > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e3 / f64::from(TOKENS));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// Logits of a few tokens, one at a time.
fn logits(engine: &mut GpuEngine) -> Result<Vec<f32>, EngineError> {
    let mut all = Vec::new();
    for position in 0..4 {
        let columns = vec![Column { token: position + 1, slot: 0, position }];
        all.extend(engine.logits(&Batch { columns, repeats: 1, ..Batch::default() }, &[0])?.remove(0));
    }
    Ok(all)
}

fn agree(expected: &[f32], found: &[f32]) -> bool {
    // A NaN agrees with nothing.
    expected.len() == found.len() && expected.iter().zip(found).all(|(a, b)| (a - b).abs() <= TOLERANCE)
}
