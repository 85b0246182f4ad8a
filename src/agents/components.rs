//! An agent as an entity: what it is, where it is, what it does and why. All of it is for others to
//! read and draw.

use std::collections::VecDeque;
use std::sync::Arc;

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

use super::think::{CompletedJob, Considered, DecisionContext};
use super::{AgentId, AgentProfile, Board, JobId, Position, think};

/// An agent. Beside it are [`Position`], [`Energy`], [`AgentMemory`], [`Activity`], [`Decision`]
/// and [`Thoughts`].
#[derive(Component, Debug, Clone)]
#[require(Position, Energy, AgentMemory, Activity, Decision, Thoughts)]
pub struct Agent {
    /// Its number: agents act in the order of these.
    pub id: AgentId,
    /// What it is called.
    pub name: String,
    /// Its kind, shared with the others of it.
    pub profile: Arc<AgentProfile>,
    /// How well it does each kind of job on the board.
    pub(super) levels: Vec<f32>,
}

impl Agent {
    /// An agent of a kind.
    pub fn new(id: AgentId, name: impl Into<String>, profile: Arc<AgentProfile>) -> Self {
        Self { id, name: name.into(), profile, levels: Vec::new() }
    }

    /// Finds out how well it does kinds of jobs that are new on the board.
    pub(super) fn learn(&mut self, board: &Board) {
        // Kinds are only ever added, so that their number tells whether there are new ones.
        if self.levels.len() != board.kinds().len() {
            self.levels = think::levels(&self.profile, board);
        }
    }

    pub(super) fn context<'a>(
        &'a self,
        place: Position,
        energy: &Energy,
        memory: &'a AgentMemory,
    ) -> DecisionContext<'a> {
        DecisionContext {
            profile: &self.profile,
            levels: &self.levels,
            memory: &memory.0,
            place,
            energy: energy.0,
        }
    }
}

/// From 0, worn out, to 1.
#[derive(Component, Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Energy(pub f32);

impl Default for Energy {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Energy {
    pub(super) fn change(&mut self, by: f32) {
        self.0 = (self.0 + by).clamp(0.0, 1.0);
    }
}

/// What an agent did lately, the oldest first.
#[derive(Component, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentMemory(pub VecDeque<CompletedJob>);

impl AgentMemory {
    pub(super) fn keep(&mut self, done: CompletedJob, at_most: usize) {
        self.0.push_back(done);
        while self.0.len() > at_most {
            self.0.pop_front();
        }
    }
}

/// What an agent is about, as one sees it.
#[derive(Component, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// It has no job, and does not rest.
    #[default]
    Idle,
    /// On the way to a job that it has taken.
    Walking(JobId),
    /// At the place of its job, at work or waiting for a worker.
    Working(JobId),
    /// Without a job, gaining energy.
    Resting,
}

impl Activity {
    /// The job that it has.
    pub fn job(self) -> Option<JobId> {
        match self {
            Self::Walking(job) | Self::Working(job) => Some(job),
            Self::Idle | Self::Resting => None,
        }
    }
}

/// What an agent's thinker has decided for.
#[derive(Component, Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Decision {
    /// Taking jobs, walking there and doing them.
    Work,
    /// Gaining energy until it is fresh.
    Rest,
    /// Looking for work again in the next tick.
    #[default]
    Wait,
}

/// An agent's current scores, and why.
#[derive(Component, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thoughts {
    /// The tick in which it last looked at the board.
    pub tick: u64,
    /// The best jobs that it found then, the best first. With a job of its own, that comes first.
    pub considered: Vec<Considered>,
    /// What work is worth to it.
    pub work: f32,
    /// What rest is worth to it.
    pub rest: f32,
}

/// All agents, in the order of their numbers.
#[derive(Resource, Debug, Default)]
pub struct Roster(pub(in crate::agents) Vec<Entity>);

impl Roster {
    /// All agents, in the order of their numbers.
    pub fn entities(&self) -> &[Entity] {
        &self.0
    }

    /// The entity of an agent.
    pub fn entity(&self, agent: AgentId) -> Option<Entity> {
        self.0.get(agent.0 as usize).copied()
    }
}

/// A job of the board as an entity with its [`Position`], from the tick in which it comes to that
/// in which it is closed. That it is there says that the job is open; who has it says the
/// [`Board`], and no component says it again.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
#[require(Position)]
pub struct OnBoard(pub JobId);

/// The entities of the board's open jobs, by the numbers of the jobs.
#[derive(Resource, Debug, Default)]
pub struct JobEntities(pub(in crate::agents) Vec<Option<Entity>>);

impl JobEntities {
    /// The entity of a job while that is open.
    pub fn entity(&self, job: JobId) -> Option<Entity> {
        self.0.get(job.0 as usize).copied().flatten()
    }
}
