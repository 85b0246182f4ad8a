//! What is told of a run: lines of JSON, and events for whoever looks on.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogLine {
    /// A step was made.
    Step(StepLine),
    /// The model was looked at.
    Evaluation(EvaluationLine),
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// The step, from 1.
    pub step: u64,
    /// Epochs behind it.
    pub epoch: f64,
    /// The mean loss over the step's targets, in nats, before its update.
    pub loss: f64,
    /// The rate.
    pub rate: f32,
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Targets of the step.
    pub targets: usize,
    /// Columns of the step.
    pub columns: usize,
    /// Columns per second.
    pub tokens_per_second: f64,
    /// The most memory that the program has taken so far, where the system tells.
    pub memory_bytes: Option<u64>,
}

/// How good the model is after some steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// Steps made.
    pub step: u64,
    /// The mean loss over the targets of the validation data, in nats.
    pub valid_loss: f64,
    /// How many greedy answers are exactly right, if they were asked for.
    pub right: Option<usize>,
    /// Of how many.
    pub asked: Option<usize>,
}

/// What happens in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// A line for the log.
    Line(&'a LogLine),
    /// The model is about to be looked at.
    Evaluating,
    /// A checkpoint was written.
    Saved(&'a Path),
    /// A checkpoint could not be written; the run goes on.
    NotSaved(&'a str),
}
