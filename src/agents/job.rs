//! A task as an agent sees it: where it is, what it asks for, and how much work is left. Pure.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Position, place_of};
use crate::coach::{self, TaskAction, TaskId};
use crate::model::plan::MapPlan;

/// A job's index on its board. A task is known by its [`TaskId`]; this is what thoughts, traces and
/// the three orders of ready jobs hold instead, 4 bytes that need no hash where a name is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u32);

/// An agent's number: the order in which agents act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub u32);

/// A task as an agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The task of the coach's queue, or the name that a simulation gave it.
    #[serde(deserialize_with = "read_task")]
    pub task: TaskId,
    /// The name of its action: the skill that it asks for.
    pub action: String,
    /// Whom it asks for.
    #[serde(default)]
    pub wanted: coach::AgentKind,
    /// What it is about.
    pub place: Position,
    /// Its phase; earlier ones are more urgent.
    pub phase: u32,
    /// From 1 to 10, the most urgent.
    pub priority: u8,
    /// How many ticks it takes who is as skilled as can be.
    pub work: f64,
    /// Jobs before it on the board that must be done first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
}

impl Job {
    /// A job of phase 1 and middle priority that anyone with the skill may do.
    pub fn new(task: TaskId, action: impl Into<String>, place: Position, work: f64) -> Self {
        Self {
            task,
            action: action.into(),
            wanted: coach::AgentKind::Auto,
            place,
            phase: 1,
            priority: 5,
            work,
            after: Vec::new(),
        }
    }

    /// The job that a task of the coach's queue is now: its work, or its review.
    pub(crate) fn of_task(task: &coach::Task, plan: &MapPlan) -> Self {
        let (layer, head) = task.action.place();
        let named = if layer.is_some() { place_of(plan, layer, head) } else { None };
        let place = named.unwrap_or_else(|| place_of_whole(&task.id, plan));
        let is_review = task.status == coach::Status::Review;
        let (action, wanted) = match is_review {
            true => ("review", task.reviewer.unwrap_or_default()),
            false => (task.action.name(), task.preferred_agent),
        };
        Self {
            phase: task.phase,
            priority: task.priority,
            wanted,
            ..Self::new(task.id.clone(), action, place, usual_ticks(&task.action))
        }
    }
}

/// Where what is about the whole model is done: at one of its plots, the same each time, so that
/// agents do not all stand in one spot.
fn place_of_whole(task: &TaskId, plan: &MapPlan) -> Position {
    let number = crate::names::number_of(task.as_str());
    match plan.plots.len() as u64 {
        0 => place_of(plan, None, None).unwrap_or_default(),
        count => Position::middle(&plan.plots[((number >> 20) % count) as usize].rect),
    }
}

/// How long an action takes where time is simulated, in ticks.
fn usual_ticks(action: &TaskAction) -> f64 {
    match action {
        TaskAction::VerifyTiles | TaskAction::SurveyStatistics | TaskAction::WarmUp { .. } => 20.0,
        TaskAction::Ablate { .. }
        | TaskAction::Probe { .. }
        | TaskAction::Generate { .. }
        | TaskAction::Review { .. } => 40.0,
        TaskAction::SurveyHeads | TaskAction::WriteTrainingData { .. } => 200.0,
        TaskAction::FineTune(_) => 2000.0,
        _ => 80.0,
    }
}

/// Reads the name of a task. Simulated ones were written with a `#` before they had to be names of
/// tasks; worlds that were saved then can still be read.
pub(super) fn read_task<'de, D: Deserializer<'de>>(from: D) -> Result<TaskId, D::Error> {
    String::deserialize(from)?.replace('#', ".").parse().map_err(D::Error::custom)
}

/// Where a job stands on its board. What became of a task of the coach's queue is not among these:
/// the queue alone has its status, and here its job is ready, taken or withdrawn. Jobs without a
/// queue, as simulations have them, wait for each other, are done and fail on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// It waits for this many others.
    Waiting(u32),
    /// It can be taken.
    Ready,
    /// It is this agent's.
    Taken(AgentId),
    /// It is done, and has no queue.
    Done,
    /// It is not tried again, and has no queue.
    Failed,
    /// It is no longer on offer: the coach's queue says what became of the task.
    Withdrawn,
}

impl JobState {
    /// Whether it is still to be done.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Ready | Self::Taken(_))
    }
}
