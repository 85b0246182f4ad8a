//! `pixel-llm --no-window --experiment NAME`: prompts times interventions, a line of JSON for each cell.
//!
//! All prompts run as one batch under each condition, the unchanged model first; every line compares its cell with the
//! same prompt's run without an intervention. The same experiment gives the same lines, so a run that was stopped goes on
//! behind its last whole line.

mod cell;
mod output;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;

use self::cell::{Measured, Plan, line};
pub use self::output::CellFile;
use super::engine::{Device, open_engine};
use super::output::{Exit, Output, print_note};
use super::run::{BatchArgs, interruptible};
use super::{open_model, output::progress_bar};
use crate::batch::{Answer, ModelText, Outcome, Progress, Report, run as run_requests};
use crate::content::assets::Assets;
use crate::engine::Engine;
use crate::experiment::{Condition, Experiment, conditions};
use crate::model::{ModelConfig, PixelModel};

/// Arguments of a run of an experiment.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// Run an experiment of the program or of a mod instead of prompts; on the processor, unless --device gpu.
    #[arg(long, value_name = "NAME", requires = "no_window", conflicts_with_all = ["prompt", "input"], help_heading = "Prompts")]
    pub experiment: Option<String>,
}

/// Answers of one condition: one per request of the plan.
type Answers = Vec<Result<Answer, String>>;

/// Runs an experiment.
///
/// # Errors
/// There is no such experiment, it does not fit the model, or the model or output cannot be used.
pub fn run(
    args: &ExperimentArgs,
    batch: &BatchArgs,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    batch.check_output()?;
    let name = args.experiment.as_deref().context("no experiment is named")?;
    let experiment: Experiment = assets.content("experiment", name)?;
    let model = open_model(batch.model.as_deref(), assets)?;
    let job = Job::new(name, &experiment, &model)?;
    let mut file =
        CellFile::open(batch.output.as_deref().filter(|path| *path != Path::new("-")), batch.existing())?;
    let slots = batch.parallel.map_or(SLOTS, usize::from).min(job.plan.requests.len()).max(1);
    // Of two devices, only the processor gives the same bits on every machine: who wants the other names it.
    let device = if batch.device == Device::Gpu { Device::Gpu } else { Device::Cpu };
    let context = batch.context.unwrap_or(job.context());
    let mut engine = open_engine(device, model, slots, Some(context), batch.memory)?;

    let bar = progress_bar("cells", job.cells() as u64);
    let (outcome, failed) =
        interruptible(|cancel| job.run(&mut *engine, &mut file, cancel, &mut |_| bar.inc(1)))?;
    bar.finish_and_clear();
    file.sync()?;
    finish(batch, &job.conditions, job.cells(), failed, outcome, &file, out)
}

/// Sequences at a time where nobody says.
pub const SLOTS: usize = 8;

/// An experiment on a model, ready to run.
pub struct Job {
    name: String,
    text: ModelText,
    config: ModelConfig,
    conditions: Vec<Condition>,
    plan: Plan,
}

/// A cell that was measured.
pub struct Cell<'a> {
    /// The condition.
    pub condition: &'a str,
    /// How far what the experiment looks at is from that of the unchanged model; none where it looks at nothing.
    pub difference: Option<f32>,
}

impl Job {
    /// The experiment of a name on a model.
    ///
    /// # Errors
    /// It does not fit the model, or the model's tokenizer cannot be used.
    pub fn new(name: &str, experiment: &Experiment, model: &PixelModel) -> anyhow::Result<Self> {
        let text = ModelText::new(model).context("the model's tokenizer cannot be used")?;
        text.warnings().iter().for_each(|warning| super::output::print_warning(warning));
        let config = model.config().clone();
        let conditions = conditions(experiment, &config).with_context(|| format!("experiment/{name}"))?;
        let plan = Plan::new(experiment, &text, config.vocab_size)?;
        Ok(Self { name: name.into(), text, config, conditions, plan })
    }

    /// How many cells it has.
    pub fn cells(&self) -> usize {
        self.conditions.len() * self.plan.trials.len()
    }

    /// Positions that its longest sequence takes.
    pub fn context(&self) -> u32 {
        let longest = self.plan.longest;
        longest.checked_next_multiple_of(64).unwrap_or(longest).min(self.config.context_length)
    }

    /// How many sequences can run at a time.
    pub fn slots(&self) -> usize {
        SLOTS.min(self.plan.requests.len()).max(1)
    }

    /// Measures every cell that the file lacks, and tells of each. Gives how it ended, and how many failed.
    ///
    /// # Errors
    /// The engine fails or cannot mute heads, or the file cannot be written.
    pub fn run(
        &self,
        engine: &mut dyn Engine,
        file: &mut CellFile,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(Cell<'_>),
    ) -> anyhow::Result<(Outcome, usize)> {
        let Self { name, text, config, conditions, plan } = self;
        let mut baseline: Vec<Measured> = Vec::new();
        let mut failed = 0_usize;
        for (at, condition) in conditions.iter().enumerate() {
            let wanted: Vec<bool> =
                plan.trials.iter().map(|trial| !file.has(name, &trial.id, &condition.id)).collect();
            // The unchanged model's answers are what all others are compared with, so they are always made.
            if at > 0 && !wanted.contains(&true) {
                continue;
            }
            anyhow::ensure!(
                engine.set_controls(&condition.controls(config)),
                "this device cannot mute heads"
            );
            let Some(answers) = answer_all(engine, text, plan, cancel)? else {
                return Ok((Outcome::Cancelled, failed));
            };
            let measured = plan.measure(&answers);
            if at == 0 {
                baseline.clone_from(&measured);
            }
            for (index, trial) in plan.trials.iter().enumerate() {
                failed += usize::from(measured[index].error.is_some());
                let (now, before) = (&measured[index], &baseline[index]);
                if wanted[index] {
                    file.write(&line(name, text_name(text), trial, condition, now, before))?;
                }
                tell(Cell { condition: &condition.id, difference: now.difference(before) });
            }
        }
        Ok((Outcome::Complete, failed))
    }
}

fn text_name(text: &ModelText) -> &str {
    use crate::batch::TextModel;
    text.name()
}

fn finish(
    batch: &BatchArgs,
    conditions: &[Condition],
    total: usize,
    failed: usize,
    outcome: Outcome,
    file: &CellFile,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let cancelled = outcome == Outcome::Cancelled;
    let to_file: Option<&PathBuf> = batch.output.as_ref().filter(|path| path.as_os_str() != "-");
    let summary = serde_json::json!({
        "cells": total, "conditions": conditions.len(), "written": file.written, "kept": file.kept(), "failed": failed,
        "cancelled": cancelled,
    });
    if out.is_json() && to_file.is_some() {
        out.print(&summary, |_| String::new())?;
    } else if !batch.quiet {
        let more = if cancelled { "; stopped before the end, go on by --resume" } else { "" };
        print_note(&format!(
            "{total} cells of {} conditions: {} written, {} were there, {failed} failed{more}",
            conditions.len(),
            file.written,
            file.kept()
        ));
    }
    Ok(if cancelled || failed > 0 { Exit::FoundBad } else { Exit::Ok })
}

/// Runs all requests of the plan; `None` if the run was cancelled.
fn answer_all(
    engine: &mut dyn Engine,
    text: &ModelText,
    plan: &Plan,
    cancel: &AtomicBool,
) -> anyhow::Result<Option<Answers>> {
    let mut answers: Answers = vec![Err("was not answered".into()); plan.requests.len()];
    let mut progress = Progress::new(plan.requests.len() as u64, 0);
    let requests = plan.requests.iter().cloned().map(Ok);
    let outcome = run_requests(engine, text, requests, &mut progress, cancel, |report| {
        if let Report::Finished { number, outcome, .. } = report {
            answers[number as usize] = outcome.clone().map_err(|failure| failure.to_string());
        }
        Ok(())
    })?;
    Ok((outcome == Outcome::Complete && !cancel.load(Ordering::Relaxed)).then_some(answers))
}
