//! `pixel-llm bench [MODEL]`: how fast a model answers here, and where the time goes.
//!
//! Comes in: a model and what to measure. Goes out: a page of tables, or the same as JSON. It
//! measures any [`Engine`](crate::engine::Engine); the stages are those that the engine tells of.

mod measure;
mod report;
mod statistics;
mod streaming;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use self::measure::BenchPlan;
use self::report::{BenchReport, Startup};
use self::streaming::Streaming;
use super::engine::{Device, GpuMemory, PrecisionArgs, open_fastest_engine};
use super::lora::LoraArgs;
use super::output::{Exit, Output, progress_bar};
use crate::content::assets::Assets;
use crate::model::PixelModel;
use crate::model::planes::LINE_BYTES;
use crate::model::tiling::Layout;

/// Arguments of `bench`: a model, lengths in tokens, repetitions, a device.
#[derive(Debug, Args)]
#[command(
    after_help = "Every figure is the median of the repetitions, with the least and the most of \
        them; NOISE is the greater distance of these from the median. One repetition before them \
        is not counted. Prefill is the prompt's tokens by the time to the first token of the \
        answer. Decode is the tokens of all answers together by the time after their first ones; \
        each answer has the prompt before it. GB/S is the matrices that a pass reads by its time, \
        in 1e9 bytes: what comes from the processor's caches counts too. The stages are timed in \
        passes of their own, which are a little slower for it. First token is one token in and \
        one out, just after the start. Converting a GGUF file, which is done once, counts to \
        opening the model.

Examples:
  pixel-llm bench                            the model inside the program
  pixel-llm bench model.gguf --device cpu --repetitions 9
  pixel-llm bench model.gguf --lora adapter.gguf        what an adapter costs
  pixel-llm bench model.gguf --device cpu --compare     how near each stage is to its limit
  pixel-llm bench model.gguf --gpu-memory 64M --tune    how it is streamed fastest here
  pixel-llm bench model.gguf --parallel 1,2,4,8,16 --json | jq .speeds"
)]
pub struct BenchArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// Tokens of the prompt.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 255,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    prompt_length: u32,
    /// Tokens to make for each answer.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    tokens: u32,
    /// How often each figure is taken.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..),
    )]
    repetitions: u16,
    /// How many answers to make at once, one figure for each.
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        default_values_t = [1, 4, 8],
        value_parser = clap::value_parser!(u16).range(1..=256),
    )]
    parallel: Vec<u16>,
    /// What computes. Auto is what a short trial finds faster, of a software adapter and the
    /// processor too.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    #[command(flatten)]
    memory: GpuMemory,
    /// How exact the numbers are that a pass keeps and computes with.
    #[command(flatten)]
    precision: PrecisionArgs,
    #[command(flatten)]
    lora: LoraArgs,
    /// Measure what the processor does at most, and print beside each stage the time that this
    /// would allow: the bytes that it reads by a streaming read's rate, or its multiplications by
    /// the kernels' rate within the caches. Takes two seconds and a gigabyte of memory more.
    #[arg(long)]
    compare: bool,
    /// First find out how the model is streamed fastest through this memory, where it does not fit
    /// it: with how many slots in turn, and how many layers read ahead. This and every later run
    /// uses it.
    #[cfg(feature = "world")]
    #[arg(long)]
    tune: bool,
}

impl BenchArgs {
    fn plan(&self) -> BenchPlan {
        BenchPlan {
            prompt: self.prompt_length as usize,
            tokens: self.tokens as usize,
            repetitions: self.repetitions.into(),
            parallel: self.parallel.iter().map(|&answers| answers.into()).collect(),
        }
    }
}

/// Runs `bench`.
///
/// # Errors
/// The model cannot be opened or run, or was not made for so many tokens.
pub fn run(args: BenchArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let plan = args.plan();
    #[cfg(feature = "world")]
    if args.tune {
        tune(super::open_model(args.model.as_deref(), assets)?, args.memory)?;
    }
    let (model, open_model) = timed(|| super::open_model(args.model.as_deref(), assets))?;
    let most = model.config().context_length;
    let context = u32::try_from(plan.context()).ok().filter(|&context| context <= most);
    let context = context.with_context(|| {
        format!(
            "--prompt-length {} and --tokens {} need a context of {}; the model was made for \
             {most}",
            plan.prompt,
            plan.tokens,
            plan.context()
        )
    })?;
    let adapters = args.lora.load(&model, false)?;
    let subject = report::BenchModel::of(&model);
    let weight_bytes = weight_bytes(&model);
    let (mut engine, engine_ready) = timed(|| {
        open_fastest_engine(
            args.device,
            model,
            plan.slots(),
            Some(context),
            (args.memory, args.precision, adapters),
        )
    })?;
    let first_token = measure::first_token(&mut *engine)?;
    // What was streamed for the first token counts to the start.
    let (streamed, start) = (engine.residency(), Instant::now());
    let bar = progress_bar("measuring", plan.steps());
    let measured = measure::measure(&mut *engine, &plan, &mut || bar.inc(1));
    bar.finish_and_clear();
    let startup = Startup::new(open_model, engine_ready, first_token);
    // Only now, when the bar is gone: an error would be written behind it.
    let measured = measured?;
    let streaming = engine
        .residency()
        .zip(streamed)
        .map(|(now, then)| Streaming::of(&now.since(&then), start.elapsed()));
    let report =
        BenchReport::new(subject, engine.device(), &plan, &measured, weight_bytes, startup)
            .streamed(streaming);
    let report = match args.compare.then(|| engine.limits()).flatten() {
        Some(limits) => report.compared(limits),
        None => report,
    };
    out.print(&report, BenchReport::text)?;
    Ok(Exit::Ok)
}

/// Makes a trial of how a model is streamed, and tells of it.
#[cfg(feature = "world")]
fn tune(model: PixelModel, memory: GpuMemory) -> anyhow::Result<()> {
    use crate::app::cli::output::{doing, print_note};
    use crate::engine::open::tune_streaming;
    let trying = doing("trying how to stream the model");
    let memory = memory.gpu_memory.map(|size| size.0);
    let found = tune_streaming(&std::sync::Arc::new(model), memory, &|_| true);
    drop(trying);
    let (adapter, verdict) = found?.context(
        "--tune: all of the model fits this adapter's memory, so that nothing is streamed; say \
         with --gpu-memory how much it may take",
    )?;
    print_note(&format!("{adapter}: {}", verdict.line()));
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed()))
}

/// Bytes of matrices that a pass reads, as they lie in the file; of an embedding that is no output
/// matrix, a pass reads only its tokens' rows, which are not counted.
fn weight_bytes(model: &PixelModel) -> u64 {
    let is_read = |name: &str| name != "token_embd.weight" || model.config().tied_embeddings;
    let matrices =
        model.tensors().iter().filter(|t| t.tiling.layout == Layout::Matrix && is_read(&t.name));
    matrices.map(|tensor| tensor.tiling.line_count() * LINE_BYTES).sum()
}
