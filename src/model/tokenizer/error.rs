//! What can be wrong with a vocabulary: every variant names the metadata field, what was found
//! there and what was expected.

use super::pre;
use super::spec::MODELS;
use crate::model::gguf::GgufError;

/// Why a [`TokenizerSpec`](super::TokenizerSpec) makes no tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The tokenizer's family is none of the supported ones.
    #[error("tokenizer.ggml.model is {found:?}; expected one of {MODELS:?}")]
    UnknownModel {
        /// The name in the file.
        found: String,
    },
    /// The pre-tokeniser is none of the supported ones.
    #[error(
        "tokenizer.ggml.pre is {found:?}; expected one of {:?}",
        pre::names().collect::<Vec<_>>()
    )]
    UnknownPreTokenizer {
        /// The name in the file.
        found: String,
    },
    /// A field is absent that the tokenizer cannot do without.
    #[error("{field} is missing; {needed_by} needs it")]
    Missing {
        /// The metadata key that is absent.
        field: &'static str,
        /// What cannot do without it.
        needed_by: &'static str,
    },
    /// A pair of the metadata is missing or of another type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A token or a merge is not text.
    #[error("{field}: entry {index} is not UTF-8; expected text")]
    NotUtf8 {
        /// The metadata key of the list.
        field: &'static str,
        /// Which entry of the list, from 0.
        index: usize,
        /// Where it stops being UTF-8.
        #[source]
        source: std::string::FromUtf8Error,
    },
    /// The vocabulary is empty or larger than a token id can count.
    #[error("tokenizer.ggml.tokens has {found} entries; expected 1 to {limit}")]
    VocabularySize {
        /// Entries in the file.
        found: usize,
        /// The most that are allowed.
        limit: usize,
    },
    /// A list that runs beside the tokens has another length.
    #[error("{field} has {found} entries; expected {expected}, one for each token")]
    CountMismatch {
        /// The metadata key of the list.
        field: &'static str,
        /// Entries in the file.
        found: usize,
        /// How many tokens there are.
        expected: usize,
    },
    /// Two tokens have the same text.
    #[error(
        "tokenizer.ggml.tokens has {token:?} twice, as {first} and as {second}; expected distinct \
         tokens"
    )]
    DuplicateToken {
        /// The text of both, shortened.
        token: String,
        /// The first id with it.
        first: u32,
        /// The second id with it.
        second: u32,
    },
    /// A token of the byte type does not name a byte.
    #[error("tokenizer.ggml.tokens: byte token {id} is {found:?}; expected <0x00> to <0xFF>")]
    BadByteToken {
        /// The id of the token.
        id: u32,
        /// The token's text, shortened.
        found: String,
    },
    /// Some bytes have no token and nothing stands in for them.
    #[error(
        "tokenizer.ggml.tokens has {found} of the 256 byte tokens and there is no \
         tokenizer.ggml.unknown_token_id; expected all of them or an unknown token"
    )]
    MissingByteTokens {
        /// How many there are.
        found: usize,
    },
    /// A score that cannot be compared.
    #[error("tokenizer.ggml.scores: token {id} has {found}; expected a number")]
    BadScore {
        /// The id of the token.
        id: u32,
        /// The score in the file.
        found: f32,
    },
    /// A merge names or makes a control token, which plain text must never become.
    #[error(
        "tokenizer.ggml.merges: merge {index} involves the control token {found:?}; expected plain \
         tokens"
    )]
    MergeOfControlToken {
        /// Its rank among the merges, from 0.
        index: usize,
        /// The control token, shortened.
        found: String,
    },
    /// The search automaton for special tokens could not be built.
    #[error("tokenizer.ggml.tokens: the {count} special tokens make no search automaton")]
    SpecialSearch {
        /// How many special tokens there are.
        count: usize,
        /// What the automaton's builder says.
        #[source]
        source: aho_corasick::BuildError,
    },
    /// The merge engine refused tokens and merges that had passed every check above.
    #[error("tokenizer.ggml.merges: {message}")]
    MergeEngine {
        /// What the engine says.
        message: String,
    },
}

/// The beginning of a text from a file, short enough for a message.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN: usize = 48;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
