//! `pixel-llm prune`: a model without the heads or layers that it needs least.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::numbers::human_bytes;
use super::output::{Exit, Output};
use super::refit::{folder_of, name_of};
use super::table::{Align, Table};
use super::texts::{Bars, TextsArgs};
use crate::content::assets::Assets;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::lineage::FigureKind;
use crate::model::convert::convert;
use crate::model::gguf::{Gguf, Value};
use crate::model::resolve::parts;
use crate::outputs::{Format, check_output};
use crate::prune::{PruneGoal, PrunePart, PruneReport, PruneTask, Pruned, run as prune};
use crate::pxi::{AtomicFile, Target};

/// Parts of the survey that are shown to a person.
const SHOWN: usize = 12;

/// Arguments of `prune`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("goal").required(true),
    after_help = "Each head, or each layer, is muted alone and what that does to the model's words \
        is measured: the divergence of what it expects next, in nats per token. Those that cost \
        least go, all at once. What came of it is measured on another text with the file that was \
        written, beside the sum that the survey foretold.

A muted head stays in the file, which is as large as before: the columns that read it are zeros. A \
layer that goes is not in the file. Measured on small models it is a poor trade beside `refit`: \
look at the divergence before you keep the file.

Examples:
  pixel-llm prune model.gguf --heads 2 --output fewer-heads.gguf
  pixel-llm prune model.pxi --layers 1 --calibrate notes.txt --check other.txt --output less.gguf
  pixel-llm prune --heads 4 --output heads.gguf --json        of the built-in model"
)]
pub struct PruneArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// So many heads are muted.
    #[arg(long, value_name = "N", group = "goal")]
    heads: Option<usize>,
    /// So many layers are left out.
    #[arg(long, value_name = "N", group = "goal")]
    layers: Option<usize>,
    /// The model to write, a .gguf or .pxi file; it appears when it is whole.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    texts: TextsArgs,
    /// Replace the output if it exists. It is never the input.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct PruneOutput {
    output: String,
    survey_text_is: String,
    file_size_in_bytes: u64,
    seconds: f64,
    #[serde(flatten)]
    prune: PruneReport,
}

/// Runs `prune`.
///
/// # Errors
/// There are not so many heads or layers, or the model or a text cannot be read, or the output not
/// be written.
pub fn run(args: PruneArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let format = match args.output.extension().and_then(|ending| ending.to_str()) {
        Some(ending) if ending.eq_ignore_ascii_case("pxi") => Format::Pxi,
        _ => Format::Gguf,
    };
    let read = args.model.iter().flat_map(|model| parts(model)).chain(args.texts.files());
    check_output(&args.output, read, format, args.overwrite)?;
    let goal = match (args.heads, args.layers) {
        (Some(heads), _) => PruneGoal::Heads(heads),
        (None, layers) => PruneGoal::Layers(layers.unwrap_or_default()),
    };
    let model = Arc::new(super::open_model(args.model.as_deref(), assets)?);
    goal.check(model.config())?;
    args.texts.check_memory(&model)?;
    let parent = CpuModel::new(Arc::clone(&model), CpuOptions::default())?;
    let bars = Bars::default();
    let (survey, check) = args.texts.texts(&parent, &bars)?;
    let folder = tempfile::Builder::new().prefix(".prune-").tempdir_in(folder_of(&args.output))?;
    let text = |text: &str| Value::String(text.into());
    let origin = [
        ("general.base_model.count".to_owned(), Value::U32(1)),
        ("general.base_model.0.name".to_owned(), text(&name_of(&model))),
        ("pixel_llm.prune.parent_root".to_owned(), text(&crate::pxi::hex(&model.header().root))),
    ];
    let task = PruneTask {
        parent: &parent,
        goal,
        survey: &survey,
        check: &check,
        folder: folder.path(),
        origin: &origin,
    };
    let Pruned { gguf, report } = prune(&task, &bars)?;
    bars.end();
    let target = Target::new(&args.output, args.overwrite);
    match format {
        Format::Pxi => {
            convert(&Gguf::open(&gguf)?, target, &|_| ())?;
        }
        _ => copy(&gguf, target)?,
    }
    let report = PruneOutput {
        output: args.output.display().to_string(),
        survey_text_is: args.texts.text_name(&survey),
        file_size_in_bytes: args.output.metadata()?.len(),
        seconds: start.elapsed().as_secs_f64(),
        prune: report,
    };
    out.print(&report, human)?;
    Ok(Exit::Ok)
}

fn copy(from: &std::path::Path, target: Target) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(target)?;
    std::io::copy(&mut std::fs::File::open(from)?, &mut file)?;
    file.commit()?;
    Ok(())
}

fn human(report: &PruneOutput) -> String {
    let prune = &report.prune;
    let mut table = Table::new([
        ("LEAST NEEDED", Align::Left),
        ("WITHOUT IT", Align::Right),
        ("ERROR", Align::Right),
        ("", Align::Left),
    ]);
    let name = |part: &PrunePart| match part.head {
        Some(head) => format!("head {}.{head}", part.layer),
        None => format!("layer {}", part.layer),
    };
    for (at, part) in prune.survey.iter().take(SHOWN.max(prune.gone.len())).enumerate() {
        let goes = if at < prune.gone.len() { "goes" } else { "" };
        let (far, error) = (part.divergence, part.standard_error);
        table.row([name(part), format!("{far:.5}"), format!("{error:.5}"), goes.into()]);
    }
    let mut text = table.render();
    let found = &prune.measured;
    text.push_str(&format!(
        "\nforetold   {:.5} nats per token, the sum of what each alone costs\nmeasured   {:.5} \
         \u{b1}{:.5} on another text; best token the same at {:.1} %; loss {:.4}",
        prune.foretold,
        found.mean,
        found.standard_error,
        100.0 * found.same_best,
        found.loss,
    ));
    let loss = prune.figures.iter().find(|figure| figure.name.kind == FigureKind::Loss);
    if let Some(loss) = loss {
        text.push_str(&format!(" ({:+.4} \u{b1}{:.4})", loss.difference, loss.error));
    }
    text.push_str(&format!(
        "\n{}: {} -> {} of tensors, in {:.1} s\n",
        report.output,
        human_bytes(prune.bytes_before),
        human_bytes(prune.bytes_after),
        report.seconds
    ));
    text
}
