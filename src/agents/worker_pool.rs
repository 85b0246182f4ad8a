//! The workshop: where real work is done, off the tick and within a budget.
//!
//! Without one, work is simulated: it takes the ticks that its job says. With one, it takes as long
//! as it takes. Few works run at once, and after each the bench stays free for a while, so that
//! whoever explores or prompts meanwhile hardly notices.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bevy::prelude::*;

use super::{Job, JobId};
use crate::coach::Attempt;

/// The longest that a bench stays free after a work, however long that took.
const LONGEST_BREAK: Duration = Duration::from_secs(5);

/// How a work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not, for this reason; the job can be taken again, up to its limit of attempts.
    Failed(String),
    /// The coach's queue has what became of the task: the job is withdrawn, and comes anew where
    /// the task is to be done again.
    InQueue(Attempt),
}

/// Does a job for an agent of this name. It is called on a thread of its own and may take its time.
pub type Work = dyn Fn(&Job, &str) -> Outcome + Send + Sync;

/// Where real work is done. A resource; without it, work is simulated.
#[derive(Resource)]
pub struct WorkerPool {
    /// Whether no work begins, as while a prompt is answered; what has begun goes on.
    pub on_hold: bool,
    work: Arc<Work>,
    benches: Vec<Bench>,
    share: f64,
    failures: Vec<(JobId, String)>,
}

enum Bench {
    Free { from: Option<Instant> },
    Busy { job: JobId, since: Instant, outcome: Mutex<Receiver<Outcome>> },
}

impl WorkerPool {
    /// A workshop with so many benches, each at work for a share of the time between 0 and 1.
    pub fn new(work: Arc<Work>, benches: usize, share: f64) -> Self {
        let benches = (0..benches.max(1)).map(|_| Bench::Free { from: None }).collect();
        // Below a hundredth nothing would ever be done.
        let share = if share.is_finite() { share.clamp(0.01, 1.0) } else { 1.0 };
        Self { on_hold: false, work, benches, share, failures: Vec::new() }
    }

    /// How many works are going on.
    pub fn busy(&self) -> usize {
        self.benches.iter().filter(|bench| matches!(bench, Bench::Busy { .. })).count()
    }

    /// Whether a job is being worked on, and not only waited for a bench with.
    pub fn works_on(&self, id: JobId) -> bool {
        self.benches.iter().any(|bench| matches!(bench, Bench::Busy { job, .. } if *job == id))
    }

    /// Attempts that failed since this was last asked, and why.
    pub fn take_failures(&mut self) -> Vec<(JobId, String)> {
        std::mem::take(&mut self.failures)
    }

    /// Begins a job's work if a bench is free, and tells how it ended once it has.
    pub(super) fn attend(&mut self, id: JobId, job: &Job, agent: &str) -> Option<Outcome> {
        let at_work = |bench: &&mut Bench| matches!(bench, Bench::Busy { job, .. } if *job == id);
        if let Some(bench) = self.benches.iter_mut().find(at_work) {
            let Bench::Busy { since, outcome, .. } = bench else { return None };
            let receiver = outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
            let outcome = match receiver.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return None,
                // The thread has ended without a word.
                Err(TryRecvError::Disconnected) => Outcome::Failed("the work panicked".into()),
            };
            let pause = since.elapsed().mul_f64(1.0 / self.share - 1.0).min(LONGEST_BREAK);
            *bench = Bench::Free { from: Some(Instant::now() + pause) };
            if let Outcome::Failed(why) = &outcome {
                self.failures.push((id, why.clone()));
            }
            return Some(outcome);
        }
        let now = Instant::now();
        let is_free = |bench: &&mut Bench| matches!(bench, Bench::Free { from } if from.is_none_or(|from| from <= now));
        if !self.on_hold
            && let Some(bench) = self.benches.iter_mut().find(is_free)
        {
            let (work, job, agent) = (self.work.clone(), job.clone(), agent.to_owned());
            let (sender, outcome) = channel();
            // A thread of its own: work takes seconds, and a task pool's threads are for what a
            // frame waits for.
            let spawned =
                thread::Builder::new().name(format!("{agent} at work")).spawn(move || {
                    // Where nobody listens any more, the world is gone.
                    let _ = sender.send(work(&job, &agent));
                });
            if let Err(error) = spawned {
                return Some(Outcome::Failed(format!("there is no thread for it: {error}")));
            }
            *bench = Bench::Busy { job: id, since: now, outcome: Mutex::new(outcome) };
        }
        None
    }
}
