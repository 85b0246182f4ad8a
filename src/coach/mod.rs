//! Tasks that do useful things to the loaded model, in phases, with dependencies and acceptance checks.
//!
//! In: a plan in RON, what agents and people do, the loaded model. Out: a [`Queue`] in which every change of a
//! task's status is in [`TRANSITIONS`], kept by a [`Store`] as one JSON file and shared by a [`Desk`]; [`Hands`] do the tasks. Nothing here knows Bevy: the agents
//! of the world and the command line use the same functions. Normative text: `specs/coach.md`.

mod action;
mod check;
mod consent;
pub mod content;
mod desk;
mod error;
mod graph;
mod hands;
pub mod plan;
mod queue;
pub mod reviewer;
mod run;
mod store;
mod task;
pub mod work;

pub use action::{Action, Subject};
pub use check::Check;
pub use consent::{Consents, command_id, working_folder};
pub use desk::Desk;
pub use error::CoachError;
pub use hands::{Attempt, Hands, Step};
pub use queue::{ACCEPTED_SCORE, Command, MAX_ROUNDS, ModelMark, Phase, Progress, Queue};
pub use run::Runner;
pub use store::Store;
pub use task::{
    Agent, Block, BlockKind, DEFAULT_ATTEMPT_LIMIT, Event, MAX_HISTORY, MAX_ID_LENGTH, Report, Status,
    TRANSITIONS, Task, TaskId, Verdict, Worker,
};
