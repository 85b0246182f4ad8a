//! Training: a model learns through the tiles that compute its answers.
//!
//! In: a model, [`Sequence`]s of tokens of which some are targets, [`TrainingSettings`]. Out: an
//! [`Adapter`](crate::model::Adapter), or the model's matrices themselves where all of it is
//! trained. A [`Trainer`] makes one optimiser step at a time: the forward pass, the loss, the
//! backward pass through the same tiles, and AdamW. Everything follows from (model, data,
//! settings, seed). The specification is `specs/training.md`.

#[cfg(test)]
mod bigram;
pub mod checkpoint;
pub mod corpus;
pub mod cpu;
pub mod curve;
pub mod data;
pub mod evaluate;
#[cfg(feature = "world")]
pub mod gpu;
pub mod optimizer;
pub mod plan;
pub mod run;
mod sequence;
mod settings;
pub mod start;
mod trainer;
pub mod whole;

pub use sequence::Sequence;
pub use settings::{LoraSettings, Trained, TrainingSettings};
pub use trainer::{LossSum, Parameter, StepReport, TrainError, Trainer, TrainerState};
