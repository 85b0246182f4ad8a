//! An engine whose steps the window computes: who asks through it is answered on the pages that are
//! drawn, while one watches.
//!
//! In: batches of one sequence, on a thread of its own ([`WindowEngine`]). Out: their answers, once
//! frames have computed them. One step at a time lies between both, in a [`StepExchange`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bevy::prelude::*;

use super::conversation::Branches;
use super::session::Beginning;
use super::{CONTEXT, Generation};
use crate::engine::{Batch, Capacity, Engine, EngineError, LogitsQuery, Sampled};
use crate::model::{ModelConfig, PixelModel};
use crate::world::lab::Comparison;
use crate::world::layout::Atlas;

/// A step that the window is to compute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EngineStep {
    /// The sequence up to the step's last column, from its first token on.
    pub tokens: Vec<u32>,
    /// How many of them were columns of earlier steps.
    pub first: usize,
    /// Questions with the positions of their columns, in ascending order.
    pub asks: Vec<(usize, LogitsQuery)>,
}

/// Where an engine's step waits for the window, and its answers for the engine.
#[derive(Debug, Default)]
pub(super) struct StepExchange {
    state: Mutex<ExchangeState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ExchangeState {
    step: Option<EngineStep>,
    answers: Option<Result<Vec<Sampled>, String>>,
    /// Why nothing is computed any more.
    closed: Option<String>,
}

impl StepExchange {
    fn lock(&self) -> MutexGuard<'_, ExchangeState> {
        // What is in it is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a step computed, for as long as that takes.
    fn ask(&self, step: EngineStep) -> Result<Vec<Sampled>, String> {
        let mut state = self.lock();
        (state.step, state.answers) = (Some(step), None);
        self.changed.notify_all();
        loop {
            if let Some(answers) = state.answers.take() {
                return answers;
            }
            if let Some(why) = &state.closed {
                return Err(why.clone());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The step that waits, if it is one of these. Where none waits, one may come for so long.
    pub fn take(
        &self,
        patience: Duration,
        is_wanted: impl Fn(&EngineStep) -> bool,
    ) -> Option<EngineStep> {
        let mut state = self.lock();
        if state.step.is_none() && !patience.is_zero() {
            let waited = self.changed.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.step.take_if(|step| is_wanted(step))
    }

    /// Lets a step wait once more, of which nothing came.
    pub fn put_back(&self, step: EngineStep) {
        self.lock().step = Some(step);
    }

    /// Hands in what came of a step, or why nothing will.
    pub fn answer(&self, answers: Result<Vec<Sampled>, String>) {
        self.lock().answers = Some(answers);
        self.changed.notify_all();
    }

    /// What was handed in last.
    #[cfg(test)]
    pub fn answers(&self) -> Option<Vec<Sampled>> {
        self.lock().answers.take().map(|answers| answers.expect("no step has failed"))
    }

    /// Computes nothing any more.
    fn close(&self, why: &str) {
        self.lock().closed = Some(why.to_owned());
        self.changed.notify_all();
    }
}

/// Runs batches of one sequence in the window. A batch waits while a person's prompt is answered,
/// and for as long as the model is paused.
#[derive(Debug)]
pub struct WindowEngine {
    exchange: Arc<StepExchange>,
    capacity: Capacity,
    device: String,
    /// What the slot holds.
    tokens: Vec<u32>,
}

/// Ends a [`WindowEngine`] from another thread.
#[derive(Debug, Clone)]
pub struct WindowEngineEnd(Arc<StepExchange>);

impl WindowEngineEnd {
    /// Ends the step that waits, and all later ones, with an error that says why.
    pub fn end(&self, why: &str) {
        self.0.close(why);
    }
}

impl WindowEngine {
    pub(super) fn new(exchange: Arc<StepExchange>, capacity: Capacity, device: String) -> Self {
        Self { exchange, capacity, device, tokens: Vec::new() }
    }

    /// What ends it from another thread.
    pub fn ending(&self) -> WindowEngineEnd {
        WindowEngineEnd(Arc::clone(&self.exchange))
    }
}

impl Engine for WindowEngine {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        if batch.adapters.iter().any(|(_, adapters)| adapters.is_some()) {
            let why = "in the window adapters are switched on the map, not by a request";
            return Err(EngineError::Other(why.into()));
        }
        let Some(first) = batch.columns.first() else { return Ok(Vec::new()) };
        let first = first.position as usize;
        self.tokens.truncate(first);
        self.tokens.extend(batch.columns.iter().map(|column| column.token));
        let place = |ask: &LogitsQuery| batch.columns[ask.column as usize].position as usize;
        let asks = batch.asks.iter().map(|ask| (place(ask), ask.clone())).collect();
        let step = EngineStep { tokens: self.tokens.clone(), first, asks };
        let answers = self.exchange.ask(step).map_err(|why| EngineError::Other(why.into()))?;
        Ok(answers.into_iter().map(|answer| vec![answer]).collect())
    }

    fn device(&self) -> String {
        self.device.clone()
    }
}

impl Generation {
    /// An engine whose steps are computed here, in frames, on the model as it is then. `device`
    /// says in a few words what computes.
    pub fn engine(&self, config: &ModelConfig, device: String) -> WindowEngine {
        let capacity = Capacity {
            slots: 1,
            context: config.context_length.min(CONTEXT) as usize,
            vocab: config.vocab_size as usize,
            // A prompt comes whole, and is cut as frames allow.
            columns: CONTEXT as usize,
            steps: 1,
        };
        WindowEngine::new(self.link.with(|session| Arc::clone(&session.exchange)), capacity, device)
    }

    /// Begins the sequence of an engine's step.
    fn begin_engine(&mut self, model: &PixelModel, step: EngineStep) {
        let damage = self.damage.as_ref().filter(|_| !self.uses_damage);
        let text = match damage {
            Some(damage) => Err(damage.clone()),
            None => self.open_text(model),
        };
        let text = match text {
            Ok(text) => text,
            Err(why) => return self.link.with(|session| session.exchange.answer(Err(why))),
        };
        let asked = step.asks.iter().map(|(place, _)| *place).min();
        let computed = self.computed_of(&step.tokens).min(asked.unwrap_or(usize::MAX));
        self.put(self.given(&step.tokens), computed);
        self.prompt_len = step.tokens.len();
        (self.problem, self.refused, self.asked, self.end) = (None, None, None, None);
        self.expected.clear();
        self.branches = Branches::default();
        (self.is_engines, self.is_engine_at_work) = (true, true);
        let computed_with = Arc::clone(&self.current);
        let (tokens, prompt_len) = (step.tokens.clone(), self.prompt_len);
        let beginning = Beginning { tokens, prompt_len, computed, computed_with, wanted: 0 };
        self.generation = self.link.with(|session| session.begin_engine(beginning, text, step));
    }

    /// Whether a request of a client is answered.
    pub fn answers_client(&self) -> bool {
        self.is_engines && self.is_engine_at_work
    }

    /// Takes in the tokens of an engine's step: what it had drawn, or another piece of its prompt.
    pub(super) fn follow_engine(&mut self, first: usize, tokens: &[u32]) {
        let has_drawn = self.thoughts.len() > self.prompt_len;
        let shown = self.thoughts[first.min(self.thoughts.len())..].iter();
        let same = shown.zip(tokens).take_while(|(shown, token)| shown.token == **token).count();
        if same < tokens.len() {
            self.thoughts.truncate(first + same);
            let given = self.given(&tokens[same..]);
            self.thoughts.extend(given);
        }
        if !has_drawn {
            self.prompt_len = self.thoughts.len();
        }
    }
}

/// Begins what an engine asks for, as soon as nothing else is answered.
pub(super) fn answer(atlas: Res<Atlas>, comparison: Res<Comparison>, mut mind: ResMut<Generation>) {
    if mind.is_busy() || comparison.is_running() || mind.refusal.is_some() {
        return;
    }
    if let Some(step) = mind.link.with(|session| session.waiting_engine_step()) {
        mind.begin_engine(atlas.model(), step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Column;

    fn engine() -> (WindowEngine, Arc<StepExchange>) {
        let exchange = Arc::new(StepExchange::default());
        let capacity = Capacity { slots: 1, context: 16, vocab: 32, columns: 8, steps: 1 };
        (WindowEngine::new(Arc::clone(&exchange), capacity, "a window".into()), exchange)
    }

    fn batch(first: u32, tokens: &[u32]) -> Batch {
        let column = |(position, &token)| Column { token, slot: 0, position };
        let columns: Vec<Column> = (first..).zip(tokens).map(column).collect();
        let asks = vec![LogitsQuery::greedy(columns.len() as u32 - 1)];
        Batch { columns, asks, steps: 1, ..Batch::default() }
    }

    #[test]
    fn a_step_brings_the_whole_sequence_and_takes_the_answer_back() {
        let (mut engine, exchange) = engine();
        let steps = std::thread::spawn(move || {
            let answer = engine.step(&batch(0, &[5, 6, 7])).unwrap();
            assert_eq!(answer[0][0].token, 9);
            engine.step(&batch(3, &[9])).unwrap_err().to_string()
        });
        let patience = Duration::from_secs(60);
        let step = exchange.take(patience, |_| true).unwrap();
        assert_eq!((step.tokens.as_slice(), step.first), (&[5, 6, 7][..], 0));
        assert_eq!(step.asks[0].0, 2);
        exchange.put_back(step);
        assert_eq!(exchange.take(Duration::ZERO, |step| step.first > 0), None);
        exchange.take(Duration::ZERO, |step| step.first == 0).unwrap();
        exchange.answer(Ok(vec![Sampled { token: 9, ..Sampled::default() }]));
        let step = exchange.take(patience, |_| true).unwrap();
        assert_eq!((step.tokens.as_slice(), step.first), (&[5, 6, 7, 9][..], 3));
        exchange.close("closed");
        assert_eq!(steps.join().unwrap(), "closed");
    }
}
