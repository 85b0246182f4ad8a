//! An experiment on a model, ready to run: all prompts as one batch under each condition, the
//! unchanged model first, and a line for each cell, which compares it with the same prompt's run
//! without an intervention.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cell::{Measurement, RequestPlan, line};
use super::{Condition, Experiment, ExperimentError, conditions};
use crate::batch::{
    Answer, ModelText, Progress, RunError, RunOutcome, RunReport, TextError, TextModel,
    run as run_requests,
};
use crate::engine::Engine;
use crate::model::{ModelConfig, PixelModel};

/// Sequences at a time where nobody says.
pub(crate) const SLOTS: usize = 8;

/// ConditionAnswers of one condition: one per request of the plan.
type ConditionAnswers = Vec<Result<Answer, String>>;

/// Why an experiment cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The model's texts cannot be read.
    #[error("the model's tokenizer cannot be used")]
    Tokenizer(#[source] TextError),
    /// It does not fit the model.
    #[error("experiment/{name}")]
    Conditions {
        /// The name that the experiment was asked for by.
        name: String,
        /// What does not fit.
        source: ExperimentError,
    },
    /// A prompt cannot be made tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// There is nothing to repeat.
    #[error("the vocabulary has hardly any tokens of text")]
    FewTokens,
    /// The engine takes no interventions.
    #[error("this device cannot mute heads")]
    NoInterventions,
    /// The engine gave out.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A line cannot be written.
    #[error("cannot write results")]
    Write(#[source] io::Error),
}

/// Where the lines of cells go.
pub trait CellSink {
    /// Whether it has a cell already, which is then not written again.
    fn has(&self, experiment: &str, prompt: &str, condition: &str) -> bool;

    /// Takes a whole line.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, line: &str) -> io::Result<()>;
}

/// An experiment on a model, ready to run.
pub struct ExperimentJob {
    name: String,
    text: ModelText,
    config: ModelConfig,
    conditions: Vec<Condition>,
    plan: RequestPlan,
}

/// A cell that was measured.
pub struct ExperimentCell<'a> {
    /// The id of its condition.
    pub condition: &'a str,
    /// How far what the experiment looks at is from that of the unchanged model; none where it
    /// looks at nothing.
    pub difference: Option<f32>,
}

impl ExperimentJob {
    /// The experiment of a name on a model.
    ///
    /// # Errors
    /// It does not fit the model, or the model's tokenizer cannot be used.
    pub fn new(name: &str, experiment: &Experiment, model: &PixelModel) -> Result<Self, JobError> {
        let text = ModelText::new(model).map_err(JobError::Tokenizer)?;
        let config = model.config().clone();
        let misfit = |source| JobError::Conditions { name: name.into(), source };
        let conditions = conditions(experiment, &config).map_err(misfit)?;
        let plan = RequestPlan::new(experiment, &text, config.vocab_size)?;
        Ok(Self { name: name.into(), text, config, conditions, plan })
    }

    /// What a person should know of how the model's texts are read.
    pub fn warnings(&self) -> &[String] {
        self.text.warnings()
    }

    /// How many conditions it has.
    pub(crate) fn condition_count(&self) -> usize {
        self.conditions.len()
    }

    /// How many cells it has.
    pub fn cells(&self) -> usize {
        self.conditions.len() * self.plan.trials.len()
    }

    /// Positions that its longest sequence takes.
    pub fn context(&self) -> u32 {
        let longest = self.plan.longest;
        longest.checked_next_multiple_of(64).unwrap_or(longest).min(self.config.context_length)
    }

    /// How many sequences can run at a time, of as many as there may be.
    pub fn slots(&self, most: usize) -> usize {
        most.min(self.plan.requests.len()).max(1)
    }

    /// Measures every cell that the sink lacks, and tells of each. Gives how it ended, and how many
    /// failed.
    ///
    /// # Errors
    /// The engine fails or cannot mute heads, or a line cannot be written.
    pub fn run(
        &self,
        engine: &mut dyn Engine,
        sink: &mut dyn CellSink,
        cancel: &AtomicBool,
        tell: &mut dyn FnMut(ExperimentCell<'_>),
    ) -> Result<(RunOutcome, usize), JobError> {
        let Self { name, text, config, conditions, plan } = self;
        let mut baseline: Vec<Measurement> = Vec::new();
        let mut failed = 0_usize;
        for (at, condition) in conditions.iter().enumerate() {
            let wanted: Vec<bool> =
                plan.trials.iter().map(|trial| !sink.has(name, &trial.id, &condition.id)).collect();
            // The unchanged model's answers are what all others are compared with, so they are
            // always made.
            if at > 0 && !wanted.contains(&true) {
                continue;
            }
            if !engine.set_interventions(&condition.interventions(config)) {
                return Err(JobError::NoInterventions);
            }
            let Some(answers) = answer_all(engine, text, plan, cancel)? else {
                return Ok((RunOutcome::Cancelled, failed));
            };
            let measured = plan.measure(&answers);
            if at == 0 {
                baseline.clone_from(&measured);
            }
            for (index, trial) in plan.trials.iter().enumerate() {
                failed += usize::from(measured[index].error.is_some());
                let (now, before) = (&measured[index], &baseline[index]);
                if wanted[index] {
                    let line = line(name, text.name(), trial, condition, now, before);
                    sink.write(&line).map_err(JobError::Write)?;
                }
                tell(ExperimentCell {
                    condition: &condition.id,
                    difference: now.difference(before),
                });
            }
        }
        Ok((RunOutcome::Complete, failed))
    }
}

/// Runs all requests of the plan; `None` if the run was cancelled.
fn answer_all(
    engine: &mut dyn Engine,
    text: &ModelText,
    plan: &RequestPlan,
    cancel: &AtomicBool,
) -> Result<Option<ConditionAnswers>, RunError> {
    let mut answers: ConditionAnswers = vec![Err("was not answered".into()); plan.requests.len()];
    let mut progress = Progress::new(plan.requests.len() as u64, 0);
    let requests = plan.requests.iter().cloned().map(Ok);
    let outcome = run_requests(engine, text, requests, &mut progress, cancel, |report| {
        if let RunReport::Finished { number, outcome, .. } = report {
            answers[number as usize] = outcome.clone().map_err(|failure| failure.to_string());
        }
        Ok(())
    })?;
    Ok((outcome == RunOutcome::Complete && !cancel.load(Ordering::Relaxed)).then_some(answers))
}
