//! A low-rank adapter: what is added to a model's matrices without changing a pixel of them.
//!
//! For a matrix `W [outputs, inputs]` an adapter has `A [rank, inputs]` and `B [outputs, rank]`,
//! and the product becomes `W x + scale B (A x)` with `scale = alpha / rank` (Hu et al. 2021,
//! <https://arxiv.org/abs/2106.09685>).
//!
//! In: a GGUF file as llama.cpp's converter writes it, a folder as PEFT does, or what was trained.
//! Out: an [`Adapter`], checked against the model that it is to change, and the same file again.
//! The specification is `specs/adapters.md`.

mod check;
mod error;
mod keys;
pub mod merge;
mod peft;
pub mod pixels;
mod read;
mod write;

pub use error::AdapterError;
pub(in crate::model) use write::bytes_of;

use sha2::{Digest, Sha256};

use super::config::Architecture;

/// The matrices of a layer that an adapter may change, by their GGUF names behind `blk.LAYER.`
/// and before `.weight`.
pub const TARGETS: [&str; 7] =
    ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

/// What is added to one matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// The GGUF name of the matrix, `blk.0.attn_q.weight` for example.
    pub tensor: String,
    /// Columns of the matrix.
    pub inputs: usize,
    /// Rows of the matrix.
    pub outputs: usize,
    /// Rows of `a` and columns of `b`.
    pub rank: usize,
    /// `[rank, inputs]`, a row after another.
    pub a: Vec<f32>,
    /// `[outputs, rank]`, a row after another.
    pub b: Vec<f32>,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The family of its base.
    pub architecture: Architecture,
    /// Divided by a matrix's rank it is the factor of the update; 0 stands for a factor of 1.
    pub alpha: f32,
    /// At most one for each matrix, in the order of the base's tensors.
    pub updates: Vec<LowRank>,
    /// The root hash of the base that it was trained on, if known.
    pub base: Option<[u8; 32]>,
    /// How it was made, in words, if known.
    pub run: Option<String>,
}

impl Adapter {
    /// The factor of an update: `alpha / rank`, and 1 where alpha is 0, as llama.cpp has it.
    pub fn scale(&self, update: &LowRank) -> f32 {
        if self.alpha == 0.0 { 1.0 } else { self.alpha / update.rank as f32 }
    }

    /// Makes it so many times as strong.
    pub fn strengthen(&mut self, factor: f32) {
        // On B and not on alpha, whose 0 means a factor of 1.
        self.updates.iter_mut().flat_map(|update| &mut update.b).for_each(|b| *b *= factor);
    }

    /// A SHA-256 of all that it does to a model.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.architecture.name());
        hash.update(self.alpha.to_le_bytes());
        for (name, [rows, columns], numbers) in self.updates.iter().flat_map(LowRank::halves) {
            hash.update(format!("\n{name} {rows} {columns}\n"));
            numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
        }
        hash.finalize().into()
    }
}
