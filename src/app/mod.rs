//! The modes of the program: arguments come in, an exit code goes out.
//!
//! This module and what is below it are the only ones that know the user's terminal, and the only ones that use
//! `anyhow`.

pub mod cli;
#[cfg(feature = "world")]
pub mod explore;
#[cfg(feature = "world")]
pub mod gpu_engine;
#[cfg(feature = "world")]
pub mod headless;

use crate::assets::Assets;
use clap::{Parser, Subcommand};
use cli::{
    bench, coach, convert, experiment, fs, inspect, map, mods,
    output::{self, Exit, Output},
    perplexity, run, simulate, verify,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// A language model is a world, and its weights are pixels.
#[derive(Debug, Parser)]
#[command(name = "pixel-llm", version, max_term_width = 100)]
struct Arguments {
    /// Print one JSON document on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// A folder whose files stand in for built-in assets of the same name.
    #[arg(long, global = true, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// A folder of mods to use instead of the user's.
    #[arg(long = "mods", global = true, value_name = "DIR", id = "mods-folder")]
    mods: Option<PathBuf>,
    #[command(flatten)]
    batch: run::BatchArgs,
    #[command(flatten)]
    simulation: simulate::SimulationArgs,
    #[cfg(feature = "world")]
    #[command(flatten)]
    world: explore::WorldArgs,
    #[command(flatten)]
    experiment: experiment::ExperimentArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Whether what is done without a command asks for contents of mods: a window, a tour, agents, an experiment; not plain prompts.
    fn uses_mods(&self) -> bool {
        #[cfg(feature = "world")]
        let tour = self.world.tour.is_some();
        #[cfg(not(feature = "world"))]
        let tour = false;
        !self.batch.no_window
            || tour
            || self.simulation.ticks.is_some()
            || self.experiment.experiment.is_some()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work with .pxi files: bytes stored as pixels.
    Fs(fs::FsArgs),
    /// Turn a GGUF model into pixels, or back.
    Convert(convert::ConvertArgs),
    /// Tell what a model is; list its tensors; paint it.
    Inspect(inspect::InspectArgs),
    /// Work with infinite maps: pixels and bytes anywhere on a plane of 64-bit coordinates.
    Map(map::MapArgs),
    /// Check every tile of a model against its checksum.
    Verify(verify::VerifyArgs),
    /// Measure how fast a model answers here, and where the time goes.
    Bench(bench::BenchArgs),
    /// Give the model work to do: tasks in phases, each accepted by a check.
    Coach(coach::CoachArgs),
    /// List, check, make and pack mods.
    Mods(mods::ModsArgs),
    /// Measure how well a model foresees a text.
    Perplexity(perplexity::PerplexityArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Before the arguments are read, and before anything takes memory.
    if let Some(exit) = crate::model::chat::worker::serve_if_asked() {
        return exit;
    }
    let arguments = Arguments::parse();
    remove_temporary_files_on_interrupt();
    let mut out = Output::new(arguments.json);
    let mods = arguments.mods.clone().or_else(crate::mods::user_folder);
    let assets = Assets::new(arguments.assets.clone()).with_mods(mods);
    let uses_mods = match &arguments.command {
        Some(command) => matches!(command, Command::Coach(_)),
        None => arguments.uses_mods(),
    };
    if uses_mods {
        assets.warnings().iter().for_each(|warning| output::print_warning(warning));
    }
    let result = match arguments.command {
        Some(Command::Fs(args)) => fs::run(args, &mut out),
        Some(Command::Convert(args)) => convert::run(args, &mut out),
        Some(Command::Inspect(args)) => inspect::run(args, &assets, &mut out),
        Some(Command::Map(args)) => map::run(args, &mut out),
        Some(Command::Verify(args)) => verify::run(args, &assets, &mut out),
        Some(Command::Bench(args)) => bench::run(args, &assets, &mut out),
        Some(Command::Coach(args)) => coach::run(args, &assets, &mut out),
        Some(Command::Perplexity(args)) => perplexity::run(args, &assets, &mut out),
        None if arguments.simulation.ticks.is_some() => {
            simulate::run(&arguments.simulation, &arguments.batch, &assets, &mut out)
        }
        #[cfg(feature = "world")]
        None if arguments.world.tour.is_some() && arguments.batch.no_window => {
            cli::open_model(arguments.batch.model.as_deref(), &assets).and_then(|model| {
                explore::run_offscreen(model, &arguments.world, arguments.batch.memory, &assets, &mut out)
            })
        }
        Some(Command::Mods(args)) => mods::run(&args, arguments.mods.as_deref(), &mut out),
        None if arguments.experiment.experiment.is_some() => {
            experiment::run(&arguments.experiment, &arguments.batch, &assets, &mut out)
        }
        None if arguments.batch.no_window => run::run(&arguments.batch, &assets, &mut out),
        #[cfg(feature = "world")]
        None => cli::open_model(arguments.batch.model.as_deref(), &assets).and_then(|model| {
            explore::run(model, &arguments.world, arguments.batch.memory, &assets, &mut out)
        }),
        #[cfg(not(feature = "world"))]
        None => Err(anyhow::anyhow!(
            "this program was built without the window; answer in the terminal with --no-window --prompt TEXT"
        )),
    };
    let result = result.and_then(|exit| out.flush().map(|()| exit).map_err(Into::into));
    match result {
        Ok(exit) => exit.into(),
        // The reader of our output has seen enough, as `head` does; that is no failure of ours.
        Err(error) if output::is_closed_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            output::print_error(&error);
            Exit::CannotRun.into()
        }
    }
}

fn remove_temporary_files_on_interrupt() {
    let handler = || {
        if run::interrupt() {
            return;
        }
        crate::pxi::abandon_all();
        std::process::exit(output::INTERRUPTED);
    };
    // Without a handler the program still works; only an interrupt may leave a temporary file.
    if let Err(error) = ctrlc::set_handler(handler) {
        output::print_warning(&format!("an interrupt may leave a temporary file: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
