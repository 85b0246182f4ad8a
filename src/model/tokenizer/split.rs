//! Pre-tokenisers: how byte-level BPE cuts text into the words that merges never cross.
//!
//! The published expressions end in `\s+(?!\S)|\s+`: a run of white space gives its last character
//! to the word that follows. That look-ahead needs a backtracking engine, which stops at a step
//! limit on long runs. Here the expressions are written without it for an engine of linear time,
//! and [`Splitter`] moves the end of such a run itself. `tests/model/tokenizer` holds the published
//! expressions and compares the ids on random text.

use regex::Regex;

use super::error::TokenizerError;
use super::pre::{self, Cut, Space};

/// A pre-tokeniser, ready to cut.
#[derive(Debug)]
pub(crate) struct Splitter {
    steps: Vec<SplitStep>,
    /// A word that is a token is that token, whatever the merges would make.
    pub whole_words_first: bool,
}

/// A [`Cut`] with its expression made.
#[derive(Debug)]
enum SplitStep {
    Found(Regex, Space),
    ThreesWithBefore,
    BeforeThrees,
}

impl Splitter {
    /// The pre-tokeniser of that name; none means `default`.
    pub fn new(name: Option<&str>) -> Result<Splitter, TokenizerError> {
        let pre = pre::named(name).ok_or_else(|| TokenizerError::UnknownPreTokenizer {
            found: super::error::shorten(name.unwrap_or_default()),
        })?;
        let step = |cut: &Cut| match *cut {
            Cut::Found(words, space) => SplitStep::Found(
                Regex::new(words).expect("the expressions of the table are valid"),
                space,
            ),
            Cut::ThreesWithBefore => SplitStep::ThreesWithBefore,
            Cut::BeforeThrees => SplitStep::BeforeThrees,
        };
        let steps = pre.cuts.iter().map(step).collect();
        Ok(Splitter { steps, whole_words_first: pre.whole_words_first })
    }

    /// Calls `visit` with each piece of `text` in order; together they are the text.
    pub fn split<'t>(&self, text: &'t str, visit: &mut impl FnMut(&'t str)) {
        cut(&self.steps, text, visit);
    }
}

/// Cuts by the first step, and what it gives by those after it. No piece is empty.
fn cut<'t>(steps: &[SplitStep], text: &'t str, visit: &mut dyn FnMut(&'t str)) {
    let Some((step, rest)) = steps.split_first() else {
        if !text.is_empty() {
            visit(text);
        }
        return;
    };
    let mut piece = |piece: &'t str| cut(rest, piece, visit);
    match step {
        SplitStep::Found(words, space) => cut_found(words, *space, text, &mut piece),
        SplitStep::ThreesWithBefore => cut_behind_threes(text, &mut piece),
        SplitStep::BeforeThrees => cut_before_threes(text, &mut piece),
    }
}

fn cut_found<'t>(words: &Regex, space: Space, text: &'t str, visit: &mut dyn FnMut(&'t str)) {
    let mut start = 0;
    while let Some(found) = words.find_at(text, start) {
        if found.start() > start {
            visit(&text[start..found.start()]);
        }
        let piece = &text[found.range()];
        let whole = &piece[..end_of_piece(piece, space, found.end() < text.len())];
        start = found.start() + whole.len();
        if space == Space::Halved && whole.chars().all(char::is_whitespace) && !ends_line(whole) {
            halve(whole, visit);
        } else {
            visit(whole);
        }
    }
    if start < text.len() {
        visit(&text[start..]);
    }
}

fn ends_line(piece: &str) -> bool {
    piece.ends_with(['\r', '\n'])
}

/// How much of what an expression found is the piece: a run of white space before a word leaves it
/// one character.
fn end_of_piece(piece: &str, space: Space, more_follows: bool) -> usize {
    let keeps_line_breaks = matches!(space, Space::KeepsLineBreaks | Space::Halved);
    match piece.chars().next_back() {
        // At the end of the text no word follows that a space could go to.
        _ if space == Space::AsFound || !more_follows => piece.len(),
        Some('\r' | '\n') if keeps_line_breaks => piece.len(),
        // A run of one character is whole: `\s+(?!\S)` fails on it, and `\s+` takes it.
        Some(last) if last.is_whitespace() && last.len_utf8() < piece.len() => {
            piece.len() - last.len_utf8()
        }
        _ => piece.len(),
    }
}

/// Cuts a run of white space into runs of 512 characters, then of 256, and so on.
fn halve<'t>(mut run: &'t str, visit: &mut dyn FnMut(&'t str)) {
    let mut size = 512;
    while !run.is_empty() {
        match run.char_indices().nth(size - 1) {
            Some((at, last)) => {
                let (piece, rest) = run.split_at(at + last.len_utf8());
                visit(piece);
                run = rest;
            }
            None => size /= 2,
        }
    }
}

/// Cuts behind each group of three of a number's digits, counted from its end. What stands before a
/// number is the beginning of its first group.
fn cut_behind_threes<'t>(text: &'t str, visit: &mut dyn FnMut(&'t str)) {
    let mut start = 0;
    for (number, at) in runs(text, char::is_numeric) {
        // Digits of any script count here, so they are counted as characters.
        let mut left = number.chars().count();
        for (place, digit) in number.char_indices() {
            left -= 1;
            if left.is_multiple_of(3) {
                let after = at + place + digit.len_utf8();
                visit(&text[start..after]);
                start = after;
            }
        }
    }
    if start < text.len() {
        visit(&text[start..]);
    }
}

/// Cuts where a multiple of three ASCII digits follows, and then no digit.
fn cut_before_threes<'t>(text: &'t str, visit: &mut dyn FnMut(&'t str)) {
    let mut start = 0;
    for (number, at) in runs(text, |letter| letter.is_ascii_digit()) {
        // ASCII digits are one byte each, so that lengths in bytes count digits.
        for place in (number.len() % 3..number.len()).step_by(3) {
            if at + place > start {
                visit(&text[start..at + place]);
                start = at + place;
            }
        }
    }
    if start < text.len() {
        visit(&text[start..]);
    }
}

/// The runs of such characters, and where each begins.
fn runs(text: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = (&str, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = at + text[at..].find(&is_part)?;
        let length = text[first..].find(|letter| !is_part(letter));
        at = length.map_or(text.len(), |length| first + length);
        Some((&text[first..at], first))
    })
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
    fn numbers_are_cut_by_three_from_their_end() {
        assert_eq!(pieces("superbpe", "a1234567 12"), ["a", "1", "234", "567", " ", "12"]);
        // Digits of another script are numbers that no group counts.
        assert_eq!(pieces("superbpe", "12٣34 1٣4567٣"), ["12٣34", " ", "1٣4", "567٣"]);
        assert_eq!(pieces("tiny_aya", "a1234567 12"), ["a", "1", "234", "567", " ", "12"]);
        assert_eq!(pieces("afmoe", "12٣34"), ["12", "٣34"]);
    }

    #[test]
    fn a_very_long_run_of_white_space_is_one_piece() {
        let text = " ".repeat(3_000_000) + "x";
        for name in ["gpt-2", "smollm", "llama-bpe", "qwen2", "default"] {
            assert_eq!(
                pieces(name, &text).iter().map(|piece| piece.len()).collect::<Vec<_>>(),
                [2_999_999, 2]
            );
        }
        let all: usize =
            pre::names().map(|name| pieces(name, &text[2_990_000..]).concat().len()).sum();
        assert_eq!(all, pre::names().count() * 10_001);
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
