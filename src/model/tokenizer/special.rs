//! Finds control and user-defined tokens written out in a text.

use aho_corasick::{AhoCorasick, MatchKind};

use super::error::TokenizerError;
use super::spec::TokenType;
use super::vocabulary::Vocabulary;

/// A stretch of a text, as [`SpecialTokens::partition`] cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextPart<'t> {
    /// Plain text, not empty.
    Text(&'t str),
    /// A special token, by its id.
    Token(u32),
}

/// A search for all special tokens at once, in time linear in the text. Where several begin at the
/// same place the longest is taken. That is what the models were trained with; llama.cpp takes the
/// longest of the whole text first, which differs only where two special tokens overlap.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    search: AhoCorasick,
    ids: Vec<u32>,
}

impl SpecialTokens {
    /// Collects the control, unknown and user-defined tokens of `vocabulary`.
    pub fn new(vocabulary: &Vocabulary) -> Result<SpecialTokens, TokenizerError> {
        Self::of(vocabulary, |kind| kind.is_special() || kind == TokenType::UserDefined)
    }

    /// Collects the tokens whose type is wanted.
    pub fn of(
        vocabulary: &Vocabulary,
        is_wanted: impl Fn(TokenType) -> bool,
    ) -> Result<SpecialTokens, TokenizerError> {
        let (ids, texts): (Vec<u32>, Vec<&str>) = vocabulary
            .iter()
            .filter(|(_, text, kind)| !text.is_empty() && is_wanted(*kind))
            .map(|(id, text, _)| (id, text))
            .unzip();
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(|source| TokenizerError::SpecialSearch { count: ids.len(), source })?;
        Ok(SpecialTokens { search, ids })
    }

    /// Cuts `text` at its special tokens and calls `visit` with each part in order.
    pub fn partition<'t>(&self, text: &'t str, mut visit: impl FnMut(TextPart<'t>)) {
        let mut start = 0;
        for found in self.search.find_iter(text) {
            if start < found.start() {
                visit(TextPart::Text(&text[start..found.start()]));
            }
            visit(TextPart::Token(self.ids[found.pattern().as_usize()]));
            start = found.end();
        }
        if start < text.len() {
            visit(TextPart::Text(&text[start..]));
        }
    }
}
