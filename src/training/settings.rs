//! What is trained, and how.

use serde::{Deserialize, Serialize};

use super::optimizer::{AdamW, Schedule};

/// Settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSettings {
    /// An adapter, or the whole model.
    pub what: Trained,
    /// The optimiser.
    pub optimizer: AdamW,
    /// The rate at each step.
    pub schedule: Schedule,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Trained {
    /// An adapter; the model stays as it is.
    Lora(LoraSettings),
    /// Every tensor of a model of plain floats.
    Full,
}

/// A new adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraSettings {
    /// Rows of A, columns of B; a multiple of 4 is stored without padding.
    pub rank: usize,
    /// The update's factor is `alpha / rank`, or `alpha / sqrt(rank)` with `rank_stabilised`.
    pub alpha: f32,
    /// rsLoRA: the factor is `alpha / sqrt(rank)` (<https://arxiv.org/abs/2312.03732>).
    pub rank_stabilised: bool,
    /// The share of inputs that A does not see in a step, 0 for none.
    pub dropout: f32,
    /// Names out of [`TARGETS`](crate::model::adapter::TARGETS).
    pub targets: Vec<String>,
    /// Layers from the first to before the second; all where it is not said.
    pub layers: Option<(u32, u32)>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            rank_stabilised: false,
            dropout: 0.0,
            targets: crate::model::adapter::TARGETS.map(String::from).to_vec(),
            layers: None,
        }
    }
}
