//! `pixel-llm run`: answer prompts without opening the world.
//!
//! Comes in: the arguments, or a text through a pipe. Goes out: text as it is made for prompts, a
//! line of JSON per request for `--input`. A prompt is a message to a model that brings a chat
//! template.

mod drive;
mod interrupt;
mod resume;
mod sampling;
mod show;
mod trace;

use std::path::{Path, PathBuf};

use clap::Args;

pub use drive::run;
pub use interrupt::{end, interrupt, interruptible};
pub(in crate::app::cli) use interrupt::{
    forget_interrupt, interrupts_end_nothing, is_to_end, was_interrupted,
};
pub use sampling::SamplingArgs;
pub(in crate::app::cli) use show::{nothing_visible, speed_line, write_answer};

use super::draft::DraftArgs;
use super::engine::{Device, GpuMemory, PrecisionArgs};
use super::lora::LoraArgs;
use super::prompt_cache::PromptCacheArgs;
use crate::batch::output::Existing;
use crate::batch::request::{DEFAULT_MAX_TOKENS, Defaults, MAX_STOPS, PromptMode};
use crate::batch::{ModelText, Shard};
use crate::model::resolve::parts;
use crate::outputs;
use crate::outputs::{Format, Refusal};

/// Slots of a run over a file, if nobody says: more gain little on most machines, and each takes
/// memory.
const DEFAULT_PARALLEL: usize = 8;

/// Arguments of a run without a window.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm run --prompt \"Tell me a story\"
  pixel-llm run model.gguf --prompt \"Why is the sky blue?\" --temperature 0
  echo \"Why is the sky blue?\" | pixel-llm run model.gguf
  pixel-llm run --raw --prompt \"Once upon a time\"
  pixel-llm run --prompt \"Hello\" --save-activations thought.map && pixel-llm map png thought.map
  pixel-llm run model.gguf --lora adapter.gguf:0.8 --prompt \"Where is the lamp?\"
  pixel-llm run model.gguf --input requests.jsonl --output results.jsonl --parallel 8
  pixel-llm run model.gguf --input requests.jsonl --lora facts=a.gguf --lora poems=b.gguf
  pixel-llm run model.gguf --input requests.jsonl --output results.jsonl --resume --retry-failed
  cat requests.jsonl | pixel-llm run --input - > results.jsonl
  a-program | pixel-llm run model.gguf --input - --follow | another-program
  pixel-llm run model.gguf --input all.jsonl --shard 3/100 --output results-3.jsonl --resume
  pixel-llm run big.gguf --draft small.gguf --prompt \"Count to a hundred\"
  pixel-llm run model.gguf --system \"$(cat rules.txt)\" --prompt-cache kept --prompt \"May I?\"

A prompt is a message to a model that brings a chat template, and its answer follows; \
--raw goes on with the text as it is.

A line of the input is {\"id\": \"1\", \"prompt\": \"...\"}, {\"id\": \"1\", \"messages\": \
[...]}, or of OpenAI's batch shape: {\"custom_id\": \"1\", \"method\": \"POST\", \"url\": \
\"/v1/chat/completions\", \"body\": {...}}. What a line says goes before what the options say.")]
pub struct BatchArgs {
    /// Answer in the terminal instead of opening the world, as `run` does.
    #[arg(long)]
    pub no_window: bool,
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    pub model: Option<PathBuf>,

    /// A prompt to answer; give it again for more. A piped text is one too.
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        conflicts_with = "input",
        help_heading = "Prompts"
    )]
    pub prompt: Vec<String>,
    /// A file of requests, one JSON object a line; - is standard input.
    #[arg(long, value_name = "FILE", help_heading = "Prompts")]
    pub input: Option<PathBuf>,
    /// Give prompts as a user's message, also those of --input. This is the default for --prompt
    /// where the model brings a chat template; without one it is ChatML.
    #[arg(long, conflicts_with = "raw", help_heading = "Prompts")]
    pub chat: bool,
    /// Give prompts as they are, for the model to go on with.
    #[arg(long, help_heading = "Prompts")]
    pub raw: bool,
    /// The system message of chats that have none.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Prompts")]
    pub system: Option<String>,
    /// What the chat template may read, such as '{"enable_thinking": false}'.
    #[arg(
        long,
        value_name = "JSON",
        value_parser = template_variables,
        hide_short_help = true,
        help_heading = "Prompts"
    )]
    pub chat_template_kwargs: Option<TemplateVariables>,
    /// Answer each line of --input when it comes, in any order, and go on until the input ends. A
    /// line that is no request gets an error as its result.
    #[arg(
        long,
        requires = "input",
        conflicts_with_all = ["prompt", "resume", "skip_bad"],
        hide_short_help = true,
        help_heading = "Prompts"
    )]
    pub follow: bool,
    /// Run only the K-th of N parts of --input: a line belongs to one by its id, so that N machines
    /// with an --output each answer every line once, and their results are put together.
    #[arg(
        long,
        value_name = "K/N",
        requires = "input",
        conflicts_with_all = ["prompt", "follow"],
        hide_short_help = true,
        help_heading = "Prompts"
    )]
    pub shard: Option<Shard>,
    /// Give lines that are no requests an error as their result, instead of running nothing.
    #[arg(
        long,
        requires = "input",
        conflicts_with = "prompt",
        hide_short_help = true,
        help_heading = "Prompts"
    )]
    pub skip_bad: bool,

    /// Where results go, one JSON object a line; - is standard output.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub output: Option<PathBuf>,
    /// Go on with an output file: requests that have a result in it are not run again.
    #[arg(long, requires = "output", conflicts_with = "overwrite", help_heading = "Results")]
    pub resume: bool,
    /// With --resume, run requests that ended in an error again.
    #[arg(long, requires = "resume", hide_short_help = true, help_heading = "Results")]
    pub retry_failed: bool,
    /// With --resume, run requests again whose result is of another prompt or other options.
    #[arg(long, requires = "resume", hide_short_help = true, help_heading = "Results")]
    pub retry_changed: bool,
    /// Start an output file that is there anew.
    #[arg(long, requires = "output", hide_short_help = true, help_heading = "Results")]
    pub overwrite: bool,
    /// Report the log-probabilities of the answer's tokens, and of this many alternatives.
    #[arg(long, value_name = "K", value_parser = top_logprobs(), help_heading = "Results")]
    pub logprobs: Option<u32>,
    /// Report the log-probabilities of the prompt's tokens, and of this many alternatives.
    #[arg(
        long,
        value_name = "K",
        value_parser = top_logprobs(),
        hide_short_help = true,
        help_heading = "Results",
    )]
    pub prompt_logprobs: Option<u32>,
    /// Draw what the model computed for the prompt and its answer on the infinite map in this
    /// folder: keys, values, heads and the residual stream of every layer. Look at it with
    /// `pixel-llm map stats` and `pixel-llm map png`.
    #[arg(
        long,
        value_name = "MAP",
        requires = "prompt",
        conflicts_with_all = ["input", "output"],
        hide_short_help = true,
        help_heading = "Results",
    )]
    pub save_activations: Option<PathBuf>,
    /// No progress and no summary; warnings and errors stay.
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,

    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// How many requests to answer at once [default: 8, or the number of prompts].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=256),
        help_heading = "Running",
    )]
    pub parallel: Option<u16>,
    /// How many tokens of prompt and answer to have room for [default: what --prompt needs; else
    /// what the model was made for, on a GPU at most 2048].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Running",
    )]
    pub context: Option<u32>,
    /// What computes. Auto takes a GPU where there is one, else the processor.
    #[arg(long, value_enum, default_value_t = Device::Auto, help_heading = "Running")]
    pub device: Device,
    /// How much of a GPU the model may take.
    #[command(flatten)]
    pub memory: GpuMemory,
    /// How exact the numbers are that a pass keeps and computes with.
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// Which adapters they compute with.
    #[command(flatten)]
    pub lora: LoraArgs,
    /// How answers are drafted.
    #[command(flatten)]
    pub draft: DraftArgs,
    /// Prompts that are kept on disk.
    #[command(flatten)]
    pub prompt_cache: PromptCacheArgs,
    /// Mute a head, by layer and head counted from 0; may be given several times. Computes on the
    /// processor.
    #[arg(
        long,
        value_name = "LAYER.HEAD",
        value_parser = head,
        hide_short_help = true,
        help_heading = "Running",
    )]
    pub mute: Vec<(u32, u32)>,
}

/// What ends a turn of ChatML, for models whose vocabulary does not know it as one token.
pub(in crate::app::cli) const CHATML_ENDS: [&str; 2] = ["<|im_end|>", "<|im_start|>"];

/// Names and JSON of what a chat template may read.
#[derive(Clone, Debug, Default)]
pub struct TemplateVariables(Vec<(String, String)>);

fn template_variables(json: &str) -> Result<TemplateVariables, String> {
    crate::batch::request::template_variables(json)
        .map(TemplateVariables)
        .map_err(|error| error.to_string())
}

fn head(text: &str) -> Result<(u32, u32), String> {
    let parts = text
        .split_once('.')
        .and_then(|(layer, head)| Some((layer.parse().ok()?, head.parse().ok()?)));
    parts.ok_or_else(|| "expected LAYER.HEAD, such as 0.3".into())
}

/// Where the prompts of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PromptSource<'a> {
    Prompts(&'a [String]),
    StandardInput,
    File(&'a Path),
}

impl BatchArgs {
    /// What a request gets where its line does not say.
    pub fn defaults(&self) -> Defaults {
        Defaults {
            sampling: self.sampling.params(),
            max_tokens: self.sampling.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            stop: self.sampling.stops(),
            logprobs: self.logprobs,
            prompt_logprobs: self.prompt_logprobs,
            mode: if self.chat { PromptMode::Chat } else { PromptMode::Raw },
            system: self.system.clone(),
            template_variables: self.chat_template_kwargs.clone().unwrap_or_default().0,
            adapters: Vec::new(),
        }
    }

    /// What prompts of the command line and of a pipe get: where the model brings a chat template
    /// they are messages, unless somebody says otherwise. Lines of a file are what they say.
    pub(in crate::app::cli) fn defaults_of_prompts(&self, text: &ModelText) -> Defaults {
        let mut defaults = self.defaults();
        if !self.raw && text.brings_chat_template() {
            defaults.mode = PromptMode::Chat;
        }
        if defaults.mode == PromptMode::Chat && !text.brings_chat_template() {
            defaults.stop.extend(CHATML_ENDS.map(String::from));
        }
        defaults
    }

    /// Whether prompts are asked for, so that no window opens.
    pub fn answers(&self) -> bool {
        self.no_window || !self.prompt.is_empty() || self.input.is_some() || !self.mute.is_empty()
    }

    /// What to do with an output file that is there.
    pub fn existing(&self) -> Existing {
        match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume { retry_failed: self.retry_failed },
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        }
    }

    /// Refuses an output that is the requests, the model or standard input, or has the name of
    /// another format. To be called before anything is opened.
    ///
    /// # Errors
    /// It is one of these.
    pub(crate) fn check_output(&self) -> Result<(), Refusal> {
        let Some(output) = &self.output else { return Ok(()) };
        // All parts of a split model are read.
        let parts = self.model.as_deref().map(parts).unwrap_or_default();
        // Standard input too, which may be read without being named.
        outputs::refuse_input(output, self.input.as_deref().into_iter().chain([Path::new("-")]))?;
        outputs::refuse_input(output, parts)?;
        outputs::refuse_ending(output, Format::Text)
    }

    /// How many requests are answered at once.
    pub fn slots(&self) -> usize {
        let by_prompts = self.prompt.len().clamp(1, DEFAULT_PARALLEL);
        let usual = if self.input.is_some() { DEFAULT_PARALLEL } else { by_prompts };
        self.parallel.map_or(usual, usize::from)
    }

    fn source(&self) -> anyhow::Result<PromptSource<'_>> {
        anyhow::ensure!(
            self.sampling.stop.len() <= MAX_STOPS,
            "{} stop texts; expected at most {MAX_STOPS}",
            self.sampling.stop.len()
        );
        match &self.input {
            Some(path) if path.as_os_str() == "-" => Ok(PromptSource::StandardInput),
            Some(path) => Ok(PromptSource::File(path)),
            None if self.save_activations.is_some() && self.prompt.len() != 1 => {
                anyhow::bail!("--save-activations shows one sequence: give one --prompt")
            }
            None if self.prompt.is_empty() => {
                anyhow::bail!(
                    "nothing to answer: give --prompt TEXT, --input FILE or a text through a pipe"
                )
            }
            None => Ok(PromptSource::Prompts(&self.prompt)),
        }
    }
}

fn top_logprobs() -> impl clap::builder::TypedValueParser<Value = u32> {
    let most = i64::from(crate::batch::request::MAX_TOP_LOGPROBS);
    clap::value_parser!(u32).range(0..=most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        batch: BatchArgs,
    }

    fn parse(arguments: &str) -> Result<BatchArgs, clap::Error> {
        let arguments =
            ["pixel-llm", "--no-window"].into_iter().chain(arguments.split_whitespace());
        Cli::try_parse_from(arguments).map(|cli| cli.batch)
    }

    #[test]
    fn defaults_are_those_of_requests() {
        let args = parse("--prompt x").unwrap();
        assert_eq!(args.defaults(), Defaults::default());
        assert_eq!((args.existing(), args.slots()), (Existing::Refuse, 1));
    }

    #[test]
    fn options_become_what_requests_get() {
        let args = parse(
            "model.gguf --input in.jsonl --output out.jsonl --resume --retry-failed --chat \
             --system hi --temperature 0 --top-k 5 --top-p 0.5 --min-p 0 --repeat-penalty 1.5 \
             --frequency-penalty -1 --presence-penalty 2 --seed 9 --stop a --stop b --max-tokens \
             3 --logprobs 2 --parallel 3",
        )
        .unwrap();
        let defaults = args.defaults();
        assert_eq!((defaults.mode, defaults.system.as_deref()), (PromptMode::Chat, Some("hi")));
        assert_eq!(
            (defaults.sampling.temperature, defaults.sampling.frequency_penalty),
            (0.0, -1.0)
        );
        assert_eq!((defaults.stop.len(), defaults.max_tokens, defaults.logprobs), (2, 3, Some(2)));
        assert_eq!((args.existing(), args.slots()), (Existing::Resume { retry_failed: true }, 3));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for arguments in [
            "--prompt x --input y",
            "--prompt x --chat --raw",
            "--prompt x --resume",
            "--input x --output y --resume --overwrite",
            "--prompt x --top-p -1",
            "--prompt x --chat-template-kwargs [1]",
            "--prompt x --chat-template-kwargs {\"messages\":1}",
            "--input x --output y --retry-changed",
            "--prompt x --temperature nan",
            "--prompt x --parallel 0",
            "--prompt x --logprobs 21",
            "--prompt x --skip-bad",
            "--temperature --prompt x",
            "--save-activations a.map",
            "--input x --save-activations a.map",
        ] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
        let message = parse("--prompt x --top-p 2").unwrap_err().to_string();
        assert!(message.contains("expected a number from 0 to 1"), "{message}");
        assert!(parse("").unwrap().source().is_err());
    }

    #[test]
    fn texts_may_begin_with_a_hyphen() {
        let args = ["pixel-llm", "--prompt", "-5 + 3", "--stop", "--", "--system", "--- be brief"];
        let args = Cli::try_parse_from(args).unwrap().batch;
        assert_eq!(
            (args.prompt[0].as_str(), args.system.as_deref()),
            ("-5 + 3", Some("--- be brief"))
        );
        assert_eq!(args.defaults().stop, ["--"]);
    }
}
