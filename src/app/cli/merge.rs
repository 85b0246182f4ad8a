//! `pixel-llm merge`: a model with adapters in its weights, as a model of its own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::lora::{LoraFile, lora_file};
use super::numbers::human_bytes;
use super::output::{Exit, Output, print_error, progress_bytes};
use super::table::{Align, Table};
use crate::content::assets::Assets;
use crate::model::adapter::merge::{LEAST_SURVIVAL, Merge, Merged, MergedTensor, Survival, merge};
use crate::model::convert::convert;
use crate::model::gguf::Gguf;
use crate::model::resolve::parts;
use crate::model::{Adapter, Encoding, PixelModel};
use crate::outputs::{Format, check_output};
use crate::pxi::Target;

/// How changed matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MergeEncoding {
    /// Half precision: what a quantised model and its update become without a loss that counts.
    F16,
    /// Single precision.
    F32,
    /// The upper half of single precision.
    Bf16,
    /// As they are stored now, with codes and scales fitted block by block.
    Keep,
}

impl MergeEncoding {
    fn encoding(self) -> Option<Encoding> {
        match self {
            Self::F16 => Some(Encoding::F16),
            Self::F32 => Some(Encoding::F32),
            Self::Bf16 => Some(Encoding::BF16),
            Self::Keep => None,
        }
    }
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "What survives of an update is 1 less the norm of what rounding does to the \
        merged weights by the norm of the update. In four bits it is often nothing: a merge that \
        keeps the encoding and loses more than half stops, and nothing is written.

Examples:
  pixel-llm merge model.gguf --lora facts.gguf --output merged.gguf
  pixel-llm merge model.gguf --lora facts.gguf:0.7 --lora style.gguf --output merged.pxi
  pixel-llm merge model.gguf --lora facts.gguf --encoding keep --output merged.gguf --json"
)]
pub struct MergeArgs {
    /// A PXI-LLM or GGUF file.
    model: PathBuf,
    /// An adapter, a GGUF file or a PEFT folder, and its strength [default: 1]; several add up.
    #[arg(
        long,
        required = true,
        value_name = "FILE[:SCALE]",
        value_parser = lora_file,
        allow_hyphen_values = true,
    )]
    lora: Vec<LoraFile>,
    /// The model to write, a .gguf or .pxi file; it appears when it is whole.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// How changed matrices are stored; the others stay as they are.
    #[arg(long, value_enum, default_value_t = MergeEncoding::F16)]
    encoding: MergeEncoding,
    /// Write it although less than half of the update survives, or an adapter was trained on
    /// another model of the same shape.
    #[arg(long)]
    force: bool,
    /// Replace the output if it exists. It is never the input.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct MergeReport {
    model: String,
    output: String,
    /// How much of the update of all matrices survives.
    survives: f64,
    /// The norm of the update by that of the matrices.
    update_of_weights: f64,
    written: bool,
    file_size_in_bytes: u64,
    seconds: f64,
    tensors: Vec<TensorReport>,
}

#[derive(Serialize)]
struct TensorReport {
    survives: f64,
    #[serde(flatten)]
    tensor: MergedTensor,
}

/// Runs `merge`. Exit code 1 where so little survives that nothing is written.
///
/// # Errors
/// The model or an adapter cannot be read, they do not fit, or the output cannot be written.
pub fn run(args: MergeArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let format = match args.output.extension().and_then(|ending| ending.to_str()) {
        Some(ending) if ending.eq_ignore_ascii_case("pxi") => Format::Pxi,
        _ => Format::Gguf,
    };
    let read = parts(&args.model).into_iter().chain(args.lora.iter().map(|file| file.path.clone()));
    check_output(&args.output, read, format, args.overwrite)?;
    let model = super::open_model(Some(&args.model), assets)?;
    let adapters = adapters(&args, &model)?;
    let target = Target::new(&args.output, args.overwrite);
    let merged = match format {
        Format::Pxi => merge_to_pxi(&args, &model, &adapters, target)?,
        _ => finish(&args, merge_to(&args, &model, &adapters, target)?)?,
    };
    let (merged, written) = merged;
    let survives = merged.total.share();
    let tensors = merged.tensors.into_iter();
    let report = MergeReport {
        model: args.model.display().to_string(),
        output: args.output.display().to_string(),
        survives,
        update_of_weights: merged.total.update / merged.total.weights,
        written,
        file_size_in_bytes: if written { args.output.metadata()?.len() } else { 0 },
        seconds: start.elapsed().as_secs_f64(),
        tensors: tensors
            .map(|tensor| TensorReport { survives: tensor.survival.share(), tensor })
            .collect(),
    };
    out.print(&report, human)?;
    if written {
        return Ok(Exit::Ok);
    }
    print_error(&anyhow::anyhow!(
        "{:.0} % of the update survives, less than half, so nothing was written: the update is \
         smaller than the steps of the encoding; take --encoding f16, or --force",
        100.0 * survives
    ));
    Ok(Exit::FoundBad)
}

/// Reads the adapters and checks them against the model.
fn adapters(args: &MergeArgs, model: &PixelModel) -> anyhow::Result<Vec<(Adapter, f32)>> {
    let one = |file: &LoraFile| {
        if let Some(name) = &file.name {
            anyhow::bail!(
                "--lora {name}=...: a name is for requests, which a merge has none of; leave it out"
            );
        }
        let adapter = Adapter::open(&file.path, model)?;
        adapter.check(model, args.force)?;
        Ok((adapter, file.scale))
    };
    args.lora.iter().map(one).collect()
}

fn merge_to(
    args: &MergeArgs,
    model: &PixelModel,
    adapters: &[(Adapter, f32)],
    target: impl Into<Target>,
) -> anyhow::Result<Merge> {
    let bar = progress_bytes("merging", Some(model.header().model_size_in_bytes));
    let encoding = args.encoding.encoding();
    let made = merge(model, adapters, encoding, target, &|done| bar.set_position(done));
    bar.finish_and_clear();
    Ok(made?)
}

/// Gives the file its name where enough survives, and says whether.
fn finish(args: &MergeArgs, made: Merge) -> anyhow::Result<(Merged, bool)> {
    if made.merged.total.share() < LEAST_SURVIVAL && !args.force {
        return Ok((made.merged, false));
    }
    Ok((made.finish()?, true))
}

/// Merges into a GGUF file beside the output, which is gone when it has become pixels.
fn merge_to_pxi(
    args: &MergeArgs,
    model: &PixelModel,
    adapters: &[(Adapter, f32)],
    target: Target,
) -> anyhow::Result<(Merged, bool)> {
    let folder = match args.output.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let between = tempfile::Builder::new().prefix(".merge-").suffix(".gguf").tempfile_in(folder);
    let between = between.context("cannot make a file beside the output")?.into_temp_path();
    let (merged, written) = finish(args, merge_to(args, model, adapters, &between)?)?;
    if written {
        let gguf = Gguf::open(&between)?;
        convert(&gguf, target, &|_| ())?;
    }
    Ok((merged, written))
}

fn human(report: &MergeReport) -> String {
    let mut table = Table::new([
        ("MATRIX", Align::Left),
        ("STORED AS", Align::Left),
        ("UPDATE", Align::Right),
        ("SURVIVES", Align::Right),
    ]);
    for TensorReport { survives, tensor } in &report.tensors {
        let Survival { update, weights, .. } = tensor.survival;
        table.row([
            tensor.name.clone(),
            format!("{} -> {}", tensor.before, tensor.after),
            format!("{:.3} %", 100.0 * update / weights),
            format!("{:.1} %", 100.0 * survives),
        ]);
    }
    let mut text = table.render();
    text.push_str(&format!(
        "\nof the update, {:.3} % of the weights, {:.1} % survives\n",
        100.0 * report.update_of_weights,
        100.0 * report.survives
    ));
    if report.written {
        text.push_str(&format!(
            "{} -> {}: {} in {:.2} s\n",
            report.model,
            report.output,
            human_bytes(report.file_size_in_bytes),
            report.seconds
        ));
    }
    text
}
