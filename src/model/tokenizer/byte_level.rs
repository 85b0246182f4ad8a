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
    pub fn new(spec: &TokenizerSpec, vocabulary: &Vocabulary) -> Result<ByteLevel, TokenizerError> {
        let splitter = Splitter::new(spec.pre.as_deref())?;
        let lines = spec.merges.as_deref().ok_or(TokenizerError::Missing {
            field: "tokenizer.ggml.merges",
            needed_by: "tokenizer.ggml.model \"gpt2\"",
        })?;
        // Special tokens stay outside the model, so that plain text can never become one. A user-defined token
        // is let in where the merges were trained with it.
        let mut vocab: Vocab = vocabulary
            .iter()
            .filter(|(_, _, kind)| !kind.is_special() && *kind != TokenType::UserDefined)
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect();
        let mut merges = Merges::with_capacity(lines.len());
        let mut seen = std::collections::HashSet::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let (left, right) =
                halves(line).ok_or_else(|| TokenizerError::BadMerge { index, found: shorten(line) })?;
            for part in [left, right, &format!("{left}{right}")] {
                if !vocab.contains_key(part) {
                    let id = plain_token(vocabulary, index, part)?;
                    vocab.insert(part.to_owned(), id);
                }
            }
            // Should a pair stand twice, its first rank is the one that counts.
            if seen.insert(line) {
                merges.push((left.to_owned(), right.to_owned()));
            }
        }
        let spelled = std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).expect("an index of 256 elements fits a byte");
            vocab.contains_key(letter_of(byte).encode_utf8(&mut [0; 4]) as &str)
        });
        let whole_words_first = matches!(spec.pre.as_deref(), Some("llama-bpe" | "llama3" | "llama-v3"));
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

fn plain_token(vocabulary: &Vocabulary, index: usize, text: &str) -> Result<u32, TokenizerError> {
    let id = vocabulary
        .id(text)
        .ok_or_else(|| TokenizerError::UnknownMergeToken { index, found: shorten(text) })?;
    if vocabulary.kind(id).is_some_and(TokenType::is_special) {
        return Err(TokenizerError::MergeOfControlToken { index, found: shorten(text) });
    }
    Ok(id)
}
