//! The bounded queue between connections and the loop that answers them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::batch::{Answer, Failure, Request, ScoredToken};

/// What a connection hears of its request. What is sent is bounded by the answer's length, so the
/// channel need not be.
#[derive(Debug)]
pub(super) enum RequestReply {
    /// It has a slot.
    Started,
    /// New text of one of its choices, where the request is to be streamed.
    Text { choice: usize, text: String, tokens: Vec<ScoredToken> },
    /// Every choice is made.
    Finished(Box<FinishedReply>),
    /// It cannot be answered.
    Failed(Box<Request>, Failure),
    /// The server ends, or its engine has given out.
    Ended(EndedReason),
}

/// An answered request.
#[derive(Debug)]
pub(super) struct FinishedReply {
    pub request: Request,
    pub answer: Answer,
    pub more: Vec<Answer>,
}

/// Why requests end without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndedReason {
    /// The server was told to end, and their time was over.
    Stopping,
    /// The engine cannot go on.
    Engine(String),
}

/// A request that waits for a slot.
#[derive(Debug)]
pub(super) struct QueuedRequest {
    pub request: Request,
    /// Whether text is wanted as it comes.
    pub streams: bool,
    pub arrived: Instant,
    /// Closed once nobody waits for the answer.
    pub reply: UnboundedSender<RequestReply>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueRefusal {
    /// As many wait as may.
    Full,
    /// The server ends.
    Closed,
}

/// What waits for a slot, in the order in which it came.
#[derive(Debug)]
pub struct RequestQueue {
    limit: usize,
    waiting: Mutex<WaitingRequests>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct WaitingRequests {
    requests: VecDeque<QueuedRequest>,
    closed: bool,
}

impl RequestQueue {
    /// A queue in which at most `limit` requests wait.
    pub fn new(limit: usize) -> Self {
        Self { limit, waiting: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingRequests> {
        // What is in it is whole between two calls.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request, if there is room.
    pub(super) fn push(&self, request: QueuedRequest) -> Result<(), QueueRefusal> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(QueueRefusal::Closed);
        }
        if waiting.requests.len() >= self.limit {
            // Those that nobody waits for any more hold no room.
            waiting.requests.retain(|queued| !queued.reply.is_closed());
        }
        if waiting.requests.len() >= self.limit {
            return Err(QueueRefusal::Full);
        }
        waiting.requests.push_back(request);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// The next request that somebody waits for. With `wait`, it waits so long for one to come.
    pub(super) fn pop(&self, wait: Option<Duration>) -> Option<QueuedRequest> {
        let mut waiting = self.lock();
        if let Some(time) = wait
            && waiting.requests.is_empty()
            && !waiting.closed
        {
            let waited = self.changed.wait_timeout(waiting, time);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while let Some(queued) = waiting.requests.pop_front() {
            if !queued.reply.is_closed() {
                return Some(queued);
            }
        }
        None
    }

    /// Takes nothing any more. What waits stays.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether it takes nothing any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().requests.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::batch::Defaults;

    fn queued(id: &str) -> (QueuedRequest, UnboundedReceiver<RequestReply>) {
        let (reply, receiver) = unbounded_channel();
        let request = Defaults::default().request(id, "x");
        (QueuedRequest { request, streams: false, arrived: Instant::now(), reply }, receiver)
    }

    #[test]
    fn a_full_queue_refuses_until_somebody_leaves() {
        let queue = RequestQueue::new(2);
        let [(a, a_waits), (b, _b_waits), (c, _c_waits)] = ["a", "b", "c"].map(queued);
        queue.push(a).unwrap();
        queue.push(b).unwrap();
        assert_eq!(queue.push(c), Err(QueueRefusal::Full));
        drop(a_waits);
        let (d, _d_waits) = queued("d");
        queue.push(d).unwrap();
        let ids = [queue.pop(None), queue.pop(None)].map(|queued| queued.unwrap().request.id);
        assert_eq!(ids, ["b", "d"]);
        assert!(queue.pop(None).is_none());
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_gives_what_it_has() {
        let queue = RequestQueue::new(2);
        let (a, _a_waits) = queued("a");
        queue.push(a).unwrap();
        queue.close();
        let (b, _b_waits) = queued("b");
        assert_eq!(queue.push(b), Err(QueueRefusal::Closed));
        assert_eq!(queue.pop(Some(Duration::ZERO)).unwrap().request.id, "a");
        // It does not wait for what cannot come.
        assert!(queue.pop(Some(Duration::from_secs(600))).is_none());
    }
}
