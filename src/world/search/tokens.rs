//! The vocabulary by its texts: sorted once, so that each key is two binary searches.

use super::folded;
use crate::model::PixelModel;
use crate::model::tokenizer::{Tokenizer, TokenizerSpec};

/// All tokens of a vocabulary.
#[derive(Debug, Default)]
pub struct TokenIndex {
    texts: Vec<Box<str>>,
    /// Each text as it is compared, without the space that it begins with, and its token; sorted.
    sorted: Vec<(Box<str>, u32)>,
}

impl TokenIndex {
    /// Reads the vocabulary of a model.
    ///
    /// # Errors
    /// It has none that can be read, in words.
    pub fn new(model: &PixelModel) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("no vocabulary: {error}");
        let spec =
            TokenizerSpec::from_metadata(model.metadata()).map_err(|error| failed(&error))?;
        let tokenizer = Tokenizer::new(&spec).map_err(|error| failed(&error))?;
        // Of tokens beyond the embedding's rows nothing can be shown.
        let count = (tokenizer.vocab_size() as u32).min(model.config().vocab_size);
        // A token may be some bytes of a character.
        let text = |id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned();
        Ok(Self::of((0..count).map(text)))
    }

    /// The index of texts, the first that of token 0.
    fn of(texts: impl Iterator<Item = String>) -> Self {
        let texts: Vec<Box<str>> = texts.map(String::into_boxed_str).collect();
        let key = |text: &str| folded(text.strip_prefix(' ').unwrap_or(text)).into_boxed_str();
        let mut sorted: Vec<(Box<str>, u32)> =
            (0..).zip(&texts).map(|(id, text)| (key(text), id)).collect();
        sorted.sort_unstable();
        Self { texts, sorted }
    }

    /// What a token adds to a text; nothing for one that is not in the vocabulary.
    pub fn text(&self, token: u32) -> &str {
        self.texts.get(token as usize).map_or("", |text| text)
    }

    /// The tokens whose text a text is or begins, with or without a space before it, and how many
    /// more there are. First what is the same, then what differs by its case, then what is longer.
    pub fn find(&self, text: &str, most: usize) -> (Vec<u32>, usize) {
        let wanted = folded(text);
        if wanted.is_empty() {
            return (Vec::new(), 0);
        }
        let first = self.sorted.partition_point(|(key, _)| **key < *wanted);
        let like = self.sorted[first..].partition_point(|(key, _)| key.starts_with(&*wanted));
        let like = &self.sorted[first..first + like];
        let rank = |(key, id): &(Box<str>, u32)| {
            let own = &*self.texts[*id as usize];
            let plain = own.strip_prefix(' ').unwrap_or(own);
            let kind = match () {
                () if own == text => 0,
                () if plain == text => 1,
                () if **key == *wanted => 2,
                () if plain.starts_with(text) => 3,
                () => 4,
            };
            (kind, own.len(), *id)
        };
        let mut ranked: Vec<_> = like.iter().map(rank).collect();
        let more = ranked.len().saturating_sub(most);
        if more > 0 {
            // A letter begins 10,000 tokens of 150,000, of which only the first are sorted.
            ranked.select_nth_unstable(most);
            ranked.truncate(most);
        }
        ranked.sort_unstable();
        (ranked.into_iter().map(|(_, _, id)| id).collect(), more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> TokenIndex {
        TokenIndex::of(texts.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn what_is_the_same_comes_first_and_what_begins_so_after_it() {
        let tokens =
            index(&["Parish", " Paris", "paris", "Par", " Parisian", "Paris", "x", "PARIS", ""]);
        assert_eq!(tokens.find("Paris", 9), (vec![5, 1, 2, 7, 0, 4], 0));
        assert_eq!(tokens.find("paris", 3), (vec![2, 5, 7], 3));
        assert_eq!(tokens.find("parisi", 9).0, [4]);
        assert_eq!(tokens.find("y", 9), (vec![], 0));
        assert_eq!(tokens.find("", 9), (vec![], 0));
        assert_eq!((tokens.text(1), tokens.text(99)), (" Paris", ""));
    }

    #[test]
    fn every_token_of_a_real_vocabulary_is_found_by_its_text() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let tokens = TokenIndex::new(&model).unwrap();
        assert_eq!(tokens.texts.len(), model.config().vocab_size as usize);
        for (id, text) in (0..).zip(&tokens.texts) {
            let plain = text.strip_prefix(' ').unwrap_or(text);
            let found = tokens.find(plain, usize::MAX).0;
            assert!(plain.is_empty() || found.contains(&id), "{id} {text:?}");
        }
    }
}
