//! `pixel-llm refit`: a model in a file of a given size that says nearly the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::numbers::human_bytes;
use super::output::{Exit, Output, print_note};
use super::table::{Align, Table};
use super::texts::{Bars, TextsArgs};
use crate::content::assets::Assets;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::model::PixelModel;
use crate::model::convert::convert;
use crate::model::gguf::{Gguf, Value};
use crate::model::resolve::parts;
use crate::model::rewrite::rewrite;
use crate::outputs::{Format, check_output};
use crate::pxi::Target;
use crate::refit::{ENCODINGS, RefitReport, RefitTask, Refitted};
use crate::size::MemorySize;

/// Arguments of `refit`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("goal").required(true),
    after_help = "Each matrix is re-encoded alone and what that does to the model's words is \
        measured: the divergence of what it expects next, in nats per token. From these \
        figures the encodings are chosen that cost least within the bytes, and what comes of \
        them is measured on another text, beside the uniform file of as many bytes or the next \
        more. If the mix is not better there, the uniform file is what is written, and it says \
        so. What was measured is kept with --sensitivity, for other sizes and for going on.

A text is cut into windows of 256 tokens. Without --calibrate the model writes its own, which is \
of its kind; the text of the check is written with another seed.

What is quantised already loses twice: take an F16 or F32 file where there is one.

Examples:
  pixel-llm refit model-f16.gguf --bits 5 --output smaller.gguf
  pixel-llm refit model.pxi --size 92M --calibrate notes.txt --check other.txt --output small.pxi
  pixel-llm refit model.gguf --bits 4.5 --sensitivity model.json --output small.gguf --json"
)]
pub struct RefitArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// Bytes that all tensors may take, such as 92M (powers of 1024; 92MB of 1000).
    #[arg(long, value_name = "SIZE", group = "goal")]
    size: Option<MemorySize>,
    /// Bits that a weight may take, all tensors together.
    #[arg(long, value_name = "BITS", group = "goal")]
    bits: Option<f64>,
    /// The model to write, a .gguf or .pxi file; it appears when it is whole.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    texts: TextsArgs,
    /// Where what was measured is kept, and found again.
    #[arg(long, value_name = "FILE.json")]
    sensitivity: Option<PathBuf>,
    /// Replace the output if it exists. It is never the input.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct Report {
    model: String,
    output: String,
    calibration: String,
    file_size_in_bytes: u64,
    seconds: f64,
    #[serde(flatten)]
    refit: RefitReport,
}

/// Runs `refit`.
///
/// # Errors
/// The bytes are too few, or the model or a text cannot be read, or the output not be written.
pub fn run(args: RefitArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let format = match args.output.extension().and_then(|ending| ending.to_str()) {
        Some(ending) if ending.eq_ignore_ascii_case("pxi") => Format::Pxi,
        _ => Format::Gguf,
    };
    let read = args.model.iter().flat_map(|model| parts(model));
    let read = read.chain(args.texts.files());
    check_output(&args.output, read, format, args.overwrite)?;
    let model = Arc::new(super::open_model(args.model.as_deref(), assets)?);
    let most_bytes = args.most_bytes(&model)?;
    args.texts.check_memory(&model)?;
    let parent = CpuModel::new(Arc::clone(&model), CpuOptions::default())?;
    let bars = Bars::default();
    let (calibration, gate) = args.texts.texts(&parent, &bars)?;
    let folder = tempfile::Builder::new().prefix(".refit-").tempdir_in(folder_of(&args.output))?;
    let name = args.texts.text_name(&calibration);
    let task = RefitTask {
        parent: &parent,
        calibration: &calibration,
        gate: &gate,
        most_bytes,
        encodings: &ENCODINGS,
        kept: args.sensitivity.as_deref(),
        text_name: &name,
        folder: folder.path(),
    };
    let refitted = task.run(&bars)?;
    bars.end();
    write(&args, &model, &refitted, format, folder.path())?;
    if !refitted.report.is_mix {
        print_note("the uniform file is as good as the chosen mix, so it is what was written");
    }
    let report = Report {
        model: model.path().display().to_string(),
        output: args.output.display().to_string(),
        calibration: name,
        file_size_in_bytes: args.output.metadata()?.len(),
        seconds: start.elapsed().as_secs_f64(),
        refit: refitted.report,
    };
    out.print(&report, human)?;
    Ok(Exit::Ok)
}

impl RefitArgs {
    /// Bytes that all tensors may take.
    fn most_bytes(&self, model: &PixelModel) -> anyhow::Result<u64> {
        if let Some(MemorySize(bytes)) = self.size {
            return Ok(bytes);
        }
        let bits = self.bits.unwrap_or_default();
        anyhow::ensure!(
            bits.is_finite() && (1.0..=32.0).contains(&bits),
            "--bits {bits}: a weight takes 1 to 32 bits"
        );
        let weights: u64 = model.tensors().iter().map(|tensor| tensor.weight_count()).sum();
        Ok((weights as f64 * bits / 8.0) as u64)
    }
}

pub(super) fn folder_of(output: &Path) -> &Path {
    output.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Writes what is offered.
fn write(
    args: &RefitArgs,
    model: &PixelModel,
    refitted: &Refitted,
    format: Format,
    folder: &Path,
) -> anyhow::Result<()> {
    let text = |text: &str| Value::String(text.into());
    let origin = [
        ("general.base_model.count".to_owned(), Value::U32(1)),
        ("general.base_model.0.name".to_owned(), text(&name_of(model))),
        ("pixel_llm.refit.parent_root".to_owned(), text(&crate::pxi::hex(&model.header().root))),
    ];
    let (encodings, importance) = (&refitted.encodings, &refitted.importance.of);
    let target = Target::new(&args.output, args.overwrite);
    if format != Format::Pxi {
        rewrite(model, encodings, importance, &origin, target, &|_| ())?;
        return Ok(());
    }
    let between = folder.join("whole.gguf");
    rewrite(model, encodings, importance, &origin, &between, &|_| ())?;
    convert(&Gguf::open(&between)?, target, &|_| ())?;
    Ok(())
}

pub(super) fn name_of(model: &PixelModel) -> String {
    let name = model.metadata().str("general.name").ok().flatten();
    name.map_or_else(|| model.path().display().to_string(), str::to_owned)
}

fn human(report: &Report) -> String {
    let refit = &report.refit;
    let mut table = Table::new([
        ("MATRIX", Align::Left),
        ("STORED AS", Align::Left),
        ("ALONE IT COSTS", Align::Right),
    ]);
    for matrix in &refit.matrices {
        table.row([
            matrix.name.clone(),
            format!("{} -> {}", matrix.before, matrix.after),
            format!("{:.6}", matrix.divergence),
        ]);
    }
    let mut text = table.render();
    let mut figures = Table::new([
        ("ON ANOTHER TEXT", Align::Left),
        ("BYTES", Align::Right),
        ("DIVERGENCE", Align::Right),
        ("SAME BEST TOKEN", Align::Right),
        ("LOSS", Align::Right),
    ]);
    figures.row([
        "as it was".to_owned(),
        human_bytes(refit.bytes_before),
        "0".to_owned(),
        "100.0 %".to_owned(),
        format!("{:.4}", refit.loss_before),
    ]);
    let uniform = refit.uniform.as_ref().zip(refit.uniform_encoding);
    let uniform = uniform.map(|(found, encoding)| (format!("all in {encoding}"), found));
    for (name, measured) in std::iter::once(("the mix".to_owned(), &refit.mix)).chain(uniform) {
        let found = &measured.found;
        figures.row([
            name,
            human_bytes(measured.bytes),
            format!("{:.5} +- {:.5}", found.mean, found.standard_error),
            format!("{:.1} %", 100.0 * found.same_best),
            format!("{:.4}", found.loss),
        ]);
    }
    text.push('\n');
    text.push_str(&figures.render());
    text.push_str(&format!(
        "\nforetold {:.5} nats a token, by {}\n{} -> {}: {} in {:.1} s\n",
        refit.foretold,
        report.calibration,
        report.model,
        report.output,
        human_bytes(report.file_size_in_bytes),
        report.seconds
    ));
    text
}
