//! The sequence as the render world computes it: which columns come next, what is drawn from
//! logits, and what is told of it.
//!
//! In: a prompt by [`Session::begin`] and a [`Pace`] each frame. Out: a [`Chunk`] per step, and
//! [`ChunkReport`]s that the main world takes. No ECS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{EngineStep, StepExchange};
use super::state::{ModelState, is_same};
use super::trace::{SeenColumn, hooks};
use crate::batch::{ModelText, TextModel};
use crate::engine::gpu::StepRequest;
use crate::engine::{Batch, Column, LogitsQuery, QueryKind, Sampled, answer};
use crate::forward::sampling::{Key, Sampler, SamplingError, SamplingParams};
use crate::model::ModelConfig;

/// Alternatives that are kept of each token.
const ALTERNATIVES: usize = 6;
/// Columns of a prompt in its first step, before it is known how long one takes: a software adapter
/// needs more than ten milliseconds for each.
const FIRST_CHUNK: usize = 4;
/// The most columns of a prompt in one step; no more than the network has room for.
pub(super) const MOST_CHUNK: usize = 32;

/// How long a frame waits for the next step of an engine that has just been answered: it plans one
/// in a tenth of that.
const ENGINE_PATIENCE: Duration = Duration::from_millis(2);
/// How long after an answer another step is expected.
const ENGINE_PAUSE: Duration = Duration::from_millis(20);

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
    /// The columns whose logits are wanted.
    pub wanted: Vec<u32>,
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
            wanted: self.wanted.clone(),
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
    pub tokens: Vec<u32>,
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
    /// The sequence is an engine's, which says what comes next.
    engine: Option<EngineSequence>,
    /// Where engines' steps wait.
    pub exchange: Arc<StepExchange>,
}

/// What an engine has asked of its sequence.
#[derive(Default)]
struct EngineSequence {
    /// The step that is computed, and what came of it so far.
    step: Option<EngineStep>,
    answers: Vec<Sampled>,
    has_drawn: bool,
    /// When its last step was answered.
    answered: Option<Instant>,
}

impl EngineSequence {
    /// Whether a step goes on where the steps before have ended. Several tokens after a drawn one
    /// are another prompt.
    fn goes_on(&self, step: &EngineStep, done: &[u32]) -> bool {
        let goes_on = step.first == done.len() && step.tokens.starts_with(done);
        goes_on && (!self.has_drawn || step.tokens.len() == done.len() + 1)
    }
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
        self.release_engine();
        self.generation
    }

    /// Begins the sequence of an engine's step in the place of the one before.
    pub fn begin_engine(
        &mut self,
        beginning: Beginning,
        text: Arc<ModelText>,
        step: EngineStep,
    ) -> u64 {
        self.begin(beginning, SamplingParams::greedy(), text, Vec::new());
        self.engine = Some(EngineSequence { step: Some(step), ..EngineSequence::default() });
        self.generation
    }

    /// Leaves the engine's sequence, if it is one. A step that is not done waits for another turn.
    fn release_engine(&mut self) {
        if let Some(step) = self.engine.take().and_then(|engine| engine.step) {
            self.exchange.put_back(step);
        }
    }

    /// Whether a step of an engine is under way, or one may follow in a moment.
    pub fn is_engine_at_work(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| {
            let just = engine.answered.is_some_and(|when| when.elapsed() < ENGINE_PAUSE);
            engine.step.is_some() || just
        })
    }

    /// A step that waits and begins another sequence than the one that is here.
    pub fn waiting_engine_step(&self) -> Option<EngineStep> {
        let done = &self.tokens[..self.begun];
        let is_other = |step: &EngineStep| {
            self.engine.as_ref().is_none_or(|engine| !engine.goes_on(step, done))
        };
        self.exchange.take(Duration::ZERO, is_other)
    }

    /// Takes the next step of the engine whose sequence this is.
    fn follow_engine(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        if engine.step.is_some() || self.pace == Pace::Stopped {
            return;
        }
        let is_expected = engine.answered.is_some_and(|when| when.elapsed() < ENGINE_PAUSE);
        let patience = if is_expected { ENGINE_PATIENCE } else { Duration::ZERO };
        let done = &self.tokens[..self.begun];
        let Some(step) = self.exchange.take(patience, |step| engine.goes_on(step, done)) else {
            return;
        };
        self.tokens.clone_from(&step.tokens);
        self.given = self.tokens.len();
        engine.step = Some(step);
    }

    /// The columns of a piece of the sequence whose logits are wanted.
    fn wanted_of(&self, first: usize) -> Vec<u32> {
        let asked = match &self.engine {
            Some(engine) => {
                let asks = engine.step.iter().flat_map(|step| &step.asks);
                let mut places: Vec<usize> = asks.map(|(place, _)| *place).collect();
                places.dedup();
                places
            }
            None if self.wanted > 0 => vec![self.tokens.len() - 1],
            None => Vec::new(),
        };
        let here = asked.into_iter().filter(|place| (first..self.begun).contains(place));
        here.map(|place| (place - first) as u32).collect()
    }

    /// The next step, if one may be taken.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        self.follow_engine();
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
        let wanted = self.wanted_of(first);
        let state = Arc::clone(&self.state);
        Some(Chunk { generation: self.generation, first, tokens, wanted, state })
    }

    /// Takes in what came of a step, with a row of logits for each column where they are wanted:
    /// draws the next token from them, or answers what an engine asks.
    pub fn accept(
        &mut self,
        chunk: &Chunk,
        seen: Vec<SeenColumn>,
        logits: &[Vec<f32>],
        took: Duration,
    ) {
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
            tokens: chunk.tokens.clone(),
            seen,
            took,
            state: Arc::clone(&chunk.state),
            ..ChunkReport::default()
        };
        let done = match (&self.engine, logits.first()) {
            (Some(_), _) => self.answer_engine(chunk, logits, &mut report),
            (None, Some(logits)) => self.draw(logits, &mut report),
            (None, None) => Ok(()),
        };
        if let Err(error) = done {
            self.wanted = 0;
            report.problem = Some(error.to_string());
        }
        self.reports.push(report);
    }

    /// Answers what an engine asks of these columns, and hands the answers in with the last ones.
    fn answer_engine(
        &mut self,
        chunk: &Chunk,
        logits: &[Vec<f32>],
        report: &mut ChunkReport,
    ) -> Result<(), SamplingError> {
        let is_last = self.begun == self.tokens.len();
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let Some(step) = &engine.step else { return Ok(()) };
        for (&column, row) in chunk.wanted.iter().zip(logits) {
            let here = chunk.first + column as usize;
            for (_, ask) in step.asks.iter().filter(|(place, _)| *place == here) {
                // Who watches sees what else might have stood there.
                let top = ask.top.max(ALTERNATIVES as u32);
                let more = LogitsQuery { logprob: true, top, ..ask.clone() };
                let mut told = answer(&mut self.sampler, row, &more).inspect_err(|error| {
                    self.exchange.answer(Err(error.to_string()));
                })?;
                if matches!(ask.kind, QueryKind::Draw { .. }) {
                    engine.has_drawn = true;
                    let mut drawn = told.clone();
                    drawn.top.truncate(ALTERNATIVES);
                    report.drawn = Some(drawn);
                }
                told.top.truncate(ask.top as usize);
                told.logprob = told.logprob.filter(|_| ask.logprob || ask.top > 0);
                engine.answers.push(told);
            }
        }
        if is_last {
            engine.step = None;
            engine.answered = Some(Instant::now());
            self.exchange.answer(Ok(std::mem::take(&mut engine.answers)));
        }
        Ok(())
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
        self.release_engine();
    }

    /// Tells that a step came to nothing; the sequence is over.
    pub fn fail(&mut self, chunk: &Chunk, problem: String) {
        self.front = None;
        if chunk.generation == self.generation {
            self.begun = self.tokens.len();
            self.wanted = 0;
            if self.engine.take().is_some_and(|engine| engine.step.is_some()) {
                self.exchange.answer(Err(problem.clone()));
            }
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
        let rows = vec![logits; chunk.wanted.len()];
        session.accept(chunk, seen, &rows, Duration::from_millis(took));
    }

    #[test]
    fn a_prompt_comes_in_pieces_that_fit_a_frame_and_then_one_token_at_a_time() {
        let mut session = session(100, 3);
        assert_eq!(session.next_chunk(), None, "it is stopped until it has a pace");
        session.pace = Pace::Free;
        let first = session.next_chunk().unwrap();
        assert_eq!((first.first, first.tokens.len(), first.wanted.len()), (0, FIRST_CHUNK, 0));
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
            assert_eq!(
                !chunk.wanted.is_empty(),
                at == 100,
                "only the last column has a next token"
            );
            accept(&mut session, &chunk, 1);
        }
        for place in 100..103 {
            let chunk = session.next_chunk().unwrap();
            assert_eq!((chunk.first, chunk.tokens.as_slice()), (place, &[7][..]));
            assert_eq!(!chunk.wanted.is_empty(), place < 102, "nothing comes after the last");
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
            session.accept(&chunk, vec![SeenColumn::default()], &[logits], Duration::ZERO);
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
    fn an_engine_says_what_comes_next_and_waits_while_a_person_is_answered() {
        let mut session = session(1, 0);
        session.pace = Pace::Free;
        let text = Arc::clone(session.text.as_ref().unwrap());
        let exchange = Arc::clone(&session.exchange);
        let ask = |tokens: &[u32], first| {
            let place = tokens.len() - 1;
            let asks = vec![(place, LogitsQuery::greedy(0))];
            exchange.put_back(EngineStep { tokens: tokens.to_vec(), first, asks });
        };
        let beginning = |step: &EngineStep| Beginning::prompt(step.tokens.clone(), 0);
        ask(&[5, 6, 8], 0);
        let step = session.waiting_engine_step().unwrap();
        session.begin_engine(beginning(&step), Arc::clone(&text), step);
        let chunk = session.next_chunk().unwrap();
        assert_eq!((chunk.first, chunk.tokens.len(), chunk.wanted.as_slice()), (0, 3, &[2][..]));
        accept(&mut session, &chunk, 1);
        assert_eq!(session.reports.pop().unwrap().drawn.unwrap().token, 7);
        assert_eq!(exchange.answers().unwrap()[0], Sampled { token: 7, ..Sampled::default() });
        assert_eq!(session.next_chunk(), None, "it has not said what comes next");
        ask(&[5, 6, 8, 7], 3);
        assert_eq!(session.waiting_engine_step(), None, "it goes on here");
        let chunk = session.next_chunk().unwrap();
        assert_eq!((chunk.first, chunk.tokens.as_slice()), (3, &[7][..]));
        // A person's prompt takes its place, and it waits.
        session.begin(Beginning::prompt(vec![1], 0), SamplingParams::greedy(), text, Vec::new());
        accept(&mut session, &chunk, 1);
        assert!(exchange.answers().is_none());
        let step = session.waiting_engine_step().unwrap();
        assert_eq!(step.tokens, [5, 6, 8, 7], "from its start again");
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
