//! From what somebody types to what it may mean: places of the map, tokens of the vocabulary, and
//! words of the answer that is on the screen, with the heads that look at them and the layers that
//! would say them.
//!
//! In: a text, the map, the sequence. Out: [`Findings`]. Nothing is told of what was not computed,
//! and nothing of an answer that was computed before the model was changed.

mod answer;
mod tokens;

use std::sync::Arc;

use bevy::prelude::Resource;
use bevy::tasks::{AsyncComputeTaskPool, Task, futures::check_ready};

use super::layout::search::places;
use super::layout::{Atlas, Place};
use super::think::Generation;
use super::think::lens::Lens;
use crate::model::PixelModel;
use answer::Looks;
pub use tokens::TokenIndex;

/// Tokens that are found of a text; more are counted.
const MOST_TOKENS: usize = 6;

/// Something that a text may mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A place of the map.
    Place(Place),
    /// A token of the vocabulary, by its number.
    Token {
        /// Its number.
        token: u32,
        /// What it adds to a text.
        text: String,
    },
    /// A place of the prompt or the answer where the word stands.
    Word {
        /// The token with which the word ends.
        at: usize,
        /// Whether it is of the prompt.
        is_prompt: bool,
        /// The word among those around it.
        around: String,
    },
    /// A head that looks at the word.
    Head {
        /// Its layer, and its number there.
        head: (u32, u32),
        /// The share of its attention that it gives to the word, wherever that stands.
        share: f32,
        /// The token from which it looks.
        from: usize,
    },
    /// A layer that would say the word.
    Layer {
        /// The layer; none is the embedding, before the first.
        layer: Option<u32>,
        /// What it would say.
        text: String,
        /// How probable that is.
        probability: f32,
        /// The token after which it would.
        after: usize,
    },
}

/// What a text may mean, the likeliest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// What was found.
    pub found: Vec<Found>,
    /// What could not be looked at, and how it can be.
    pub notes: Vec<String>,
}

/// What findings are of: they hold as long as it is the same.
#[derive(Debug, Clone, Default, PartialEq)]
struct Question {
    text: String,
    has_tokens: bool,
    generation: u64,
    done: Option<usize>,
    from: Option<usize>,
    is_busy: bool,
    is_before: bool,
    lens: Option<(u64, usize)>,
}

/// What was looked for last, and what is kept for the next.
#[derive(Resource, Default)]
pub struct Search {
    tokens: Option<TokenIndex>,
    reading: Option<Task<Result<TokenIndex, String>>>,
    problem: Option<String>,
    looks: Looks,
    asked: Question,
    findings: Findings,
}

impl Search {
    /// What a text means now; `from` is the token that is looked at.
    pub fn find(
        &mut self,
        text: &str,
        atlas: &Atlas,
        (mind, lens): (&Generation, &Lens),
        from: Option<usize>,
    ) -> &Findings {
        self.read(atlas.model(), !text.trim().is_empty());
        let done = mind.latest_place();
        let asked = Question {
            text: text.trim().to_owned(),
            has_tokens: self.tokens.is_some(),
            generation: mind.generation(),
            done,
            from: from.filter(|at| done.is_some_and(|done| *at <= done)).or(done),
            is_busy: mind.is_busy(),
            is_before: mind.is_before_change(),
            lens: lens.view.as_ref().map(|view| (view.generation, view.at)),
        };
        if asked != self.asked {
            self.findings = self.look(&asked, atlas, mind, lens);
            self.asked = asked;
        }
        &self.findings
    }

    /// The text of a token; none as long as the vocabulary was not read.
    pub fn token_text(&self, token: u32) -> Option<&str> {
        self.tokens.as_ref().map(|tokens| tokens.text(token))
    }

    /// Reads the vocabulary once somebody looks for something, on a thread of its own.
    fn read(&mut self, model: &Arc<PixelModel>, is_wanted: bool) {
        if let Some(read) = self.reading.as_mut().and_then(check_ready) {
            self.reading = None;
            match read {
                Ok(tokens) => self.tokens = Some(tokens),
                Err(problem) => self.problem = Some(problem),
            }
        }
        let is_known = self.tokens.is_some() || self.reading.is_some() || self.problem.is_some();
        if is_wanted && !is_known {
            let model = Arc::clone(model);
            let read = async move { TokenIndex::new(&model) };
            self.reading = Some(AsyncComputeTaskPool::get().spawn(read));
        }
    }

    fn look(
        &mut self,
        asked: &Question,
        atlas: &Atlas,
        mind: &Generation,
        lens: &Lens,
    ) -> Findings {
        let mut findings = Findings::default();
        let text = asked.text.as_str();
        if text.is_empty() {
            return findings;
        }
        findings.found.extend(places(atlas, text).into_iter().map(Found::Place));
        match (&self.tokens, &self.problem) {
            (Some(tokens), _) => {
                let (found, more) = tokens.find(text, MOST_TOKENS);
                let found = found.into_iter();
                findings.found.extend(
                    found.map(|token| Found::Token { token, text: tokens.text(token).to_owned() }),
                );
                if more > 0 {
                    findings.notes.push(format!("{more} more tokens begin so"));
                }
            }
            (None, Some(problem)) => findings.notes.push(problem.clone()),
            (None, None) => findings.notes.push("reading the vocabulary ...".into()),
        }
        if let Some(from) = asked.from {
            if asked.is_before {
                findings.notes.push("the answer is of before the change: R answers again".into());
            } else {
                let config = atlas.model().config();
                self.looks.find(text, (mind, lens, config), from, &mut findings);
            }
        }
        findings
    }
}

/// A text as it is compared: whatever its case.
fn folded(text: &str) -> String {
    text.to_lowercase()
}
