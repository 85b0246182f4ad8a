//! A run: steps, evaluations and checkpoints, from the first step or from a checkpoint to the end.
//!
//! In: a [`Trainer`], [`Dataset`]s and [`RunSettings`]. Out: [`LogLine`]s and how it ended. All
//! that it does follows from these; where it stands is a [`RunProgress`], which with the trainer's
//! state is all that a checkpoint keeps.

mod log;

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use self::log::{EvaluationLine, LogLine, RunEvent, StepLine};
use super::checkpoint::{Checkpoint, CheckpointError, CheckpointFolder, RunIdentity};
use super::data::{DataPlace, Dataset, Feed};
use super::settings::TrainingSettings;
use super::trainer::{LossSum, TrainError, Trainer, TrainerState};
use crate::model::Adapter;

/// Everything of a run that its result follows from, beside the model and the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// What is trained, and how.
    pub training: TrainingSettings,
    /// Columns that a step learns from, at most.
    pub batch_tokens: usize,
    /// Ends with this epoch, if it is said; the schedule's steps end it in any case.
    pub epochs: Option<u32>,
    /// Which tokens are targets, and how lines are cut, as the command line says it.
    pub data: String,
    /// Evaluations are made so many steps apart; 0 for one before and one behind all steps.
    pub evaluate_every: u64,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunProgress {
    /// Steps made.
    pub step: u64,
    /// Where the next step begins in the data.
    pub place: DataPlace,
    /// The step after which the model was last looked at.
    pub evaluated: Option<u64>,
    /// The best validation loss so far.
    pub best: Option<BestLoss>,
    /// The log so far.
    #[serde(skip)]
    pub log: Vec<LogLine>,
}

/// The least validation loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BestLoss {
    /// Steps made before it.
    pub step: u64,
    /// Its bits as a double: JSON may round a number.
    bits: u64,
}

impl BestLoss {
    /// The loss, in nats.
    pub fn loss(self) -> f64 {
        f64::from_bits(self.bits)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEnd {
    /// After its last step.
    Done,
    /// It was asked to.
    Stopped,
    /// A loss or a gradient was no number.
    NoNumber {
        /// The step that was not made, from 1.
        step: u64,
        /// The file of the lines.
        file: String,
        /// The lines that it was to learn from, or the one whose loss it is.
        lines: Vec<u64>,
        /// What was wrong.
        problem: String,
    },
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingRunError {
    /// The trainer failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The last state could not be kept.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Questions could not be asked.
    #[error("the model's answers cannot be had: {0}")]
    Ask(String),
}

/// Asks the model as it is now, and gives how many answers are right of how many; `None` where the
/// run was asked to stop meanwhile.
pub type Ask<'a> =
    dyn FnMut(&mut dyn Trainer, StopSignal<'_>) -> Result<Option<(usize, usize)>, String> + 'a;

/// Whether a run is to end.
pub type StopSignal<'a> = &'a (dyn Fn() -> bool + Sync);

/// Where checkpoints go.
pub struct Keeping<'a> {
    /// The folder.
    pub folder: &'a CheckpointFolder,
    /// What the run is of.
    pub identity: RunIdentity,
    /// Makes what was learnt an adapter, to be kept beside the state.
    pub adapter: &'a dyn Fn(&TrainerState) -> Option<Adapter>,
    /// Steps between two checkpoints; 0 for none but the best and the last.
    pub every: u64,
}

/// A run, ready to go.
pub struct Run<'a> {
    /// Makes the steps.
    pub trainer: &'a mut dyn Trainer,
    /// What is learnt.
    pub data: &'a Dataset,
    /// What is not learnt, to look at.
    pub valid: Option<&'a Dataset>,
    /// Asks questions, where that is wanted.
    pub ask: Option<Box<Ask<'a>>>,
    /// How it goes.
    pub settings: &'a RunSettings,
    /// Where checkpoints go, if anywhere.
    pub keeping: Option<Keeping<'a>>,
    /// Where it stands: the default before the first step.
    pub progress: RunProgress,
}

/// What a look at the model, or a step, came to.
enum StepOutcome {
    Made,
    Stopped,
    NoNumber(RunEnd),
}

impl Run<'_> {
    /// Goes on to the end, or until `stop` says so.
    ///
    /// # Errors
    /// The trainer or the asking fails, or the state at the end cannot be kept. A checkpoint that
    /// cannot be written on the way is told, and the run goes on.
    pub fn go(
        &mut self,
        stop: StopSignal<'_>,
        tell: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<RunEnd, TrainingRunError> {
        let settings = self.settings;
        let (batch, seed) = (settings.batch_tokens, settings.training.seed);
        let mut feed = Feed::new(self.data.columns(), batch, seed);
        // What is there already need not be written again.
        let mut saved = (self.progress.step > 0).then_some(self.progress.step);
        loop {
            let step = self.progress.step;
            let is_last = step >= settings.training.schedule.steps;
            if self.is_due(is_last) {
                let best = self.progress.best;
                match self.evaluate(stop, tell)? {
                    StepOutcome::Made if self.progress.best != best && step > 0 && !is_last => {
                        self.save_on_the_way(&mut saved, tell);
                    }
                    StepOutcome::Made => (),
                    StepOutcome::Stopped => return self.end(RunEnd::Stopped, tell),
                    StepOutcome::NoNumber(end) => return Ok(end),
                }
            }
            if is_last {
                return self.end(RunEnd::Done, tell);
            }
            let every = self.keeping.as_ref().map_or(0, |keeping| keeping.every);
            if step > 0 && every > 0 && step.is_multiple_of(every) && saved != Some(step) {
                self.save_on_the_way(&mut saved, tell);
            }
            if stop() {
                return self.end(RunEnd::Stopped, tell);
            }
            match self.step(&mut feed, stop, tell)? {
                StepOutcome::Made => (),
                StepOutcome::Stopped => return self.end(RunEnd::Stopped, tell),
                StepOutcome::NoNumber(end) => return Ok(end),
            }
        }
    }

    fn is_due(&self, is_last: bool) -> bool {
        let RunProgress { step, evaluated, .. } = self.progress;
        let every = self.settings.evaluate_every;
        let due = step == 0 || is_last || (every > 0 && step.is_multiple_of(every));
        self.valid.is_some() && due && evaluated != Some(step)
    }

    fn step(
        &mut self,
        feed: &mut Feed,
        stop: StopSignal<'_>,
        tell: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<StepOutcome, TrainingRunError> {
        let step = self.progress.step;
        let Some((examples, next)) = feed.next(self.progress.place, self.settings.epochs) else {
            let problem = "its place in the data is behind the last line".to_owned();
            return Err(TrainError::State(problem).into());
        };
        let rate = self.settings.training.schedule.at(step);
        let begun = Instant::now();
        let report = match self.trainer.step(&self.data.sequences(&examples), rate, stop) {
            Ok(report) => report,
            Err(error) => return ended(error, self.data, &examples, step + 1),
        };
        let seconds = begun.elapsed().as_secs_f64().max(1e-9);
        self.progress.step += 1;
        self.progress.place = next;
        let line = LogLine::Step(StepLine {
            step: step + 1,
            epoch: feed.epochs(next),
            loss: report.loss,
            rate,
            gradient_norm: report.gradient_norm,
            targets: report.targets,
            columns: report.columns,
            tokens_per_second: report.columns as f64 / seconds,
            memory_bytes: crate::memory::peak_in_bytes(),
        });
        tell(RunEvent::Line(&line));
        self.progress.log.push(line);
        Ok(StepOutcome::Made)
    }

    fn evaluate(
        &mut self,
        stop: StopSignal<'_>,
        tell: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<StepOutcome, TrainingRunError> {
        let Some(valid) = self.valid else { return Ok(StepOutcome::Made) };
        tell(RunEvent::Evaluating);
        let step = self.progress.step;
        let mut sum = LossSum::default();
        for examples in in_batches(&valid.columns(), self.settings.batch_tokens) {
            match self.trainer.loss(&valid.sequences(&examples), stop) {
                Ok(part) => {
                    sum.sum += part.sum;
                    sum.weight += part.weight;
                }
                Err(error) => return ended(error, valid, &examples, step),
            }
        }
        let mut answers = None;
        if let Some(ask) = &mut self.ask {
            answers = ask(self.trainer, stop).map_err(TrainingRunError::Ask)?;
            if answers.is_none() {
                return Ok(StepOutcome::Stopped);
            }
        }
        let valid_loss = sum.mean();
        if self.progress.best.is_none_or(|best| valid_loss < best.loss()) {
            self.progress.best = Some(BestLoss { step, bits: valid_loss.to_bits() });
        }
        self.progress.evaluated = Some(step);
        let (right, asked) = answers.unzip();
        let line = LogLine::Evaluation(EvaluationLine { step, valid_loss, right, asked });
        tell(RunEvent::Line(&line));
        self.progress.log.push(line);
        Ok(StepOutcome::Made)
    }

    /// Writes a checkpoint; one that cannot be written is told.
    fn save_on_the_way(&mut self, saved: &mut Option<u64>, tell: &mut dyn FnMut(RunEvent<'_>)) {
        match self.save() {
            Ok(Some(path)) => {
                *saved = Some(self.progress.step);
                tell(RunEvent::Saved(&path));
            }
            Ok(None) => (),
            Err(error) => tell(RunEvent::NotSaved(&error.to_string())),
        }
    }

    fn save(&mut self) -> Result<Option<PathBuf>, TrainingRunError> {
        let Some(Keeping { folder, identity, adapter, .. }) = &self.keeping else {
            return Ok(None);
        };
        let state = self.trainer.state()?;
        let adapter = adapter(&state);
        let (identity, progress) = (identity.clone(), self.progress.clone());
        let checkpoint = Checkpoint { identity, progress, state };
        Ok(Some(folder.save(&checkpoint, adapter.as_ref())?))
    }

    /// Keeps the state and ends.
    fn end(
        &mut self,
        end: RunEnd,
        tell: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<RunEnd, TrainingRunError> {
        // Nothing is lost where nothing was learnt; nor at the end, where the result is written.
        if self.progress.step > 0 && end == RunEnd::Done {
            self.save_on_the_way(&mut None, tell);
        } else if self.progress.step > 0
            && let Some(path) = self.save()?
        {
            tell(RunEvent::Saved(&path));
        }
        Ok(end)
    }
}

/// What an error of the trainer means for the run.
fn ended(
    error: TrainError,
    data: &Dataset,
    examples: &[usize],
    step: u64,
) -> Result<StepOutcome, TrainingRunError> {
    let line = |&example: &usize| data.examples[example].line;
    let lines = match &error {
        TrainError::Stopped => return Ok(StepOutcome::Stopped),
        TrainError::Loss { sequence, .. } => {
            examples.get(*sequence).map(line).into_iter().collect()
        }
        TrainError::Gradient(_) => examples.iter().map(line).collect(),
        _ => return Err(error.into()),
    };
    let problem = match &error {
        // A sequence's number in its step says nothing to who wrote the lines.
        TrainError::Loss { loss, .. } => format!("the loss is {loss}"),
        TrainError::Gradient(norm) => format!("the gradient's norm is {norm}"),
        other => other.to_string(),
    };
    Ok(StepOutcome::NoNumber(RunEnd::NoNumber { step, file: data.name.clone(), lines, problem }))
}

/// Examples in their order, so many columns at a time.
pub(crate) fn in_batches(columns: &[usize], batch: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut sum = 0;
    for (example, &columns) in columns.iter().enumerate() {
        sum += columns;
        match batches.last_mut().filter(|_| sum <= batch) {
            Some(last) => last.push(example),
            None => {
                sum = columns;
                batches.push(vec![example]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests;
