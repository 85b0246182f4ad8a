//! The sequence as the render world computes it: which columns come next, what is drawn from
//! logits, and what is told of it.
//!
//! In: a prompt by [`Session::begin`] and a [`Pace`] each frame. Out: a [`Chunk`] per step, and
//! [`ChunkReport`]s that the main world takes. No ECS.

use std::sync::Arc;
use std::time::Duration;

use super::state::{ModelState, is_same};
use super::trace::{SeenColumn, hooks};
use crate::batch::{ModelText, TextModel};
use crate::engine::gpu::StepRequest;
use crate::engine::{Batch, Column, Sampled};
use crate::forward::sampling::{Key, Sampler, SamplingError, SamplingParams};
use crate::model::ModelConfig;

/// Alternatives that are kept of each token.
const ALTERNATIVES: usize = 6;
/// Columns of a prompt in its first step, before it is known how long one takes: a software adapter
/// needs more than ten milliseconds for each.
const FIRST_CHUNK: usize = 4;
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
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub generation: u64,
    pub first: usize,
    pub tokens: Vec<u32>,
    /// Whether the logits of the last column are wanted.
    pub logits: bool,
    /// What it is computed with.
    pub state: Arc<ModelState>,
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
    /// The token that ended the answer, and how probable it was.
    pub end: Option<(u32, f32)>,
    /// How probable the token was that an answer before has at this place.
    pub expected: Option<f32>,
    pub problem: Option<String>,
    /// What it was computed with.
    pub state: Arc<ModelState>,
    /// From its submission until its values were there.
    pub took: Duration,
}

/// How far a step has come that takes longer than a frame.
#[derive(Debug, Clone)]
pub(in crate::world) struct Front {
    pub generation: u64,
    /// Where its last column is in the sequence.
    pub place: usize,
    /// Layers that are computed.
    pub layers: u32,
    /// What took part at that column in those layers.
    pub seen: Arc<SeenColumn>,
}

/// How a sequence begins.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The prompt, and the tokens that the answer begins with.
    pub tokens: Vec<u32>,
    /// How many of them are the prompt.
    pub prompt_len: usize,
    /// How many of them are computed already, and with what: where the first step is computed with
    /// something else, they are computed again.
    pub computed: usize,
    pub computed_with: Arc<ModelState>,
    /// Tokens that are wanted after them.
    pub wanted: u32,
}

impl Beginning {
    /// A prompt of which nothing is computed.
    #[cfg(test)]
    fn prompt(tokens: Vec<u32>, wanted: u32) -> Self {
        let computed_with = Arc::default();
        Self { prompt_len: tokens.len(), tokens, computed: 0, computed_with, wanted }
    }
}

/// A sequence on its way.
#[derive(Default)]
pub(super) struct Session {
    generation: u64,
    tokens: Vec<u32>,
    prompt_len: usize,
    /// Tokens that are given and not drawn: the prompt, and what the answer begins with.
    given: usize,
    /// Tokens whose step is done or under way.
    begun: usize,
    /// Before the first step, what tokens that are computed already were computed with.
    computed: Option<Arc<ModelState>>,
    wanted: u32,
    chunk_len: usize,
    params: SamplingParams,
    sampler: Sampler,
    text: Option<Arc<ModelText>>,
    /// The tokens of an answer before, with the one that ended it.
    expected: Vec<u32>,
    pub pace: Pace,
    /// What a frame may spend on waiting.
    pub budget: Duration,
    /// What the last frame spent on it.
    pub spent: Duration,
    /// What the device computes with in this frame.
    pub state: Arc<ModelState>,
    pub reports: Vec<ChunkReport>,
    /// How far the step that is under way has come, where it is cut into slices.
    pub front: Option<Front>,
}

impl Session {
    /// The number of the sequence.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a sequence in the place of the one before and gives its number.
    pub fn begin(
        &mut self,
        beginning: Beginning,
        params: SamplingParams,
        text: Arc<ModelText>,
        expected: Vec<u32>,
    ) -> u64 {
        let Beginning { tokens, prompt_len, computed, computed_with, wanted } = beginning;
        self.generation += 1;
        self.prompt_len = prompt_len;
        self.given = tokens.len();
        self.tokens = tokens;
        self.begun = computed;
        self.computed = (computed > 0).then_some(computed_with);
        self.wanted = wanted;
        // What steps of the prompt before have told of the device holds for this one.
        if self.chunk_len == 0 {
            self.chunk_len = FIRST_CHUNK;
        }
        self.params = params;
        self.text = Some(text);
        self.expected = expected;
        self.reports.clear();
        self.front = None;
        self.generation
    }

    /// The next step, if one may be taken.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        // Only now is it known what this frame computes with: a change may have been asked for
        // together with the sequence.
        if self.computed.as_ref().is_some_and(|with| !is_same(with, &self.state)) {
            self.begun = 0;
        }
        let left = self.tokens.len() - self.begun;
        // The last column alone is like a step of the answer: it makes the first token of it.
        let of_prompt = self.begun + 1 < self.given;
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
        self.computed = None;
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
            state: Arc::clone(&self.state),
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
            // A step of a prompt takes about as long as a frame may spend. Where a few columns
            // take longer, it is cut into slices: one column at a time would cost more in all.
            let fits = columns as f64 * self.budget.as_secs_f64() / took.as_secs_f64();
            self.chunk_len = (fits as usize).clamp(FIRST_CHUNK, MOST_CHUNK);
        }
        let mut report = ChunkReport {
            generation: chunk.generation,
            first: chunk.first,
            seen,
            took,
            state: Arc::clone(&chunk.state),
            ..ChunkReport::default()
        };
        if chunk.logits
            && let Err(error) = self.draw(logits, &mut report)
        {
            self.wanted = 0;
            report.problem = Some(error.to_string());
        }
        self.reports.push(report);
    }

    /// Draws the next token, or the one that ends the answer.
    fn draw(&mut self, logits: &[f32], report: &mut ChunkReport) -> Result<(), SamplingError> {
        let index = (self.tokens.len() - self.prompt_len) as u32;
        // By seed and place in the answer alone: both answers of a comparison draw alike.
        let words = self.params.words(Key::new(self.params.seed, 0), index);
        let token = self.sampler.sample(logits, &words, &[], &[])?;
        let scored = self.sampler.score(logits, token, ALTERNATIVES)?;
        // After different texts, a probability answers another question.
        let answer = &self.tokens[self.prompt_len..];
        if let Some((expected, before)) =
            self.expected.get(..=answer.len()).and_then(<[_]>::split_last)
            && before == answer
        {
            report.expected = self.sampler.score(logits, *expected, 0)?.logprob.map(f32::exp);
        }
        // It cannot wrap: logits are only asked for while some are wanted.
        self.wanted -= 1;
        if self.text.as_ref().is_some_and(|text| text.is_end(token)) {
            self.wanted = 0;
            report.end = Some((token, scored.logprob.map_or(0.0, f32::exp)));
        } else {
            self.tokens.push(token);
            report.drawn = Some(scored);
        }
        Ok(())
    }

    /// Ends the sequence: no step of it is taken any more, and what comes of the one under way does
    /// not count.
    pub fn end(&mut self) {
        self.generation += 1;
        self.begun = self.tokens.len();
        self.wanted = 0;
        self.reports.clear();
        self.front = None;
    }

    /// Tells that a step came to nothing; the sequence is over.
    pub fn fail(&mut self, chunk: &Chunk, problem: String) {
        self.front = None;
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
        session.begin(
            Beginning::prompt(vec![5; prompt], wanted),
            SamplingParams::greedy(),
            text,
            Vec::new(),
        );
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
        accept(&mut session, &first, 20);
        let second = session.next_chunk().unwrap();
        assert_eq!((second.first, second.tokens.len()), (4, 8), "twice as many take twice as long");
        let text = Arc::clone(session.text.as_ref().unwrap());
        let again = Beginning::prompt(vec![5; 100], 3);
        session.begin(again, SamplingParams::greedy(), text, Vec::new());
        let second = session.next_chunk().unwrap();
        assert_eq!((second.first, second.tokens.len()), (0, 8), "another prompt knows of it");
        accept(&mut session, &second, 1000);
        let third = session.next_chunk().unwrap();
        assert_eq!(third.tokens.len(), FIRST_CHUNK, "a step that takes longer is cut");
        accept(&mut session, &third, 1);
        let mut at = 8 + FIRST_CHUNK;
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
            session.reports.pop().unwrap()
        };
        let report = step(&mut session, end);
        assert_eq!((report.end.map(|(token, _)| token), report.drawn), (Some(end), None));
        session.begin(Beginning::prompt(vec![5; 2], 8), SamplingParams::greedy(), text, Vec::new());
        assert_eq!(step(&mut session, 7).end, None);
    }

    #[test]
    fn the_tokens_of_an_answer_before_are_scored_until_another_is_said() {
        let mut session = session(2, 8);
        let text = Arc::clone(session.text.as_ref().unwrap());
        session.begin(
            Beginning::prompt(vec![5; 2], 8),
            SamplingParams::greedy(),
            text,
            vec![7, 3, 9],
        );
        session.pace = Pace::Free;
        let mut step = || {
            let chunk = session.next_chunk().unwrap();
            accept(&mut session, &chunk, 1);
            session.reports.pop().unwrap().expected
        };
        // Of 32 logits one is 1 and the others are 0.
        let sum = std::f32::consts::E + 31.0;
        let near = |found: Option<f32>, expected: f32| (found.unwrap() - expected).abs() < 1e-6;
        assert!(near(step(), std::f32::consts::E / sum), "it is said again");
        assert!(near(step(), 1.0 / sum), "7 is said in its place");
        assert_eq!(step(), None, "the texts are others now");
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
        session.begin(
            Beginning::prompt(vec![1, 2, 3], 1),
            SamplingParams::greedy(),
            text,
            Vec::new(),
        );
        accept(&mut session, &old, 1);
        session.fail(&old, "lost".into());
        assert!(session.reports.is_empty());
        assert_eq!(session.next_chunk().unwrap().tokens, [1, 2, 3]);
    }

    #[test]
    fn what_is_computed_already_stays_unless_the_first_step_computes_with_something_else() {
        let begin = |session: &mut Session| {
            let text = Arc::clone(session.text.as_ref().unwrap());
            let computed_with = Arc::clone(&session.state);
            let tokens = vec![5; 6];
            let beginning =
                Beginning { tokens, prompt_len: 6, computed: 4, computed_with, wanted: 1 };
            session.begin(beginning, SamplingParams::greedy(), text, Vec::new());
        };
        let mut session = session(6, 1);
        session.pace = Pace::Free;
        begin(&mut session);
        assert_eq!(session.next_chunk().unwrap().first, 4);
        begin(&mut session);
        session.state = Arc::new(ModelState {
            interventions: crate::forward::Interventions::new([6, 4], [([1, 2], 0.0)], []),
            ..ModelState::default()
        });
        let chunk = session.next_chunk().unwrap();
        assert_eq!((chunk.first, chunk.tokens.len()), (0, FIRST_CHUNK), "from its start again");
    }
}
