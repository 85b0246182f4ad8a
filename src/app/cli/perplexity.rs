//! `pixel-llm perplexity MODEL FILE`: how well a model foresees a text.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::engine::{Device, GpuMemory, PrecisionArgs, open_engine};
use super::lora::LoraArgs;
use super::numbers::thousands;
use super::output::{Exit, Output};
use crate::batch::ModelText;
use crate::batch::perplexity::{Likelihood, MIN_WINDOW, Windows, score_window};
use crate::content::assets::Assets;
use crate::model::tokenizer::{EncodeOptions, Tokenizer};

/// The window if nobody says, unless the model was made for less: that of llama.cpp.
const DEFAULT_CONTEXT: u32 = 512;

/// Arguments of `perplexity`: a model, a text, and how that is cut into windows.
#[derive(Debug, Args)]
#[command(
    // A file alone is scored by the built-in model.
    allow_missing_positional = true,
    after_help = "The convention is that of llama.cpp's llama-perplexity. The text is tokenised \
        as it is, after the token that begins a sequence where the model wants one, and cut into \
        windows of --context tokens side by side; what is left at the end is not used. Each \
        window is run from an empty context with its first token replaced by the one that begins \
        a sequence, if the model wants one, and of a window of N tokens those from number N/2 + 1 \
        on, counted from 0, are scored: 255 of 512. With --stride S, windows begin every S tokens \
        instead and the last S tokens of each are scored, as with llama-perplexity --ppl-stride, \
        except that the context is not enlarged.

Told are the mean negative log-likelihood of a scored token in nats, its exponential, which is \
the perplexity, and the standard errors of both, as if tokens were independent.

Examples:
  pixel-llm perplexity model.gguf wiki.test.raw
  pixel-llm perplexity model.pxi book.txt --context 2048 --stride 512
  cat notes.txt | pixel-llm perplexity model.pxi - --json"
)]
pub struct PerplexityArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// The text; - is standard input.
    file: PathBuf,
    /// Tokens of a window [default: 512, or what the model was made for].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(MIN_WINDOW as i64..),
    )]
    context: Option<u32>,
    /// Begin a window every so many tokens and score the last so many of each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    stride: Option<u32>,
    /// Take special tokens that are written out in the text for what they are, and not for text.
    #[arg(long)]
    parse_special: bool,
    /// What computes.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    #[command(flatten)]
    memory: GpuMemory,
    /// How exact the numbers are that a pass keeps and computes with.
    #[command(flatten)]
    precision: PrecisionArgs,
    #[command(flatten)]
    lora: LoraArgs,
}

#[derive(Debug, Serialize)]
struct PerplexityReport {
    model: String,
    file: String,
    device: String,
    perplexity: f64,
    perplexity_standard_error: f64,
    mean_negative_log_likelihood: f64,
    standard_error: f64,
    tokens: usize,
    scored_tokens: u64,
    context: usize,
    stride: Option<u32>,
    windows: usize,
    seconds: f64,
    /// Tokens run through the model, scored or not.
    tokens_per_second: f64,
}

/// Runs `perplexity`.
///
/// # Errors
/// The text or the model cannot be read, the text is shorter than a window, or the engine fails.
pub fn run(args: PerplexityArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    // The text comes first: a wrong name is told before a model is opened.
    let (name, text) = read_text(&args.file)?;
    let model = super::open_model(args.model.as_deref(), assets)?;
    let model_path = model.path().display().to_string();
    let most = model.config().context_length;
    let context = args.context.unwrap_or(DEFAULT_CONTEXT.min(most));
    let windows = windows(context, args.stride)?;
    let of_model = ModelText::new(&model).context("the model's tokenizer cannot be used")?;
    of_model.warnings().iter().for_each(|warning| super::output::print_warning(warning));
    let tokenizer = of_model.tokenizer();
    let tokens = tokenise(tokenizer, &text, args.parse_special);
    anyhow::ensure!(
        windows.count(tokens.len()) > 0,
        "{name}: the text has {} tokens, fewer than a window of {context}; give a longer text or \
         a smaller --context",
        tokens.len()
    );

    let room = (args.memory, args.precision, args.lora.load(&model, false)?);
    let mut engine = open_engine(args.device, model, 1, Some(context), room)?;
    let bar = bar(windows.count(tokens.len()) as u64);
    let mut likelihood = Likelihood::default();
    // The model is open: the speed is that of the windows alone.
    let start = Instant::now();
    for (done, range) in windows.of(tokens.len()).enumerate() {
        let first = tokenizer.first_token();
        score_window(&mut *engine, &windows, first, &tokens[range], &mut likelihood)?;
        let speed =
            (done + 1) as f64 * f64::from(context) / start.elapsed().as_secs_f64().max(1e-9);
        bar.inc(1);
        bar.set_message(format!("perplexity {:.4}, {speed:.1} tokens/s", likelihood.perplexity()));
    }
    bar.finish_and_clear();

    let seconds = start.elapsed().as_secs_f64();
    let count = windows.count(tokens.len());
    let report = PerplexityReport {
        model: model_path,
        file: name,
        device: engine.device(),
        perplexity: likelihood.perplexity(),
        perplexity_standard_error: likelihood.perplexity_error(),
        mean_negative_log_likelihood: likelihood.mean(),
        standard_error: likelihood.standard_error(),
        tokens: tokens.len(),
        scored_tokens: likelihood.count(),
        context: windows.length(),
        stride: args.stride,
        windows: count,
        seconds,
        tokens_per_second: (count * windows.length()) as f64 / seconds.max(1e-9),
    };
    out.print(&report, human)?;
    Ok(Exit::Ok)
}

fn windows(context: u32, stride: Option<u32>) -> anyhow::Result<Windows> {
    let length = context as usize;
    // A model may be made for less than the shortest window.
    anyhow::ensure!(length >= MIN_WINDOW, "a context of {context}; expected at least {MIN_WINDOW}");
    let Some(stride) = stride else { return Ok(Windows::side_by_side(length)) };
    anyhow::ensure!(
        stride < context,
        "--stride {stride}: expected less than the context of {context}"
    );
    Ok(Windows::striding(length, stride as usize))
}

/// The text's tokens, after the one that begins a sequence where the model wants one.
fn tokenise(tokenizer: &Tokenizer, text: &str, parse_special: bool) -> Vec<u32> {
    let mut tokens: Vec<u32> = tokenizer.first_token().into_iter().collect();
    tokens.extend(tokenizer.encode(text, EncodeOptions { add_special: false, parse_special }));
    tokens
}

/// The name of the text, and the text.
fn read_text(path: &Path) -> anyhow::Result<(String, String)> {
    let is_standard_input = path == Path::new("-");
    let name = if is_standard_input { "standard input".into() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if is_standard_input {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.with_context(|| format!("{name}: cannot read"))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| error.utf8_error())
        .with_context(|| format!("{name}: the text is not UTF-8"))?;
    Ok((name, text))
}

fn bar(windows: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:32}] {pos}/{len} windows, {msg} {eta}");
    let style = style.expect("the template is well formed");
    ProgressBar::new(windows).with_style(style.progress_chars("=> "))
}

fn human(report: &PerplexityReport) -> String {
    let cut = match report.stride {
        Some(stride) => {
            format!("{} windows of {}, stride {stride}", report.windows, report.context)
        }
        None => format!("{} windows of {} side by side", report.windows, report.context),
    };
    format!(
        "perplexity  {:.4} +/- {:.4}\n\
         per token   {:.5} +/- {:.5} nats\n\
         over        {} of {} tokens: {cut}\n\
         speed       {:.1} tokens/s, {:.1} s; {}\n",
        report.perplexity,
        report.perplexity_standard_error,
        report.mean_negative_log_likelihood,
        report.standard_error,
        thousands(report.scored_tokens),
        thousands(report.tokens as u64),
        report.tokens_per_second,
        report.seconds,
        report.device,
    )
}
