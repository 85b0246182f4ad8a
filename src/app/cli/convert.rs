//! `pixel-llm convert`: GGUF to PXI-LLM and back.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, progress_bytes};
use crate::files::{Format, check_output};
use crate::model::convert::{convert, work_in_bytes};
use crate::model::gguf::Gguf;
use crate::model::{PixelModel, export, resolve};

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(
    after_help = "The direction follows from the input: a GGUF file becomes pixels, a PXI-LLM file becomes GGUF again, byte for byte.

Examples:
  pixel-llm convert model.gguf model.pxi
  pixel-llm convert model-00001-of-00003.gguf model.pxi     all parts of a split file
  pixel-llm convert model.pxi again.gguf
  pixel-llm convert model.gguf model.pxi --force            replace what is there"
)]
pub struct ConvertArgs {
    /// A GGUF or PXI-LLM file.
    input: PathBuf,
    /// The file to write; it appears when it is whole.
    output: PathBuf,
    /// Replace the output if it exists. It is never the input.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report {
    input: String,
    output: String,
    tensors: usize,
    tiles: u32,
    model_size_in_bytes: u64,
    file_size_in_bytes: u64,
    seconds: f64,
}

/// Runs `convert`.
///
/// # Errors
/// The input is unsound or of no supported family, or the output is an input, is there already without
/// `--force`, says another format by its ending or cannot be written.
pub fn run(args: ConvertArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let (tensors, tiles, size) = if resolve::is_gguf(&args.input)? {
        let gguf = Gguf::open(&args.input)?;
        check_output(&args.output, gguf.paths(), Format::Pxi, args.force)?;
        let bar = progress_bytes("converting", Some(work_in_bytes(&gguf)));
        let done = convert(&gguf, &args.output, &|done| bar.set_position(done))
            .map_err(|error| error.in_file(&args.input))?;
        bar.finish_and_clear();
        (done.tensors, done.tiles as u32, done.model_size_in_bytes)
    } else {
        let model = PixelModel::open(&args.input)?;
        check_output(&args.output, [model.path()], Format::Gguf, args.force)?;
        let bar = progress_bytes("converting", Some(model.header().model_size_in_bytes));
        export::export(&model, &args.output, &|done| bar.set_position(done))?;
        bar.finish_and_clear();
        (model.tensors().len(), model.tile_count(), model.header().model_size_in_bytes)
    };
    let report = Report {
        input: args.input.display().to_string(),
        output: args.output.display().to_string(),
        tensors,
        tiles,
        model_size_in_bytes: size,
        file_size_in_bytes: args.output.metadata()?.len(),
        seconds: start.elapsed().as_secs_f64(),
    };
    out.print(&report, |report| {
        format!(
            "{} -> {}: {} tensors, {} tiles, {} in {:.2} s",
            report.input,
            report.output,
            report.tensors,
            thousands(u64::from(report.tiles)),
            human_bytes(report.file_size_in_bytes),
            report.seconds,
        )
    })?;
    Ok(Exit::Ok)
}
