//! Asking a model: an engine with its adapter, requests in, answers out, in the requests' order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Exercise, SchoolError, SchoolProgress, SchoolSettings};
use crate::batch::request::Defaults;
use crate::batch::{Answer, ModelText, Progress, Prompt, Request, RunOutcome, RunReport, run};
use crate::engine::{Batch, Capacity, CpuEngine, Engine, EngineError, Sampled};
use crate::forward::AdapterSet;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::forward::sampling::SamplingParams;
use crate::model::{Adapter, PixelModel};

/// Sequences that are answered at once: exercises are short, and a pass of many columns costs
/// little more than one of few.
const SLOTS: usize = 32;

/// The model that goes to school, with what it has learnt so far.
pub(super) struct Pupil<'a> {
    pub model: &'a Arc<PixelModel>,
    pub text: &'a ModelText,
    pub progress: &'a dyn SchoolProgress,
    /// Positions of the longest exercise and of the longest plain text.
    pub positions: usize,
}

impl<'a> Pupil<'a> {
    /// An engine on the processor, on which everything that a school does is the same each time.
    pub fn engine(&self, adapter: Option<&Adapter>) -> Result<WatchedEngine<'a>, SchoolError> {
        let mut model = CpuModel::new(Arc::clone(self.model), CpuOptions::default())?;
        let mut adapters = AdapterSet::NONE;
        if let Some(adapter) = adapter {
            model.add_adapter(adapter)?;
            adapters = AdapterSet::new(vec![(0, 1.0)]);
        }
        let engine = CpuEngine::new(model, SLOTS, self.positions).with_adapters(adapters);
        Ok(WatchedEngine { engine, progress: self.progress, stop: AtomicBool::new(false).into() })
    }

    /// Greedy answers, one for each exercise.
    pub fn greedy(
        &self,
        engine: &mut WatchedEngine<'_>,
        exercises: &[Exercise],
    ) -> Result<Vec<Answer>, SchoolError> {
        let sampling = SamplingParams::greedy();
        let one = |exercise: &Exercise| request(exercise, String::new(), sampling.clone(), 1);
        let answers = self.ask(engine, exercises.iter().map(one).collect())?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Some answers for each exercise, drawn with nothing cut off.
    pub fn drawn(
        &self,
        engine: &mut WatchedEngine<'_>,
        exercises: &[Exercise],
        (settings, stream): (&SchoolSettings, &str),
    ) -> Result<Vec<Vec<Answer>>, SchoolError> {
        let sampling = SamplingParams {
            temperature: settings.temperature,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: settings.seed,
            ..SamplingParams::default()
        };
        let one = |(at, exercise): (usize, &Exercise)| {
            request(exercise, format!("{stream}.{at}"), sampling.clone(), settings.samples)
        };
        self.ask(engine, exercises.iter().enumerate().map(one).collect())
    }

    fn ask(
        &self,
        engine: &mut WatchedEngine<'_>,
        requests: Vec<Request>,
    ) -> Result<Vec<Vec<Answer>>, SchoolError> {
        let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); requests.len()];
        let mut progress = Progress::new(requests.len() as u64, 0);
        let stop = Arc::clone(&engine.stop);
        let requests = requests.into_iter().map(Ok);
        let outcome = run(engine, self.text, requests, &mut progress, &stop, |report| {
            if let RunReport::Finished { number, outcome, more, .. } = report {
                // A failed request has no answer, which is no right one.
                let first = outcome.as_ref().ok().cloned();
                answers[number as usize] = first.into_iter().chain(more.iter().cloned()).collect();
                self.progress.done(1);
            }
            Ok(())
        })?;
        match outcome {
            RunOutcome::Complete => Ok(answers),
            RunOutcome::Cancelled => Err(SchoolError::Stopped),
        }
    }
}

fn request(exercise: &Exercise, id: String, sampling: SamplingParams, choices: u32) -> Request {
    let stop = if exercise.answer.contains('\n') { Vec::new() } else { vec!["\n".to_owned()] };
    Request {
        prompt: Prompt::Tokens(exercise.tokens.clone()),
        sampling,
        choices,
        max_tokens: exercise.most_tokens() as u32,
        stop,
        ..Defaults::default().request(id, "")
    }
}

/// An engine that asks before each batch whether it goes on.
pub(super) struct WatchedEngine<'a> {
    engine: CpuEngine,
    progress: &'a dyn SchoolProgress,
    stop: Arc<AtomicBool>,
}

impl WatchedEngine<'_> {
    /// What ends a run on it.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }
}

impl Engine for WatchedEngine<'_> {
    fn capacity(&self) -> Capacity {
        self.engine.capacity()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        // Whoever runs batches looks at it between two of them.
        if !self.progress.goes_on() {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.engine.step(batch)
    }

    fn device(&self) -> String {
        self.engine.device()
    }
}
