//! Byte-level BPE, the `gpt2` family: words of bytes in the byte alphabet, merged by the `tokenizers` crate.

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

use super::alphabet::letter_of;
use super::error::{TokenizerError, shorten};
use super::spec::{TokenType, TokenizerSpec};
use super::split::Splitter;
use super::vocabulary::Vocabulary;

/// A byte-level BPE model with its pre-tokeniser.
#[derive(Debug)]
pub struct ByteLevel {
    splitter: Splitter,
    bpe: BPE,
    /// By byte, whether the vocabulary can spell it.
    spelled: [bool; 256],
}

impl ByteLevel {
    /// Builds the model from the merges of `spec`, whose tokens are `vocabulary`.
    /// `warnings` gets what is passed over.
    pub fn new(
        spec: &TokenizerSpec,
        vocabulary: &Vocabulary,
        warnings: &mut Vec<String>,
    ) -> Result<ByteLevel, TokenizerError> {
        if spec.pre.as_deref().is_none_or(str::is_empty) {
            warnings.push(
                "tokenizer.ggml.pre is missing: text is cut as llama.cpp cuts it then, which is hardly as the \
                 model has learnt it, so answers will be worse; look for a newer file of the model"
                    .into(),
            );
        }
        let splitter = Splitter::new(spec.pre.as_deref())?;
        let lines = spec.merges.as_deref().ok_or(TokenizerError::Missing {
            field: "tokenizer.ggml.merges",
            needed_by: "tokenizer.ggml.model \"gpt2\"",
        })?;
        // Special tokens stay outside the model, so that plain text can never become one. A user-defined token
        // is let in where the merges were trained with it.
        let mut vocab: Vocab = vocabulary
            .iter()
            .filter(|(_, text, kind)| {
                !text.is_empty() && !kind.is_special() && *kind != TokenType::UserDefined
            })
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect();
        let mut merges = Merges::with_capacity(lines.len());
        let mut seen = std::collections::HashSet::with_capacity(lines.len());
        let mut without = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            // A merge that is no pair, or of which a token is not there, never applies.
            let Some((left, right)) = halves(line) else {
                without.push(index);
                continue;
            };
            let made = format!("{left}{right}");
            let parts = [left, right, made.as_str()];
            let [Some(of_left), Some(of_right), Some(of_made)] = parts.map(|part| vocabulary.id(part)) else {
                without.push(index);
                continue;
            };
            for (part, id) in parts.into_iter().zip([of_left, of_right, of_made]) {
                if vocab.contains_key(part) {
                    continue;
                }
                if vocabulary.kind(id).is_some_and(TokenType::is_special) {
                    let found = shorten(part);
                    return Err(TokenizerError::MergeOfControlToken { index, found });
                }
                vocab.insert(part.to_owned(), id);
            }
            // Should a pair stand twice, its first rank is the one that counts.
            if seen.insert(line) {
                merges.push((left.to_owned(), right.to_owned()));
            }
        }
        if let Some(&first) = without.first() {
            let count = without.len();
            let of = if count == 1 { "one merge is" } else { "some merges are" };
            warnings.push(format!(
                "tokenizer.ggml.merges: {of} not of two tokens that make a third ({count}, such as merge {first}, \
                 {:?}) and never applied",
                shorten(&lines[first])
            ));
        }
        let spelled = std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).expect("an index of 256 elements fits a byte");
            vocab.contains_key(letter_of(byte).encode_utf8(&mut [0; 4]) as &str)
        });
        let whole_words_first = splitter.whole_words_first;
        let bpe = BpeBuilder::new()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(whole_words_first)
            .build()
            .map_err(|error| TokenizerError::MergeEngine { message: error.to_string() })?;
        Ok(ByteLevel { splitter, bpe, spelled })
    }

    /// Appends the tokens of `text`. A byte that the vocabulary cannot spell is left out, as llama.cpp does.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut word = String::new();
        self.splitter.split(text, &mut |piece| {
            for byte in piece.bytes() {
                if self.spelled[usize::from(byte)] {
                    word.push(letter_of(byte));
                } else {
                    // What stood left and right of the lost byte must not be merged over the gap.
                    self.encode_word(&word, ids);
                    word.clear();
                }
            }
            self.encode_word(&word, ids);
            word.clear();
        });
    }

    fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let tokens = self.bpe.tokenize(word).expect("BPE fails only for an unknown token, and none is set");
        ids.extend(tokens.iter().map(|token| token.id));
    }

    /// The bytes without a token. Most are no part of any UTF-8 text; the others are lost in encoding.
    pub fn missing_bytes(&self) -> Vec<u8> {
        (0..=255).filter(|&byte| !self.spelled[usize::from(byte)]).collect()
    }
}

/// The two tokens of a merge. The space between them is never the first character.
fn halves(line: &str) -> Option<(&str, &str)> {
    let (space, _) = line.char_indices().skip(1).find(|(_, letter)| *letter == ' ')?;
    let (left, right) = (&line[..space], &line[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}
