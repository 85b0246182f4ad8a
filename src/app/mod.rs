//! The modes of the program: arguments come in, an exit code goes out.
//!
//! This module and what is below it are the only ones that know the user's terminal, and the only
//! ones that use `anyhow`.

pub mod cli;
#[cfg(feature = "world")]
pub mod explore;
pub mod kinds;

use crate::content::Assets;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cli::{
    bench, cache, chat, coach, convert, corpus, evaluate, experiment, fs, inspect, lineage, map,
    merge, mods,
    output::{self, Exit, Output},
    pages, perplexity, prune, refit, run, school, simulate, suggest, train, verify,
};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a newcomer may want to try, below the short help and the long.
const EXAMPLES: &str = "Examples:
  pixel-llm                                   the world of the built-in model, in a window
  pixel-llm chat model.gguf                   a conversation in the terminal
  pixel-llm --prompt \"Tell me a story\"        one answer; so does: echo \"...\" | pixel-llm run
A .gguf or .pxi file will do wherever a model is named; COMMAND --help has more examples.";

/// The options that the short help shows without a command.
const FIRST_OPTIONS: [&str; 5] = ["model", "no_window", "prompt", "input", "json"];

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
    /// Whether what is done without a command asks for contents of mods: a window, a tour, agents,
    /// an experiment; not plain prompts.
    fn uses_mods(&self) -> bool {
        #[cfg(feature = "world")]
        let tour = self.world.tour.is_some();
        #[cfg(not(feature = "world"))]
        let tour = false;
        !self.batch.answers()
            || tour
            || self.simulation.ticks.is_some()
            || self.experiment.experiment.is_some()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Talk with a model: a conversation in the terminal.
    Chat(chat::ChatArgs),
    /// Answer prompts, a text from a pipe or a file of requests.
    Run(Box<run::BatchArgs>),
    /// Answer OpenAI clients over HTTP.
    #[cfg(feature = "serve")]
    Serve(Box<cli::serve::ServeArgs>),
    /// Work with .pxi files: bytes stored as pixels.
    Fs(fs::FsArgs),
    /// Turn a GGUF model into pixels, or back.
    Convert(convert::ConvertArgs),
    /// Tell what a model is; list its tensors; paint it.
    Inspect(inspect::InspectArgs),
    /// Work with infinite maps: pixels and bytes at 64-bit coordinates.
    Map(map::MapArgs),
    /// Check every tile of a model against its checksum.
    Verify(verify::VerifyArgs),
    /// Write a model with an adapter in its weights.
    Merge(merge::MergeArgs),
    /// Write a model in fewer bytes that says nearly the same.
    Refit(refit::RefitArgs),
    /// Write a model without the heads or layers that it needs least.
    // Measured, it is a poor trade, and in the README: the list has to fit a screen.
    #[command(hide = true)]
    Prune(prune::PruneArgs),
    /// Measure how fast a model answers here, and where the time goes.
    Bench(bench::BenchArgs),
    /// Give the model work to do: tasks in phases, each accepted by a check.
    Coach(coach::CoachArgs),
    /// Show a model's children and their figures; promote one, or go back.
    Lineage(lineage::LineageArgs),
    /// List, check, make and pack mods.
    Mods(mods::ModsArgs),
    /// Teach a model from lines of JSON: an adapter that llama.cpp takes too.
    Train(Box<train::TrainArgs>),
    /// Have a model learn from its own answers what it can prove.
    School(school::SchoolArgs),
    /// Make lines of training data out of templates.
    Corpus(corpus::CorpusArgs),
    /// Measure a model's loss and exact answers on lines of JSON.
    Evaluate(evaluate::EvaluateArgs),
    /// Measure how well a model foresees a text.
    Perplexity(perplexity::PerplexityArgs),
    /// List or remove what is kept of GGUF models.
    Cache(cache::CacheArgs),
    /// Print what a shell needs to complete the command line.
    // For who sets a shell up, and in the README.
    #[command(hide = true)]
    Completions(pages::CompletionsArgs),
    /// Write manual pages.
    // For packagers, and in the README: the list has to fit a screen.
    #[command(hide = true)]
    Man(pages::ManArgs),
}

/// The command line. Without a command its short help is one screen, and the long one has
/// everything.
fn command_line() -> clap::Command {
    Arguments::command()
        .about("A language model is a world, and its weights are pixels.")
        .after_help(EXAMPLES)
        .mut_args(|arg| {
            let first = FIRST_OPTIONS.contains(&arg.get_id().as_str());
            if first { arg } else { arg.hide_short_help(true) }
        })
        // There it says nothing, but who is used to it may go on writing it.
        .mut_subcommand("run", |run| run.mut_arg("no_window", |arg| arg.hide(true)))
}

/// Reads the arguments. What cannot be read is told, and ends the program.
fn read_arguments(typed: &[OsString]) -> Result<Arguments, ExitCode> {
    let command = command_line();
    let matches = match command.clone().try_get_matches_from(typed) {
        Ok(matches) => matches,
        Err(error) => {
            let wanted = matches!(
                error.kind(),
                clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
            );
            // A misspelt command is taken for a model, so clap complains of what follows it.
            match suggest::mistyped_command(&command, typed.get(1..).unwrap_or_default()) {
                Some(problem) if !wanted => return Err(refuse(problem)),
                _ => output::refuse_arguments(command, typed, &error),
            }
        }
    };
    // Alone it is taken for a model without any complaint.
    if matches.subcommand_name().is_none()
        && let Some(problem) =
            suggest::mistyped_command(&command, typed.get(1..).unwrap_or_default())
    {
        return Err(refuse(problem));
    }
    if let Some(problem) = without_effect(&command, &matches) {
        return Err(refuse(problem));
    }
    Arguments::from_arg_matches(&matches).map_err(|error| error.exit())
}

/// What is wrong with options about answers where a window would open, in which nothing is
/// answered.
fn without_effect(command: &clap::Command, matches: &clap::ArgMatches) -> Option<String> {
    /// Options that say what is done.
    const DEEDS: [&str; 6] = ["no_window", "prompt", "input", "mute", "ticks", "experiment"];
    /// What `run` has and the window too.
    const SHARED: [&str; 5] = ["model", "gpu_memory", "quiet", "lora", "lora_any_base"];
    let is_given =
        // Defaults are values too, which nobody gave.
        |id: &str| matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    if matches.subcommand_name().is_some() || DEEDS.iter().any(|id| is_given(id)) {
        return None;
    }
    let of_answers = command.find_subcommand("run")?.get_arguments();
    let mut own = of_answers.filter(|arg| {
        let id = arg.get_id().as_str();
        !SHARED.contains(&id) && command.get_arguments().any(|other| other.get_id() == arg.get_id())
    });
    let option = own.find(|arg| is_given(arg.get_id().as_str()))?.get_long()?;
    Some(format!(
        "--{option} is about answers, and the window gives none; add --prompt TEXT or --input \
         FILE, \
         or see `pixel-llm run --help`"
    ))
}

fn refuse(problem: String) -> ExitCode {
    output::print_error(&anyhow::Error::msg(problem));
    Exit::CannotRun.into()
}

/// Does what the arguments say. Exit code 0: done, 1: something is bad, 2: it cannot be done.
pub fn main() -> ExitCode {
    // Before the arguments are read, and before anything takes memory.
    if let Some(exit) = crate::model::chat::worker::serve_if_asked() {
        return exit;
    }
    let typed: Vec<OsString> = std::env::args_os().collect();
    let arguments = match read_arguments(&typed) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    #[cfg(unix)]
    let_writes_fail();
    remove_temporary_files_on_interrupt();
    let mut out = Output::new(arguments.json);
    let mods = arguments.mods.clone().or_else(crate::content::user_folder);
    let assets = kinds::assets().with_folder(arguments.assets.clone()).with_mods(mods);
    let uses_mods = match &arguments.command {
        Some(command) => {
            use Command::{Coach, Corpus, Lineage, School};
            matches!(command, Coach(_) | Corpus(_) | Lineage(_) | School(_))
        }
        None => arguments.uses_mods(),
    };
    // What is wrong with mods is known only once all are read, which not every run needs.
    if uses_mods {
        assets.warnings().iter().for_each(|warning| output::print_warning(warning));
    }
    let result = run_mode(arguments, &assets, &mut out);
    // However the run ended: programs that tasks began would outlive this one.
    crate::coach::work::process::end_all();
    // A writer that is dropped says nothing of a full disk.
    let result = result.and_then(|exit| out.flush().map(|()| exit).map_err(Into::into));
    match result {
        Ok(exit) => exit.into(),
        // The reader of our output has seen enough, as `head` does; that is no failure of ours.
        Err(error) if output::is_closed_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            let error = match suggest::for_error(&error, typed.get(1..).unwrap_or_default()) {
                Some(near) => {
                    let near = crate::terminal::one_line(&near).into_owned();
                    anyhow::anyhow!("{}; did you mean {near}?", output::error_line(&error))
                }
                None => error,
            };
            output::print_error(&error);
            Exit::CannotRun.into()
        }
    }
}

/// Does what the arguments ask for.
fn run_mode(arguments: Arguments, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    match arguments.command {
        Some(Command::Chat(args)) => chat::run(&args, assets, out),
        Some(Command::Run(args)) => run::run(&args, assets, out),
        #[cfg(feature = "serve")]
        Some(Command::Serve(args)) => cli::serve::run(&args, assets, out),
        Some(Command::Completions(args)) => pages::completions(&args, command_line(), out),
        Some(Command::Man(args)) => pages::man(&args, command_line(), out),
        Some(Command::Fs(args)) => fs::run(args, out),
        Some(Command::Convert(args)) => convert::run(args, assets, out),
        Some(Command::Inspect(args)) => inspect::run(args, assets, out),
        Some(Command::Map(args)) => map::run(args, out),
        Some(Command::Merge(args)) => merge::run(args, assets, out),
        Some(Command::Refit(args)) => refit::run(args, assets, out),
        Some(Command::Prune(args)) => prune::run(args, assets, out),
        Some(Command::School(args)) => school::run(&args, assets, out),
        Some(Command::Verify(args)) => verify::run(args, assets, out),
        Some(Command::Bench(args)) => bench::run(args, assets, out),
        Some(Command::Coach(args)) => coach::run(args, assets, out),
        Some(Command::Lineage(args)) => lineage::run(args, assets, out),
        Some(Command::Cache(args)) => cache::run(&args, out),
        Some(Command::Train(args)) => train::run(*args, assets, out),
        Some(Command::Corpus(args)) => corpus::run(&args, assets, out),
        Some(Command::Evaluate(args)) => evaluate::run(&args, assets, out),
        Some(Command::Perplexity(args)) => perplexity::run(args, assets, out),
        Some(Command::Mods(args)) => mods::run(&args, arguments.mods.as_deref(), out),
        None if arguments.simulation.ticks.is_some() => {
            simulate::run(&arguments.simulation, &arguments.batch, assets, out)
        }
        #[cfg(feature = "world")]
        None if arguments.world.tour.is_some() && arguments.batch.no_window => {
            let model = open_world(&arguments.world, &arguments.batch, assets)?;
            let memory = arguments.batch.memory;
            let lora = &arguments.batch.lora;
            explore::run_offscreen(model, (&arguments.world, lora), memory, assets, out)
        }
        None if arguments.experiment.experiment.is_some() => {
            experiment::run(&arguments.experiment, &arguments.batch, assets, out)
        }
        None if arguments.batch.answers() => run::run(&arguments.batch, assets, out),
        #[cfg(feature = "world")]
        None => {
            let model = open_world(&arguments.world, &arguments.batch, assets)?;
            let memory = arguments.batch.memory;
            explore::run(model, (&arguments.world, &arguments.batch.lora), memory, assets, out)
        }
        #[cfg(not(feature = "world"))]
        None => Err(anyhow::anyhow!(
            "this program was built without the window; answer in the terminal with \
             --prompt TEXT, or talk with `pixel-llm chat`"
        )),
    }
}

/// The model of the window, or of pictures of it, once it is sure that nothing takes its place.
#[cfg(feature = "world")]
fn open_world(
    world: &explore::WorldArgs,
    batch: &run::BatchArgs,
    assets: &Assets,
) -> anyhow::Result<crate::model::PixelModel> {
    let model = batch.model.as_deref();
    world.check_outputs(model)?;
    // The first picture needs few tiles, and each is checked when it comes.
    cli::open_model_quickly(model, assets)
}

fn remove_temporary_files_on_interrupt() {
    let handler = || {
        if !run::interrupt() {
            end_at_once(output::INTERRUPTED);
        }
    };
    // First: the handler below starts a thread, which takes over which signals are blocked.
    end_when_told();
    // Without a handler the program still works; only an interrupt may leave a temporary file.
    if let Err(error) = ctrlc::set_handler(handler) {
        output::print_warning(&format!("an interrupt may leave a temporary file: {error}"));
    }
}

/// A file that grows beyond what the shell allows (`ulimit -f`) fails to be written, like one on a
/// full disk. Otherwise the system would end the program, and its temporary file would stay.
#[cfg(unix)]
fn let_writes_fail() {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    // Before there are other threads, which take it over. Without it the program still works.
    let _ = signals.thread_block();
}

/// Ends the program where it stands, without what it was making.
fn end_at_once(code: i32) -> ! {
    // `exit` runs no destructors, which would remove files and end programs.
    crate::pxi::abandon_all();
    crate::coach::work::process::end_all();
    chat::give_terminal_back();
    let _ = std::io::Write::flush(&mut std::io::stdout());
    leave(code)
}

/// Leaves without what libraries do at a program's end: a driver of a software adapter takes apart
/// what its threads compute with, and where a step was under way the program ended by a fault.
#[cfg(unix)]
fn leave(code: i32) -> ! {
    // SAFETY: it ends the process, takes a number and reads no memory.
    unsafe { nix::libc::_exit(code) }
}

#[cfg(not(unix))]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// Has the signals that end a program end this one, a conversation too; an interrupt may only stop
/// an answer. It waits for one thread: whoever calls this has started no other.
#[cfg(unix)]
fn end_when_told() {
    use nix::sys::signal::{SigSet, Signal};
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    // Under `nohup` the program outlives its terminal.
    if !is_ignored(Signal::SIGHUP) {
        ends.add(Signal::SIGHUP);
    }
    let wait = move || {
        while let Ok(signal) = ends.wait() {
            if !run::end() {
                // What a shell says of a program that a signal has ended.
                end_at_once(128 + signal as i32);
            }
        }
    };
    // Threads that begin later block them too, so that they wait for the one above.
    // Without the thread the signals end the program as they end any other.
    if ends.thread_block().is_ok()
        && std::thread::Builder::new().name("signals".into()).spawn(wait).is_err()
    {
        let _ = ends.thread_unblock();
    }
}

/// Whether whoever started the program has it ignore a signal. False where the system does not
/// tell.
#[cfg(unix)]
fn is_ignored(signal: nix::sys::signal::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    // Signals are counted from 1, bits of the mask from 0.
    mask & (1 << (signal as u32 - 1)) != 0
}

#[cfg(not(unix))]
fn end_when_told() {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_consistent() {
        super::command_line().debug_assert();
    }

    #[test]
    fn options_about_answers_alone_are_refused() {
        let problem = |arguments: &str| {
            let command = super::command_line();
            let words = ["pixel-llm"].into_iter().chain(arguments.split_whitespace());
            super::without_effect(&command, &command.clone().try_get_matches_from(words).unwrap())
        };
        for (arguments, option) in [
            ("--temperature 0", "--temperature"),
            ("model.gguf --raw", "--raw"),
            ("--system x", "--system"),
            ("--context 64", "--context"),
            ("--logprobs 2", "--logprobs"),
        ] {
            let problem = problem(arguments).unwrap();
            assert!(problem.starts_with(option) && problem.contains("--prompt TEXT"), "{problem}");
        }
        for arguments in [
            "",
            "model.gguf",
            "--raw --prompt x",
            "--no-window --seed 1",
            "run --raw",
            "chat --seed 1",
            "--json",
            "model.gguf --lora a.gguf:0.5",
        ] {
            assert_eq!(problem(arguments), None, "{arguments}");
        }
    }

    #[test]
    fn the_short_help_fits_a_screen_and_the_long_one_has_everything() {
        let short = super::command_line().render_help().to_string();
        let long = super::command_line().render_long_help().to_string();
        let lines = short.lines().count();
        assert!((24..=45).contains(&lines), "{lines} lines:\n{short}");
        for part in ["Examples:", "chat", "run", "--prompt", "--no-window"] {
            assert!(short.contains(part) && long.contains(part), "{part}:\n{short}");
        }
        for part in ["--retry-failed", "--ticks", "--experiment", "--repeat-last-n", "--mute"] {
            assert!(long.contains(part) && !short.contains(part), "{part}:\n{short}");
        }
    }
}
