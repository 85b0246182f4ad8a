//! `pixel-llm evaluate`: how good a model is at lines of data, with an adapter or without.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::engine::{Device, GpuMemory, PrecisionArgs, open_engine};
use super::lora::LoraArgs;
use super::output::{Exit, Output, print_warning, progress_bar};
use super::run::interruptible;
use super::train::{explain_data, warn_of_data};
use crate::batch::{ModelText, TextModel};
use crate::content::assets::Assets;
use crate::training::data::{DataOptions, Dataset, TargetChoice};
use crate::training::evaluate::{AskedLine, SLOTS, ask, positions, score};

/// How many wrong answers are told.
const TOLD: usize = 3;

/// Arguments of `evaluate`: a model and lines.
#[derive(Debug, Args)]
#[command(
    // A file alone is put to the built-in model.
    allow_missing_positional = true,
    after_help = "Lines are those of `train`. Told are the mean loss over the targets in nats, and \
        how many greedy answers equal the right ones but for white space at their ends. An answer \
        ends where the model ends it, and at a line break where the right one has none.

Examples:
  pixel-llm evaluate model.gguf held-out.jsonl
  pixel-llm evaluate model.gguf held-out.jsonl --lora facts.gguf
  pixel-llm evaluate model.gguf held-out.jsonl --lora facts.gguf:0.5 --json
  pixel-llm evaluate model.gguf held-out.jsonl --answers answers.jsonl"
)]
pub struct EvaluateArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// The lines.
    data: PathBuf,
    /// The loss alone: no question is asked.
    #[arg(long)]
    loss_only: bool,
    /// Tokens of the longest line [default: that of the longest line there is].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    context: Option<u32>,
    /// Cut longer lines at their end, instead of refusing them.
    #[arg(long)]
    truncate: bool,
    /// Write each answer beside the right one, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Replace the file of answers.
    #[arg(long)]
    force: bool,
    /// What computes.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    #[command(flatten)]
    memory: GpuMemory,
    #[command(flatten)]
    precision: PrecisionArgs,
    #[command(flatten)]
    lora: LoraArgs,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct EvaluateReport {
    model: String,
    data: String,
    device: String,
    lines: usize,
    targets: usize,
    loss: f64,
    right: Option<usize>,
    asked: Option<usize>,
    wrong: Vec<AskedLine>,
}

/// Runs `evaluate`.
///
/// # Errors
/// The model or the lines cannot be read, or the engine fails.
pub fn run(args: &EvaluateArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    if let Some(answers) = &args.answers {
        let inputs = args.model.iter().chain([&args.data]);
        crate::outputs::check_output(answers, inputs, crate::outputs::Format::Text, args.force)?;
    }
    let model = super::open_model(args.model.as_deref(), assets)?;
    let text = ModelText::new(&model)?;
    text.warnings().iter().for_each(|warning| print_warning(warning));
    let most = model.config().context_length;
    let context = args.context.unwrap_or(most);
    anyhow::ensure!(context <= most, "--context {context}: the model was made for at most {most}");
    let options = DataOptions {
        targets: TargetChoice::Auto,
        end: true,
        context: context as usize,
        truncate: args.truncate,
    };
    let data = Dataset::read(&args.data, &text, &options).map_err(explain_data)?;
    warn_of_data(&data, options.context);
    let name = text.name().to_owned();
    let room = (args.memory, args.precision, args.lora.load(&model, false)?);
    let positions = positions(&data, most);
    let mut engine = open_engine(args.device, model, SLOTS, Some(positions), room)?;
    let sequences: Vec<_> = data.examples.iter().map(|it| it.sequence.clone()).collect();
    let questions = data.examples.iter().filter(|it| it.question.is_some()).count();
    let result = interruptible(|stop| -> anyhow::Result<_> {
        let bar = progress_bar("loss", sequences.len() as u64);
        let loss = score(&mut *engine, &sequences, stop, &mut || bar.inc(1))?;
        bar.finish_and_clear();
        let asked = if args.loss_only || questions == 0 {
            Some(None)
        } else {
            let bar = progress_bar("answers", questions as u64);
            let asked = ask(&mut *engine, &text, &data, stop, &mut || bar.inc(1))?;
            bar.finish_and_clear();
            asked.map(Some)
        };
        Ok(loss.zip(asked))
    })?;
    let Some((loss, asked)) = result else {
        super::output::print_note("stopped before the end; nothing is told of a part");
        return Ok(Exit::FoundBad);
    };
    if let (Some(path), Some(asked)) = (&args.answers, &asked) {
        write_answers(path, asked)?;
    }
    let right = |asked: &Vec<AskedLine>| asked.iter().filter(|it| it.is_right).count();
    let wrong = asked.iter().flatten().filter(|it| !it.is_right).take(TOLD).cloned();
    let report = EvaluateReport {
        model: name,
        data: data.name.clone(),
        device: engine.device(),
        lines: data.examples.len(),
        targets: data.targets(),
        loss: loss.mean(),
        right: asked.as_ref().map(right),
        asked: asked.as_ref().map(Vec::len),
        wrong: wrong.collect(),
    };
    out.print(&report, human)?;
    Ok(Exit::Ok)
}

fn write_answers(path: &std::path::Path, asked: &[AskedLine]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for line in asked {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    crate::pxi::AtomicFile::replace(path, &bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn human(report: &EvaluateReport) -> String {
    let mut text = format!(
        "loss     {:.4} nats over {} targets of {} lines\n",
        report.loss, report.targets, report.lines
    );
    if let (Some(right), Some(asked)) = (report.right, report.asked) {
        text.push_str(&format!("answers  {right} of {asked} exactly right\n"));
    }
    for line in &report.wrong {
        text.push_str(&format!(
            "         line {}: {:?} instead of {:?}\n",
            line.line,
            line.answer.trim(),
            line.expected.trim()
        ));
    }
    text
}
