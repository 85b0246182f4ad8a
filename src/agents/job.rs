//! A task as an agent sees it: where it is, what it asks for, and how much work is left. Pure.

use serde::{Deserialize, Serialize};

use super::Place;
use crate::coach;

/// A job's number on its board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u32);

/// An agent's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub u32);

/// A task as an agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The task's name.
    pub task: String,
    /// The name of its action: the skill that it asks for.
    pub action: String,
    /// Whom it asks for.
    #[serde(default)]
    pub wanted: coach::Agent,
    /// What it is about.
    pub place: Place,
    /// Its phase.
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
    pub fn new(
        task: impl Into<String>,
        action: impl Into<String>,
        place: Place,
        work: f64,
    ) -> Self {
        Self {
            task: task.into(),
            action: action.into(),
            wanted: coach::Agent::Auto,
            place,
            phase: 1,
            priority: 5,
            work,
            after: Vec::new(),
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// It waits for this many others.
    Waiting(u32),
    /// It can be taken.
    Ready,
    /// It is this agent's.
    Taken(AgentId),
    /// It is done.
    Done,
    /// It is not tried again.
    Failed,
    /// It is no longer to be done here: the coach's queue says what became of the task.
    Withdrawn,
}

impl JobState {
    /// Whether it is still to be done.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Ready | Self::Taken(_))
    }
}
