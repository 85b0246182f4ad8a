//! Byte-level BPE, the `gpt2` family: words of bytes in the byte alphabet, merged by the
//! `tokenizers` crate.

use std::collections::{HashMap, HashSet};

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

use super::alphabet::{byte_of, letter_of};
use super::error::{TokenizerError, shorten};
use super::spec::{TokenType, TokenizerSpec};
use super::split::Splitter;
use super::vocabulary::Vocabulary;

/// A byte-level BPE model with its pre-tokeniser.
#[derive(Debug)]
pub struct ByteLevel {
    splitter: Splitter,
    bpe: BPE,
    /// The tokens, where a word that is one stays whole and `bpe` knows more than tokens.
    words: Option<HashMap<String, u32>>,
    /// By byte, its number in `bpe`.
    spelled: [Option<u32>; 256],
    /// What merges take or make that is no token; `bpe` counts them after the tokens.
    missing: Vec<String>,
    token_count: usize,
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
                "tokenizer.ggml.pre is missing: text is cut as llama.cpp cuts it then, which is \
                 hardly as the model has learnt it, so answers will be worse; look for a newer \
                 file of the model"
                    .into(),
            );
        }
        let splitter = Splitter::new(spec.pre.as_deref())?;
        // Kimi K2's vocabulary has come without merges, and llama.cpp then goes on without.
        let lines = match (spec.merges.as_deref(), spec.pre.as_deref()) {
            (Some(lines), _) => lines,
            (None, Some("kimi-k2")) => &[],
            (None, _) => {
                return Err(TokenizerError::Missing {
                    field: "tokenizer.ggml.merges",
                    needed_by: "tokenizer.ggml.model \"gpt2\"",
                });
            }
        };
        let LearntMerges { vocab, merges, missing } =
            LearntMerges::new(lines, vocabulary, warnings)?;
        let spelled = std::array::from_fn(|byte| {
            let byte = u8::try_from(byte).expect("an index of 256 elements fits a byte");
            let mut letter = [0; 4];
            vocab.get(letter_of(byte).encode_utf8(&mut letter) as &str).copied()
        });
        // A word that no token is must not be found among what merges make on the way.
        let own_words = splitter.whole_words_first && !missing.is_empty();
        let words = own_words.then(|| {
            let tokens = vocab.iter().filter(|(_, id)| (**id as usize) < vocabulary.len());
            tokens.map(|(text, id)| (text.clone(), *id)).collect()
        });
        let whole_words_first = splitter.whole_words_first && !own_words;
        let bpe = BpeBuilder::new()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(whole_words_first)
            .build()
            .map_err(|error| TokenizerError::MergeEngine { message: error.to_string() })?;
        Ok(ByteLevel { splitter, bpe, words, spelled, missing, token_count: vocabulary.len() })
    }

    /// Appends the tokens of `text`. A byte that the vocabulary cannot spell is left out, as
    /// llama.cpp does.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut word = String::new();
        self.splitter.split(text, &mut |piece| {
            for byte in piece.bytes() {
                if self.spelled[usize::from(byte)].is_some() {
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
        if let Some(&id) = self.words.as_ref().and_then(|words| words.get(word)) {
            ids.push(id);
            return;
        }
        let tokens =
            self.bpe.tokenize(word).expect("BPE fails only for an unknown token, and none is set");
        for token in &tokens {
            match (token.id as usize).checked_sub(self.token_count) {
                None => ids.push(token.id),
                // No token: llama.cpp spells those of its bytes that are ASCII; here none is lost.
                Some(made) => ids.extend(
                    self.missing[made]
                        .chars()
                        .filter_map(byte_of)
                        .filter_map(|byte| self.token_of(byte)),
                ),
            }
        }
    }

    /// The token of one byte.
    fn token_of(&self, byte: u8) -> Option<u32> {
        self.spelled[usize::from(byte)].filter(|&id| (id as usize) < self.token_count)
    }

    /// The bytes without a token. Most are no part of any UTF-8 text; the others are lost in
    /// encoding.
    pub fn missing_bytes(&self) -> Vec<u8> {
        (0..=255).filter(|&byte| self.token_of(byte).is_none()).collect()
    }
}

/// The merges of a file, and everything that they take or make.
struct LearntMerges {
    vocab: Vocab,
    merges: Merges,
    /// What is no token; it is counted after the tokens.
    missing: Vec<String>,
}

impl LearntMerges {
    fn new(
        lines: &[String],
        vocabulary: &Vocabulary,
        warnings: &mut Vec<String>,
    ) -> Result<Self, TokenizerError> {
        // Special tokens stay outside the model, so that plain text can never become one. A
        // user-defined token is let in where the merges were trained with it.
        let is_plain = |kind: TokenType| !kind.is_special() && kind != TokenType::UserDefined;
        let plain = vocabulary.iter().filter(|(_, text, kind)| !text.is_empty() && is_plain(*kind));
        let vocab = plain.map(|(id, text, _)| (text.to_owned(), id)).collect();
        let merges = Merges::with_capacity(lines.len());
        let mut learnt = Self { vocab, merges, missing: Vec::new() };
        let mut seen = HashSet::with_capacity(lines.len());
        let mut odd = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let Some((left, right)) = halves(line) else {
                odd.push(index);
                continue;
            };
            let before = learnt.missing.len();
            for part in [left, right, &format!("{left}{right}")] {
                learnt.add(part, index, vocabulary)?;
            }
            if learnt.missing.len() > before {
                odd.push(index);
            }
            // Should a pair stand twice, its first rank is the one that counts.
            if seen.insert(line) {
                learnt.merges.push((left.to_owned(), right.to_owned()));
            }
        }
        if let Some(&first) = odd.first() {
            let count = odd.len();
            let of = if count == 1 { "one merge is" } else { "some merges are" };
            warnings.push(format!(
                "tokenizer.ggml.merges: {of} not of two tokens that make a third ({count}, such as \
                 merge {first}, {:?}); what they make is spelled by its bytes",
                shorten(&lines[first])
            ));
        }
        Ok(learnt)
    }

    /// Adds what merge `index` takes or makes.
    fn add(
        &mut self,
        part: &str,
        index: usize,
        vocabulary: &Vocabulary,
    ) -> Result<(), TokenizerError> {
        if self.vocab.contains_key(part) {
            return Ok(());
        }
        let id = match vocabulary.id(part) {
            Some(id) if vocabulary.kind(id).is_some_and(TokenType::is_special) => {
                return Err(TokenizerError::MergeOfControlToken { index, found: shorten(part) });
            }
            Some(id) => id,
            // As in llama.cpp the merge applies all the same: it is in the way of others, and
            // others may make a token of what it makes.
            None => {
                self.missing.push(part.to_owned());
                (vocabulary.len() + self.missing.len() - 1) as u32
            }
        };
        self.vocab.insert(part.to_owned(), id);
        Ok(())
    }
}

/// The two tokens of a merge. The space between them is never the first character.
fn halves(line: &str) -> Option<(&str, &str)> {
    let (space, _) = line.char_indices().skip(1).find(|(_, letter)| *letter == ' ')?;
    let (left, right) = (&line[..space], &line[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}
