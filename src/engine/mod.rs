//! What runs a model: a [`Batch`] goes in, tokens and the asked log-probabilities come out.
//! [`CpuEngine`] runs it on the processor, `gpu` on an adapter.
//!
//! The scheduler plans batches and accepts their results; an [`Engine`] only runs them. An engine
//! on the GPU samples there and gives back a few words per ask; one on the CPU computes logits and
//! hands them to [`answer`]. A driver inside a render graph need not implement [`Engine`] at all:
//! it can take a batch from the scheduler in one frame and hand in its results in a later one.

use std::io::{self, Write};

use crate::forward::cpu::CacheType;
use crate::forward::sampling::{Key, Sampler, SamplingError, SamplingParams, SamplingWords};
use crate::forward::{AdapterSet, Interventions};
use crate::residency::ResidencyMetrics;

mod cpu;
#[cfg(feature = "world")]
pub mod gpu;
pub mod open;
mod profile;

pub use crate::forward::PrefixCopy;
pub use crate::forward::sampling::Sampled;
pub use cpu::CpuEngine;
pub use open::Device;
pub use profile::{DeviceLimits, EngineProfile, ProfileStage};

/// What an engine can hold and do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many sequences have a place in the KV cache.
    pub slots: usize,
    /// How many positions each of them has.
    pub context: usize,
    /// How many tokens the model knows.
    pub vocab: usize,
    /// The most columns of one forward pass.
    pub columns: usize,
    /// The most tokens per sequence of one submit: over 1 where sampled tokens are fed back on the
    /// device.
    pub steps: usize,
}

/// One token at one position of one sequence: a column of the activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The token that goes in.
    pub token: u32,
    /// The sequence it belongs to.
    pub slot: u32,
    /// Its position there. Keys and values before it are in the slot's cache or in this batch.
    pub position: u32,
}

/// A question about the logits of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct LogitsQuery {
    /// The column, as an index into the batch's.
    pub column: u32,
    /// Draw a token, or score a given one.
    pub kind: QueryKind,
    /// Whether the log-probability of the token is wanted.
    pub logprob: bool,
    /// How many of the most probable tokens are wanted, with their log-probabilities.
    pub top: u32,
}

impl LogitsQuery {
    /// The most probable token after a column, and nothing about it: the draw that costs least.
    pub fn greedy(column: u32) -> Self {
        // At temperature 0 nothing is drawn, so any key will do.
        let words = SamplingParams::greedy().words(Key::new(0, 0), 0);
        let kind = QueryKind::Draw { words, window: Vec::new(), window_limit: 0, bias: Vec::new() };
        Self { column, kind, logprob: false, top: 0 }
    }
}

/// What an [`LogitsQuery`] wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryKind {
    /// Which token comes next.
    Draw {
        /// How to sample, as a kernel reads it.
        words: SamplingWords,
        /// The recent tokens that penalties look at, oldest first; empty where there are no
        /// penalties.
        window: Vec<u32>,
        /// The length at which the window starts to lose its oldest token, for engines that repeat.
        window_limit: u32,
        /// Biases of single tokens.
        bias: Vec<(u32, f32)>,
    },
    /// How probable this token is.
    Score {
        /// The token, below [`Capacity::vocab`].
        token: u32,
    },
}

/// One submit: first the copies in their order, then the slots' adapters, then one forward pass
/// over the columns, then the asks.
///
/// Where `steps` is over 1, every column has a draw, and after each pass the sampled token becomes
/// the next pass's column at the next position, with `words.index` one higher and the window one
/// token on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Keys and values to copy first; the adapters of their slot come with them.
    pub copies: Vec<PrefixCopy>,
    /// Slots, each once, and the adapters that act on their columns from now on; `None` are those
    /// that the engine was opened with. A slot that had others forgets what it held.
    pub adapters: Vec<(u32, Option<AdapterSet>)>,
    /// The columns, those of one slot in ascending positions.
    pub columns: Vec<Column>,
    /// The questions, at ascending columns.
    pub asks: Vec<LogitsQuery>,
    /// Forward passes of this submit: tokens of each draw.
    pub steps: u32,
}

impl Batch {
    /// Whether the logits of each column are wanted.
    pub fn wants_logits(&self) -> Vec<bool> {
        let mut wants = vec![false; self.columns.len()];
        for ask in &self.asks {
            wants[ask.column as usize] = true;
        }
        wants
    }

    /// Whether two of its columns are of one sequence, where the later attends to the earlier one.
    pub(crate) fn shares_sequences(&self) -> bool {
        let mut slots: Vec<u32> = self.columns.iter().map(|column| column.slot).collect();
        slots.sort_unstable();
        slots.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// Why an engine could not run a batch. Every one ends the run: what was finished before is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device is gone.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// A tile of the model does not match its checksum, or could not be read.
    #[error("the model is damaged: {0}")]
    Model(String),
    /// No token could be chosen.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The engine gave back something other than one answer per ask and pass.
    #[error("the engine gave {found} answers for {expected} asks")]
    Answers {
        /// How many came back.
        found: usize,
        /// How many were due.
        expected: usize,
    },
    /// The kernels of a step are not compiled after many frames.
    #[error("the GPU kernels are not ready")]
    Compiling,
    /// What no other variant says: a batch that does not fit, a kernel that does not compile.
    #[error("{0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What keys and values hang on beside the tokens: two engines of the same key compute the same
/// bits of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixKey {
    /// The model's root hash.
    pub model: [u8; 32],
    /// A hash of all else: the program's version, the processor's vectors, and interventions.
    pub settings: [u8; 32],
    /// How numbers are kept.
    pub cache_type: CacheType,
    /// Layers, KV heads and the size of a head.
    pub shape: [u32; 3],
}

impl PrefixKey {
    /// Bytes of a row: keys or values of one position in one layer.
    pub fn row_bytes(&self) -> usize {
        let [_, kv_heads, head_size] = self.shape.map(u64::from);
        (kv_heads * self.cache_type.row_bytes(head_size)) as usize
    }
}

/// Something that runs batches to their end before it returns.
pub trait Engine {
    /// What it can hold and do.
    fn capacity(&self) -> Capacity;

    /// Runs a batch. The result has, for every ask in order, its answers: one per pass. An engine
    /// that cannot repeat a batch may stop after the first pass.
    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError>;

    /// Mutes or strengthens heads and layers from the next step on; keys and values of earlier
    /// steps are not computed anew. False where the engine cannot.
    fn set_interventions(&mut self, interventions: &Interventions) -> bool {
        let _ = interventions;
        false
    }

    /// What keys and values of this engine hang on beside the tokens; `None` where it cannot give
    /// them away.
    fn prefix_key(&self) -> Option<PrefixKey> {
        None
    }

    /// Writes the keys and values of the first positions of a slot, in rows of `stride` bytes: for
    /// each layer the keys, a row per position, then the values. To be called only where there is a
    /// [`prefix_key`](Self::prefix_key).
    ///
    /// # Errors
    /// `out` has an error.
    fn export_prefix(
        &self,
        slot: usize,
        positions: usize,
        stride: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let _ = (slot, positions, stride, out);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a slot the first `positions` of what was written for so many positions, at that
    /// stride, by an engine of the same key. False where the engine cannot.
    fn import_prefix(
        &mut self,
        slot: usize,
        positions: usize,
        exported: (usize, usize, &[u8]),
    ) -> bool {
        let _ = (slot, positions, exported);
        false
    }

    /// What computes, in a few words.
    fn device(&self) -> String {
        "unknown".into()
    }

    /// What the streaming of the model's tiles has done; `None` where all of them are there.
    fn residency(&self) -> Option<ResidencyMetrics> {
        None
    }

    /// Runs a batch as [`step`](Self::step) does and tells how long each stage took. `None` where
    /// the engine cannot tell; the batch has not run then.
    fn profile(&mut self, batch: &Batch) -> Result<Option<EngineProfile>, EngineError> {
        let _ = batch;
        Ok(None)
    }

    /// Measures what the device does at most. `None` where the engine cannot tell.
    fn limits(&self) -> Option<DeviceLimits> {
        None
    }
}

/// Answers one ask from the logits of its column.
pub fn answer(
    sampler: &mut Sampler,
    logits: &[f32],
    ask: &LogitsQuery,
) -> Result<Sampled, SamplingError> {
    let token = match &ask.kind {
        QueryKind::Draw { words, window, bias, .. } => {
            sampler.sample(logits, words, window, bias)?
        }
        QueryKind::Score { token } => *token,
    };
    // It goes over the whole vocabulary once more: only where somebody reads it.
    if ask.logprob || ask.top > 0 {
        sampler.score(logits, token, ask.top as usize)
    } else {
        Ok(Sampled { token, ..Sampled::default() })
    }
}
