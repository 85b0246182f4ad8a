//! Agents: who does the tasks of the [`coach`](crate::coach), as entities that choose by utility.
//!
//! In: kinds of agents ([`AgentProfile`], RON) and jobs, which are tasks with a place and an amount
//! of work, on a [`Board`]. Out: jobs taken, walked to and done, one agent at a time and each once;
//! for those who watch, every agent's place, activity and scores, and why.
//!
//! What is pure (curves, utility, the board) comes first and knows no Bevy. On it stand the
//! entities, their decisions (big-brain, through `compat`) and the [`simulation`] in which all of
//! it advances.

mod board;
pub mod content;
mod curve;
mod error;
mod job;
mod position;
mod profile;
mod ready;
pub mod simulation;
mod utility;

#[cfg(feature = "world")]
mod components;
#[cfg(feature = "world")]
mod plugin;
#[cfg(feature = "world")]
mod queue_workers;
#[cfg(feature = "world")]
mod scores;
#[cfg(feature = "world")]
mod systems;
#[cfg(feature = "world")]
mod think;
#[cfg(feature = "world")]
mod thinker;
#[cfg(feature = "world")]
mod worker_pool;

pub use board::{ATTEMPT_LIMIT, Board, BoardEntry, JobKind, MAX_JOBS};
pub use curve::Curve;
pub use error::AgentsError;
pub use job::{AgentId, Job, JobId, JobState};
pub use position::{Position, place_of, place_of_tile};
pub use profile::{AgentProfile, EnergyRates, MAX_COUNT, MAX_MEMORY, Rest, load_profiles};
pub use ready::LOOKED_AT;
pub use simulation::jobs_of_model;
pub use utility::{Consideration, Situation, Utility, Weighted, Worth};

#[cfg(feature = "world")]
pub use components::{
    Activity, Agent, AgentMemory, Decision, Energy, JobEntities, OnBoard, Roster, Thoughts,
};
#[cfg(feature = "world")]
pub use plugin::{AgentsPlugin, AgentsSystems, Tick, spawn_agent, spawn_agents};
#[cfg(feature = "world")]
pub use queue_workers::{QueueWorkers, StepListener};
#[cfg(feature = "world")]
pub use systems::THOUGHTS_PER_TICK;
#[cfg(feature = "world")]
pub use think::{CompletedJob, Considered, DecisionContext, levels};
#[cfg(feature = "world")]
pub use worker_pool::{JobOutcome, Work, WorkerPool};
