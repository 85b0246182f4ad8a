//! What agents can do to the loaded model. The work itself is in `super::work`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One kind of work, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TaskAction {
    /// Every tile against its checksum.
    VerifyTiles,
    /// What the weights of each tile are like: mean, spread, largest; a colour layer of the map.
    SurveyStatistics,
    /// How small the model's bytes get under each encoding of PixelFS.
    CompressionRatios,
    /// Reads a part of the map so that it is in memory.
    WarmUp {
        /// The part of the model: a layer, or all of it.
        #[serde(default)]
        layer: Option<u32>,
    },
    /// Runs prompts and keeps activations.
    Probe {
        /// What is asked, each from an empty context.
        prompts: Vec<String>,
        /// The layer whose residual stream is kept; the last if none is named.
        #[serde(default)]
        layer: Option<u32>,
    },
    /// Mutes one head, measures the loss, and takes it back.
    Ablate {
        /// The head's layer, from 0.
        layer: u32,
        /// The head within it.
        head: u32,
    },
    /// Mutes each head in turn: which matter most?
    SurveyHeads,
    /// Measures a speed, which the report has per second.
    Bench {
        /// What is timed, and so which metrics there are.
        subject: BenchSubject,
    },
    /// Pixels to GGUF and back: are the bytes the same?
    RoundTrip,
    /// Each kernel against its twin.
    KernelTwins,
    /// The coordinator (many requests at once, in chunks, with shared beginnings) against one token
    /// at a time.
    CheckCoordinator,
    /// Breaks copies of the model file: is each refused?
    ValidateLoader,
    /// The logits of the model against those of its source, after a conversion.
    CompareLogits,
    /// Finds out by a timed trial how the model is streamed fastest where it does not fit the
    /// adapter, and has every later run use that.
    TuneResidency,
    /// The loaded model writes.
    Generate {
        /// What it is asked.
        prompt: String,
        /// The most tokens of the answer.
        #[serde(default = "default_max_tokens")]
        max_tokens: u32,
    },
    /// The loaded model writes training data about itself: what it answers, with how sure it was of
    /// each answer.
    WriteTrainingData {
        /// What it is asked.
        prompts: Vec<String>,
    },
    /// Writes lines of a corpus, to learn and held out, in the folder of the queue.
    GenerateCorpus {
        /// The corpus, a content of mods.
        corpus: String,
        /// Lines to learn, at most.
        #[serde(default = "default_lines")]
        lines: usize,
        /// Lines that are held out, at most; a quarter of `lines` where it is not said.
        #[serde(default)]
        valid_lines: Option<usize>,
        /// What everything that is drawn follows from.
        #[serde(default)]
        seed: u64,
    },
    /// Teaches the loaded model lines that `generate_corpus` wrote; what it learns is an adapter in
    /// the folder of the queue.
    FineTune(FineTune),
    /// How good the loaded model is at a corpus's lines that are held out.
    Evaluate {
        /// The corpus.
        corpus: String,
        /// With the adapter that `fine_tune` wrote for the corpus, read from its file.
        #[serde(default)]
        adapter: bool,
    },
    /// What each matrix of the current model costs in each encoding, kept for refits.
    SurveySensitivity {
        /// Tokens of the text that the model writes for it.
        #[serde(default = "default_text_tokens")]
        tokens: u32,
        /// The seed of that text.
        #[serde(default = "default_seed")]
        seed: u64,
    },
    /// Makes the current model smaller: a candidate of the lineage.
    Refit {
        /// Bits that a weight may take, all tensors together.
        bits: f64,
        /// Tokens of the text that the model writes for it.
        #[serde(default = "default_text_tokens")]
        tokens: u32,
        /// The seed of that text.
        #[serde(default = "default_seed")]
        seed: u64,
        /// What is to judge it.
        #[serde(default = "default_refit_gate")]
        gate: String,
    },
    /// Writes what `fine_tune` has learnt into the current model: a candidate of the lineage.
    MergeAdapter {
        /// The corpus that was learnt.
        corpus: String,
        /// What is to judge it; the gate of the corpus's name where it is not said.
        #[serde(default)]
        gate: Option<String>,
    },
    /// Holds a school on the current model; what its last round taught is a candidate.
    SchoolRound {
        /// What is learnt, a content of mods.
        subject: String,
        /// The most rounds.
        #[serde(default = "default_rounds")]
        rounds: u32,
        /// What everything that is drawn follows from.
        #[serde(default = "default_seed")]
        seed: u64,
        /// What is to judge it.
        #[serde(default = "default_school_gate")]
        gate: String,
    },
    /// Has the gate measure a candidate of the lineage, and promotes it if it passes: with a
    /// person's leave, or at once where the user's settings say so.
    Promote {
        /// The action that made the candidate; the oldest that is not judged.
        made_by: String,
    },
    /// Skips each layer in turn: which matter most?
    SurveyLayers {
        /// Tokens of the text that the model writes for it.
        #[serde(default = "default_text_tokens")]
        tokens: u32,
        /// The seed of that text.
        #[serde(default = "default_seed")]
        seed: u64,
    },
    /// Paints the lineage: an island per child.
    LineagePicture,
    /// Reads what another task wrote and gives it a score.
    Review {
        /// The task whose report is judged.
        of: super::TaskId,
    },
    /// Runs a command that the plan declares and the user has allowed.
    Command {
        /// Its name in the plan.
        name: String,
    },
    /// Asks a person; the task waits in review for the answer.
    AskPerson {
        /// The question, as the person reads it.
        question: String,
    },
    /// Something that this program cannot do yet.
    Needs {
        /// What is missing, in words that follow "this program has no".
        feature: String,
    },
}

/// How the loaded model is taught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTune {
    /// The corpus whose lines are learnt.
    pub corpus: String,
    /// How often all lines are learnt, at most.
    #[serde(default = "default_epochs")]
    pub epochs: u32,
    /// Steps, at most: what bounds the work where lines are many.
    #[serde(default = "default_steps")]
    pub steps: u64,
    /// Tokens that a step learns from.
    #[serde(default = "default_batch_tokens")]
    pub batch_tokens: u32,
    /// The rate behind the warm-up.
    #[serde(default = "default_rate")]
    pub rate: f32,
    /// Rows of the adapter's first matrices, columns of its second ones.
    #[serde(default = "default_rank")]
    pub rank: u32,
    /// Minutes of work after which it ends with what it has learnt by then; no limit where it is
    /// not said.
    #[serde(default)]
    pub minutes: Option<u32>,
    /// What everything that is drawn follows from.
    #[serde(default)]
    pub seed: u64,
    /// Whether the lineage's current model is taught, and not the one that is loaded.
    #[serde(default)]
    pub of_current: bool,
}

/// What a bench times, and by which name plans ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchSubject {
    /// The cache of the map's tiles.
    Cache,
    /// The index of the model's places.
    Index,
    /// Each kernel by itself, also on a GPU where there is one.
    Kernels,
    /// Answers: prefill and decode.
    Answers,
}

impl BenchSubject {
    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Index => "index",
            Self::Kernels => "kernels",
            Self::Answers => "answers",
        }
    }
}

const fn default_max_tokens() -> u32 {
    128
}

const fn default_lines() -> usize {
    200
}

const fn default_epochs() -> u32 {
    10
}

const fn default_steps() -> u64 {
    400
}

const fn default_batch_tokens() -> u32 {
    256
}

const fn default_rate() -> f32 {
    1e-3
}

const fn default_text_tokens() -> u32 {
    4096
}

const fn default_seed() -> u64 {
    1
}

fn default_refit_gate() -> String {
    "refit".into()
}

const fn default_rounds() -> u32 {
    1
}

fn default_school_gate() -> String {
    "school".into()
}

const fn default_rank() -> u32 {
    8
}

impl TaskAction {
    /// The name of every action, as it is written in files.
    pub(crate) const NAMES: [&'static str; 30] = [
        "verify_tiles",
        "survey_statistics",
        "compression_ratios",
        "warm_up",
        "probe",
        "ablate",
        "survey_heads",
        "bench",
        "round_trip",
        "kernel_twins",
        "check_coordinator",
        "validate_loader",
        "compare_logits",
        "tune_residency",
        "generate",
        "write_training_data",
        "generate_corpus",
        "fine_tune",
        "evaluate",
        "survey_sensitivity",
        "refit",
        "merge_adapter",
        "school_round",
        "promote",
        "survey_layers",
        "lineage_picture",
        "review",
        "command",
        "ask_person",
        "needs",
    ];

    /// The name as it is written in files: also the skill that it asks for.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::VerifyTiles => "verify_tiles",
            Self::SurveyStatistics => "survey_statistics",
            Self::CompressionRatios => "compression_ratios",
            Self::WarmUp { .. } => "warm_up",
            Self::Probe { .. } => "probe",
            Self::Ablate { .. } => "ablate",
            Self::SurveyHeads => "survey_heads",
            Self::Bench { .. } => "bench",
            Self::RoundTrip => "round_trip",
            Self::KernelTwins => "kernel_twins",
            Self::CheckCoordinator => "check_coordinator",
            Self::ValidateLoader => "validate_loader",
            Self::CompareLogits => "compare_logits",
            Self::TuneResidency => "tune_residency",
            Self::Generate { .. } => "generate",
            Self::WriteTrainingData { .. } => "write_training_data",
            Self::GenerateCorpus { .. } => "generate_corpus",
            Self::FineTune(_) => "fine_tune",
            Self::Evaluate { .. } => "evaluate",
            Self::SurveySensitivity { .. } => "survey_sensitivity",
            Self::Refit { .. } => "refit",
            Self::MergeAdapter { .. } => "merge_adapter",
            Self::SchoolRound { .. } => "school_round",
            Self::Promote { .. } => "promote",
            Self::SurveyLayers { .. } => "survey_layers",
            Self::LineagePicture => "lineage_picture",
            Self::Review { .. } => "review",
            Self::Command { .. } => "command",
            Self::AskPerson { .. } => "ask_person",
            Self::Needs { .. } => "needs",
        }
    }

    /// What this program lacks for it, in words.
    pub fn missing(&self) -> Option<String> {
        match self {
            Self::Needs { feature } => Some(format!("this program has no {feature} yet")),
            _ => None,
        }
    }

    /// The layer and head that it is about, for an agent's way to it.
    pub const fn place(&self) -> (Option<u32>, Option<u32>) {
        match self {
            Self::Ablate { layer, head } => (Some(*layer), Some(*head)),
            Self::Probe { layer, .. } | Self::WarmUp { layer } => (*layer, None),
            _ => (None, None),
        }
    }
}

impl fmt::Display for TaskAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ablate { layer, head } => write!(formatter, "ablate {layer}.{head}"),
            Self::Bench { subject } => write!(formatter, "bench {}", subject.name()),
            Self::Command { name } => write!(formatter, "command {name}"),
            Self::GenerateCorpus { corpus, .. }
            | Self::Evaluate { corpus, .. }
            | Self::MergeAdapter { corpus, .. } => write!(formatter, "{} {corpus}", self.name()),
            Self::Refit { bits, .. } => write!(formatter, "refit {bits} bits"),
            Self::SchoolRound { subject, .. } => write!(formatter, "school_round {subject}"),
            Self::Promote { made_by } => write!(formatter, "promote what {made_by} made"),
            Self::FineTune(how) => write!(formatter, "fine_tune {}", how.corpus),
            other => formatter.write_str(other.name()),
        }
    }
}
