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
use self::output::CellFile;
use super::engine::{Device, open_engine};
use super::output::{Exit, Output, print_note, print_warning};
use super::run::{BatchArgs, interruptible};
use super::{open_model, output::progress_bar};
use crate::assets::Assets;
use crate::mods::experiment::{Condition, Experiment, conditions};
use crate::mods::{Registry, load, user_folder};
use crate::tokens::{Answer, Engine, ModelText, Outcome, Progress, Report, run as run_requests};

/// Arguments of a run of an experiment.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// Run an experiment of the program or of a mod instead of prompts.
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
    mods: Option<&Path>,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let name = args.experiment.as_deref().context("no experiment is named")?;
    let experiment = find(name, mods)?;
    anyhow::ensure!(
        batch.device != Device::Gpu,
        "experiments run on the processor in this version; use --device cpu or auto"
    );
    let model = open_model(batch.model.as_deref(), assets)?;
    let text = ModelText::new(&model).context("the model's tokenizer cannot be used")?;
    let config = model.config().clone();
    let conditions = conditions(&experiment, &config).with_context(|| format!("experiment/{name}"))?;
    let plan = Plan::new(&experiment, &text, config.vocab_size)?;
    let mut file =
        CellFile::open(batch.output.as_deref().filter(|path| *path != Path::new("-")), batch.existing())?;
    let context =
        plan.longest.checked_next_multiple_of(64).unwrap_or(plan.longest).min(config.context_length);
    let slots = batch.parallel.map_or(8, usize::from).min(plan.requests.len()).max(1);
    let mut engine =
        open_engine(Device::Cpu, model, slots, Some(batch.context.unwrap_or(context)), batch.memory)?;

    let total = conditions.len() * plan.trials.len();
    let bar = progress_bar("cells", total as u64);
    let mut baseline: Vec<Measured> = Vec::new();
    let mut failed = 0_usize;
    let outcome = interruptible(|cancel| -> anyhow::Result<Outcome> {
        for (at, condition) in conditions.iter().enumerate() {
            let wanted: Vec<bool> =
                plan.trials.iter().map(|trial| !file.has(name, &trial.id, &condition.id)).collect();
            // The unchanged model's answers are what all others are compared with, so they are always made.
            if at > 0 && !wanted.contains(&true) {
                continue;
            }
            anyhow::ensure!(
                engine.set_controls(&condition.controls(&config)),
                "this device cannot mute heads"
            );
            let Some(answers) = answer_all(&mut *engine, &text, &plan, cancel)? else {
                return Ok(Outcome::Cancelled);
            };
            let measured = plan.measure(&answers);
            if at == 0 {
                baseline.clone_from(&measured);
            }
            for (index, trial) in plan.trials.iter().enumerate() {
                failed += usize::from(measured[index].error.is_some());
                if wanted[index] {
                    file.write(&line(
                        name,
                        text_name(&text),
                        trial,
                        condition,
                        &measured[index],
                        &baseline[index],
                    ))?;
                }
                bar.inc(1);
            }
        }
        Ok(Outcome::Complete)
    })?;
    bar.finish_and_clear();
    file.sync()?;
    finish(batch, &conditions, total, failed, outcome, &file, out)
}

fn text_name(text: &ModelText) -> &str {
    use crate::tokens::TextModel;
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

/// The experiment of a name, from the built-in assets and the mods.
fn find(name: &str, mods: Option<&Path>) -> anyhow::Result<Experiment> {
    let folder = mods.map(Path::to_owned).or_else(user_folder);
    let loaded = load(&Registry::default(), folder.as_deref());
    for report in loaded.mods.iter().filter(|report| !report.problems.is_empty()) {
        for problem in &report.problems {
            print_warning(&format!("the mod {} is left out: {problem}", report.id()));
        }
    }
    match loaded.get::<Experiment>("experiment", name) {
        Some(Ok(experiment)) => Ok(experiment),
        Some(Err(problems)) => anyhow::bail!("experiment/{name} cannot be read: {}", problems[0]),
        None => {
            let names: Vec<_> = loaded.names("experiment").collect();
            anyhow::bail!("there is no experiment {name}; there are {}", names.join(", "))
        }
    }
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
