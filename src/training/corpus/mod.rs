//! `*.corpus.ron`: lines of training data out of templates, with right answers by construction.
//!
//! In: a [`Corpus`], a seed, and a model where a template asks about one. Out: lines to learn and
//! lines that are held out, which no learnt line has told: split by a hash of the values of slots,
//! or by the way in which a fact is asked for. Everything follows from (corpus, seed, model).

mod draw;
mod generate;
mod of_model;
mod review;
mod text;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::generate::{CorpusError, CorpusLine, CorpusLines, generate, to_json_lines};
use super::data::Checker;

/// Templates and what they draw from, as a file says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// What people call it.
    pub title: String,
    /// What it teaches.
    #[serde(default)]
    pub description: String,
    /// Lists by their names.
    #[serde(default)]
    pub lists: BTreeMap<String, WordList>,
    /// Forms of lines; each makes as many, unless it has a `share`.
    pub templates: Vec<Template>,
    /// Which lines are held out.
    pub held_out: HeldOut,
}

/// Words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum WordList {
    /// These.
    Words(Vec<String>),
    /// Words that are put together from parts, with a capital letter, all different; another seed
    /// gives others.
    Invented {
        /// How many.
        count: usize,
        /// The list of the parts, none of which is twice in a word.
        parts: String,
        /// The fewest parts of a word.
        least: usize,
        /// The most.
        most: usize,
    },
}

/// A form of lines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// What it is called.
    pub id: String,
    /// How many lines it makes beside those of the others.
    #[serde(default = "one")]
    pub share: u32,
    /// A list of which each word has one fact, drawn once and asked for in every way; the word is
    /// the slot of the list's name.
    #[serde(default)]
    pub each: Option<String>,
    /// Values, each from those before it.
    #[serde(default)]
    pub slots: Vec<TemplateSlot>,
    /// What must hold of them; otherwise they are drawn again.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Ways to ask, with `{slot}` where its value stands.
    pub prompts: Vec<String>,
    /// The right answer.
    pub answer: String,
    /// How an answer is compared with it.
    #[serde(default)]
    pub check: CorpusCheck,
}

fn one() -> u32 {
    1
}

/// How an answer is compared with the right one.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum CorpusCheck {
    /// It is equal, but for white space at the ends.
    #[default]
    Exact,
    /// It is one of these texts, which may have slots.
    OneOf(Vec<String>),
    /// Its first number is that of the right answer, or no further from it than this.
    Number(f64),
    /// All of it is matched by this regular expression, which may have slots.
    Pattern(String),
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TemplateSlot {
    /// A word of a list.
    Pick(String, String),
    /// A whole number from the first to the second.
    Number(String, i64, i64),
    /// A new word of so many parts of a list, with a capital letter.
    Invent(String, String, usize),
    /// One of some texts, which may have slots.
    Choice(String, Vec<String>),
    /// The sum of two numbers.
    Sum(String, String, String),
    /// The first number less the second.
    Difference(String, String, String),
    /// The word of a list at a number, counted from 0: how numbers are spelt.
    At(String, String, String),
    /// One text where a number is 1, else the other; both may have slots.
    Plural(String, String, String, String),
    /// `a` or `an` and a text, which may have slots.
    Article(String, String),
    /// A text, which may have slots, with a capital letter.
    Capital(String, String),
    /// Texts, which may have slots, in the order of the alphabet with spaces between them.
    Sorted(String, Vec<String>),
    /// How often a letter, the second text, stands in the first; both may have slots.
    Letters(String, String, String),
    /// A head of the model, and a cell of its land: slots `layer`, `head`, `x` and `y`.
    HeadPlace,
    /// A tile of the model: slots `tile`, `tensor`, `spread` and `peak`, the standard deviation and
    /// the largest magnitude of its weights in four digits.
    TileStatistics,
    /// Two heads of one layer, which lie differently far in a direction: slots `layer`, `one`,
    /// `other`, `direction` (north, south, east or west), and `further`, the one that lies further
    /// there.
    HeadPair,
    /// Two matrices of one layer whose weights spread differently, as the tile table says: slots
    /// `layer`, `one`, `other` and `wider`, in words (queries, keys, values, outputs, gates, ups,
    /// downs).
    SpreadPair,
    /// A matrix of the model: slots `tensor`, `rows`, `columns`, `encoding` and `layer`.
    Matrix,
}

/// What must hold of slots.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Rule {
    /// The first number is less than the second.
    Less(String, String),
    /// Two values are not the same.
    Different(String, String),
}

/// Which lines are held out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum HeldOut {
    /// Those for whose values of some slots a hash says so: about this share of all.
    Slots {
        /// The share, above 0 and below 1.
        share: f64,
        /// The slots; none of their combinations is both learnt and held out. Of a template without
        /// one of them, those that it has.
        slots: Vec<String>,
        /// Whether the slots' values count in any order: where 2 and 3 are held out, 3 and 2 are.
        #[serde(default)]
        any_order: bool,
    },
    /// Of every fact one way to ask, another one for each. A fact is what the values of slots say:
    /// those of a word of `each`, or those of one draw.
    OnePrompt,
}

impl CorpusCheck {
    /// The checker of a line.
    fn checker(&self, fill: impl Fn(&str) -> String) -> Checker {
        match self {
            Self::Exact => Checker::Exact,
            Self::OneOf(texts) => Checker::OneOf(texts.iter().map(|it| fill(it)).collect()),
            Self::Number(within) => Checker::Number(*within),
            Self::Pattern(pattern) => Checker::Pattern(fill(pattern)),
        }
    }
}

#[cfg(test)]
mod tests;
