//! `pixel-llm --no-window --experiment NAME`: prompts times interventions, a line of JSON for each
//! cell.
//!
//! All prompts run as one batch under each condition, the unchanged model first; every line
//! compares its cell with the same prompt's run without an intervention. The same experiment gives
//! the same lines, so a run that was stopped goes on behind its last whole line.

mod file;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

pub use self::file::CellFile;
use super::engine::{Device, PrecisionArgs, open_engine};
use super::output::{Exit, Output, print_note, print_warning};
use super::run::{BatchArgs, interruptible};
use super::{open_model, output::progress_bar};
use crate::batch::RunOutcome;
use crate::content::assets::Assets;
use crate::experiment::{Experiment, ExperimentJob, SLOTS};

/// Arguments of a run of an experiment.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// Run an experiment of the program or of a mod instead of prompts; on the processor, unless
    /// --device gpu.
    #[arg(
        long,
        value_name = "NAME",
        requires = "no_window",
        conflicts_with_all = ["prompt", "input"],
        help_heading = "Prompts",
    )]
    pub experiment: Option<String>,
}

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
    let job = ExperimentJob::new(name, &experiment, &model)?;
    job.warnings().iter().for_each(|warning| print_warning(warning));
    let mut file = CellFile::open(
        batch.output.as_deref().filter(|path| *path != Path::new("-")),
        batch.existing(),
    )?;
    let slots = job.slots(batch.parallel.map_or(SLOTS, usize::from));
    // Of two devices, only the processor gives the same bits on every machine: who wants the other
    // names it.
    let device = if batch.device == Device::Gpu { Device::Gpu } else { Device::Cpu };
    let context = batch.context.unwrap_or(job.context());
    let room = (batch.memory, PrecisionArgs::default(), batch.lora.load(&model, false)?);
    let mut engine = open_engine(device, model, slots, Some(context), room)?;

    let bar = progress_bar("cells", job.cells() as u64);
    let (outcome, failed) =
        interruptible(|cancel| job.run(&mut *engine, &mut file, cancel, &mut |_| bar.inc(1)))?;
    bar.finish_and_clear();
    file.sync()?;
    finish(batch, job.condition_count(), job.cells(), failed, outcome, &file, out)
}

fn finish(
    batch: &BatchArgs,
    conditions: usize,
    total: usize,
    failed: usize,
    outcome: RunOutcome,
    file: &CellFile,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let cancelled = outcome == RunOutcome::Cancelled;
    let to_file: Option<&PathBuf> = batch.output.as_ref().filter(|path| path.as_os_str() != "-");
    let summary = serde_json::json!({
        "cells": total, "conditions": conditions, "written": file.written, "kept": file.kept(),
        "failed": failed,
        "cancelled": cancelled,
    });
    if out.is_json() && to_file.is_some() {
        out.print(&summary, |_| String::new())?;
    } else if !batch.quiet {
        let more = if cancelled { "; stopped before the end, go on by --resume" } else { "" };
        print_note(&format!(
            "{total} cells of {} conditions: {} written, {} were there, {failed} failed{more}",
            conditions,
            file.written,
            file.kept()
        ));
    }
    Ok(if cancelled || failed > 0 { Exit::FoundBad } else { Exit::Ok })
}
