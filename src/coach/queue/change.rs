//! The only ways in which tasks change. Each is a change of status that
//! [`TRANSITIONS`](crate::coach::TRANSITIONS) has, or a note.

use jiff::Zoned;

use super::{ACCEPTED_SCORE, MAX_ROUNDS, Queue};
use crate::coach::{
    AgentKind, Block, BlockKind, CoachError, ReviewVerdict, Status, Task, TaskId, TaskReport,
    Worker,
};

impl Queue {
    /// A worker begins a pending task whose dependencies are completed.
    ///
    /// # Errors
    /// Somebody is on it, it is not ready, or its attempts are used up.
    pub fn start(&mut self, id: &TaskId, worker: Worker, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task(id)?;
        if !task.status.may_become(Status::InProgress) {
            return Err(task.refused(Status::InProgress));
        }
        if let Some(dependency) = self.unmet(task) {
            let (dependency, status) = (dependency.id.clone(), dependency.status);
            return Err(CoachError::NotReady { id: id.clone(), dependency, status });
        }
        if task.attempts >= task.attempt_limit {
            return Err(CoachError::AttemptsUsed { id: id.clone(), attempts: task.attempts });
        }
        let task = self.task_mut(id)?;
        task.become_status(Status::InProgress, format!("begun by {}", worker.name), now)?;
        task.attempts += 1;
        task.worker = Some(worker);
        task.started = Some(now.clone());
        task.waiting = None;
        Ok(())
    }

    /// The work is done. A check that it fails sends it back (or fails it at its limit of
    /// attempts); without a reviewer it is completed, with one it waits for the review. Gives the
    /// status that it has now.
    ///
    /// # Errors
    /// Nobody was on it, or a metric is not finite.
    pub fn finish(
        &mut self,
        id: &TaskId,
        report: TaskReport,
        now: &Zoned,
    ) -> Result<Status, CoachError> {
        // JSON has neither infinity nor NaN: the file could not be read back.
        if let Some((metric, value)) = report.metrics.iter().find(|(_, value)| !value.is_finite()) {
            return Err(CoachError::NotFinite {
                id: id.clone(),
                metric: metric.clone(),
                value: *value,
            });
        }
        let task = self.task_mut(id)?;
        task.must_be(Status::InProgress, Status::Completed)?;
        let summary = report.summary.clone();
        let checked = task.acceptance.as_ref().map(|check| check.holds(&report));
        task.report = Some(report);
        match (checked, task.reviewer) {
            (Some(Err(reason)), _) => {
                return self.give_back(id, format!("not accepted: {reason}"), now);
            }
            // Where there is a check it alone decides, and no reviewer is asked.
            (None, Some(_)) => {
                task.become_status(Status::Review, summary, now)?;
                task.worker = None;
            }
            _ => task.complete(summary, now)?,
        }
        Ok(task.status)
    }

    /// The attempt did not succeed: the task is pending again, or failed if that was its last
    /// attempt.
    ///
    /// # Errors
    /// Nobody was on it.
    pub(crate) fn give_back(
        &mut self,
        id: &TaskId,
        why: impl Into<String>,
        now: &Zoned,
    ) -> Result<Status, CoachError> {
        let task = self.task(id)?;
        if task.attempts >= task.attempt_limit {
            self.fail(id, why, now)?;
            return Ok(Status::Failed);
        }
        self.leave(id, Status::Pending, why.into(), now)?;
        Ok(Status::Pending)
    }

    /// The worker stops for no fault of the task: its process ended, or it hands over. The attempt
    /// does not count.
    ///
    /// # Errors
    /// Nobody was on it.
    pub fn release(
        &mut self,
        id: &TaskId,
        why: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        self.leave(id, Status::Pending, why.into(), now)?;
        let task = self.task_mut(id)?;
        task.attempts = task.attempts.saturating_sub(1);
        Ok(())
    }

    fn leave(
        &mut self,
        id: &TaskId,
        to: Status,
        why: String,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        let task = self.task_mut(id)?;
        task.must_be(Status::InProgress, to)?;
        task.become_status(to, why, now)?;
        task.worker = None;
        Ok(())
    }

    /// The task has failed; what depends on it is blocked and says why.
    ///
    /// # Errors
    /// It is completed, failed or blocked already.
    pub fn fail(
        &mut self,
        id: &TaskId,
        why: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        let task = self.task_mut(id)?;
        task.become_status(Status::Failed, why, now)?;
        task.worker = None;
        task.waiting = None;
        task.needs_person = false;
        task.finished = Some(now.clone());
        self.settle(now);
        Ok(())
    }

    /// This program lacks what the task needs. Later phases do not wait for it.
    ///
    /// # Errors
    /// It is neither pending nor in progress.
    pub(crate) fn block_missing(
        &mut self,
        id: &TaskId,
        why: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        let why = why.into();
        let task = self.task_mut(id)?;
        task.become_status(Status::Blocked, why.clone(), now)?;
        task.worker = None;
        task.block = Some(Block { through: None, kind: BlockKind::Missing, why });
        self.settle(now);
        Ok(())
    }

    /// What the task lacked may be there now: it is pending again, and so is what was blocked by
    /// it.
    ///
    /// # Errors
    /// It is not blocked by itself.
    pub(crate) fn unblock(&mut self, id: &TaskId, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task_mut(id)?;
        if task.block.as_ref().is_none_or(|block| block.through.is_some()) {
            return Err(task.refused(Status::Pending));
        }
        task.become_status(Status::Pending, "unblocked", now)?;
        task.block = None;
        self.settle(now);
        Ok(())
    }

    /// A reviewer's word: from [`ACCEPTED_SCORE`] on the task is completed; below it goes back with
    /// the feedback; after [`MAX_ROUNDS`] reviews it needs a person.
    ///
    /// # Errors
    /// The task is not in review, or the score is not from 0 to 10.
    pub fn judge(
        &mut self,
        id: &TaskId,
        verdict: ReviewVerdict,
        now: &Zoned,
    ) -> Result<Status, CoachError> {
        if !(0.0..=10.0).contains(&verdict.score) {
            return Err(CoachError::Score { id: id.clone(), score: verdict.score });
        }
        let task = self.task_mut(id)?;
        task.must_be(Status::Review, Status::Completed)?;
        let said =
            format!("{} gives {} of 10: {}", verdict.reviewer, verdict.score, verdict.feedback);
        let accepted = verdict.score >= ACCEPTED_SCORE;
        task.verdict = Some(verdict);
        task.rounds += 1;
        if accepted {
            task.complete(said, now)?;
        } else {
            send_back(task, said, &format!("reviews below {ACCEPTED_SCORE}"), now)?;
        }
        Ok(task.status)
    }

    /// A review gave nothing that can be used: the task goes back and is done again, up to
    /// [`MAX_ROUNDS`] reviews; then it needs a person.
    ///
    /// # Errors
    /// The task is not in review.
    pub(crate) fn review_gave_nothing(
        &mut self,
        id: &TaskId,
        why: &str,
        now: &Zoned,
    ) -> Result<Status, CoachError> {
        let task = self.task_mut(id)?;
        task.must_be(Status::Review, Status::Pending)?;
        task.rounds += 1;
        let said = format!("the review gave nothing: {why}");
        send_back(task, said, &format!("reviews; the last gave nothing: {why}"), now)?;
        Ok(task.status)
    }

    /// A person's word on a task, which changes nothing else.
    ///
    /// # Errors
    /// There is no such task.
    pub(crate) fn comment(
        &mut self,
        id: &TaskId,
        who: &str,
        word: &str,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        self.note(id, format!("{who}: {word}"), now)
    }

    /// Blocks each task whose action this program cannot do, so that it says so before anybody
    /// tries.
    pub(crate) fn block_what_is_missing(&mut self, now: &Zoned) {
        let missing: Vec<(TaskId, String)> = (self.tasks.iter())
            .filter(|task| task.status == Status::Pending)
            .filter_map(|task| Some((task.id.clone(), task.action.missing()?)))
            .collect();
        for (id, what) in missing {
            // What waits for another missing task was blocked through it a moment ago, which says
            // it as well.
            if self.task(&id).is_ok_and(|task| task.status == Status::Pending) {
                self.block_missing(&id, what, now).expect("a pending task can be blocked");
            }
        }
    }

    /// A task stays where it is and says what it waits for: a reviewer that is not there, a person.
    ///
    /// # Errors
    /// There is no such task.
    pub fn wait(
        &mut self,
        id: &TaskId,
        what: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        let what = what.into();
        let task = self.task_mut(id)?;
        // Once, not at each look: a history keeps 60 events.
        if task.waiting.as_ref() != Some(&what) {
            task.note(format!("waits for {what}"), now);
            task.waiting = Some(what);
        }
        Ok(())
    }

    /// The work ends in a question to a person, who answers by accepting, retrying or failing the
    /// task.
    ///
    /// # Errors
    /// Nobody was on it.
    pub fn ask_person(
        &mut self,
        id: &TaskId,
        question: &str,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        self.leave(id, Status::Review, format!("asks a person: {question}"), now)?;
        let task = self.task_mut(id)?;
        task.needs_person = true;
        task.waiting = Some(format!("a person: {question}"));
        Ok(())
    }

    /// Something is noted that does not change the status: a reviewer that was cut off.
    ///
    /// # Errors
    /// There is no such task.
    pub fn note(
        &mut self,
        id: &TaskId,
        what: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        self.task_mut(id)?.note(what, now);
        Ok(())
    }

    /// A person says that it is done, with a word on it.
    ///
    /// # Errors
    /// It has a check that its report does not pass (nobody's word outranks it), it waits for
    /// another task, or it is completed, failed or blocked.
    pub fn accept(
        &mut self,
        id: &TaskId,
        who: &str,
        word: &str,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        let task = self.task(id)?;
        if let Some(check) = &task.acceptance {
            let none = TaskReport::default();
            let holds = check.holds(task.report.as_ref().unwrap_or(&none));
            holds.map_err(|reason| CoachError::CheckFails { id: id.clone(), reason })?;
        }
        if task.status == Status::Pending {
            // Whatever its attempts: a person may do what a program could not.
            self.task_mut(id)?.attempts = 0;
            // The table has no way from pending to completed.
            self.start(id, Worker::new(who, AgentKind::Human), now)?;
        }
        let task = self.task_mut(id)?;
        task.complete(format!("{who}: {word}"), now)?;
        if task.report.is_none() {
            task.report = Some(TaskReport::new(word));
        }
        Ok(())
    }

    /// Tries a failed task anew, or one that a review has stopped; what it blocked goes on.
    ///
    /// # Errors
    /// It is neither failed, in review, nor blocked by itself.
    pub fn retry(&mut self, id: &TaskId, now: &Zoned) -> Result<(), CoachError> {
        if self.task(id)?.status == Status::Blocked {
            return self.unblock(id, now);
        }
        let task = self.task_mut(id)?;
        // The table lets work be given back, which is its worker's to do.
        if task.status == Status::InProgress {
            return Err(task.refused(Status::Pending));
        }
        task.become_status(Status::Pending, "retried", now)?;
        (task.attempts, task.rounds) = (0, 0);
        (task.waiting, task.finished, task.needs_person) = (None, None, false);
        self.settle(now);
        Ok(())
    }

    /// Blocks what depends on failed or missing work, and frees what no longer does.
    pub(super) fn settle(&mut self, now: &Zoned) {
        // What is downstream is visited until nothing changes: through each task at most once per
        // change above it.
        let mut open: Vec<usize> = (0..self.tasks.len()).collect();
        while let Some(at) = open.pop() {
            let task = &self.tasks[at];
            // What the task itself lacks stays, whatever comes before it.
            let own = task.block.as_ref().is_some_and(|block| block.through.is_none());
            if own || !matches!(task.status, Status::Pending | Status::Blocked) {
                continue;
            }
            let wanted = task
                .dependencies
                .iter()
                .find_map(|id| stands_in_the_way(&self.tasks[self.index[id]]));
            if wanted == task.block {
                continue;
            }
            let task = &mut self.tasks[at];
            let changed = match &wanted {
                Some(block) if task.status == Status::Pending => {
                    task.become_status(Status::Blocked, block.why.clone(), now)
                }
                Some(_) => Ok(()),
                None => task.become_status(Status::Pending, "what stood in the way is gone", now),
            };
            changed.expect("pending and blocked tasks become each other");
            task.block = wanted;
            open.extend(&self.dependents[at]);
        }
    }
}

/// A review did not accept a task: it is done again, and after [`MAX_ROUNDS`] of these `reviews` it
/// needs a person.
fn send_back(task: &mut Task, said: String, reviews: &str, now: &Zoned) -> Result<(), CoachError> {
    task.waiting = None;
    if task.rounds < MAX_ROUNDS {
        task.become_status(Status::Pending, said, now)?;
        // Asked for again by the review, not by a fault: it must not run out of attempts through
        // it.
        task.attempts = task.attempts.saturating_sub(1);
    } else {
        task.note(said, now);
        task.needs_person = true;
        task.waiting = Some(format!("a person, after {MAX_ROUNDS} {reviews}"));
    }
    Ok(())
}

/// Why what depends on this task cannot be begun, unless it just has to wait.
fn stands_in_the_way(task: &Task) -> Option<Block> {
    let through = Some(task.id.clone());
    match (task.status, &task.block) {
        (Status::Failed, _) => {
            let why = task.history.last().map_or("no reason is noted", |event| event.what.as_str());
            Some(Block {
                through,
                kind: BlockKind::Failed,
                why: format!("{} failed: {why}", task.id),
            })
        }
        (Status::Blocked, Some(block)) => {
            let why = match block.through {
                Some(_) => block.why.clone(),
                None => format!("{} is blocked: {}", task.id, block.why),
            };
            Some(Block { through, kind: block.kind, why })
        }
        _ => None,
    }
}
