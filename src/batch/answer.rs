//! What became of a request: an [`Answer`], or a [`Failure`] that concerns it alone.

use std::time::Duration;

/// A request's text, why it ended, and what is said of its tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The text, without the stop string that ended it.
    pub text: String,
    /// The tokens that were made, one that ended the answer included.
    pub tokens: Vec<u32>,
    /// Whether a stop ended it, or the limit.
    pub finish: FinishReason,
    /// How many tokens the prompt has.
    pub prompt_tokens: u32,
    /// How many of them were not computed: their keys and values were another request's, or kept.
    pub shared_tokens: u32,
    /// How many of these came from a file of kept prompts.
    pub loaded_tokens: u32,
    /// How many tokens were made, one that ended the answer included.
    pub completion_tokens: u32,
    /// How many tokens were drafted for it and checked.
    pub drafted_tokens: u32,
    /// How many of its tokens are drafted ones that were right.
    pub accepted_tokens: u32,
    /// The bytes of each token of the prompt, where the request wants its prompt in the text.
    pub echo: Option<Vec<Vec<u8>>>,
    /// The tokens of the answer with their log-probabilities, if asked for: without those that a
    /// stop string cut off, and with one that ended it.
    pub logprobs: Option<Vec<ScoredToken>>,
    /// The tokens of the prompt with theirs; the first has none, since nothing comes before it.
    pub prompt_logprobs: Option<Vec<Option<ScoredToken>>>,
    /// The time from admission to the first token.
    pub prompt_time: Duration,
    /// The time from the first token to the last.
    pub predicted_time: Duration,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// The most tokens were made, or the context is full.
    #[default]
    Length,
}

impl FinishReason {
    /// The word in results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A token with its log-probability and its alternatives'.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredToken {
    /// What it adds to the text, which may be a part of a character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the whole softmax.
    pub logprob: f32,
    /// The most probable tokens' bytes and log-probabilities, in order.
    pub top: Vec<(Vec<u8>, f32)>,
    /// Its number in the vocabulary.
    pub id: u32,
    /// The ids of `top`, in the same order.
    pub top_ids: Vec<u32>,
    /// In which character of the answer's text the token begins, from 0.
    pub offset: usize,
    /// Whether it was drafted, and was right.
    pub drafted: bool,
}

/// Why a request has no answer. It goes into the request's result line, and the run goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The prompt does not fit.
    #[error("the prompt has {prompt} tokens, and the context holds {context}")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Positions of the context.
        context: usize,
    },
    /// The prompt has no tokens, so there is nothing to go on from.
    #[error("the prompt has no tokens")]
    PromptEmpty,
    /// The prompt names a token that the model does not have.
    #[error("the prompt has token {token}, and the vocabulary has {vocab}")]
    UnknownToken {
        /// The token, which is not below `vocab`.
        token: u32,
        /// How many the model has.
        vocab: usize,
    },
    /// A field names a token that the model does not have.
    #[error("`{field}` has token {token}, and the vocabulary has {vocab}")]
    OutsideVocabulary {
        /// The field by its name in a line, such as `logit_bias`.
        field: &'static str,
        /// The token, which is not below `vocab`.
        token: u32,
        /// How many the model has.
        vocab: usize,
    },
    /// The form that the answer is to have is none that can be followed.
    #[error("the answer cannot have this form: {0}")]
    Form(String),
    /// The prompt could not be tokenised or rendered.
    #[error("{0}")]
    Prompt(String),
}

impl Failure {
    /// The code in results.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PromptTooLong { .. } => "context_length_exceeded",
            Self::PromptEmpty => "empty_prompt",
            Self::UnknownToken { .. } | Self::OutsideVocabulary { .. } => "unknown_token",
            Self::Form(_) => "invalid_response_format",
            Self::Prompt(_) => "invalid_prompt",
        }
    }

    /// The field that is to blame.
    pub fn param(&self) -> &'static str {
        match self {
            Self::OutsideVocabulary { field, .. } => field,
            Self::Form(_) => "response_format",
            _ => "prompt",
        }
    }
}
