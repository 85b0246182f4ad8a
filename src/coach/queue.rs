//! All tasks, and the only ways in which they change. Pure: the time is given, nothing is read or written.
//!
//! In: what agents and people do. Out: which task is next, and every change of status that the table allows. Ready
//! tasks come by priority, then by age, then in the order of the list, within the current phase.

use std::collections::HashMap;

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::{
    Agent, Block, BlockKind, CoachError, Report, Status, Task, TaskId, Verdict, Worker, error::nearest, graph,
};

/// From this score on a review accepts.
pub const ACCEPTED_SCORE: f64 = 8.0;

/// How often a review may send a task back before it needs a person.
pub const MAX_ROUNDS: u32 = 3;

/// A part of a plan; one follows the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its number.
    pub number: u32,
    /// What it is called.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A command that a plan declares. It runs only if the user has allowed exactly this line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What tasks call it.
    pub name: String,
    /// The program and its arguments; no shell reads them.
    pub line: Vec<String>,
    /// The longest that it may run.
    #[serde(default = "default_command_seconds")]
    pub seconds: u32,
    /// Whether the user has allowed it.
    #[serde(default)]
    pub allowed: bool,
}

const fn default_command_seconds() -> u32 {
    60
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many of them are completed.
    pub completed: usize,
    /// How many are failed, or blocked by one that is.
    pub failed: usize,
    /// How many are blocked since this program lacks something.
    pub missing: usize,
}

impl Progress {
    /// Whether later phases need not wait for this one.
    pub fn is_over(&self) -> bool {
        self.completed + self.missing == self.tasks
    }
}

/// All tasks of a plan, and those that people added.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Queue {
    /// What the file says that it is.
    format: String,
    /// The plan that it came from.
    plan: String,
    phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<Command>,
    tasks: Vec<Task>,
    #[serde(skip)]
    index: HashMap<TaskId, usize>,
    #[serde(skip)]
    dependents: Vec<Vec<usize>>,
    #[serde(skip)]
    revision: u64,
}

/// The name and version of the format.
const FORMAT: &str = "pixel-llm coach 1";

/// A queue as it stands in its file, not yet checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: String,
    plan: String,
    phases: Vec<Phase>,
    #[serde(default)]
    commands: Vec<Command>,
    tasks: Vec<Task>,
}

impl TryFrom<Stored> for Queue {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.format != FORMAT {
            return Err(format!("the format is \"{}\", not \"{FORMAT}\"", stored.format));
        }
        let checked = Self::new(stored.plan, stored.phases, stored.commands, stored.tasks);
        checked.map_err(|error| error.to_string())
    }
}

/// Two queues are the same if they hold the same, however they came to it.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan
            && self.phases == other.phases
            && self.commands == other.commands
            && self.tasks == other.tasks
    }
}

impl Queue {
    /// A queue of these tasks.
    ///
    /// # Errors
    /// Two tasks of one name, a dependency that is not there, a cycle, a phase or priority that does not exist, or
    /// fields that contradict a status.
    pub fn new(
        plan: impl Into<String>,
        phases: Vec<Phase>,
        commands: Vec<Command>,
        tasks: Vec<Task>,
    ) -> Result<Self, CoachError> {
        let index = graph::index(&tasks)?;
        let dependents = graph::dependents(&tasks, &index)?;
        let queue = Self {
            format: FORMAT.into(),
            plan: plan.into(),
            phases,
            commands,
            tasks,
            index,
            dependents,
            revision: 0,
        };
        queue.tasks.iter().try_for_each(|task| queue.check_task(task))?;
        Ok(queue)
    }

    fn check_task(&self, task: &Task) -> Result<(), CoachError> {
        let id = || task.id.clone();
        if !(1..=10).contains(&task.priority) {
            return Err(CoachError::Priority { id: id(), priority: task.priority });
        }
        if !self.phases.iter().any(|phase| phase.number == task.phase) {
            return Err(CoachError::UnknownPhase { id: id(), phase: task.phase });
        }
        let wrong = match task.status {
            Status::InProgress if task.worker.is_none() => Some("nobody is on it"),
            Status::Blocked if task.block.is_none() => Some("nothing blocks it"),
            status if status != Status::InProgress && task.worker.is_some() => Some("somebody is on it"),
            status if status != Status::Blocked && task.block.is_some() => Some("something blocks it"),
            _ => None,
        };
        match wrong {
            Some(what) => Err(CoachError::Incoherent { id: id(), status: task.status, what }),
            None => Ok(()),
        }
    }

    /// The plan that it came from.
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// The phases, in order.
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The tasks, in the order of the plan.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The commands that the plan declares.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Notes that the user allows a command, or does so no more. False if the plan declares none of that name.
    pub fn allow(&mut self, name: &str, allowed: bool) -> bool {
        let Some(command) = self.commands.iter_mut().find(|command| command.name == name) else {
            return false;
        };
        command.allowed = allowed;
        self.revision += 1;
        true
    }

    /// Grows with every change, so that what was found out about the queue can be kept until then.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// A task by its name.
    ///
    /// # Errors
    /// There is none; the error has the most similar name.
    pub fn task(&self, id: &TaskId) -> Result<&Task, CoachError> {
        Ok(&self.tasks[self.position(id)?])
    }

    fn position(&self, id: &TaskId) -> Result<usize, CoachError> {
        self.index.get(id).copied().ok_or_else(|| CoachError::UnknownTask {
            id: id.to_string(),
            nearest: nearest(id.as_str(), self.tasks.iter().map(|task| task.id.as_str())),
        })
    }

    fn task_mut(&mut self, id: &TaskId) -> Result<&mut Task, CoachError> {
        let at = self.position(id)?;
        self.revision += 1;
        Ok(&mut self.tasks[at])
    }

    /// Adds a task. If what it depends on failed, it begins blocked.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn add(&mut self, task: Task, now: &Zoned) -> Result<(), CoachError> {
        self.check_task(&task)?;
        let mut tasks = self.tasks.clone();
        tasks.push(task);
        let index = graph::index(&tasks)?;
        self.dependents = graph::dependents(&tasks, &index)?;
        (self.tasks, self.index) = (tasks, index);
        self.revision += 1;
        self.settle(now);
        Ok(())
    }

    /// How far each phase is.
    pub fn progress(&self) -> Vec<Progress> {
        let of = |phase: &Phase| {
            let tasks = || self.tasks.iter().filter(|task| task.phase == phase.number);
            let blocked = |kind| {
                let is = |task: &&Task| task.block.as_ref().is_some_and(|block| block.kind == kind);
                tasks().filter(is).count()
            };
            let count = |status| tasks().filter(|task| task.status == status).count();
            Progress {
                phase: phase.clone(),
                tasks: tasks().count(),
                completed: count(Status::Completed),
                failed: count(Status::Failed) + blocked(BlockKind::Failed),
                missing: blocked(BlockKind::Missing),
            }
        };
        self.phases.iter().map(of).collect()
    }

    /// The first phase, by number, that is not over. None when all are.
    pub fn current_phase(&self) -> Option<u32> {
        let is_open = |task: &&Task| {
            task.status != Status::Completed
                && task.block.as_ref().is_none_or(|block| block.kind != BlockKind::Missing)
        };
        self.tasks.iter().filter(is_open).map(|task| task.phase).min()
    }

    /// The tasks of the current phase that can be begun, the next one first.
    pub fn ready(&self) -> Vec<&Task> {
        self.current_phase().map(|phase| self.ready_in(phase)).unwrap_or_default()
    }

    /// The tasks of a phase that can be begun, the next one first: by priority, then age, then place in the list.
    pub fn ready_in(&self, phase: u32) -> Vec<&Task> {
        let ready = |task: &&Task| {
            task.phase == phase && task.status == Status::Pending && self.unmet(task).is_none()
        };
        let mut tasks: Vec<&Task> = self.tasks.iter().filter(ready).collect();
        // The sort is stable, so what is equal stays in the order of the list.
        tasks.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.created.cmp(&b.created)));
        tasks
    }

    /// The task that this kind of agent should do next in the current phase.
    pub fn next_for(&self, agent: Agent) -> Option<&Task> {
        self.ready().into_iter().find(|task| agent.may_take(task.preferred_agent))
    }

    /// The first dependency that is not completed.
    fn unmet(&self, task: &Task) -> Option<&Task> {
        let dependencies = task.dependencies.iter().map(|id| &self.tasks[self.index[id]]);
        dependencies.into_iter().find(|dependency| dependency.status != Status::Completed)
    }

    /// A worker begins a pending task whose dependencies are completed.
    ///
    /// # Errors
    /// Somebody is on it, it is not ready, or its attempts are used up.
    pub fn start(&mut self, id: &TaskId, worker: Worker, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task(id)?;
        if !task.status.may_become(Status::InProgress) {
            let (from, to) = (task.status, Status::InProgress);
            return Err(CoachError::Transition { id: id.clone(), from, to });
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

    /// The work is done. A check that it fails sends it back (or fails it at its limit of attempts); without a
    /// reviewer it is completed, with one it waits for the review. Gives the status that it has now.
    ///
    /// # Errors
    /// Nobody was on it, or a figure is not finite.
    pub fn finish(&mut self, id: &TaskId, report: Report, now: &Zoned) -> Result<Status, CoachError> {
        if let Some((figure, value)) = report.figures.iter().find(|(_, value)| !value.is_finite()) {
            return Err(CoachError::NotFinite { id: id.clone(), figure: figure.clone(), value: *value });
        }
        let task = self.task_mut(id)?;
        if task.status != Status::InProgress {
            let (from, to) = (task.status, Status::Completed);
            return Err(CoachError::Transition { id: id.clone(), from, to });
        }
        let summary = report.summary.clone();
        let checked = task.acceptance.as_ref().map(|check| check.holds(&report));
        task.report = Some(report);
        match (checked, task.reviewer) {
            (Some(Err(reason)), _) => return self.give_back(id, format!("not accepted: {reason}"), now),
            (None, Some(_)) => {
                task.become_status(Status::Review, summary, now)?;
                task.worker = None;
            }
            _ => {
                task.become_status(Status::Completed, summary, now)?;
                task.worker = None;
                task.finished = Some(now.clone());
            }
        }
        Ok(self.task(id)?.status)
    }

    /// The attempt did not succeed: the task is pending again, or failed if that was its last attempt.
    ///
    /// # Errors
    /// Nobody was on it.
    pub fn give_back(
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

    /// The worker stops for no fault of the task: its process ended, or it hands over. The attempt does not count.
    ///
    /// # Errors
    /// Nobody was on it.
    pub fn release(&mut self, id: &TaskId, why: impl Into<String>, now: &Zoned) -> Result<(), CoachError> {
        self.leave(id, Status::Pending, why.into(), now)?;
        let task = self.task_mut(id)?;
        task.attempts = task.attempts.saturating_sub(1);
        Ok(())
    }

    fn leave(&mut self, id: &TaskId, to: Status, why: String, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task_mut(id)?;
        if task.status != Status::InProgress {
            return Err(CoachError::Transition { id: id.clone(), from: task.status, to });
        }
        task.become_status(to, why, now)?;
        task.worker = None;
        Ok(())
    }

    /// The task has failed; what depends on it is blocked and says why.
    ///
    /// # Errors
    /// It is completed, failed or blocked already.
    pub fn fail(&mut self, id: &TaskId, why: impl Into<String>, now: &Zoned) -> Result<(), CoachError> {
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
    pub fn block_missing(
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

    /// What the task lacked may be there now: it is pending again, and so is what was blocked by it.
    ///
    /// # Errors
    /// It is not blocked by itself.
    pub fn unblock(&mut self, id: &TaskId, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task_mut(id)?;
        if task.block.as_ref().is_none_or(|block| block.through.is_some()) {
            let (from, to) = (task.status, Status::Pending);
            return Err(CoachError::Transition { id: id.clone(), from, to });
        }
        task.become_status(Status::Pending, "unblocked", now)?;
        task.block = None;
        self.settle(now);
        Ok(())
    }

    /// A reviewer's word: from [`ACCEPTED_SCORE`] on the task is completed; below it goes back with the feedback;
    /// after [`MAX_ROUNDS`] reviews it needs a person.
    ///
    /// # Errors
    /// The task is not in review, or the score is not from 0 to 10.
    pub fn judge(&mut self, id: &TaskId, verdict: Verdict, now: &Zoned) -> Result<Status, CoachError> {
        if !(0.0..=10.0).contains(&verdict.score) {
            return Err(CoachError::Score { id: id.clone(), score: verdict.score });
        }
        let task = self.task_mut(id)?;
        if task.status != Status::Review {
            return Err(CoachError::Transition { id: id.clone(), from: task.status, to: Status::Completed });
        }
        let said = format!("{} gives {} of 10: {}", verdict.reviewer, verdict.score, verdict.feedback);
        let accepted = verdict.score >= ACCEPTED_SCORE;
        task.verdict = Some(verdict);
        task.waiting = None;
        task.rounds += 1;
        if accepted {
            task.become_status(Status::Completed, said, now)?;
            task.needs_person = false;
            task.finished = Some(now.clone());
        } else if task.rounds < MAX_ROUNDS {
            task.become_status(Status::Pending, said, now)?;
            // Asked for again by the review, not by a fault: it must not run out of attempts through it.
            task.attempts = task.attempts.saturating_sub(1);
        } else {
            task.note(said, now);
            task.needs_person = true;
            task.waiting = Some(format!("a person, after {MAX_ROUNDS} reviews below {ACCEPTED_SCORE}"));
        }
        Ok(self.task(id)?.status)
    }

    /// A task stays where it is and says what it waits for: a reviewer that is not there, a person.
    ///
    /// # Errors
    /// There is no such task.
    pub fn wait(&mut self, id: &TaskId, what: impl Into<String>, now: &Zoned) -> Result<(), CoachError> {
        let what = what.into();
        let task = self.task_mut(id)?;
        if task.waiting.as_ref() != Some(&what) {
            task.note(format!("waits for {what}"), now);
            task.waiting = Some(what);
        }
        Ok(())
    }

    /// Something is noted that does not change the status: a reviewer that was cut off.
    ///
    /// # Errors
    /// There is no such task.
    pub fn note(&mut self, id: &TaskId, what: impl Into<String>, now: &Zoned) -> Result<(), CoachError> {
        self.task_mut(id)?.note(what, now);
        Ok(())
    }

    /// A person says that it is done, with a word on it.
    ///
    /// # Errors
    /// It has a check that its report does not pass (nobody's word outranks it), it waits for another task, or it is
    /// completed, failed or blocked.
    pub fn accept(&mut self, id: &TaskId, who: &str, word: &str, now: &Zoned) -> Result<(), CoachError> {
        let task = self.task(id)?;
        if let Some(check) = &task.acceptance {
            let none = Report::default();
            let holds = check.holds(task.report.as_ref().unwrap_or(&none));
            holds.map_err(|reason| CoachError::CheckFails { id: id.clone(), reason })?;
        }
        if task.status == Status::Pending {
            // Whatever its attempts: a person may do what a program could not.
            self.task_mut(id)?.attempts = 0;
            self.start(id, Worker::new(who, Agent::Human), now)?;
        }
        let task = self.task_mut(id)?;
        task.become_status(Status::Completed, format!("{who}: {word}"), now)?;
        task.worker = None;
        task.needs_person = false;
        task.waiting = None;
        task.finished = Some(now.clone());
        if task.report.is_none() {
            task.report = Some(Report::new(word));
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
        if task.status == Status::InProgress {
            return Err(CoachError::Transition { id: id.clone(), from: task.status, to: Status::Pending });
        }
        task.become_status(Status::Pending, "retried", now)?;
        (task.attempts, task.rounds) = (0, 0);
        (task.waiting, task.finished, task.needs_person) = (None, None, false);
        self.settle(now);
        Ok(())
    }

    /// Blocks what depends on failed or missing work, and frees what no longer does.
    fn settle(&mut self, now: &Zoned) {
        // What is downstream is visited until nothing changes: through each task at most once per change above it.
        let mut open: Vec<usize> = (0..self.tasks.len()).collect();
        while let Some(at) = open.pop() {
            let task = &self.tasks[at];
            let own = task.block.as_ref().is_some_and(|block| block.through.is_none());
            if own || !matches!(task.status, Status::Pending | Status::Blocked) {
                continue;
            }
            let wanted =
                task.dependencies.iter().find_map(|id| stands_in_the_way(&self.tasks[self.index[id]]));
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

/// Why what depends on this task cannot be begun, unless it just has to wait.
fn stands_in_the_way(task: &Task) -> Option<Block> {
    let through = Some(task.id.clone());
    match (task.status, &task.block) {
        (Status::Failed, _) => {
            let why = task.history.last().map_or("no reason is noted", |event| event.what.as_str());
            Some(Block { through, kind: BlockKind::Failed, why: format!("{} failed: {why}", task.id) })
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
