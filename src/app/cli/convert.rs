//! `pixel-llm convert`: GGUF to PXI-LLM and back.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::numbers::{human_bytes, thousands};
use super::output::{Exit, Output, print_note, progress_bytes};
use crate::content::assets::Assets;
use crate::model::adapter::pixels::{AdapterPixels, convert_adapter};
use crate::model::convert::{convert, file_size_in_bytes, work_in_bytes};
use crate::model::gguf::Gguf;
use crate::model::resolve::CacheNote;
use crate::model::{Adapter, Encoding, PixelModel, export, resolve};
use crate::outputs::{Format, check_output};
use crate::pxi::Target;
use crate::words::{counted, one_or_more};

/// Arguments of `convert`: two files, and leave to replace the second.
#[derive(Debug, Args)]
#[command(
    after_help = "The direction follows from the input: a GGUF file becomes pixels, a PXI-LLM \
        file becomes GGUF again, byte for byte.

Examples:
  pixel-llm convert model.gguf model.pxi
  pixel-llm convert model-00001-of-00003.gguf model.pxi     all parts of a split file
  pixel-llm convert model.pxi again.gguf
  pixel-llm convert model.gguf model.pxi --force            replace what is there
  pixel-llm convert adapter.gguf adapter.pxi                an adapter, and back as a model is
  pixel-llm convert peft-folder adapter.gguf --base model.gguf
                                                            an adapter as PEFT saves it

The output is a new file beside what it may replace, and appears when it is whole: the disk needs
room for it, which is looked at before anything is written. What conversions that were killed left
in the output's folder is removed."
)]
pub struct ConvertArgs {
    /// A GGUF or PXI-LLM file, or a folder with an adapter of PEFT.
    input: PathBuf,
    /// The file to write; it appears when it is whole.
    output: PathBuf,
    /// Replace the output if it exists. It is never the input.
    #[arg(long)]
    force: bool,
    /// The model that a folder's adapter was trained on: it settles the order of rows.
    #[arg(long, value_name = "MODEL")]
    base: Option<PathBuf>,
}

#[derive(Serialize)]
struct ConvertReport {
    input: String,
    output: String,
    tensors: usize,
    tiles: u32,
    model_size_in_bytes: u64,
    file_size_in_bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct AdapterReport {
    input: String,
    output: String,
    matrices: usize,
    file_size_in_bytes: u64,
}

/// Runs `convert`.
///
/// # Errors
/// The input is unsound or of no supported family, or the output is an input, is there already
/// without `--force`, says another format by its ending or cannot be written.
pub fn run(args: ConvertArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    if args.input.is_dir() {
        return convert_folder(&args, assets, out);
    }
    anyhow::ensure!(
        args.base.is_none(),
        "--base is for a folder with an adapter of PEFT, and {} is none",
        args.input.display()
    );
    let start = Instant::now();
    let target = Target::new(&args.output, args.force);
    let (tensors, tiles, size) = if resolve::is_gguf(&args.input)? {
        let gguf = Gguf::open(&args.input)?;
        check_output(&args.output, gguf.paths(), Format::Pxi, args.force)?;
        // After all refusals, since it removes what is left over.
        if is_adapter(&gguf) {
            let done = convert_adapter(&gguf, target, &|_| ())?;
            return report_adapter(&args, done.tensors / 2, out);
        }
        make_room(&args, file_size_in_bytes(&gguf).map_err(|error| error.in_file(&args.input))?)?;
        let bar = progress_bytes("converting", Some(work_in_bytes(&gguf)));
        let done = convert(&gguf, target, &|done| bar.set_position(done))
            .map_err(|error| error.in_file(&args.input))?;
        bar.finish_and_clear();
        (done.tensors, done.tiles as u32, done.model_size_in_bytes)
    } else if let Ok(adapter) = AdapterPixels::open(&args.input) {
        check_output(&args.output, [&args.input], Format::Gguf, args.force)?;
        adapter.export(target)?;
        return report_adapter(&args, adapter.tensors().len() / 2, out);
    } else {
        let model = PixelModel::open(&args.input)?;
        check_output(&args.output, [model.path()], Format::Gguf, args.force)?;
        let size = model.header().model_size_in_bytes;
        make_room(&args, size.saturating_add(model.header().sections.metadata_size))?;
        let bar = progress_bytes("converting", Some(size));
        export::export(&model, target, &|done| bar.set_position(done))?;
        bar.finish_and_clear();
        (model.tensors().len(), model.tile_count(), model.header().model_size_in_bytes)
    };
    let report = ConvertReport {
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
            "{} -> {}: {}, {} {}, {} in {:.2} s",
            report.input,
            report.output,
            counted(report.tensors as u64, "tensor"),
            thousands(u64::from(report.tiles)),
            one_or_more(report.tiles, "tile", "tiles"),
            human_bytes(report.file_size_in_bytes),
            report.seconds,
        )
    })?;
    Ok(Exit::Ok)
}

/// The folder of an adapter to a GGUF file.
fn convert_folder(args: &ConvertArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let base = args.base.as_deref().with_context(|| {
        format!(
            "{} is a folder: an adapter of PEFT needs the model that it was trained on, --base \
             MODEL",
            args.input.display()
        )
    })?;
    check_output(&args.output, [args.input.as_path(), base], Format::Gguf, args.force)?;
    let model = super::open_model_quickly(Some(base), assets)?;
    let mut adapter = Adapter::open(&args.input, &model)?;
    adapter.check(&model, false)?;
    adapter.base = Some(model.header().root);
    adapter.write(Target::new(&args.output, args.force), Encoding::F32)?;
    report_adapter(args, adapter.updates.len(), out)
}

/// Whether a GGUF file says that it is an adapter.
fn is_adapter(gguf: &Gguf) -> bool {
    matches!(gguf.metadata().str("general.type"), Ok(Some("adapter")))
}

fn report_adapter(args: &ConvertArgs, matrices: usize, out: &mut Output) -> anyhow::Result<Exit> {
    let report = AdapterReport {
        input: args.input.display().to_string(),
        output: args.output.display().to_string(),
        matrices,
        file_size_in_bytes: args.output.metadata()?.len(),
    };
    out.print(&report, |report| {
        format!(
            "{} -> {}: an adapter of {} {}, {}",
            report.input,
            report.output,
            report.matrices,
            one_or_more(report.matrices as u64, "matrix", "matrices"),
            human_bytes(report.file_size_in_bytes)
        )
    })?;
    Ok(Exit::Ok)
}

/// Removes what killed conversions left where the output goes, and refuses what the disk has no
/// room for.
fn make_room(args: &ConvertArgs, size: u64) -> anyhow::Result<()> {
    let folder = &Target::from(&args.output).folder();
    let (count, size_in_bytes) = resolve::remove_leftovers(folder);
    if count > 0 {
        print_note(&CacheNote::Leftovers { count, size_in_bytes }.to_string());
    }
    Ok(resolve::check_room(folder, size, 0, "make room or name an output on another disk")?)
}
