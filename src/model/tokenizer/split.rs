//! Pre-tokenisers: how byte-level BPE cuts text into the words that merges never cross.
//!
//! The published expressions end in `\s+(?!\S)|\s+`: a run of white space gives its last character to the word
//! that follows. That look-ahead needs a backtracking engine, which stops at a step limit on long runs. Here the
//! expressions are written without it for an engine of linear time, and [`Splitter`] moves the end of such a run
//! itself. `tests/tokenizer.rs` holds the published expressions and compares the ids on random text.

use regex::Regex;

use super::error::TokenizerError;

/// The supported values of `tokenizer.ggml.pre`.
pub const PRE_TOKENIZERS: [&str; 5] = ["default", "gpt-2", "smollm", "llama-bpe", "qwen2"];

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA_BPE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// One of the five pre-tokenisers, ready to cut.
#[derive(Debug)]
pub struct Splitter {
    words: Regex,
    /// Every numeric character is cut out first, so that what stands left and right of it is matched alone.
    digits_first: bool,
    /// Line breaks end a run of white space and belong to it (`\s*[\r\n]+` in the expression).
    keeps_line_breaks: bool,
}

impl Splitter {
    /// The pre-tokeniser of that name; none means `default`, which is the one of GPT-2.
    pub fn new(name: Option<&str>) -> Result<Splitter, TokenizerError> {
        let (words, digits_first, keeps_line_breaks) = match name.unwrap_or("default") {
            "default" | "gpt-2" => (GPT2, false, false),
            "smollm" => (GPT2, true, false),
            "llama-bpe" | "llama3" | "llama-v3" => (LLAMA_BPE, false, true),
            "qwen2" => (QWEN2, false, true),
            other => return Err(TokenizerError::UnknownPreTokenizer { found: super::error::shorten(other) }),
        };
        let words = Regex::new(words).expect("the expressions above are valid");
        Ok(Splitter { words, digits_first, keeps_line_breaks })
    }

    /// Calls `visit` with each piece of `text` in order; together they are the text.
    pub fn split<'t>(&self, text: &'t str, visit: &mut impl FnMut(&'t str)) {
        if !self.digits_first {
            return self.split_words(text, visit);
        }
        let mut start = 0;
        for (at, digit) in text.char_indices().filter(|(_, letter)| letter.is_numeric()) {
            let end = at + digit.len_utf8();
            self.split_words(&text[start..at], visit);
            visit(&text[at..end]);
            start = end;
        }
        self.split_words(&text[start..], visit);
    }

    fn split_words<'t>(&self, text: &'t str, visit: &mut impl FnMut(&'t str)) {
        let mut start = 0;
        while let Some(found) = self.words.find_at(text, start) {
            let end = self.end_of_piece(&text[start..found.end()], start, text.len());
            visit(&text[start..end]);
            start = end;
        }
        // The expressions have an alternative for every character, so this is the end of the text.
        if start < text.len() {
            visit(&text[start..]);
        }
    }

    /// Where the match `piece` really ends: a run of white space before a word leaves it one character.
    fn end_of_piece(&self, piece: &str, start: usize, text_len: usize) -> usize {
        let end = start + piece.len();
        match piece.chars().next_back() {
            Some('\r' | '\n') if self.keeps_line_breaks => end,
            Some(last) if last.is_whitespace() && end < text_len && last.len_utf8() < piece.len() => {
                end - last.len_utf8()
            }
            _ => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let mut out = Vec::new();
        Splitter::new(Some(name)).unwrap().split(text, &mut |piece| out.push(piece));
        out
    }

    #[test]
    fn gpt2_keeps_numbers_whole_and_gives_words_their_space() {
        assert_eq!(
            pieces("gpt-2", "I'll  pay $25.4\n\nnow "),
            ["I", "'ll", " ", " pay", " $", "25", ".", "4", "\n", "\n", "now", " "]
        );
    }

    #[test]
    fn smollm_cuts_every_digit_out_first() {
        assert_eq!(pieces("smollm", "in 1969  x"), ["in", " ", "1", "9", "6", "9", " ", " x"]);
        // The two spaces before the digit are the end of their stretch, so they stay together.
        assert_eq!(pieces("smollm", "a  5"), ["a", "  ", "5"]);
        assert_eq!(pieces("smollm", "Ⅷ½"), ["Ⅷ", "½"]);
    }

    #[test]
    fn llama_bpe_takes_digits_by_three_and_qwen2_by_one() {
        assert_eq!(
            pieces("llama-bpe", "We'LL 12345!\n\n  x"),
            ["We", "'LL", " ", "123", "45", "!\n\n", " ", " x"]
        );
        assert_eq!(pieces("qwen2", "12 \n \n\t(a"), ["1", "2", " \n \n", "\t", "(a"]);
    }

    #[test]
    fn a_very_long_run_of_white_space_is_one_piece() {
        let text = " ".repeat(3_000_000) + "x";
        for name in PRE_TOKENIZERS {
            assert_eq!(
                pieces(name, &text).iter().map(|piece| piece.len()).collect::<Vec<_>>(),
                [2_999_999, 2]
            );
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = Splitter::new(Some("wordpiece")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("tokenizer.ggml.pre is \"wordpiece\"; expected one of [\"default\"")
        );
    }
}
