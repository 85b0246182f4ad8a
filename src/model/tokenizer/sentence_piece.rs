//! SentencePiece's BPE, the `llama` family: spaces become U+2581, the pair whose union has the best
//! score is merged first, and what has no token falls back to byte tokens.
//!
//! The merging is written out here because a score per token is not a rank per pair. The
//! `tokenizers` crate's BPE wants ranked pairs of known tokens: equal scores would no longer be
//! settled from left to right, and two characters without tokens of their own could not merge. Its
//! Unigram model looks for the best total score, which is another algorithm with other ids.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::error::TokenizerError;
use super::spec::{TokenType, TokenizerSpec};
use super::vocabulary::{SPACE_MARK, Vocabulary};

/// A SentencePiece BPE model.
#[derive(Debug)]
pub struct SentencePiece {
    /// Id and score of each plain piece. Control, byte and user-defined tokens are left out: plain
    /// text never becomes one by merging.
    pieces: HashMap<String, (u32, f32)>,
    byte_tokens: [Option<u32>; 256],
    unknown: Option<u32>,
    add_space_prefix: bool,
    /// No piece holds a space mark after another character, so that words can be merged one by one.
    words_are_apart: bool,
}

/// A stretch of a word that is one piece so far, in a list linked in both directions.
struct Symbol {
    start: usize,
    len: usize,
    previous: usize,
    next: usize,
}

/// The end of the linked list on both sides.
const NONE: usize = usize::MAX;

/// Two neighbours that may become one piece of `len` bytes.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Ord for Pair {
    /// The best score is the greatest; among equals the leftmost.
    fn cmp(&self, other: &Pair) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Pair) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Pair) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Buffers that one call of [`SentencePiece::encode`] uses for all its words.
#[derive(Default)]
struct MergeScratch {
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
}

impl SentencePiece {
    /// Builds the model from the scores of `spec`, whose tokens are `vocabulary`.
    pub fn new(
        spec: &TokenizerSpec,
        vocabulary: &Vocabulary,
        unknown: Option<u32>,
        warnings: &mut Vec<String>,
    ) -> Result<SentencePiece, TokenizerError> {
        if spec.scores.is_none() {
            warnings.push(
                "tokenizer.ggml.scores is missing: no piece is better than another, as in \
                 llama.cpp, and text may be cut otherwise than the model has learnt"
                    .into(),
            );
        }
        let scores = spec.scores.iter().flatten().copied().chain(std::iter::repeat(0.0));
        let mut pieces = HashMap::with_capacity(vocabulary.len());
        let mut byte_tokens = [None; 256];
        let mut words_are_apart = true;
        for ((id, text, kind), score) in vocabulary.iter().zip(scores) {
            if score.is_nan() {
                return Err(TokenizerError::BadScore { id, found: score });
            }
            match kind {
                _ if text.is_empty() => {}
                TokenType::Byte => byte_tokens[usize::from(vocabulary.bytes(id)[0])] = Some(id),
                TokenType::Normal | TokenType::Unused => {
                    // Adding zero makes a score of -0 equal to one of +0.
                    pieces.insert(text.to_owned(), (id, score + 0.0));
                    words_are_apart &= words(text).count() <= 1;
                }
                _ => {}
            }
        }
        let found = byte_tokens.iter().flatten().count();
        if found < byte_tokens.len() && unknown.is_none() {
            return Err(TokenizerError::MissingByteTokens { found });
        }
        let add_space_prefix = spec.add_space_prefix.unwrap_or(true);
        Ok(SentencePiece { pieces, byte_tokens, unknown, add_space_prefix, words_are_apart })
    }

    /// Whether a text begins with a space of the model's own.
    pub fn add_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// Appends the tokens of `text`, which begins the sequence or follows a special token if
    /// `at_start`.
    pub fn encode(&self, text: &str, at_start: bool, ids: &mut Vec<u32>) {
        let prefix = if at_start && self.add_space_prefix { " " } else { "" };
        let text = [prefix, text].concat().replace(' ', SPACE_MARK.encode_utf8(&mut [0; 4]));
        let mut scratch = MergeScratch::default();
        // Word by word the heap stays small; the merges are the same, since no piece crosses.
        if self.words_are_apart {
            for word in words(&text) {
                self.encode_word(word, &mut scratch, ids);
            }
        } else {
            self.encode_word(&text, &mut scratch, ids);
        }
    }

    fn encode_word(&self, word: &str, scratch: &mut MergeScratch, ids: &mut Vec<u32>) {
        let MergeScratch { symbols, pairs } = scratch;
        symbols.clear();
        symbols.extend(word.char_indices().enumerate().map(|(index, (start, letter))| Symbol {
            start,
            len: letter.len_utf8(),
            previous: index.checked_sub(1).unwrap_or(NONE),
            next: index + 1,
        }));
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        pairs.clear();
        for left in 1..symbols.len() {
            self.propose(word, symbols, left - 1, left, pairs);
        }
        while let Some(Pair { left, right, len, .. }) = pairs.pop() {
            // A symbol that was merged since has another length, or none.
            let stale = symbols[left].len == 0
                || symbols[right].len == 0
                || symbols[left].len + symbols[right].len != len;
            if stale {
                continue;
            }
            let (previous, next) = (symbols[left].previous, symbols[right].next);
            // The left one grows and the right one keeps its place with length 0, so indices stay
            // valid.
            symbols[left].len = len;
            symbols[left].next = next;
            symbols[right].len = 0;
            if next != NONE {
                symbols[next].previous = left;
            }
            self.propose(word, symbols, previous, left, pairs);
            self.propose(word, symbols, left, next, pairs);
        }
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            self.push_symbol(&word[symbol.start..symbol.start + symbol.len], ids);
        }
    }

    fn propose(
        &self,
        word: &str,
        symbols: &[Symbol],
        left: usize,
        right: usize,
        pairs: &mut BinaryHeap<Pair>,
    ) {
        if left == NONE || right == NONE {
            return;
        }
        let (start, len) = (symbols[left].start, symbols[left].len + symbols[right].len);
        if let Some(&(_, score)) = self.pieces.get(&word[start..start + len]) {
            pairs.push(Pair { score, left, right, len });
        }
    }

    /// A symbol is a piece, or a single character that has none and becomes bytes.
    fn push_symbol(&self, symbol: &str, ids: &mut Vec<u32>) {
        if let Some(&(id, _)) = self.pieces.get(symbol) {
            return ids.push(id);
        }
        let bytes: Option<Vec<u32>> =
            symbol.bytes().map(|byte| self.byte_tokens[usize::from(byte)]).collect();
        match bytes {
            Some(tokens) => ids.extend(tokens),
            None => ids.extend(self.unknown),
        }
    }

    /// The bytes without a token of their own.
    pub fn missing_bytes(&self) -> Vec<u8> {
        (0..=255).filter(|&byte| self.byte_tokens[usize::from(byte)].is_none()).collect()
    }
}

/// Cuts before every space mark that follows another character.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let marks = rest.len() - rest.trim_start_matches(SPACE_MARK).len();
        let end = rest[marks..].find(SPACE_MARK).map_or(rest.len(), |at| marks + at);
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_at_their_space_marks() {
        let cut = |text| words(text).collect::<Vec<_>>();
        assert_eq!(cut("▁The▁▁end▁"), ["▁The", "▁▁end", "▁"]);
        assert_eq!(cut("a"), ["a"]);
        assert_eq!(cut("▁▁"), ["▁▁"]);
        assert!(cut("").is_empty());
    }
}
