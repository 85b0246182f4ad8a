//! What a task is: what is to be done, by whom, in which state it is, and how it came there.
//!
//! Everything here is data that serialises the same in JSON (the queue's file) and in RON (plans).
//! The rules of its change are [`TRANSITIONS`] and the methods of [`super::Queue`]. Normative text:
//! `specs/coach.md`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::{Check, CoachError, TaskAction};

/// The most bytes of a task's name: it stands in tables and file names.
pub const MAX_ID_LENGTH: usize = 64;

/// How often a task is tried before it counts as failed, where its plan says nothing.
pub const DEFAULT_ATTEMPT_LIMIT: u32 = 3;

/// How much of its history a task keeps: the newest events. A file that people read must not grow
/// for ever.
pub const MAX_HISTORY: usize = 60;

/// A task's name: small letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

impl TaskId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, since tables give it a width.
        formatter.pad(&self.0)
    }
}

impl FromStr for TaskId {
    type Err = CoachError;

    fn from_str(text: &str) -> Result<Self, CoachError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > MAX_ID_LENGTH || !text.bytes().all(allowed) {
            return Err(CoachError::BadId(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for TaskId {
    type Error = CoachError;

    fn try_from(text: String) -> Result<Self, CoachError> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

/// Where a task stands.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be done; ready once what it depends on is completed.
    #[default]
    Pending,
    /// A worker is on it.
    InProgress,
    /// Done, and waiting for a reviewer's or a person's word.
    Review,
    /// Done and accepted: nothing comes after it.
    Completed,
    /// Not done, and not tried again by itself.
    Failed,
    /// Cannot be begun, for the reason in [`Task::block`].
    Blocked,
}

/// Every change of status there is; any other is refused.
pub const TRANSITIONS: [(Status, Status); 13] = {
    use Status::{Blocked, Completed, Failed, InProgress, Pending, Review};
    [
        (Pending, InProgress), // begun
        (Pending, Blocked),    // something it needs failed or is missing
        (Pending, Failed),     // declined by a person
        (InProgress, Review),  // done, to be judged
        (InProgress, Completed),
        (InProgress, Failed),
        (InProgress, Pending), // given back: tried again, handed over, or its process ended
        (InProgress, Blocked), // found out on the way that something is missing
        (Review, Completed),
        (Review, Pending), // again, with the feedback
        (Review, Failed),
        (Failed, Pending),  // retried
        (Blocked, Pending), // what stood in the way is gone
    ]
};

impl Status {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Review,
        Self::Completed,
        Self::Failed,
        Self::Blocked,
    ];

    /// Whether [`TRANSITIONS`] has this change.
    pub fn may_become(self, to: Self) -> bool {
        TRANSITIONS.contains(&(self, to))
    }

    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Review => "review",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Who should do a task.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// The loaded model, and the program around it.
    LocalLlm,
    /// A reviewer reached by a command template.
    Gemini,
    /// A person, who may take anything.
    Human,
    /// Any program that is free.
    #[default]
    Auto,
}

impl AgentKind {
    /// Every kind of agent.
    pub const ALL: [Self; 4] = [Self::LocalLlm, Self::Gemini, Self::Human, Self::Auto];

    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalLlm => "local_llm",
            Self::Gemini => "gemini",
            Self::Human => "human",
            Self::Auto => "auto",
        }
    }

    /// Whether an agent of this kind may take a task that prefers `wanted`.
    ///
    /// A person may take anything. `auto`, as a worker, is a program: it takes all but a person's
    /// tasks.
    pub(crate) fn may_take(self, wanted: Self) -> bool {
        match self {
            Self::Human => true,
            Self::Auto => wanted != Self::Human,
            own => wanted == own || wanted == Self::Auto,
        }
    }
}

impl fmt::Display for AgentKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Who is on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The agent's name, for people.
    pub name: String,
    /// What kind of agent it is.
    pub agent: AgentKind,
    /// The name of the lock that the worker's process holds while it lives (see
    /// [`super::QueueStore`]); without one the work is a person's, and outlives every process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
}

impl Worker {
    /// A worker within this process that needs no lock: for a queue that is kept in memory only.
    pub fn new(name: impl Into<String>, agent: AgentKind) -> Self {
        Self { name: name.into(), agent, lock: None }
    }
}

/// Why a task cannot be begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The dependency through which it came, if it is not the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<TaskId>,
    /// What is at the root of it.
    pub kind: BlockKind,
    /// The reason, for people.
    pub why: String,
}

/// What blocks a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// A task that it depends on failed: it goes on when that is retried.
    Failed,
    /// This program lacks something that it needs: its phase does not wait for it.
    Missing,
}

/// What came of a task's work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskReport {
    /// What was found, in one line.
    pub summary: String,
    /// What was measured, by name with the unit in it; what acceptance checks look at. All finite.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(alias = "figures")]
    pub metrics: BTreeMap<String, f64>,
    /// What was written, if text was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Files with the rest, relative to the folder of the queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl TaskReport {
    /// A report of one line, to which metrics are added.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// With one more metric.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }
}

/// What a reviewer says of a task's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewVerdict {
    /// From 0 to 10; accepted from [`super::ACCEPTED_SCORE`] on.
    pub score: f64,
    /// What to do better.
    pub feedback: String,
    /// The reviewer's name, for people.
    pub reviewer: String,
}

/// One change in a task's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEvent {
    /// When, with the zone.
    pub at: Zoned,
    /// The status after it.
    pub status: Status,
    /// What happened, in words.
    pub what: String,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name, unique in the queue.
    pub id: TaskId,
    /// What it is called in tables.
    pub title: String,
    /// What it is about and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is done, and on which part of the model.
    pub action: TaskAction,
    /// The phase that it belongs to.
    pub phase: u32,
    /// From 1 to 10; 10 is the most urgent.
    pub priority: u8,
    /// What must be completed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<TaskId>,
    /// Who should do it.
    #[serde(default)]
    pub preferred_agent: AgentKind,
    /// What must hold of its report for it to be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Check>,
    /// Who judges what has no check: nobody, or a kind of agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<AgentKind>,

    /// Where it stands; `pending` where nothing is said.
    #[serde(default)]
    pub status: Status,
    /// How often it was begun since it was made or retried.
    #[serde(default)]
    pub attempts: u32,
    /// How often it may be.
    #[serde(default = "default_attempt_limit")]
    pub attempt_limit: u32,
    /// How many reviews it had since it was made or retried.
    #[serde(default)]
    pub rounds: u32,
    /// Who is on it, while it is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// Why it is blocked, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// What it waits for: a reviewer that is not there, a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Whether only a person can carry it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_person: bool,
    /// The last review that gave a score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ReviewVerdict>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<TaskReport>,
    /// When it was made.
    pub created: Zoned,
    /// When it was last begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Zoned>,
    /// When it was completed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Zoned>,
    /// What happened to it, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<TaskEvent>,
}

const fn default_attempt_limit() -> u32 {
    DEFAULT_ATTEMPT_LIMIT
}

impl Task {
    /// A pending task of phase 1 and middle priority that anyone may do.
    pub fn new(id: TaskId, title: impl Into<String>, action: TaskAction, now: &Zoned) -> Self {
        Self {
            id,
            title: title.into(),
            description: String::new(),
            action,
            phase: 1,
            priority: 5,
            dependencies: Vec::new(),
            preferred_agent: AgentKind::Auto,
            acceptance: None,
            reviewer: None,
            status: Status::Pending,
            attempts: 0,
            attempt_limit: DEFAULT_ATTEMPT_LIMIT,
            rounds: 0,
            worker: None,
            block: None,
            waiting: None,
            needs_person: false,
            verdict: None,
            report: None,
            created: now.clone(),
            started: None,
            finished: None,
            history: Vec::new(),
        }
    }

    /// Changes the status and notes why, if the table has that change.
    pub(super) fn become_status(
        &mut self,
        to: Status,
        what: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        if !self.status.may_become(to) {
            return Err(self.refused(to));
        }
        self.status = to;
        self.note(what, now);
        Ok(())
    }

    /// The task is completed, and nobody is waited for any more.
    pub(super) fn complete(
        &mut self,
        what: impl Into<String>,
        now: &Zoned,
    ) -> Result<(), CoachError> {
        self.become_status(Status::Completed, what, now)?;
        (self.worker, self.waiting, self.needs_person) = (None, None, false);
        self.finished = Some(now.clone());
        Ok(())
    }

    /// Refuses a change from any other status than this one.
    pub(super) fn must_be(&self, status: Status, to: Status) -> Result<(), CoachError> {
        if self.status == status { Ok(()) } else { Err(self.refused(to)) }
    }

    /// That it cannot become this.
    pub(super) fn refused(&self, to: Status) -> CoachError {
        CoachError::Transition { id: self.id.clone(), from: self.status, to }
    }

    /// Notes something that does not change the status.
    pub(super) fn note(&mut self, what: impl Into<String>, now: &Zoned) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(TaskEvent { at: now.clone(), status: self.status, what: what.into() });
    }
}
