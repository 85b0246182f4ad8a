//! What shells and `man` read of the command line: completions and manual pages, made of the same
//! definitions.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::output::{Exit, Output, print_note};

/// Arguments of `completions`: the shell that is to complete.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm completions bash > ~/.local/share/bash-completion/completions/pixel-llm
  pixel-llm completions zsh > ~/.zfunc/_pixel-llm
  pixel-llm completions fish > ~/.config/fish/completions/pixel-llm.fish")]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Arguments of `man`: a folder, or none for standard output.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm man | man -l -
  pixel-llm man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// A folder to write a page for every command to; one page on standard output when left out.
    pub folder: Option<PathBuf>,
}

/// Writes completions on standard output.
///
/// # Errors
/// Standard output is closed.
pub fn completions(
    args: &CompletionsArgs,
    mut command: Command,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics where its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    std::io::Write::write_all(out.bytes(), &script)?;
    Ok(Exit::Ok)
}

/// Writes manual pages.
///
/// # Errors
/// The folder cannot be written to.
pub fn man(args: &ManArgs, command: Command, out: &mut Output) -> anyhow::Result<Exit> {
    let Some(folder) = &args.folder else {
        Man::new(command).render(out.bytes())?;
        return Ok(Exit::Ok);
    };
    let failed = || format!("cannot write manual pages to {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(command, folder).with_context(failed)?;
    print_note(&format!("the pages are in {}; `man -l` shows one", folder.display()));
    Ok(Exit::Ok)
}
