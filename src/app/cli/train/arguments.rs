//! What can be asked of `train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app::cli::engine::Device;
use crate::model::Encoding;
use crate::model::adapter::TARGETS;
use crate::names::nearest;
use crate::size::MemorySize;

/// Arguments of `train`: a model, lines to learn, lines to look at, and where the adapter goes.
#[derive(Debug, Args)]
#[command(
    // A file alone is learnt by the built-in model.
    allow_missing_positional = true,
    after_help = "A line of the data is {\"prompt\": .., \"completion\": ..}, {\"messages\": [..]} \
        or {\"text\": ..}, and may have a `weight`. Learnt are completions and the assistant's \
        turns with the token that ends them, and of a text everything. All lines are checked \
        before the first step. The model's own weights stay as they are: what is learnt is an \
        adapter, a GGUF file that llama.cpp takes too. --full trains all weights on the processor \
        and writes a model of floats, whatever the encoding that they were in.

Examples:
  pixel-llm train model.gguf facts.jsonl --valid held-out.jsonl --output facts.gguf
  pixel-llm train model.gguf facts.jsonl --show 3                what is learnt, in colour
  pixel-llm train model.gguf facts.jsonl --output facts.gguf --dry-run   memory and steps
  pixel-llm train facts.jsonl --valid held-out.jsonl --output a.gguf --rank 16 --lr 2e-3
  pixel-llm train model.gguf facts.jsonl --valid held-out.jsonl --output facts.gguf --resume
  pixel-llm train small.gguf stories.jsonl --full --output taught.gguf     all weights
  pixel-llm train stories.jsonl --full --from-scratch --output new.pxi     from random ones
  pixel-llm evaluate model.gguf held-out.jsonl --lora facts.gguf

Ctrl-C writes a checkpoint and says how to go on. Exit codes: 0 done, 1 ended early (stopped, or a \
loss that is no number), 2 could not run."
)]
pub struct TrainArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    pub model: Option<PathBuf>,
    /// The lines to learn.
    pub data: PathBuf,
    /// Lines that are not learnt: their loss is told before the first step and after some, and
    /// their answers are compared.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub valid: Option<PathBuf>,
    /// Which tokens are learnt [default: completion, of a text all].
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "Data")]
    pub loss: Option<LossArg>,
    /// Do not learn the token that ends an answer.
    #[arg(long, help_heading = "Data")]
    pub no_end: bool,
    /// Tokens of the longest line [default: what the model was made for].
    #[arg(
        long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..),
        help_heading = "Data",
    )]
    pub context: Option<u32>,
    /// Cut longer lines at their end, instead of refusing them.
    #[arg(long, help_heading = "Data")]
    pub truncate: bool,

    /// The adapter to write; with --full the model, a .gguf or .pxi file.
    #[arg(
        long, short, value_name = "FILE",
        required_unless_present_any = ["show", "dry_run"],
        help_heading = "Results",
    )]
    pub output: Option<PathBuf>,
    /// How matrices of a model that --full trains are written.
    #[arg(
        long, value_enum, value_name = "NAME", default_value_t = FloatsArg::F32, requires = "full",
        help_heading = "Results",
    )]
    pub encoding: FloatsArg,
    /// Replace the output, and begin anew where checkpoints are.
    #[arg(long, help_heading = "Results")]
    pub force: bool,
    /// Where checkpoints go [default: beside the output, and removed at the end unless an earlier
    /// one was better].
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub checkpoint: Option<PathBuf>,
    /// Steps from one checkpoint to the next [default: a tenth of all].
    #[arg(long, value_name = "N", help_heading = "Results")]
    pub every: Option<u64>,
    /// Go on from the last checkpoint.
    #[arg(long, conflicts_with = "force", help_heading = "Results")]
    pub resume: bool,
    /// Write the log too, a line of JSON for each step and evaluation.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub log: Option<PathBuf>,
    /// Draw the losses, as a .png or .svg file.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub curve: Option<PathBuf>,
    /// No progress and no summary; warnings and errors stay.
    #[arg(long, short, help_heading = "Results")]
    pub quiet: bool,

    /// How it is learnt.
    #[command(flatten)]
    pub how: HowArgs,

    /// Steps from one evaluation to the next, beside the one before the first step and the one
    /// behind the last; 0 for these two alone [default: a quarter of all].
    #[arg(long, value_name = "N", help_heading = "Looking")]
    pub eval_every: Option<u64>,
    /// What is evaluated.
    #[arg(long, value_enum, default_value_t = EvalArg::Exact, help_heading = "Looking")]
    pub eval: EvalArg,
    /// Print so many lines with what is learnt of them in colour, and end.
    #[arg(long, value_name = "N", help_heading = "Looking")]
    pub show: Option<usize>,
    /// Print what the run would take, and end.
    #[arg(long, help_heading = "Looking")]
    pub dry_run: bool,

    /// What computes. Auto is the processor; a GPU trains without dropout.
    #[arg(long, value_enum, default_value_t = Device::Auto, help_heading = "Running")]
    pub device: Device,
    /// Memory that may be taken beside the model's file, such as 500M or 4GiB [default: what the
    /// system has left].
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub memory: Option<MemorySize>,
    /// Memory of a GPU that may be taken; for --device gpu.
    #[arg(long, value_name = "SIZE", help_heading = "Running")]
    pub gpu_memory: Option<MemorySize>,
}

/// How it is learnt.
#[derive(Debug, Clone, Args)]
pub struct HowArgs {
    /// Rows of an adapter's first matrix, columns of its second.
    #[arg(
        long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Learning",
    )]
    pub rank: u32,
    /// The update's factor is this over the rank.
    #[arg(
        long, value_name = "X", default_value_t = 16.0, value_parser = positive,
        help_heading = "Learning",
    )]
    pub alpha: f32,
    /// Divide by the rank's root instead: steadier where ranks are large (rsLoRA).
    #[arg(long, help_heading = "Learning")]
    pub rslora: bool,
    /// The share of inputs that the adapter does not see in a step.
    #[arg(
        long, value_name = "SHARE", default_value_t = 0.0, value_parser = share,
        help_heading = "Learning",
    )]
    pub dropout: f32,
    /// The matrices that get an update: all-linear, or names such as attn_q,attn_v.
    #[arg(
        long, value_name = "NAMES", default_value = "all-linear", value_parser = targets,
        help_heading = "Learning",
    )]
    pub target: Targets,
    /// The layers that get one, counted from 0, without the last named [default: all].
    #[arg(long, value_name = "A..B", value_parser = layers, help_heading = "Learning")]
    pub layers: Option<(u32, u32)>,
    /// Go on from an adapter.
    #[arg(long, value_name = "FILE", conflicts_with = "full", help_heading = "Learning")]
    pub lora: Option<PathBuf>,
    /// Train every weight, and write a model of floats.
    #[arg(
        long, conflicts_with_all = ["rank", "alpha", "rslora", "dropout", "target", "layers"],
        help_heading = "Learning",
    )]
    pub full: bool,
    /// With --full: begin with weights that are drawn, of the model's shape and tokenizer alone.
    #[arg(long, requires = "full", help_heading = "Learning")]
    pub from_scratch: bool,
    /// How often all lines are learnt [default: 3, and more where lines are few].
    #[arg(
        long, value_name = "N", conflicts_with = "steps",
        value_parser = clap::value_parser!(u32).range(1..), help_heading = "Learning",
    )]
    pub epochs: Option<u32>,
    /// Steps in all, instead of epochs.
    #[arg(
        long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Learning",
    )]
    pub steps: Option<u64>,
    /// Tokens that a step learns from [default: 1024, and fewer where lines are few].
    #[arg(
        long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Learning",
    )]
    pub batch_tokens: Option<u32>,
    /// The rate behind the warm-up.
    #[arg(
        long, value_name = "X", default_value_t = 1e-3, value_parser = positive,
        help_heading = "Learning",
    )]
    pub lr: f32,
    /// How the rate falls to a tenth behind the warm-up.
    #[arg(
        long, value_enum, default_value_t = ScheduleArg::Cosine, help_heading = "Learning",
    )]
    pub schedule: ScheduleArg,
    /// The share of steps in which the rate grows.
    #[arg(
        long, value_name = "SHARE", default_value_t = 0.05, value_parser = share,
        help_heading = "Learning",
    )]
    pub warmup: f32,
    /// The largest norm of all gradients together; 0 for no limit.
    #[arg(
        long, value_name = "X", default_value_t = 1.0, value_parser = not_negative,
        help_heading = "Learning",
    )]
    pub clip: f32,
    /// The share of the rate by which matrices shrink in a step.
    #[arg(
        long, value_name = "X", default_value_t = 0.01, value_parser = not_negative,
        help_heading = "Learning",
    )]
    pub weight_decay: f32,
    /// What everything that is drawn follows from.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Learning")]
    pub seed: u64,
}

/// Which tokens are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LossArg {
    /// Completions and the assistant's turns.
    Completion,
    /// Every token that comes after another.
    All,
}

/// How floats are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FloatsArg {
    /// Single precision: as they were trained.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl FloatsArg {
    /// The encoding of that name.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::F32 => Encoding::F32,
            Self::F16 => Encoding::F16,
            Self::Bf16 => Encoding::BF16,
        }
    }
}

/// What is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EvalArg {
    /// The loss, and how many greedy answers are exactly right.
    Exact,
    /// The loss alone.
    Loss,
}

/// How the rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleArg {
    /// Half a cosine.
    Cosine,
    /// A line.
    Linear,
    /// It stays.
    Constant,
}

/// Matrices that get an update, each once, in the order of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<String>);

/// What PEFT calls the matrices, in the order of [`TARGETS`].
const OF_PEFT: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

fn targets(text: &str) -> Result<Targets, String> {
    let mut wanted = [false; TARGETS.len()];
    for name in text.split(',').map(str::trim) {
        let is_name = |known: &[&str; 7]| known.iter().position(|known| *known == name);
        match is_name(&TARGETS).or_else(|| is_name(&OF_PEFT)) {
            Some(at) => wanted[at] = true,
            None if name == "all-linear" => wanted.fill(true),
            None => {
                let known = TARGETS.iter().chain(&["all-linear"]).copied();
                let meant = nearest(name, known)
                    .map_or_else(String::new, |near| format!("; did you mean {near}?"));
                return Err(format!(
                    "{name:?}: expected all-linear, or some of {}{meant}",
                    TARGETS.join(", ")
                ));
            }
        }
    }
    let names = TARGETS.iter().zip(wanted).filter(|(_, wanted)| *wanted);
    Ok(Targets(names.map(|(name, _)| (*name).to_owned()).collect()))
}

fn layers(text: &str) -> Result<(u32, u32), String> {
    let ends = text
        .split_once("..")
        .and_then(|(first, end)| Some((first.trim().parse().ok()?, end.trim().parse().ok()?)));
    ends.filter(|(first, end): &(u32, u32)| first < end)
        .ok_or_else(|| "expected A..B with A below B, such as 10..20".into())
}

fn number(text: &str, is_good: impl Fn(f32) -> bool, expected: &str) -> Result<f32, String> {
    let number = text.trim().parse().ok().filter(|&it: &f32| it.is_finite() && is_good(it));
    number.ok_or_else(|| format!("expected {expected}"))
}

fn positive(text: &str) -> Result<f32, String> {
    number(text, |it| it > 0.0, "a number above 0")
}

fn not_negative(text: &str) -> Result<f32, String> {
    number(text, |it| it >= 0.0, "a number from 0")
}

fn share(text: &str) -> Result<f32, String> {
    number(text, |it| (0.0..1.0).contains(&it), "a number from 0 to below 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        train: TrainArgs,
    }

    fn parse(arguments: &str) -> Result<TrainArgs, String> {
        let words = ["train"].into_iter().chain(arguments.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.train).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_alone_is_learnt_by_the_built_in_model() {
        let args = parse("facts.jsonl -o a.gguf").unwrap();
        assert_eq!((args.model, args.how.rank, args.how.epochs), (None, 8, None));
        assert_eq!(args.how.target.0, TARGETS);
        let args = parse("m.gguf facts.jsonl --show 3 --target v_proj,attn_q").unwrap();
        assert_eq!(args.how.target.0, ["attn_q", "attn_v"]);
        assert_eq!(parse("d.jsonl --dry-run --layers 2..4").unwrap().how.layers, Some((2, 4)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (arguments, expected) in [
            ("d.jsonl", "--output"),
            ("d.jsonl -o a --target atn_q", "did you mean attn_q?"),
            ("d.jsonl -o a --layers 4..2", "expected A..B"),
            ("d.jsonl -o a --lr 0", "a number above 0"),
            ("d.jsonl -o a --lr nan", "a number above 0"),
            ("d.jsonl -o a --dropout 1", "from 0 to below 1"),
            ("d.jsonl -o a --epochs 2 --steps 5", "cannot be used with"),
            ("d.jsonl -o a --resume --force", "cannot be used with"),
            ("d.jsonl -o a --full --layers 1..2", "cannot be used with"),
            ("d.jsonl -o a --from-scratch", "--full"),
            ("d.jsonl -o a --encoding f16", "--full"),
            ("d.jsonl -o a --full --rank 4", "cannot be used with"),
            ("d.jsonl -o a --rank 0", "0 is not in 1..=1024"),
            ("d.jsonl -o a --memory much", "is no size"),
        ] {
            let said = parse(arguments).unwrap_err();
            assert!(said.contains(expected), "{arguments}: {said}");
        }
    }
}
