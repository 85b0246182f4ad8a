//! The command-line tools: each takes its arguments and an [`output::Output`], and gives an exit code.

pub mod fs;
pub mod output;
mod table;
