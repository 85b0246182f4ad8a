//! Agents: who does the tasks of the [`coach`](crate::coach), as entities that choose by utility.
//!
//! In: kinds of agents ([`Profile`], RON) and jobs, which are tasks with a place and an amount of work, on a [`Board`]. Out: jobs taken, walked
//! to and done, one agent at a time and each once; for those who watch, every agent's place, activity and scores, and why.
//!
//! What is pure (curves, utility, the board, thoughts) comes first and knows no Bevy. On it stand the entities, their minds (big-brain, through
//! `compat`) and the [`simulation`] in which all of it advances.

mod board;
mod bridge;
pub mod content;
mod curve;
mod error;
mod job;
mod place;
mod profile;
mod ready;
pub mod simulation;
mod think;
mod utility;
mod workload;

#[cfg(feature = "world")]
mod body;
#[cfg(feature = "world")]
mod crew;
#[cfg(feature = "world")]
mod live;
#[cfg(feature = "world")]
mod minds;
#[cfg(feature = "world")]
mod plugin;
#[cfg(feature = "world")]
mod workshop;

pub use board::{ATTEMPT_LIMIT, Board, Craft, Entry, MAX_JOBS};
pub use bridge::Bridge;
pub use curve::Curve;
pub use error::AgentsError;
pub use job::{AgentId, Job, JobId, JobState};
pub use place::{Place, place_of, place_of_tile};
pub use profile::{MAX_COUNT, MAX_MEMORY, Metabolism, Profile, Rest, load_profiles};
pub use ready::LOOKED_AT;
pub use think::{Considered, Deed, Thinker, levels};
pub use utility::{Consideration, Situation, Utility, Weighted, Worth};
pub use workload::{job_of_task, jobs_of_model};

#[cfg(feature = "world")]
pub use body::{Activity, Agent, Doing, Energy, JobEntities, Memory, OnBoard, Roster, Standing, Thoughts};
#[cfg(feature = "world")]
pub use crew::{Crew, Tell};
#[cfg(feature = "world")]
pub use live::THOUGHTS_PER_TICK;
#[cfg(feature = "world")]
pub use plugin::{AgentsPlugin, AgentsSystems, Tick, spawn_agent, spawn_agents};
#[cfg(feature = "world")]
pub use workshop::{Outcome, Work, Workshop};
