//! The loop of a batch run: admit, step, write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::answer::{Answer, Failure};
use super::input::InputError;
use super::output::OutputError;
use super::progress::Progress;
use super::request::Request;
use super::schedule::{RequestEvent, Scheduler};
use super::text::TextModel;
use crate::engine::{Engine, EngineError};

/// Why a run ended before its last request. What was finished before is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input changed or cannot be read any more.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The model cannot be run any more.
    #[error("the model stopped: {0}")]
    Engine(#[from] EngineError),
    /// Results cannot be written any more.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Every request has a result or an error.
    Complete,
    /// It was cancelled. Requests that were running have no result.
    Cancelled,
}

/// What a run tells its caller.
#[derive(Clone, Copy, Debug)]
pub enum RunReport<'a> {
    /// New text of a running request, by the order of admission from 0.
    Text {
        /// The request's number, from 0.
        number: u64,
        /// The text that is new.
        text: &'a str,
        /// The log-probability of the token that it came with, where the request asks for them.
        logprob: Option<f32>,
        /// Whether that token was drafted.
        drafted: bool,
    },
    /// A request is finished: its result is to be written.
    Finished {
        /// The request, by the order of admission from 0.
        number: u64,
        /// What was asked, with its id.
        request: &'a Request,
        /// What became of it.
        outcome: &'a Result<Answer, Failure>,
    },
    /// What a person should hear of prompts that are kept on disk.
    Note(&'a str),
    /// A step is done, and these are the counts.
    Step(&'a Progress),
}

/// Runs requests to their end. `report` writes results and shows progress; its error ends the run.
/// `cancel` is looked at between steps.
pub fn run(
    engine: &mut dyn Engine,
    text: &dyn TextModel,
    requests: impl IntoIterator<Item = Result<Request, InputError>>,
    progress: &mut Progress,
    cancel: &AtomicBool,
    report: impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<RunOutcome, RunError> {
    let mut scheduler = Scheduler::new(text, engine.capacity());
    run_on(&mut scheduler, engine, requests, progress, cancel, report)
}

/// The same on a scheduler of the caller's: one that drafts or keeps prompts, or one that was used
/// before, whose slots still hold the beginnings of earlier sequences: the turns of a
/// conversation. After a cancelled run, [`Scheduler::stop`] ends what was
/// running.
pub(crate) fn run_on(
    scheduler: &mut Scheduler<'_>,
    engine: &mut dyn Engine,
    requests: impl IntoIterator<Item = Result<Request, InputError>>,
    progress: &mut Progress,
    cancel: &AtomicBool,
    mut report: impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<RunOutcome, RunError> {
    let start = Instant::now();
    // It is asked again in every step, also after its end.
    let mut requests = requests.into_iter().fuse();
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Ok(RunOutcome::Cancelled);
        }
        let mut exhausted = false;
        while scheduler.has_room() && !exhausted {
            match requests.next() {
                Some(request) => scheduler.admit(request?, start.elapsed()),
                None => exhausted = true,
            }
            // A request that failed at admission leaves its room to the next.
            tell(scheduler, progress, &mut report)?;
        }
        scheduler.exchange(engine)?;
        tell_notes(scheduler, &mut report)?;
        // Where nothing runs there was room, so that all requests are through.
        let Some(batch) = scheduler.plan() else {
            return Ok(RunOutcome::Complete);
        };
        let submitted = Instant::now();
        let answers = engine.step(&batch)?;
        scheduler.took(submitted.elapsed());
        scheduler.accept(&answers, start.elapsed())?;
        // Before a slot whose request has ended is given to another.
        scheduler.exchange(engine)?;
        tell_notes(scheduler, &mut report)?;
        tell(scheduler, progress, &mut report)?;
        progress.tick(start.elapsed());
        report(RunReport::Step(progress))?;
    }
}

fn tell_notes(
    scheduler: &mut Scheduler<'_>,
    report: &mut impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    scheduler.take_notes().iter().try_for_each(|note| report(RunReport::Note(note)))
}

/// Passes the scheduler's events on and counts them.
fn tell(
    scheduler: &mut Scheduler<'_>,
    progress: &mut Progress,
    report: &mut impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    for event in scheduler.take_events() {
        match &event {
            &RequestEvent::Text { number, ref text, logprob, drafted } => {
                report(RunReport::Text { number, text, logprob, drafted })?;
            }
            RequestEvent::Finished { number, request, outcome } => {
                // Counted only once it is written.
                report(RunReport::Finished { number: *number, request, outcome })?;
                match outcome {
                    Ok(_) => progress.succeeded += 1,
                    Err(_) => progress.failed += 1,
                }
            }
        }
    }
    let counts = scheduler.counts();
    progress.prompt_tokens = counts.prompt_tokens;
    progress.shared_tokens = counts.shared_tokens;
    progress.loaded_tokens = counts.loaded_tokens;
    progress.completion_tokens = counts.completion_tokens;
    progress.drafted_tokens = counts.drafted_tokens;
    progress.accepted_tokens = counts.accepted_tokens;
    Ok(())
}
