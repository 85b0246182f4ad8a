//! Pruning by survey: a model without the heads or layers that its words need least
//! (specs/self.md, section 3).
//!
//! In: a model, a text to survey with and another one. Out: a file in which some heads are muted
//! or some layers left out, chosen by how far the model's words are from its own without each
//! alone, and what came of it on the other text beside what the survey foretold. Follow
//! [`survey`](fn@survey), [`run`](mod@run).

mod run;
mod survey;

pub use run::{PruneReport, PruneTask, Pruned, run};
pub use survey::{PruneGoal, PrunePart, survey};

/// The fewest tokens of the text of a survey: one of 1,280 saw half of the damage that others did.
pub const LEAST_TOKENS: usize = 4096;

/// Why nothing can be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A child cannot be written or opened.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A model cannot compute.
    #[error(transparent)]
    Forward(#[from] crate::forward::cpu::ForwardError),
    /// What is asked for cannot be.
    #[error(transparent)]
    Problem(#[from] PruneProblem),
}

/// What is asked for cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PruneProblem {
    /// There are not so many parts, or none would be left.
    #[error("{wanted} {what} of {count}: take 1 to {}", count.saturating_sub(1))]
    Count {
        /// How many are to go.
        wanted: usize,
        /// Heads or layers.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The text of the survey is too short.
    #[error(
        "the survey's text has {found} tokens: {LEAST_TOKENS} are the fewest that tell heads apart"
    )]
    ShortText {
        /// Tokens that it has.
        found: usize,
    },
    /// The texts share a window.
    #[error("both texts share a window: what is measured must be another one")]
    SharedText,
}
