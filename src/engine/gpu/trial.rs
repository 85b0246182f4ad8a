//! A short timed trial that decides how a model is computed on this machine, and its outcome, which
//! is kept.
//!
//! In: a model and an adapter. Out: a [`TrialResult`]: the fastest plan that gives the right
//! logits, what a token takes with it, and where it is asked for what it takes on the processor. It
//! is kept in `trials.ron` in the cache folder, by adapter, driver, program version and model.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::profile::run_alone;
use super::{GpuEngine, GpuEngineError, KernelConfig};
use crate::engine::gpu::headless::{AdapterFacts, GpuChoice};
use crate::engine::gpu::threads::workers;
use crate::engine::{Batch, Column, CpuEngine, Engine, EngineError, LogitsQuery};
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::forward::gpu::kernels::KernelFamily;
use crate::model::PixelModel;
use crate::pxi::AtomicFile;

/// Where outcomes are kept, in the cache folder.
const FILE: &str = "trials.ron";
/// Positions of the trial's sequence.
pub(super) const CONTEXT: usize = 64;
/// Tokens of each timed run, and runs that count.
const TOKENS: u32 = 4;
const RUNS: usize = 4;
/// Dispatches after which the threads that compute are known from the others.
const SETTLING: usize = 4;
/// How often barriers may fail before layers in one dispatch are given up: programs
/// beside this one keep threads from their processors for some milliseconds.
const TRIES: usize = 4;
/// How far logits of two ways to compute may be apart. Two plans of one model differ by rounding
/// alone.
const TOLERANCE: f32 = 2e-3;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The model cannot be run on the GPU.
    #[error(transparent)]
    Gpu(#[from] GpuEngineError),
    /// The engine gave out in the middle of it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
    /// The model cannot be run on the processor either.
    #[error(transparent)]
    Cpu(#[from] crate::forward::cpu::ForwardError),
}

/// What a trial has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialResult {
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
    #[serde(alias = "whole_layers")]
    pub fused_layers: bool,
    /// Milliseconds for a token on the adapter.
    pub gpu_milliseconds: f64,
    /// Milliseconds for a token on the processor, where that was asked for.
    pub cpu_milliseconds: Option<f64>,
    /// Whether the machine was too busy to try every way to compute.
    pub disturbed: bool,
}

impl TrialResult {
    /// The plan that gave the right logits in the least time.
    pub fn plan(&self) -> KernelConfig {
        let family =
            KernelFamily { split: self.split, subgroups: self.subgroups, textures: self.textures };
        KernelConfig { family, fused_layers: self.fused_layers }
    }

    /// Whether the processor's own path was timed and is faster than the adapter.
    pub(crate) fn prefers_processor(&self) -> bool {
        self.cpu_milliseconds.is_some_and(|cpu| cpu < self.gpu_milliseconds)
    }

    /// Whether it need not be made again: every way to compute was tried.
    pub fn holds(&self) -> bool {
        !self.disturbed
    }

    /// What a person is told of it, in one line.
    pub fn line(&self) -> String {
        let plan = self.plan().name();
        let cpu =
            self.cpu_milliseconds.map_or(String::new(), |cpu| format!("; processor {cpu:.1} ms"));
        format!("a token takes {:.1} ms on this adapter ({plan}){cpu}", self.gpu_milliseconds)
    }
}

/// The verdict that is kept for an adapter and a model.
pub(crate) fn recall(
    folder: &Path,
    adapter: &AdapterFacts,
    model: &PixelModel,
) -> Option<TrialResult> {
    let (adapter, model) = (adapter_key(adapter), model_key(model));
    verdicts(folder).into_iter().find(|known| known.adapter == adapter && known.model == model)
}

/// Keeps a verdict in the place of an earlier one.
///
/// # Errors
/// The file cannot be written.
pub fn keep(folder: &Path, verdict: &TrialResult) -> std::io::Result<()> {
    let mut all = verdicts(folder);
    all.retain(|known| known.adapter != verdict.adapter || known.model != verdict.model);
    all.push(verdict.clone());
    write_verdicts(folder, FILE, &all)
}

fn verdicts(folder: &Path) -> Vec<TrialResult> {
    read_verdicts(folder, FILE)
}

/// Writes the verdicts of a file, whole or not at all.
pub(super) fn write_verdicts<T: Serialize>(
    folder: &Path,
    file: &str,
    all: &[T],
) -> std::io::Result<()> {
    let text = ron::ser::to_string_pretty(all, ron::ser::PrettyConfig::default())
        .map_err(std::io::Error::other)?;
    std::fs::create_dir_all(folder)?;
    AtomicFile::replace(folder.join(file), text.as_bytes()).map_err(std::io::Error::other)
}

/// A file that is not there or cannot be read is one without verdicts: the trial is made again.
pub(super) fn read_verdicts<T: DeserializeOwned>(folder: &Path, file: &str) -> Vec<T> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    ron::from_str(&text).unwrap_or_default()
}

pub(super) fn adapter_key(adapter: &AdapterFacts) -> String {
    let version = env!("CARGO_PKG_VERSION");
    // Fused layers have a workgroup per thread: with other threads the times are others.
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

/// Makes the trial for an engine of `slots` sequences of `context` positions, and times the
/// processor too if asked to. With the verdict comes that engine, ready to go on, where one was
/// tried that fits.
///
/// # Errors
/// No plan runs on the adapter.
pub fn make(
    model: &Arc<PixelModel>,
    (slots, context): (usize, usize),
    choice: &GpuChoice,
    time_processor: bool,
) -> Result<(TrialResult, Option<GpuEngine>), TrialError> {
    let (mut engine, fits) = engine_for_trial(model, slots, context, choice)?;
    let adapter = engine.adapter().clone();
    let usual = KernelConfig::usual(&adapter);
    // The plain form is what others are held to.
    engine.set_fused_layers(false);
    let plain = engine.plan();
    // Before any workgroup waits for another.
    let expected = adapter.threads.pin_after(|| {
        let expected = logits(&mut engine)?;
        timed_run(&mut engine)?;
        Ok::<_, EngineError>(expected)
    })?;
    engine.set_fused_layers(usual.fused_layers);
    let fused = engine.plan().fused_layers.then_some(engine.plan());
    let agrees = if fused.is_some() { try_fused(&mut engine, &expected)? } else { Some(false) };
    let fused = fused.filter(|_| agrees == Some(true));
    let mut best = race(&mut engine, plain, fused)?;
    if !adapter.is_software() {
        let family = KernelFamily { split: !usual.family.split, ..usual.family };
        let plan = KernelConfig { family, fused_layers: false };
        if let Ok(mut other) =
            GpuEngine::with_plan(Arc::clone(model), 1, CONTEXT, choice, Some(plan))
            && agree(&expected, &logits(&mut other)?)
        {
            best = faster(best, (time(&mut other)?, plan));
        }
    }
    let cpu_milliseconds = if time_processor {
        let model = CpuModel::new(
            Arc::clone(model),
            CpuOptions { verify: false, ..CpuOptions::default() },
        )?;
        Some(time(&mut CpuEngine::new(model, 1, CONTEXT))?)
    } else {
        None
    };
    let (gpu_milliseconds, plan) = best;
    engine.set_fused_layers(plan.fused_layers);
    let goes_on = fits && engine.plan() == plan;
    let verdict = TrialResult {
        adapter: adapter_key(&adapter),
        model: model_key(model),
        split: plan.family.split,
        subgroups: plan.family.subgroups,
        textures: plan.family.textures,
        fused_layers: plan.fused_layers,
        gpu_milliseconds,
        cpu_milliseconds,
        disturbed: agrees.is_none(),
    };
    Ok((verdict, goes_on.then_some(engine)))
}

/// Whether fused layers give the expected logits. `None` where other programs have kept a thread
/// from its processor each time.
fn try_fused(engine: &mut GpuEngine, expected: &[f32]) -> Result<Option<bool>, EngineError> {
    for _ in 0..TRIES {
        engine.set_fused_layers(true);
        let found = logits(engine)?;
        // A barrier that failed has switched it off again.
        if engine.plan().fused_layers {
            return Ok(Some(agree(expected, &found)));
        }
    }
    Ok(None)
}

/// The faster of an engine's plain plan and its fused one, where there is one, and its
/// milliseconds.
///
/// They take turns, and the least time counts: what other programs take comes on top of any. One
/// after the other, a busy second made the slower one win two times of five.
fn race(
    engine: &mut GpuEngine,
    plain: KernelConfig,
    fused: Option<KernelConfig>,
) -> Result<(f64, KernelConfig), EngineError> {
    let mut best = (f64::INFINITY, plain);
    for _ in 0..RUNS {
        engine.set_fused_layers(false);
        best = faster(best, (timed_run(engine)?, plain));
        if let Some(fused) = fused {
            engine.set_fused_layers(true);
            let time = timed_run(engine)?;
            // Switched off meanwhile: a barrier failed, and a part was computed the plain way.
            if engine.plan().fused_layers {
                best = faster(best, (time, fused));
            }
        }
    }
    Ok(best)
}

fn faster(best: (f64, KernelConfig), other: (f64, KernelConfig)) -> (f64, KernelConfig) {
    if other.0 < best.0 { other } else { best }
}

/// An engine to try, and whether it is the one that is wanted: that is too small for a trial, or
/// its context too long for layers in one dispatch, where another is not.
fn engine_for_trial(
    model: &Arc<PixelModel>,
    slots: usize,
    context: usize,
    choice: &GpuChoice,
) -> Result<(GpuEngine, bool), TrialError> {
    if context >= CONTEXT {
        let mut engine = GpuEngine::new(Arc::clone(model), slots, context, choice)?;
        let whole = engine.plan().fused_layers;
        engine.set_fused_layers(whole);
        if engine.plan().fused_layers == whole {
            return Ok((engine, true));
        }
    }
    Ok((GpuEngine::new(Arc::clone(model), 1, CONTEXT, choice)?, false))
}

/// Has the threads of a software adapter run on processors of their own, if layers are computed by
/// several that wait for each other.
///
/// # Errors
/// The device was lost.
pub fn settle(engine: &mut GpuEngine) -> Result<(), EngineError> {
    if engine.plan().fused_layers {
        let threads = engine.adapter().threads.clone();
        // A kernel of which no workgroup waits for another. Every plan has this one, so that no
        // other is compiled for it, which would take half a second.
        threads.pin_after(|| {
            (0..SETTLING).try_for_each(|_| run_alone(engine, &one_column(0, 1), "logits").map(drop))
        })?;
    }
    Ok(())
}

fn step(engine: &mut dyn Engine, position: u32, steps: u32) -> Result<(), EngineError> {
    engine.step(&one_column(position, steps))?;
    Ok(())
}

/// A token, and `steps` that follow it.
fn one_column(position: u32, steps: u32) -> Batch {
    let columns = vec![Column { token: 1, slot: 0, position }];
    Batch { columns, asks: vec![LogitsQuery::greedy(0)], steps, ..Batch::default() }
}

/// Milliseconds for a token: the least of some runs, after one that does not count.
fn time(engine: &mut dyn Engine) -> Result<f64, EngineError> {
    timed_run(engine)?;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        least = least.min(timed_run(engine)?);
    }
    Ok(least)
}

/// Milliseconds for a token in one run.
pub(super) fn timed_run(engine: &mut dyn Engine) -> Result<f64, EngineError> {
    let steps = TOKENS.min(engine.capacity().steps as u32);
    let start = Instant::now();
    for first in (0..TOKENS).step_by(steps as usize) {
        step(engine, first, steps)?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3 / f64::from(TOKENS))
}

/// Logits of a few tokens, one at a time.
pub(super) fn logits(engine: &mut GpuEngine) -> Result<Vec<f32>, EngineError> {
    let mut all = Vec::new();
    // One column at a time: only such steps have fused layers.
    for position in 0..4 {
        let columns = vec![Column { token: position + 1, slot: 0, position }];
        all.extend(
            engine.logits(&Batch { columns, steps: 1, ..Batch::default() }, &[0])?.remove(0),
        );
    }
    Ok(all)
}

fn agree(expected: &[f32], found: &[f32]) -> bool {
    // A NaN agrees with nothing.
    expected.len() == found.len()
        && expected.iter().zip(found).all(|(a, b)| (a - b).abs() <= TOLERANCE)
}
