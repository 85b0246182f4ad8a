//! All tasks, and the only ways in which they change. Pure: the time is given, nothing is read or
//! written.
//!
//! In: what agents and people do. Out: which task is next, and every change of status that the
//! table allows. Ready tasks come by priority, then by age, then in the order of the list, within
//! the current phase.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::model::PixelModel;
use crate::terminal;

use super::{AgentKind, BlockKind, CoachError, Status, Task, TaskId, error::nearest, graph};

mod change;

/// From this score on a review accepts.
pub const ACCEPTED_SCORE: f64 = 8.0;

/// How often a review may send a task back before it needs a person.
pub const MAX_ROUNDS: u32 = 3;

/// A part of a plan; one follows the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its number, from 1.
    pub number: u32,
    /// What it is called.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A command that a plan declares. It runs only if the user has allowed exactly this line
/// ([`super::AllowedCommands`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanCommand {
    /// What tasks call it.
    pub name: String,
    /// The program and its arguments; no shell reads them.
    pub line: Vec<String>,
    /// The longest that it may run.
    #[serde(default = "default_command_seconds")]
    pub seconds: u32,
}

impl PlanCommand {
    /// What to call it in a line for a shell: its name where that is one plain word, else the id of
    /// its words.
    pub(crate) fn short_name(&self) -> Cow<'_, str> {
        if terminal::is_plain_word(&self.name) {
            return Cow::Borrowed(&self.name);
        }
        Cow::Owned(super::command_id(&self.line))
    }
}

/// The model whose work a queue is: what one model has done says nothing of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelMark {
    /// Its root hash, in hexadecimal digits: what it is known by.
    pub root: String,
    /// Its file's name, for people.
    pub name: String,
}

impl fmt::Display for ModelMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (root {:.12})",
            terminal::one_line(&self.name),
            terminal::one_line(&self.root)
        )
    }
}

impl ModelMark {
    /// The mark of a model.
    pub fn of(model: &PixelModel) -> Self {
        let name = model.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { root: crate::model::hex(&model.header().root), name }
    }
}

const fn default_command_seconds() -> u32 {
    60
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseProgress {
    /// The phase that it is of.
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

impl PhaseProgress {
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
    /// None until it is first worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelMark>,
    phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<PlanCommand>,
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
    #[serde(default)]
    model: Option<ModelMark>,
    phases: Vec<Phase>,
    #[serde(default)]
    commands: Vec<PlanCommand>,
    tasks: Vec<Task>,
}

impl TryFrom<Stored> for Queue {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.format != FORMAT {
            return Err(format!("the format is \"{}\", not \"{FORMAT}\"", stored.format));
        }
        let checked = Self::new(stored.plan, stored.phases, stored.commands, stored.tasks);
        let checked = checked.map_err(|error| error.to_string())?;
        Ok(Self { model: stored.model, ..checked })
    }
}

/// Two queues are the same if they hold the same, however they came to it.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan
            && self.model == other.model
            && self.phases == other.phases
            && self.commands == other.commands
            && self.tasks == other.tasks
    }
}

impl Queue {
    /// A queue of these tasks.
    ///
    /// # Errors
    /// Two tasks of one name, a dependency that is not there, a cycle, a phase or priority that
    /// does not exist, or fields that contradict a status.
    pub fn new(
        plan: impl Into<String>,
        phases: Vec<Phase>,
        commands: Vec<PlanCommand>,
        tasks: Vec<Task>,
    ) -> Result<Self, CoachError> {
        let index = graph::index(&tasks)?;
        let dependents = graph::dependents(&tasks, &index)?;
        let queue = Self {
            format: FORMAT.into(),
            plan: plan.into(),
            model: None,
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
        // People may edit the file: a status must have what goes with it, and nothing else.
        let wrong = match task.status {
            Status::InProgress if task.worker.is_none() => Some("nobody is on it"),
            Status::Blocked if task.block.is_none() => Some("nothing blocks it"),
            status if status != Status::InProgress && task.worker.is_some() => {
                Some("somebody is on it")
            }
            status if status != Status::Blocked && task.block.is_some() => {
                Some("something blocks it")
            }
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

    /// The model whose work it is; none before it was first worked on.
    pub fn model(&self) -> Option<&ModelMark> {
        self.model.as_ref()
    }

    /// Makes it the queue of a model, or finds that it is. True where it had none before.
    ///
    /// # Errors
    /// It is that of another model.
    pub(crate) fn belong_to(&mut self, model: &ModelMark) -> Result<bool, CoachError> {
        match &self.model {
            // The hash alone: a file by another name is the same model.
            Some(own) if own.root == model.root => Ok(false),
            Some(own) => {
                let (own, opened) = (own.clone().into(), model.clone().into());
                Err(CoachError::OtherModel { own, opened })
            }
            None => {
                self.model = Some(model.clone());
                self.revision += 1;
                Ok(true)
            }
        }
    }

    /// Whether somebody has done something.
    pub(crate) fn is_begun(&self) -> bool {
        self.tasks.iter().any(|task| !matches!(task.status, Status::Pending | Status::Blocked))
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
    pub fn commands(&self) -> &[PlanCommand] {
        &self.commands
    }

    /// Grows with every change, so that what was found out about the queue can be kept until then.
    pub(crate) const fn revision(&self) -> u64 {
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
        // On a copy, so that an error leaves the queue as it was.
        let mut tasks = self.tasks.clone();
        tasks.push(task);
        let index = graph::index(&tasks)?;
        self.dependents = graph::dependents(&tasks, &index)?;
        (self.tasks, self.index) = (tasks, index);
        self.revision += 1;
        self.settle(now);
        self.block_what_is_missing(now);
        Ok(())
    }

    /// How far each phase is.
    pub fn progress(&self) -> Vec<PhaseProgress> {
        let of = |phase: &Phase| {
            let tasks = || self.tasks.iter().filter(|task| task.phase == phase.number);
            let blocked = |kind| {
                let is = |task: &&Task| task.block.as_ref().is_some_and(|block| block.kind == kind);
                tasks().filter(is).count()
            };
            let count = |status| tasks().filter(|task| task.status == status).count();
            PhaseProgress {
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
    pub(crate) fn current_phase(&self) -> Option<u32> {
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

    /// The tasks of a phase that can be begun, the next one first: by priority, then age, then
    /// place in the list.
    pub(crate) fn ready_in(&self, phase: u32) -> Vec<&Task> {
        let ready = |task: &&Task| {
            task.phase == phase && task.status == Status::Pending && self.unmet(task).is_none()
        };
        let mut tasks: Vec<&Task> = self.tasks.iter().filter(ready).collect();
        // The sort is stable, so what is equal stays in the order of the list.
        tasks.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.created.cmp(&b.created)));
        tasks
    }

    /// The task that this kind of agent should do next in the current phase.
    pub fn next_for(&self, agent: AgentKind) -> Option<&Task> {
        self.ready().into_iter().find(|task| agent.may_take(task.preferred_agent))
    }

    /// What programs can do now, in a phase or in the current one: reviews first, since they finish
    /// what was begun, then the ready tasks.
    pub(crate) fn for_programs(&self, phase: Option<u32>) -> Vec<&Task> {
        let Some(phase) = phase.or_else(|| self.current_phase()) else { return Vec::new() };
        let reviewable = |task: &&Task| {
            task.status == Status::Review
                && task.phase == phase
                && !task.needs_person
                && task.reviewer.is_some_and(|reviewer| reviewer != AgentKind::Human)
        };
        let possible = |task: &&Task| {
            // `start` refuses a task at its limit.
            AgentKind::Auto.may_take(task.preferred_agent) && task.attempts < task.attempt_limit
        };
        let reviews = self.tasks.iter().filter(reviewable);
        reviews.chain(self.ready_in(phase).into_iter().filter(possible)).collect()
    }

    /// What waits for a person: questions, what reviews could not settle, and tasks that ask for
    /// one and are ready.
    pub(crate) fn for_persons(&self) -> Vec<&Task> {
        let is_ready = |task: &Task| task.status == Status::Pending && self.unmet(task).is_none();
        let waits = |task: &&Task| match task.status {
            Status::Review => {
                task.needs_person
                    || task.reviewer == Some(AgentKind::Human)
                    || task.reviewer.is_none()
            }
            _ => task.preferred_agent == AgentKind::Human && is_ready(task),
        };
        self.tasks.iter().filter(waits).collect()
    }

    /// The first dependency that is not completed.
    fn unmet(&self, task: &Task) -> Option<&Task> {
        let dependencies = task.dependencies.iter().map(|id| &self.tasks[self.index[id]]);
        dependencies.into_iter().find(|dependency| dependency.status != Status::Completed)
    }
}
