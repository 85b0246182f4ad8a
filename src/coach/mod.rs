//! Tasks that do useful things to the loaded model, in phases, with dependencies and acceptance
//! checks.
//!
//! In: a plan in RON, what agents and people do, the loaded model. Out: a [`Queue`] in which every
//! change of a task's status is in [`TRANSITIONS`], kept by a [`QueueStore`] as one JSON file and
//! shared by a [`SharedQueue`]; a [`TaskRunner`] does the tasks. Nothing here knows Bevy: agents of
//! the world and the command line use the same functions. Normative text: `specs/coach.md`.

mod action;
mod allowed_commands;
mod check;
pub mod content;
mod error;
mod graph;
pub mod plan;
mod queue;
pub mod reviewer;
mod run;
mod shared_queue;
mod store;
mod task;
mod task_runner;
pub mod work;

pub use action::{BenchSubject, FineTune, TaskAction};
pub use allowed_commands::{AllowedCommands, command_id, working_folder};
pub use check::Check;
pub use error::CoachError;
pub use queue::{ACCEPTED_SCORE, MAX_ROUNDS, ModelMark, Phase, PhaseProgress, PlanCommand, Queue};
pub use run::Runner;
pub use shared_queue::SharedQueue;
pub use store::QueueStore;
pub use task::{
    AgentKind, Block, BlockKind, DEFAULT_ATTEMPT_LIMIT, MAX_HISTORY, MAX_ID_LENGTH, ReviewVerdict,
    Status, TRANSITIONS, Task, TaskEvent, TaskId, TaskReport, Worker,
};
pub use task_runner::{Attempt, TaskRunner, TaskStep};
