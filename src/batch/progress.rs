//! How far a run is. Data only: the command line draws it.

use std::collections::VecDeque;
use std::time::Duration;

/// The counts of a run, as they grow. Times are since the run's start.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// How many requests the run has.
    pub total: u64,
    /// How many were finished by an earlier run.
    pub already_finished: u64,
    /// How many have a result.
    pub succeeded: u64,
    /// How many have an error.
    pub failed: u64,
    /// Prompt tokens of finished and running requests.
    pub prompt_tokens: u64,
    /// Prompt tokens that were copied from another request instead of computed.
    pub shared_tokens: u64,
    /// Of these, those that came from files of kept prompts.
    pub loaded_tokens: u64,
    /// Tokens of answers so far.
    pub completion_tokens: u64,
    /// Tokens that were drafted and checked.
    pub drafted_tokens: u64,
    /// Tokens of answers that had been drafted.
    pub accepted_tokens: u64,
    /// How many slots are taken.
    pub running: usize,
    /// Positions of all slots that have keys and values.
    pub positions: usize,
    /// Moments with the counts they had, for the speed of late.
    moments: VecDeque<(Duration, u64, u64)>,
}

/// The span over which the speed of late is measured: long enough to be steady, short enough to
/// follow.
const SPAN: Duration = Duration::from_secs(20);

/// The time between two moments that are kept.
const INTERVAL: Duration = Duration::from_millis(250);

/// What a progress bar shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgressSnapshot {
    /// Requests that have a result or an error, of this run.
    pub done: u64,
    /// Requests that have neither.
    pub remaining: u64,
    /// Prompt and answer tokens per second, of late; `None` in the beginning.
    pub tokens_per_second: Option<f64>,
    /// The time that is probably left; `None` in the beginning.
    pub time_left: Option<Duration>,
}

impl Progress {
    /// The counts before a run of `total` requests, of which some were finished before.
    pub fn new(total: u64, already_finished: u64) -> Self {
        Self { total, already_finished, ..Self::default() }
    }

    /// Notes the time of the counts. To be called after every step.
    pub fn tick(&mut self, now: Duration) {
        let recent = self.moments.back().is_some_and(|&(last, ..)| now < last + INTERVAL);
        if recent {
            return;
        }
        self.moments.push_back((now, self.done(), self.tokens()));
        // The first goes once the second is old enough: the span is never shorter than `SPAN`.
        while self.moments.len() > 2 && self.moments[1].0 + SPAN <= now {
            self.moments.pop_front();
        }
    }

    /// Requests of this run that have a result or an error.
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed
    }

    fn tokens(&self) -> u64 {
        // What was copied took no time.
        self.prompt_tokens - self.shared_tokens + self.completion_tokens
    }

    /// What to show at `now`.
    pub fn snapshot(&self, now: Duration) -> ProgressSnapshot {
        let done = self.done();
        let remaining = self.total.saturating_sub(self.already_finished + done);
        let since = self.moments.front().filter(|(then, ..)| *then < now);
        let tokens_per_second = since
            .map(|&(then, _, tokens)| (self.tokens() - tokens) as f64 / (now - then).as_secs_f64());
        // The time left goes by the whole run: requests of one kind often stand together, and the
        // last 20 seconds may have finished none.
        let time_left = (done > 0 && !now.is_zero())
            .then(|| now.as_secs_f64() / done as f64 * remaining as f64)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        ProgressSnapshot { done, remaining, tokens_per_second, time_left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_of_late_and_time_left_of_the_whole_run() {
        let mut progress = Progress::new(10, 2);
        assert_eq!(progress.snapshot(Duration::ZERO).time_left, None);
        for second in 0..60 {
            progress.completion_tokens += if second < 30 { 1 } else { 100 };
            progress.succeeded = second / 15;
            progress.tick(Duration::from_secs(second));
        }
        let snapshot = progress.snapshot(Duration::from_secs(60));
        assert_eq!((snapshot.done, snapshot.remaining), (3, 5));
        assert_eq!(snapshot.time_left, Some(Duration::from_secs(100)));
        assert!((90.0..=110.0).contains(&snapshot.tokens_per_second.unwrap()), "{snapshot:?}");
    }
}
