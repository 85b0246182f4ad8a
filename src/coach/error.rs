//! What can go wrong with tasks, plans and the queue's file.

use std::{io, path::PathBuf};

use super::{ModelMark, Status, TaskId};
use crate::pxi::PxiError;

/// What can go wrong with tasks, plans and the queue's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoachError {
    /// A task's name has other characters, or is empty or too long.
    #[error(
        "\"{0}\" cannot name a task: use 1 to {max} small letters, digits, '-', '_' and '.'",
        max = super::MAX_ID_LENGTH
    )]
    BadId(String),
    /// No task has that name.
    #[error("there is no task \"{id}\"{}", hint(.nearest))]
    UnknownTask {
        /// The name that was asked for.
        id: String,
        /// The most similar name that there is.
        nearest: Option<String>,
    },
    /// Two tasks have one name.
    #[error("there are two tasks \"{0}\"")]
    Duplicate(TaskId),
    /// A task depends on one that is not there.
    #[error("{id} depends on \"{dependency}\", which is not there{}", hint(.nearest))]
    MissingDependency {
        /// The task that depends.
        id: TaskId,
        /// What it depends on.
        dependency: TaskId,
        /// The most similar name that there is.
        nearest: Option<String>,
    },
    /// Tasks wait for each other.
    #[error("these wait for each other: {}", path(.0))]
    Cycle(Vec<TaskId>),
    /// A priority that is not from 1 to 10.
    #[error("{id}: priority {priority} is not from 1 to 10")]
    Priority {
        /// The task that has it.
        id: TaskId,
        /// What was given, not from 1 to 10.
        priority: u8,
    },
    /// A phase that is not among the phases.
    #[error("{id}: there is no phase {phase}")]
    UnknownPhase {
        /// The task that has it.
        id: TaskId,
        /// The number that no phase has.
        phase: u32,
    },
    /// A change of status that is not in the table.
    #[error("{id} is {from}: it cannot become {to}")]
    Transition {
        /// The task, which stays as it is.
        id: TaskId,
        /// The status that it has.
        from: Status,
        /// What it was to become.
        to: Status,
    },
    /// A task was begun before what it depends on was completed.
    #[error("{id} waits for {dependency}, which is {status}")]
    NotReady {
        /// The task that was to be begun.
        id: TaskId,
        /// What it waits for.
        dependency: TaskId,
        /// The status of that.
        status: Status,
    },
    /// A task was begun more often than it may be.
    #[error("{id} was tried {attempts} times, which is its limit: `retry` gives it more")]
    AttemptsUsed {
        /// The task that was to be begun again.
        id: TaskId,
        /// How often it was begun since it was made or retried.
        attempts: u32,
    },
    /// A metric that JSON cannot hold.
    #[error("{id}: the metric {metric} is {value}")]
    NotFinite {
        /// The task whose report has it.
        id: TaskId,
        /// The metric's name in the report.
        metric: String,
        /// Its value: infinite, or no number.
        value: f64,
    },
    /// A score that is not from 0 to 10.
    #[error("{id}: a score of {score} is not from 0 to 10")]
    Score {
        /// The task that was judged.
        id: TaskId,
        /// The score that was given.
        score: f64,
    },
    /// The acceptance check says no, and nobody's word outranks it.
    #[error("{id} is not accepted: {reason}")]
    CheckFails {
        /// The task whose check it is.
        id: TaskId,
        /// What does not hold.
        reason: String,
    },
    /// A task's fields contradict its status.
    #[error("{id} is {status}, but {what}")]
    Incoherent {
        /// The task that the file has.
        id: TaskId,
        /// The status that it has there.
        status: Status,
        /// What contradicts it, in words.
        what: &'static str,
    },
    /// The queue's file is not what this program writes.
    #[error("{}:{line}:{column}: damaged, and left as it is: {reason}", .path.display())]
    Damaged {
        /// The file of the queue.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, in words.
        reason: String,
    },
    /// A plan, or an agent's file, that cannot be used.
    #[error("{file}:{line}:{column}: {reason}{}", hint(.nearest))]
    Content {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, in words.
        reason: String,
        /// The nearest thing that would be right.
        nearest: Option<String>,
    },
    /// An action of a plan names what is not there.
    #[error("{0}")]
    Reference(String),
    /// An asset cannot be used.
    #[error(transparent)]
    Asset(#[from] crate::content::assets::AssetError),
    /// There is a queue already.
    #[error("{} is there already: `coach init --force` would begin anew", .0.display())]
    Exists(PathBuf),
    /// The queue is that of another model.
    #[error(
        "the queue is that of {own}, and {opened} is open: name another file with --queue, or \
         begin this one anew with coach init --force"
    )]
    OtherModel {
        /// Whose it is. Boxed because it is large.
        own: Box<ModelMark>,
        /// The model that is open.
        opened: Box<ModelMark>,
    },
    /// There is no queue yet.
    #[error("there is no {}: `coach init` makes one", .0.display())]
    NoQueue(PathBuf),
    /// The system refused something with a file.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file that it is about.
        path: PathBuf,
        /// What was tried, in words that follow "cannot".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be replaced.
    #[error(transparent)]
    File(#[from] PxiError),
}

impl CoachError {
    /// Adds what was done, and to which file.
    pub(super) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default()
}

fn path(ids: &[TaskId]) -> String {
    ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> ")
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    crate::names::nearest(name, names).map(str::to_owned)
}
