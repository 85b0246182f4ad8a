//! `pixel-llm --no-window --ticks N`: the agents' world without a window, as fast as it can.
//!
//! Comes in: the model whose parts are worked on, a seed, or a world that was saved. Goes out: the
//! trace, a line of JSON per incident.

use std::path::PathBuf;

use clap::Args;

use super::output::{Exit, Output};
use super::run::BatchArgs;
use crate::content::assets::Assets;

/// Arguments of a simulation.
#[derive(Debug, Args)]
pub struct SimulationArgs {
    /// Let agents work in simulated time for this many ticks and write what they do, instead of
    /// answering prompts.
    #[arg(
        long,
        value_name = "N",
        requires = "no_window",
        conflicts_with_all = ["prompt", "input"],
        help_heading = "Simulation",
    )]
    pub ticks: Option<u64>,
    /// How many jobs there are on the model's tiles, heads and layers.
    #[arg(
        long,
        value_name = "N",
        requires = "ticks",
        conflicts_with = "load",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000),
        help_heading = "Simulation",
    )]
    pub jobs: u32,
    /// Go on with a world that was saved.
    #[arg(long, value_name = "FILE", requires = "ticks", help_heading = "Simulation")]
    pub load: Option<PathBuf>,
    /// Save the world after the last tick.
    #[arg(long, value_name = "FILE", requires = "ticks", help_heading = "Simulation")]
    pub save: Option<PathBuf>,
}

/// Runs the simulation.
///
/// # Errors
/// The model, the agents or the saved world cannot be read; the trace or the world cannot be
/// written.
#[cfg(feature = "world")]
pub fn run(
    args: &SimulationArgs,
    batch: &BatchArgs,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    use std::io::{BufWriter, Write};

    check_outputs(args, batch)?;
    let mut world = open(args, batch, assets)?;
    let mut file = match &batch.output {
        Some(path) if path.as_os_str() != "-" => {
            Some(BufWriter::new(create(path, batch.overwrite)?))
        }
        _ => None,
    };
    let start = std::time::Instant::now();
    for _ in 0..args.ticks.unwrap_or(0) {
        world.tick();
        // At every tick, so that the trace of a long run does not fill the memory.
        match &mut file {
            Some(file) => world.write_trace(file)?,
            None => world.write_trace(out.bytes())?,
        }
    }
    if let Some(mut file) = file {
        file.flush()?;
    }
    if let Some(path) = &args.save {
        world.snapshot().save(path)?;
    }
    if !batch.quiet {
        let (jobs, open, now) = (world.board().entries().len(), world.board().open(), world.now());
        let seconds = start.elapsed().as_secs_f64();
        super::output::print_note(&format!(
            "tick {now}: {} of {jobs} jobs are closed, in {seconds:.2} s",
            jobs - open
        ));
    }
    Ok(Exit::Ok)
}

/// Says that there is no world.
///
/// # Errors
/// Always: this program was built without the feature `world`.
#[cfg(not(feature = "world"))]
pub fn run(_: &SimulationArgs, _: &BatchArgs, _: &Assets, _: &mut Output) -> anyhow::Result<Exit> {
    anyhow::bail!("this program was built without the feature \"world\", which agents live in")
}

/// The chance that an attempt at simulated work fails, so that a trace shows what becomes of such
/// jobs.
#[cfg(feature = "world")]
const FAILURE: f32 = 0.02;

#[cfg(feature = "world")]
fn open(
    args: &SimulationArgs,
    batch: &BatchArgs,
    assets: &Assets,
) -> anyhow::Result<crate::agents::simulation::Simulation> {
    use crate::agents::simulation::{Simulation, SimulationRng, WorldSnapshot};

    if let Some(path) = &args.load {
        return Ok(Simulation::resume(&WorldSnapshot::load(path)?)?);
    }
    let model =
        super::open_model_quickly(batch.model.as_deref(), assets)?.laid_out(&assets.rules()?);
    let odds = SimulationRng { seed: batch.sampling.seed, failure: FAILURE };
    let jobs = crate::agents::jobs_of_model(&model, args.jobs as usize, &odds);
    let size = model.plan().size.map(|cells| cells as f64);
    Ok(Simulation::new(crate::agents::load_profiles(assets)?, jobs, size, odds)?)
}

/// Refuses a trace or a saved world that would take the place of the model or the other. A world
/// may be saved where it was loaded from: it is replaced whole, by the one that has gone on.
#[cfg(feature = "world")]
fn check_outputs(args: &SimulationArgs, batch: &BatchArgs) -> anyhow::Result<()> {
    use crate::outputs::{Format, refuse_ending, refuse_input};

    batch.check_output()?;
    if let Some(trace) = &batch.output {
        refuse_input(trace, args.load.as_deref())?;
    }
    if let Some(save) = &args.save {
        let parts = batch.model.as_deref().map(crate::model::resolve::parts).unwrap_or_default();
        refuse_input(save, parts)?;
        refuse_input(save, batch.output.as_deref())?;
        refuse_ending(save, Format::Text)?;
    }
    Ok(())
}

#[cfg(feature = "world")]
fn create(path: &std::path::Path, overwrite: bool) -> anyhow::Result<std::fs::File> {
    use anyhow::Context;

    let mut options = std::fs::OpenOptions::new();
    options.write(true).truncate(true);
    if overwrite {
        options.create(true)
    } else {
        options.create_new(true)
    };
    options
        .open(path)
        .with_context(|| format!("cannot write {} (--overwrite starts it anew)", path.display()))
}
