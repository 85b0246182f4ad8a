//! Drafting: tokens that are guessed cheaply and checked in one pass (speculative decoding).
//!
//! In: the tokens of a sequence so far. Out: tokens that may come next. The scheduler gives them
//! to the model as columns behind the last token, and each column draws its token as it would have
//! without a draft: with the noise of its own index, its own window of penalties and its own
//! biases. The draws count up to the first that is not the drafted token, so an answer is the same
//! with drafts as without, drawn ones too, and a draft can only make it faster.
//!
//! [`ngram`] finds drafts in the sequence itself, [`model`] lets a smaller model make them, and
//! [`pace`] says how long they may be: it knows how often drafts were right of late and what a
//! column more costs.

mod model;
mod ngram;
mod pace;

pub(super) use self::model::DraftWish;
pub use self::model::{DraftModel, OtherVocabulary, same_vocabulary};
pub(crate) use self::ngram::{NgramIndex, drafted};
pub(super) use self::pace::{Chances, Ground, Offer, Pace};

/// What makes drafts.
#[derive(Default)]
pub enum DraftSource {
    /// Nothing: every token has a pass of its own.
    #[default]
    Off,
    /// The sequence itself: what followed the same tokens before.
    Ngram,
    /// Another model of the same vocabulary.
    Model(Box<DraftModel>),
}

impl DraftSource {
    /// Where drafts come from, where nobody says: of the sequence itself, unless the engine makes
    /// several tokens of an answer in one submit anyway.
    pub(crate) fn usual(steps: usize) -> Self {
        if steps > 1 { Self::Off } else { Self::Ngram }
    }
}

/// The most tokens of a draft.
pub(crate) const MOST_DRAFTED: usize = 31;
