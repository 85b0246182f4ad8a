//! What every trainer can do, on the processor or on an adapter's kernels.

use serde::{Deserialize, Serialize};

use super::sequence::Sequence;

/// Makes optimiser steps on a model.
pub trait Trainer: Send {
    /// One optimiser step at the given rate: the mean loss over the targets of all sequences, its
    /// gradient, clipping and AdamW. Long steps ask `stop` now and then.
    ///
    /// # Errors
    /// A loss or gradient is no number, or `stop` said so: then nothing of the step is kept.
    fn step(
        &mut self,
        sequences: &[Sequence],
        rate: f32,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<StepReport, TrainError>;

    /// The loss of sequences as the model is now; nothing is learnt.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    fn loss(
        &mut self,
        sequences: &[Sequence],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<LossSum, TrainError>;

    /// What is trained and the optimiser's state, for a checkpoint.
    ///
    /// # Errors
    /// A device does not answer.
    fn state(&mut self) -> Result<TrainerState, TrainError>;

    /// Takes up a state that [`Trainer::state`] gave.
    ///
    /// # Errors
    /// It is not one of this model and these settings.
    fn restore(&mut self, state: TrainerState) -> Result<(), TrainError>;
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The mean loss over the step's targets, in nats, before the update.
    pub loss: f64,
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Targets of the step.
    pub targets: usize,
    /// Columns that were computed.
    pub columns: usize,
}

impl StepReport {
    /// Of a step over some sequences.
    pub fn new(loss: f64, gradient_norm: f64, sequences: &[Sequence]) -> Self {
        Self {
            loss,
            gradient_norm,
            targets: sequences.iter().map(Sequence::targets).sum(),
            columns: sequences.iter().map(Sequence::columns).sum(),
        }
    }
}

/// A loss, not yet divided.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// The sum over targets of weight times `-ln p`, in nats.
    pub sum: f64,
    /// The sum of the targets' weights.
    pub weight: f64,
}

impl LossSum {
    /// The mean; not a number where there is no target.
    pub fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// A tensor that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// A tensor's name, with `.lora_a` or `.lora_b` behind it for the halves of an adapter.
    pub name: String,
    /// Rows, 1 for a vector.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// A row after another.
    pub values: Vec<f32>,
    /// The mean of gradients.
    pub first: Vec<f32>,
    /// The mean of their squares.
    pub second: Vec<f32>,
}

/// Everything that a trainer has learnt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainerState {
    /// Steps made.
    pub step: u64,
    /// In the order of the model's tensors.
    pub parameters: Vec<Parameter>,
}

/// Why a trainer cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
    /// A loss is infinite or no number.
    #[error(
        "the loss of sequence {sequence} of the step is {loss}: lower the rate, or look at the data"
    )]
    Loss {
        /// Index among the step's sequences.
        sequence: usize,
        /// What it is.
        loss: f64,
    },
    /// Gradients are infinite or no numbers.
    #[error("the gradient's norm is {0}: lower the rate (--lr), or begin again with another seed")]
    Gradient(f64),
    /// The model cannot be trained so.
    #[error("{0}")]
    Model(String),
    /// A state is of another model or other settings.
    #[error("the checkpoint is not of this run: {0}")]
    State(String),
    /// A device failed.
    #[error("{0}")]
    Device(String),
}
