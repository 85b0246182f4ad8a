//! The sequence as the render world computes it: which columns come next, what is drawn from
//! logits, and what is told of it.
//!
//! In: a prompt by [`Session::begin`] and a [`Pace`] each frame. Out: a [`Chunk`] per step, and
//! [`ChunkReport`]s that the main world takes. No ECS.

use std::sync::Arc;
use std::time::Duration;

use super::trace::{SeenColumn, hooks};
use crate::batch::{ModelText, TextModel};
use crate::engine::gpu::StepRequest;
use crate::engine::{Batch, Column, Sampled};
use crate::forward::sampling::{Key, Sampler, SamplingParams};
use crate::model::ModelConfig;
use crate::model::edits::Tiles;

/// Alternatives that are kept of each token.
const ALTERNATIVES: usize = 6;
/// Columns of a prompt in its first step, before it is known how long one takes.
const FIRST_CHUNK: usize = 8;
/// The most columns of a prompt in one step; no more than the network has room for.
pub(super) const MOST_CHUNK: usize = 32;

/// How fast it may think until the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pace {
    #[default]
    Stopped,
    /// One token, of prompt or answer.
    One,
    /// All of the prompt, and so many tokens of the answer.
    Tokens(u32),
    /// As fast as it goes.
    Free,
}

/// The piece of the sequence that a step computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub generation: u64,
    pub first: usize,
    pub tokens: Vec<u32>,
    /// Whether the logits of the last column are wanted.
    pub logits: bool,
    /// Edited tiles of the output with which it is computed.
    pub edited: Arc<Tiles>,
}

impl Chunk {
    /// The step that computes it, and what a person is shown of it.
    pub fn request(&self, config: &ModelConfig) -> StepRequest {
        let column = |(position, &token)| Column { token, slot: 0, position };
        let last = self.tokens.len() as u32 - 1;
        let columns = (self.first as u32..).zip(&self.tokens).map(column).collect();
        StepRequest {
            batch: Batch { columns, steps: 1, ..Batch::default() },
            wanted: self.logits.then_some(last).into_iter().collect(),
            hooks: hooks(config, last + 1),
            ..StepRequest::default()
        }
    }
}

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct ChunkReport {
    pub generation: u64,
    pub first: usize,
    /// Of each column, what took part.
    pub seen: Vec<SeenColumn>,
    /// The token that was drawn, unless the sequence is over.
    pub drawn: Option<Sampled>,
    /// Whether the answer is over before its first token.
    pub ended_at_once: bool,
    pub problem: Option<String>,
    /// Edited tiles of the output with which it was computed.
    pub edited: Arc<Tiles>,
    /// From its submission until its values were there.
    pub took: Duration,
}

/// A sequence on its way.
#[derive(Default)]
pub(super) struct Session {
    generation: u64,
    tokens: Vec<u32>,
    prompt_len: usize,
    /// Tokens whose step is done or under way.
    begun: usize,
    wanted: u32,
    chunk_len: usize,
    params: SamplingParams,
    sampler: Sampler,
    text: Option<Arc<ModelText>>,
    pub pace: Pace,
    /// What a frame may spend on waiting.
    pub budget: Duration,
    /// What the last frame spent on it.
    pub spent: Duration,
    /// Edited tiles of the output that the device has this frame.
    pub edited: Arc<Tiles>,
    pub reports: Vec<ChunkReport>,
}

impl Session {
    /// Begins a sequence in the place of the one before and gives its number.
    pub fn begin(
        &mut self,
        tokens: Vec<u32>,
        wanted: u32,
        params: SamplingParams,
        text: Arc<ModelText>,
    ) -> u64 {
        self.generation += 1;
        self.prompt_len = tokens.len();
        self.tokens = tokens;
        self.begun = 0;
        self.wanted = wanted;
        // What steps of the prompt before have told of the device holds for this one.
        self.chunk_len = self.chunk_len.max(FIRST_CHUNK);
        self.params = params;
        self.text = Some(text);
        self.reports.clear();
        self.generation
    }

    /// The next step, if one may be taken.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        let left = self.tokens.len() - self.begun;
        // The last column alone is like a step of the answer: it makes the first token of it.
        let of_prompt = self.begun + 1 < self.prompt_len;
        let most = match &mut self.pace {
            Pace::Stopped => 0,
            Pace::One => 1,
            Pace::Tokens(_) | Pace::Free if of_prompt => self.chunk_len,
            Pace::Tokens(0) => 0,
            Pace::Tokens(tokens) => {
                *tokens -= 1;
                1
            }
            Pace::Free => 1,
        };
        let count = left.min(most);
        if count == 0 {
            return None;
        }
        if self.pace == Pace::One {
            self.pace = Pace::Stopped;
        }
        let first = self.begun;
        self.begun += count;
        let tokens = self.tokens[first..self.begun].to_vec();
        let logits = self.begun == self.tokens.len() && self.wanted > 0;
        Some(Chunk {
            generation: self.generation,
            first,
            tokens,
            logits,
            edited: Arc::clone(&self.edited),
        })
    }

    /// Takes in what came of a step: draws the next token where there are logits.
    pub fn accept(&mut self, chunk: &Chunk, seen: Vec<SeenColumn>, logits: &[f32], took: Duration) {
        if chunk.generation != self.generation {
            // Another sequence has begun since.
            return;
        }
        let columns = chunk.tokens.len();
        if columns > 1 && !took.is_zero() {
            // A step of a prompt takes about as long as a frame may spend.
            let fits = columns as f64 * self.budget.as_secs_f64() / took.as_secs_f64();
            self.chunk_len = (fits as usize).clamp(1, MOST_CHUNK);
        }
        let mut report = ChunkReport {
            generation: chunk.generation,
            first: chunk.first,
            seen,
            took,
            edited: Arc::clone(&chunk.edited),
            ..ChunkReport::default()
        };
        if chunk.logits {
            match self.draw(logits) {
                Ok(drawn) => {
                    report.ended_at_once = drawn.is_none() && self.tokens.len() == self.prompt_len;
                    report.drawn = drawn;
                }
                Err(problem) => {
                    self.wanted = 0;
                    report.problem = Some(problem);
                }
            }
        }
        self.reports.push(report);
    }

    fn draw(&mut self, logits: &[f32]) -> Result<Option<Sampled>, String> {
        let index = (self.tokens.len() - self.prompt_len) as u32;
        // By seed and place in the answer alone: both answers of a comparison draw alike.
        let words = self.params.words(Key::new(self.params.seed, 0), index);
        let token =
            self.sampler.sample(logits, &words, &[], &[]).map_err(|error| error.to_string())?;
        let scored =
            self.sampler.score(logits, token, ALTERNATIVES).map_err(|error| error.to_string())?;
        // It cannot wrap: logits are only asked for while some are wanted.
        self.wanted -= 1;
        if self.text.as_ref().is_some_and(|text| text.is_end(token)) {
            self.wanted = 0;
            return Ok(None);
        }
        self.tokens.push(token);
        Ok(Some(scored))
    }

    /// Ends the sequence: no step of it is taken any more, and what comes of the one under way does
    /// not count.
    pub fn end(&mut self) {
        self.generation += 1;
        self.begun = self.tokens.len();
        self.wanted = 0;
        self.reports.clear();
    }

    /// Tells that a step came to nothing; the sequence is over.
    pub fn fail(&mut self, chunk: &Chunk, problem: String) {
        if chunk.generation == self.generation {
            self.begun = self.tokens.len();
            self.wanted = 0;
            let generation = chunk.generation;
            self.reports.push(ChunkReport {
                generation,
                problem: Some(problem),
                ..ChunkReport::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(prompt: usize, wanted: u32) -> Session {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let text = Arc::new(ModelText::new(&model).unwrap());
        let mut session = Session { budget: Duration::from_millis(40), ..Session::default() };
        session.begin(vec![5; prompt], wanted, SamplingParams::greedy(), text);
        session
    }

    /// Accepts a chunk with logits that prefer token 7.
    fn accept(session: &mut Session, chunk: &Chunk, took: u64) {
        let mut logits = vec![0.0; 32];
        logits[7] = 1.0;
        let seen = chunk.tokens.iter().map(|_| SeenColumn::default()).collect();
        session.accept(chunk, seen, &logits, Duration::from_millis(took));
    }

    #[test]
    fn a_prompt_comes_in_pieces_that_fit_a_frame_and_then_one_token_at_a_time() {
        let mut session = session(100, 3);
        assert_eq!(session.next_chunk(), None, "it is stopped until it has a pace");
        session.pace = Pace::Free;
        let first = session.next_chunk().unwrap();
        assert_eq!((first.first, first.tokens.len(), first.logits), (0, FIRST_CHUNK, false));
        accept(&mut session, &first, 80);
        let second = session.next_chunk().unwrap();
        assert_eq!((second.first, second.tokens.len()), (8, 4), "half as many take half as long");
        accept(&mut session, &second, 1);
        let mut at = 12;
        while at < 100 {
            let chunk = session.next_chunk().unwrap();
            assert_eq!(chunk.first, at);
            assert!(chunk.tokens.len() <= MOST_CHUNK);
            at += chunk.tokens.len();
            assert_eq!(chunk.logits, at == 100, "only the last column has a next token");
            accept(&mut session, &chunk, 1);
        }
        for place in 100..103 {
            let chunk = session.next_chunk().unwrap();
            assert_eq!((chunk.first, chunk.tokens.as_slice()), (place, &[7][..]));
            assert_eq!(chunk.logits, place < 102, "nothing comes after the last");
            assert_eq!(session.next_chunk(), None, "the next waits for this one");
            accept(&mut session, &chunk, 1);
        }
        assert_eq!(session.next_chunk(), None);
    }

    #[test]
    fn an_answer_that_ends_at_once_says_so() {
        let mut session = session(2, 8);
        session.pace = Pace::Free;
        let text = Arc::clone(session.text.as_ref().unwrap());
        let end = (0..512).find(|&token| text.is_end(token)).unwrap();
        let step = |session: &mut Session, token: u32| {
            let mut logits = vec![0.0; 512];
            logits[token as usize] = 1.0;
            let chunk = session.next_chunk().unwrap();
            session.accept(&chunk, vec![SeenColumn::default()], &logits, Duration::ZERO);
            session.reports.pop().unwrap().ended_at_once
        };
        assert!(step(&mut session, end));
        session.begin(vec![5; 2], 8, SamplingParams::greedy(), text);
        assert!(!step(&mut session, 7) && !step(&mut session, end), "there was a word before");
    }

    #[test]
    fn a_pace_is_kept() {
        let mut session = session(4, 8);
        session.pace = Pace::One;
        let chunk = session.next_chunk().unwrap();
        assert_eq!(
            (chunk.tokens.len(), session.pace),
            (1, Pace::Stopped),
            "one token of the prompt"
        );
        session.pace = Pace::Tokens(1);
        let chunk = session.next_chunk().unwrap();
        assert_eq!((chunk.first, chunk.tokens.len()), (1, 3), "the rest of it is free");
        accept(&mut session, &chunk, 1);
        let chunk = session.next_chunk().unwrap();
        accept(&mut session, &chunk, 1);
        assert_eq!(session.next_chunk(), None, "one token was allowed");
    }

    #[test]
    fn what_comes_of_an_old_sequence_does_not_count() {
        let mut session = session(2, 8);
        session.pace = Pace::Free;
        let old = session.next_chunk().unwrap();
        let text = Arc::clone(session.text.as_ref().unwrap());
        session.begin(vec![1, 2, 3], 1, SamplingParams::greedy(), text);
        accept(&mut session, &old, 1);
        session.fail(&old, "lost".into());
        assert!(session.reports.is_empty());
        assert_eq!(session.next_chunk().unwrap().tokens, [1, 2, 3]);
    }
}
