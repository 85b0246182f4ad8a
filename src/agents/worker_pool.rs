//! Where real work is done: on threads of its own, off the tick and within a budget.
//!
//! Without a pool, work is simulated: it takes the ticks that its job says. With one, it takes as
//! long as it takes. Few jobs are worked on at once, and after each the worker pauses, so that
//! somebody who explores or prompts meanwhile hardly notices.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bevy::prelude::*;

use super::{Job, JobId};
use crate::coach::Attempt;

/// The longest that a worker pauses after a job, however long that took.
const LONGEST_BREAK: Duration = Duration::from_secs(5);

/// How the work on a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It is done, and closed on the board.
    Done,
    /// It is not, for this reason; the job can be taken again, up to its limit of attempts.
    Failed(String),
    /// The coach's queue has what became of the task: the job is withdrawn, and comes anew where
    /// the task is to be done again.
    InQueue(Attempt),
}

/// Does a job for an agent of this name. It is called on a thread of its own and may take its time.
pub type Work = dyn Fn(&Job, &str) -> JobOutcome + Send + Sync;

/// Where real work is done. A resource; without it, work is simulated.
#[derive(Resource)]
pub struct WorkerPool {
    /// Whether no work begins, as while a prompt is answered; what has begun goes on.
    pub on_hold: bool,
    work: Arc<Work>,
    workers: Vec<PoolWorker>,
    share: f64,
    failures: Vec<(JobId, String)>,
}

enum PoolWorker {
    Free { from: Option<Instant> },
    // Behind a lock, since a resource is `Sync` and a receiver is not.
    Busy { job: JobId, since: Instant, outcome: Mutex<Receiver<JobOutcome>> },
}

impl WorkerPool {
    /// A pool with so many workers, each at work for a share of the time between 0 and 1.
    pub fn new(work: Arc<Work>, workers: usize, share: f64) -> Self {
        let workers = (0..workers.max(1)).map(|_| PoolWorker::Free { from: None }).collect();
        // Below a hundredth nothing would ever be done.
        let share = if share.is_finite() { share.clamp(0.01, 1.0) } else { 1.0 };
        Self { on_hold: false, work, workers, share, failures: Vec::new() }
    }

    /// How many workers are at work.
    pub fn busy(&self) -> usize {
        self.workers.iter().filter(|worker| matches!(worker, PoolWorker::Busy { .. })).count()
    }

    /// Whether a worker has a job: its agent may still wait for one.
    pub(crate) fn works_on(&self, id: JobId) -> bool {
        self.workers
            .iter()
            .any(|worker| matches!(worker, PoolWorker::Busy { job, .. } if *job == id))
    }

    /// Attempts that failed since this was last asked, and why.
    pub fn take_failures(&mut self) -> Vec<(JobId, String)> {
        std::mem::take(&mut self.failures)
    }

    /// Begins a job's work if a worker is free, and gives its outcome once it has ended.
    pub(super) fn poll(&mut self, id: JobId, job: &Job, agent: &str) -> Option<JobOutcome> {
        let at_work =
            |worker: &&mut PoolWorker| matches!(worker, PoolWorker::Busy { job, .. } if *job == id);
        if let Some(worker) = self.workers.iter_mut().find(at_work) {
            let PoolWorker::Busy { since, outcome, .. } = worker else { return None };
            let receiver = outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
            let outcome = match receiver.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return None,
                // The thread has ended without an outcome.
                Err(TryRecvError::Disconnected) => JobOutcome::Failed("the work panicked".into()),
            };
            // Then work is `share` of the time: w of w + w (1 / share - 1).
            let pause = since.elapsed().mul_f64(1.0 / self.share - 1.0).min(LONGEST_BREAK);
            *worker = PoolWorker::Free { from: Some(Instant::now() + pause) };
            if let JobOutcome::Failed(why) = &outcome {
                self.failures.push((id, why.clone()));
            }
            return Some(outcome);
        }
        let now = Instant::now();
        let is_free = |worker: &&mut PoolWorker| match worker {
            PoolWorker::Free { from } => from.is_none_or(|from| from <= now),
            PoolWorker::Busy { .. } => false,
        };
        if !self.on_hold
            && let Some(worker) = self.workers.iter_mut().find(is_free)
        {
            let (work, job, agent) = (self.work.clone(), job.clone(), agent.to_owned());
            let (sender, outcome) = channel();
            // A thread of its own: work takes seconds, and a task pool's threads are for what a
            // frame waits for.
            let spawned =
                thread::Builder::new().name(format!("{agent} at work")).spawn(move || {
                    // Where nobody receives it any more, the world is gone.
                    let _ = sender.send(work(&job, &agent));
                });
            if let Err(error) = spawned {
                return Some(JobOutcome::Failed(format!("there is no thread for it: {error}")));
            }
            *worker = PoolWorker::Busy { job: id, since: now, outcome: Mutex::new(outcome) };
        }
        None
    }
}
