//! The loop's side of the queue: it takes requests out, and hands back what becomes of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::metrics::{RequestOutcome, ServerMetrics};
use super::queue::{EndedReason, FinishedReply, QueuedRequest, RequestQueue, RequestReply};
use crate::batch::{
    Answer, Failure, InputError, NextRequest, OutputError, Progress, Request, RequestSource,
    RunError, RunOutcome, RunReport, Scheduler, run_from,
};
use crate::engine::Engine;

/// How long a loop that has nothing to do waits for a request, until it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(50);

/// Answers requests of the queue until `stop` is set and what was taken is answered, or `grace` is
/// over; then the run is cancelled, and who still waits hears that the server ends.
///
/// # Errors
/// The engine gave out. Who waits has heard it.
pub fn answer_queue(
    scheduler: &mut Scheduler<'_>,
    engine: &mut dyn Engine,
    queue: &RequestQueue,
    metrics: &ServerMetrics,
    stop: &AtomicBool,
    grace: Duration,
    mut note: impl FnMut(&str),
) -> Result<RunOutcome, RunError> {
    let halt = AtomicBool::new(false);
    let live = Rc::new(RefCell::new(LiveRequests::default()));
    let mut source = QueueSource {
        queue,
        metrics,
        live: Rc::clone(&live),
        stop,
        stopped: None,
        grace,
        halt: &halt,
    };
    let mut progress = Progress::new(0, 0);
    let outcome = run_from(scheduler, engine, &mut source, &mut progress, &halt, |report| {
        match report {
            RunReport::Note(text) => note(text),
            report => live.borrow_mut().take(report, metrics),
        }
        Ok::<(), OutputError>(())
    });
    queue.close();
    let reason = match &outcome {
        Err(error) => EndedReason::Engine(error.to_string()),
        Ok(_) => EndedReason::Stopping,
    };
    let waiting = std::iter::from_fn(|| queue.pop(None)).map(|queued| queued.reply);
    let running = std::mem::take(&mut live.borrow_mut().requests);
    for reply in running.into_values().map(|request| request.reply).chain(waiting) {
        metrics.ended(RequestOutcome::Failed);
        // Whoever has gone need not hear it.
        let _ = reply.send(RequestReply::Ended(reason.clone()));
    }
    outcome
}

/// Gives the loop what waits in the queue.
struct QueueSource<'a> {
    queue: &'a RequestQueue,
    metrics: &'a ServerMetrics,
    live: Rc<RefCell<LiveRequests>>,
    stop: &'a AtomicBool,
    /// Since when the server is to end.
    stopped: Option<Instant>,
    grace: Duration,
    /// Ends the run where it stands.
    halt: &'a AtomicBool,
}

impl RequestSource for QueueSource<'_> {
    fn next(&mut self, patience: Duration) -> Result<NextRequest, InputError> {
        let wait = Some(patience.min(WAIT)).filter(|wait| *wait > Duration::ZERO);
        if let Some(queued) = self.queue.pop(wait) {
            return Ok(NextRequest::Request(Box::new(self.live.borrow_mut().add(queued))));
        }
        Ok(if self.queue.is_closed() { NextRequest::End } else { NextRequest::NoneNow })
    }

    fn abandoned(&mut self) -> Vec<u64> {
        // It is asked before every step, so here it is noticed in time.
        if self.stop.load(Ordering::Relaxed) {
            self.queue.close();
            let since = *self.stopped.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.grace {
                self.halt.store(true, Ordering::Relaxed);
            }
        }
        let gone = self.live.borrow_mut().remove_abandoned();
        gone.iter().for_each(|_| self.metrics.ended(RequestOutcome::Abandoned));
        gone
    }
}

/// Who waits for the requests that were given to the loop, by their number.
#[derive(Default)]
struct LiveRequests {
    given: u64,
    requests: BTreeMap<u64, LiveRequest>,
}

struct LiveRequest {
    streams: bool,
    arrived: Instant,
    has_text: bool,
    reply: tokio::sync::mpsc::UnboundedSender<RequestReply>,
}

impl LiveRequests {
    fn add(&mut self, queued: QueuedRequest) -> Request {
        let QueuedRequest { request, streams, arrived, reply } = queued;
        self.requests.insert(self.given, LiveRequest { streams, arrived, has_text: false, reply });
        self.given += 1;
        request
    }

    /// Takes out those that nobody waits for any more.
    fn remove_abandoned(&mut self) -> Vec<u64> {
        let gone = self.requests.iter().filter(|(_, request)| request.reply.is_closed());
        let gone: Vec<u64> = gone.map(|(&number, _)| number).collect();
        gone.iter().for_each(|number| drop(self.requests.remove(number)));
        gone
    }

    fn take(&mut self, report: RunReport<'_>, metrics: &ServerMetrics) {
        match report {
            RunReport::Started { number } => {
                if let Some(request) = self.requests.get(&number) {
                    let _ = request.reply.send(RequestReply::Started);
                }
            }
            RunReport::Text { number, choice, text, tokens, .. } => {
                let Some(request) = self.requests.get_mut(&number) else { return };
                if !std::mem::replace(&mut request.has_text, true) {
                    metrics.first_token(request.arrived.elapsed());
                }
                if request.streams {
                    let (text, tokens) = (text.to_owned(), tokens.to_vec());
                    let _ = request.reply.send(RequestReply::Text { choice, text, tokens });
                }
            }
            RunReport::Finished { number, request, outcome, more } => {
                self.finish(number, request, outcome, more, metrics);
            }
            RunReport::Step(progress) => metrics.update(|counts| {
                counts.running = progress.running;
                counts.positions = progress.positions;
                counts.prompt_tokens = progress.prompt_tokens;
                counts.shared_tokens = progress.shared_tokens;
                counts.completion_tokens = progress.completion_tokens;
            }),
            // Bodies that are no requests never come to the queue.
            RunReport::Refused(_) | RunReport::Note(_) => {}
        }
    }

    fn finish(
        &mut self,
        number: u64,
        request: &Request,
        outcome: &Result<Answer, Failure>,
        more: &[Answer],
        metrics: &ServerMetrics,
    ) {
        let Some(live) = self.requests.remove(&number) else { return };
        let request = request.clone();
        let (reply, ended) = match outcome {
            Ok(answer) => {
                for answer in std::iter::once(answer).chain(more) {
                    if let Some(later) = answer.completion_tokens.checked_sub(1).filter(|&n| n > 0)
                    {
                        metrics.per_token(answer.predicted_time / later);
                    }
                }
                let (answer, more) = (answer.clone(), more.to_vec());
                let finished = Box::new(FinishedReply { request, answer, more });
                (RequestReply::Finished(finished), RequestOutcome::Answered)
            }
            Err(failure) => {
                let failed = RequestReply::Failed(Box::new(request), failure.clone());
                (failed, RequestOutcome::Failed)
            }
        };
        metrics.ended(ended);
        let _ = live.reply.send(reply);
    }
}
