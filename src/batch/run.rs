//! The loop of a batch run: admit, step, write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::answer::{Answer, Failure, ScoredToken};
use super::choices::{Choices, FinishedRequest, PartOf};
use super::input::InputError;
use super::output::OutputError;
use super::progress::Progress;
use super::request::Request;
use super::schedule::{RequestEvent, Scheduler};
use super::source::{ListedRequests, NextRequest, RefusedLine, RequestSource};
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
    /// A request has a slot, or the first of its choices.
    Started {
        /// The request's number, by the order in which the source gave it, from 0.
        number: u64,
    },
    /// New text of a running request.
    Text {
        /// The request's number, by the order in which the source gave it, from 0.
        number: u64,
        /// The choice of its result that the text is of, from 0.
        choice: usize,
        /// The text that is new.
        text: &'a str,
        /// The log-probability of the token that it came with, where the request asks for them.
        logprob: Option<f32>,
        /// Whether that token was drafted.
        drafted: bool,
        /// The tokens that have become certain, of a scheduler that tells scores.
        tokens: &'a [ScoredToken],
    },
    /// A request is finished: its result is to be written.
    Finished {
        /// The request, by the order in which the source gave it, from 0.
        number: u64,
        /// What was asked, with its id.
        request: &'a Request,
        /// What became of it: of its first choice, where it has several. A failure is that of all.
        outcome: &'a Result<Answer, Failure>,
        /// The other choices.
        more: &'a [Answer],
    },
    /// A line is no request, and its result is to say so.
    Refused(&'a RefusedLine),
    /// What a person should hear: of prompts that are kept on disk, of fields without effect.
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
    report: impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<RunOutcome, RunError> {
    run_from(scheduler, engine, &mut ListedRequests::new(requests), progress, cancel, report)
}

/// The same with requests of a source that may have none now and one in a moment.
///
/// # Errors
/// The source, the engine or whoever takes the results gave out.
pub fn run_from(
    scheduler: &mut Scheduler<'_>,
    engine: &mut dyn Engine,
    source: &mut dyn RequestSource,
    progress: &mut Progress,
    cancel: &AtomicBool,
    mut report: impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<RunOutcome, RunError> {
    let start = Instant::now();
    let mut choices = Choices::default();
    let mut patience = Duration::ZERO;
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Ok(RunOutcome::Cancelled);
        }
        for request in source.abandoned() {
            choices.forget(request).into_iter().for_each(|number| scheduler.cancel(number));
        }
        let ended =
            admit(scheduler, source, (&mut choices, patience), progress, &mut report, || {
                start.elapsed()
            })?;
        scheduler.exchange(engine)?;
        tell_notes(scheduler, &mut report)?;
        let Some(batch) = scheduler.plan() else {
            // Where nothing runs there was room, so that all requests are through.
            if ended {
                return Ok(RunOutcome::Complete);
            }
            continue;
        };
        let submitted = Instant::now();
        let answers = engine.step(&batch)?;
        let took = submitted.elapsed();
        scheduler.took(took);
        let running = scheduler.running();
        scheduler.accept(&answers, start.elapsed())?;
        // Whoever has an answer may ask again in a moment, and then need not wait a whole step.
        let has_freed = scheduler.running() < running;
        let most = (took / PATIENCE_SHARE).min(MOST_PATIENCE);
        patience = if has_freed { most } else { Duration::ZERO };
        // Before a slot whose request has ended is given to another.
        scheduler.exchange(engine)?;
        tell_notes(scheduler, &mut report)?;
        tell(scheduler, &mut choices, progress, &mut report)?;
        progress.tick(start.elapsed());
        report(RunReport::Step(progress))?;
    }
}

/// The share of a step's time for which a step may be put off where requests have just ended.
const PATIENCE_SHARE: u32 = 20;

/// The longest that a step is put off: who asks alone need not notice.
const MOST_PATIENCE: Duration = Duration::from_millis(5);

/// Gives free slots to what waits for one, and to what the source has; true where it has nothing
/// any more.
fn admit(
    scheduler: &mut Scheduler<'_>,
    source: &mut dyn RequestSource,
    (choices, patience): (&mut Choices, Duration),
    progress: &mut Progress,
    report: &mut impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
    now: impl Fn() -> Duration,
) -> Result<bool, RunError> {
    let mut since = now();
    while scheduler.has_room() {
        if choices.is_empty() {
            let is_idle = scheduler.is_idle();
            let left = patience.saturating_sub(now().saturating_sub(since));
            let next = source.next(if is_idle { Duration::MAX } else { left })?;
            if is_idle {
                since = now();
            }
            match next {
                NextRequest::Request(request) => choices.push(*request),
                NextRequest::Refused(line) => {
                    report(RunReport::Refused(&line))?;
                    progress.failed += 1;
                    continue;
                }
                NextRequest::Note(note) => {
                    report(RunReport::Note(&note))?;
                    continue;
                }
                NextRequest::NoneNow => return Ok(false),
                NextRequest::End => return Ok(true),
            }
        }
        let number = scheduler.admitted();
        let Some(request) = choices.next_part(number) else { continue };
        scheduler.admit(request, now());
        // A request that failed at admission leaves its room to the next.
        tell(scheduler, choices, progress, report)?;
        if let Some(PartOf { request: number, choice: 0 }) = choices.part(number) {
            report(RunReport::Started { number })?;
        }
    }
    Ok(false)
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
    choices: &mut Choices,
    progress: &mut Progress,
    report: &mut impl FnMut(RunReport<'_>) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    for event in scheduler.take_events() {
        match event {
            RequestEvent::Text { number, text, logprob, drafted, tokens } => {
                // What was forgotten meanwhile has nobody to read it.
                let Some(PartOf { request: number, choice }) = choices.part(number) else {
                    continue;
                };
                let (text, tokens) = (text.as_str(), tokens.as_slice());
                report(RunReport::Text { number, choice, text, logprob, drafted, tokens })?;
            }
            RequestEvent::Finished { number, request, outcome } => {
                let Some(finished) = choices.finish(number, *request, outcome) else { continue };
                let FinishedRequest { number, request, outcome, more } = &finished;
                let number = *number;
                // Where one choice failed, so has the whole.
                choices.forget(number).into_iter().for_each(|part| scheduler.cancel(part));
                // Counted only once it is written.
                report(RunReport::Finished { number, request, outcome, more })?;
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
    (progress.running, progress.positions) = (scheduler.running(), scheduler.positions());
    Ok(())
}
