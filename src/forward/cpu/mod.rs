//! The forward pass on the CPU: the twin of every GPU kernel, on the same parameters and the same
//! bytes.
//!
//! In: a [`PixelModel`](crate::model::PixelModel), columns, a [`KvCache`]. Out: [`Logits`]. It is
//! the oracle that the shaders are tested against, and what runs where there is no GPU. Weights are
//! read from the mapped file's tiles as they lie there; nothing is unpacked into a second copy.
//!
//! One pass: [`embed`](mod@embed), then per layer [`qkv`](mod@qkv), [`attend`](mod@attend),
//! [`project`], [`gate_up`], [`down`], and at the end [`logits`](mod@logits). Each parallel loop
//! runs over row groups or heads on rayon's threads; vectors are chosen for the processor at run
//! time.

pub mod activations;
pub(crate) mod adapters;
pub mod attend;
pub(crate) mod awake;
mod cache;
mod change;
pub mod down;
pub mod embed;
mod error;
pub mod fixed;
pub mod gate_up;
mod hooks;
mod kernel_timings;
pub mod lanes;
mod limits;
pub mod logits;
pub mod matrix;
mod model;
pub mod multiply;
pub mod norm;
pub(crate) mod processor;
pub mod project;
pub mod qkv;
pub mod rope;
pub(crate) mod transposed;
pub mod unpack;

pub use cache::{CacheType, KvCache, PAGE};
pub use error::ForwardError;
pub use fixed::ActivationBits;
pub use kernel_timings::{Kernel, KernelTimings, Lap};
pub use limits::ProcessorLimits;
pub use logits::Logits;
pub use model::{CpuModel, CpuOptions};
pub use processor::vectors;

/// One token at one position of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The token's id, below the size of the vocabulary.
    pub token: u32,
    /// The sequence's place in the cache.
    pub slot: u32,
    /// The position in the sequence, from 0.
    pub position: u32,
    /// Whether logits are computed for it.
    pub wants_logits: bool,
}
