//! School: a model learns from its own answers what it can prove (specs/self.md, section 2).
//!
//! In: a model and a [`Subject`], whose exercises have answers that a checker can prove. A round
//! samples answers, keeps what is right, teaches an adapter on the frozen model with text of the
//! model's own kind beside it, and measures on exercises that were held out. Two controls are
//! taught and measured beside it: as many answers that nobody checked, and the true ones. Out: a
//! [`SchoolReport`], and a child only where the gate's limits hold. Follow [`subject`],
//! [`exercises`], [`plain`], [`sample`], [`teach`], [`measure`], [`run`](mod@run).

mod answers;
pub mod exercises;
mod measure;
pub mod plain;
mod report;
mod run;
mod sample;
pub mod subject;
mod teach;
#[cfg(test)]
mod tests;

pub use exercises::{Exercise, SubjectExercises};
pub use plain::PlainTexts;
pub use report::{CandidateReport, FinalExam, LearntFrom, RoundReport, SchoolReport, SchoolText};
pub(crate) use run::child_file;
pub use run::{SchoolTask, Taught, run};
pub use subject::Subject;

use crate::batch::{RunError, TextError};
use crate::engine::EngineError;
use crate::forward::cpu::ForwardError;
use crate::training::TrainError;
use crate::training::corpus::CorpusError;

/// How a school is held.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SchoolSettings {
    /// The most rounds.
    pub rounds: u32,
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Exercises of the pool, at most.
    pub exercises: usize,
    /// Exercises of the gate, and as many of the report, at most.
    pub held_out: usize,
    /// Answers of each exercise.
    pub samples: u32,
    /// The temperature at which they are drawn.
    pub temperature: f32,
    /// The rate behind the warm-up.
    pub rate: f32,
    /// Steps of each child.
    pub steps: u64,
    /// The rank of its adapter.
    pub rank: usize,
    /// Columns of a step, at most.
    pub batch_tokens: usize,
    /// The share of a step's columns, and of its loss, that is text of the model's own kind.
    pub replay: f64,
}

impl Default for SchoolSettings {
    fn default() -> Self {
        Self {
            rounds: 3,
            seed: 1,
            exercises: 384,
            held_out: 512,
            samples: 8,
            temperature: 0.8,
            rate: 5e-4,
            steps: 100,
            rank: 8,
            batch_tokens: 512,
            replay: 0.25,
        }
    }
}

/// Who looks on and may end it.
pub trait SchoolProgress: Sync {
    /// Something begins, of so many steps.
    fn begins(&self, what: &str, steps: usize);
    /// So many steps more are done.
    fn done(&self, steps: usize);
    /// Whether it goes on; it may wait here while somebody else needs the machine.
    fn goes_on(&self) -> bool;
}

/// Why a school cannot be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchoolError {
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
    /// What is asked for cannot be.
    #[error(transparent)]
    Problem(#[from] SchoolProblem),
    /// The subject asks for what there is not.
    #[error("the subject: {0}")]
    Subject(#[from] CorpusError),
    /// The model's text side cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The model cannot be computed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Answers cannot be had.
    #[error(transparent)]
    Answers(#[from] RunError),
    /// Nothing can be learnt.
    #[error("{0}")]
    Train(TrainError),
    /// A child cannot be written.
    #[error(transparent)]
    Write(#[from] crate::model::AdapterError),
}

impl From<TrainError> for SchoolError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped => Self::Stopped,
            error => Self::Train(error),
        }
    }
}

/// What is asked for cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SchoolProblem {
    /// A kind of exercise has none to learn, or none that is held out.
    #[error(
        "{kind}: {found} exercises {what}, and {least} are needed; give the subject more values, \
         or hold out another share of them"
    )]
    FewExercises {
        /// The kind.
        kind: String,
        /// To learn, or held out.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// An exercise is to be learnt and is held out.
    #[error(
        "an exercise is in the pool and held out too: {0:?}; hold out by slots that the prompt \
         shows"
    )]
    Overlap(String),
    /// A prompt and its answer do not fit the model.
    #[error("an exercise of {tokens} tokens: the model was made for {context}")]
    TooLong {
        /// Tokens of prompt and answer.
        tokens: usize,
        /// Positions of the model.
        context: usize,
    },
    /// Two texts share a document.
    #[error("a document is in two texts that have to be apart: {0:?}")]
    SharedDocument(String),
    /// A text has too few documents.
    #[error("{what}: {found} documents, and {least} are needed")]
    FewDocuments {
        /// Which text.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// How many are needed.
        least: usize,
    },
    /// The model has no token that documents begin with.
    #[error(
        "the model names no token that begins a sequence, so that nobody knows where its documents \
         begin: give documents of its kind with --text and --check"
    )]
    NoBeginning,
    /// No answer was right.
    #[error(
        "none of {0} answers is right, so that there is nothing to learn from: take an easier \
         subject, or more samples with --k"
    )]
    NothingVerified(usize),
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(String),
    /// The memory does not suffice.
    #[error("{0}")]
    NoRoom(String),
}
