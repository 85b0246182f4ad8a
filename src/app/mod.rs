//! The modes of the program: arguments come in, an exit code goes out.
//!
//! This module and what is below it are the only ones that know the user's terminal, and the only ones that use
//! `anyhow`.

pub mod cli;

use clap::{Parser, Subcommand};
use cli::{
    fs,
    output::{self, Exit, Output},
};
use std::process::ExitCode;

/// A language model is a world, and its weights are pixels.
#[derive(Debug, Parser)]
#[command(name = "pixel-llm", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    /// Print one JSON document on standard output instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work with .pxi files: bytes stored as pixels.
    Fs(fs::FsArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    remove_temporary_files_on_interrupt();
    let mut out = Output::new(arguments.json);
    let result = match arguments.command {
        Command::Fs(args) => fs::run(args, &mut out),
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
