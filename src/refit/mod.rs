//! Refitting: a model in a file of a given size that says nearly the same (specs/self.md).
//!
//! In: a model, a text and a number of bytes. Out: an encoding for each matrix, chosen by what was
//! measured, with what was foretold and what came of it beside the uniform file of the same bytes.
//! Follow [`mod@importance`], [`divergence`], [`sensitivity`], [`mod@choose`].

pub mod choose;
pub mod divergence;
pub mod importance;
pub mod run;
pub mod sensitivity;
pub mod text;
mod uniform;

pub use choose::{Choice, MatrixOption, choose};
pub use divergence::{Divergence, ParentFigures, WindowFigures};
pub use importance::{ColumnImportance, importance};
pub use run::{RefitProgress, RefitReport, RefitTask, Refitted};
pub use sensitivity::{ChildTrial, Sensitivities};
pub use text::{RefitText, written_by};
pub use uniform::{ENCODINGS, uniform};

/// Why a refit cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RefitError {
    /// A child cannot be written or opened.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A child cannot compute.
    #[error(transparent)]
    Forward(#[from] crate::forward::cpu::ForwardError),
    /// What is asked for cannot be.
    #[error(transparent)]
    Problem(#[from] RefitProblem),
    /// The folder of children cannot be used.
    #[error("the folder of children that are tried: {0}")]
    Folder(#[from] std::io::Error),
}

/// What is asked for cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RefitProblem {
    /// Not even the smallest encodings fit.
    #[error("{wanted} bytes are too few: with the smallest encodings its tensors take {least}")]
    TooSmall {
        /// Bytes that were asked for.
        wanted: u64,
        /// The fewest that there can be.
        least: u64,
    },
}
