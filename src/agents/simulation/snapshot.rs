//! The whole state of a world in a file that a person can read: RON, an agent and a job a line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Clock, SimulationRng};
use crate::agents::{
    Activity, Agent, AgentId, AgentMemory, AgentProfile, AgentsError, Board, BoardEntry, Decision,
    Energy, JobEntities, JobState, Position, Roster, Thoughts, spawn_agent, systems, thinker,
};
use crate::pxi::AtomicFile;

/// What a file of this kind begins with.
const FORMAT: &str = "pixel-llm world 1";
/// Below the fields, the lists and their items, everything stands on one line.
const LINES_TO_DEPTH: usize = 2;

/// The state of a world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSnapshot {
    format: String,
    /// Its tick, speed and pause.
    pub clock: Clock,
    /// Its seed, and the chance of a failure.
    #[serde(rename = "odds")]
    pub rng: SimulationRng,
    /// The view into it, if there is a window.
    #[serde(default)]
    pub camera: Option<Camera>,
    /// What lies over the map, by name; what each means is its writer's.
    #[serde(default)]
    pub overlays: BTreeMap<String, String>,
    /// Kinds of its agents.
    pub profiles: Vec<AgentProfile>,
    /// Its agents, in the order of their numbers.
    pub agents: Vec<SavedAgent>,
    /// Its jobs, in the order of their numbers.
    pub jobs: Vec<BoardEntry>,
}

/// The view into the world: the place in its middle and how large a cell is. A resource where there
/// is a window.
#[derive(Resource, Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// The place in the middle of the window.
    pub place: Position,
    /// Pixels of the window per cell.
    pub pixels_per_cell: f64,
}

/// An agent as it is saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAgent {
    /// What it is called.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// Where it is, in cells of the map.
    pub place: Position,
    /// Its energy, from 0 to 1.
    pub energy: Energy,
    /// What it is about.
    pub activity: Activity,
    /// What it decided for.
    pub doing: Decision,
    /// What it did lately.
    pub memory: AgentMemory,
    /// What it last made of the board.
    pub thoughts: Thoughts,
}

impl WorldSnapshot {
    /// The state of a world between two ticks. Overlays are for their writers to add.
    pub fn of(world: &World) -> Self {
        let mut profiles: Vec<AgentProfile> = Vec::new();
        let mut agents = Vec::new();
        for &entity in world.resource::<Roster>().entities() {
            let Some(agent) = world.get::<Agent>(entity) else { continue };
            if !profiles.iter().any(|profile| profile.name == agent.profile.name) {
                profiles.push(AgentProfile::clone(&agent.profile));
            }
            agents.push(SavedAgent {
                name: agent.name.clone(),
                kind: agent.profile.name.clone(),
                place: world.get::<Position>(entity).copied().unwrap_or_default(),
                energy: world.get::<Energy>(entity).copied().unwrap_or_default(),
                activity: world.get::<Activity>(entity).copied().unwrap_or_default(),
                doing: world.get::<Decision>(entity).copied().unwrap_or_default(),
                memory: world.get::<AgentMemory>(entity).cloned().unwrap_or_default(),
                thoughts: world.get::<Thoughts>(entity).cloned().unwrap_or_default(),
            });
        }
        Self {
            format: FORMAT.into(),
            clock: world.resource::<Clock>().clone(),
            rng: world.resource::<SimulationRng>().clone(),
            camera: world.get_resource::<Camera>().copied(),
            overlays: BTreeMap::new(),
            profiles,
            agents,
            jobs: world.resource::<Board>().entries().to_vec(),
        }
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// It is none (with line and column), or of another version.
    pub fn parse(file: &str, text: &str) -> Result<Self, AgentsError> {
        let snapshot: Self =
            ron::from_str(text).map_err(|error| AgentsError::syntax(file, &error))?;
        if snapshot.format != FORMAT {
            let problem = format!("the format is {:?}, expected {FORMAT:?}", snapshot.format);
            return Err(AgentsError::content(file, problem));
        }
        snapshot.check().map_err(|problem| AgentsError::content(file, problem))?;
        Ok(snapshot)
    }

    /// Reads a snapshot from a file.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, AgentsError> {
        let text = crate::files::read_to_string(path).map_err(|source| AgentsError::File {
            what: "read",
            path: path.into(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        let style = ron::ser::PrettyConfig::new().depth_limit(LINES_TO_DEPTH).new_line("\n");
        ron::ser::to_string_pretty(self, style).expect("plain data can be written as RON")
    }

    /// Writes it to a file, in the place of one that is there: whole, or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), AgentsError> {
        let failed = |source| AgentsError::File { what: "write", path: path.into(), source };
        AtomicFile::replace(path, self.to_text().as_bytes())
            .map_err(std::io::Error::other)
            .map_err(failed)
    }

    /// Whether agents and jobs agree on who has what.
    fn check(&self) -> Result<(), String> {
        self.clock.check()?;
        for (number, agent) in (0..).map(AgentId).zip(&self.agents) {
            if !self.profiles.iter().any(|profile| profile.name == agent.kind) {
                return Err(format!(
                    "{} is of the kind {:?}, which is not there",
                    agent.name, agent.kind
                ));
            }
            if let Some(job) = agent.activity.job()
                && self
                    .jobs
                    .get(job.0 as usize)
                    .is_none_or(|entry| entry.state != JobState::Taken(number))
            {
                return Err(format!(
                    "{} has job {}, but the job does not say so",
                    agent.name, job.0
                ));
            }
            let count = self.jobs.len();
            if let Some(lost) =
                agent.thoughts.considered.iter().find(|other| other.job.0 as usize >= count)
            {
                return Err(format!(
                    "{} thinks of job {}, there are {count}",
                    agent.name, lost.job.0
                ));
            }
        }
        let mut done = Vec::with_capacity(self.jobs.len());
        for (number, entry) in self.jobs.iter().enumerate() {
            let task = &entry.job.task;
            if let JobState::Taken(agent) = entry.state {
                let holder =
                    self.agents.get(agent.0 as usize).and_then(|agent| agent.activity.job());
                if holder.is_none_or(|job| job.0 as usize != number) {
                    return Err(format!(
                        "{task} is agent {}'s, but the agent does not say so",
                        agent.0
                    ));
                }
            }
            // Jobs wait for earlier ones alone, all of which are in `done`.
            let open = entry
                .job
                .after
                .iter()
                .filter(|before| done.get(before.0 as usize) == Some(&false))
                .count();
            let waits = match entry.state {
                JobState::Waiting(count) => count as usize,
                _ => 0,
            };
            if open != waits {
                return Err(format!(
                    "{task} waits for {waits} jobs, but {open} that it is after are open"
                ));
            }
            done.push(entry.state == JobState::Done);
        }
        Ok(())
    }

    /// Brings the world into this state; agents and jobs that were in it are gone.
    ///
    /// # Errors
    /// It contradicts itself. The world is as it was then.
    pub fn restore(&self, world: &mut World) -> Result<(), AgentsError> {
        self.check().map_err(|problem| AgentsError::content("the snapshot", problem))?;
        // Before anything is taken away, since a job may still be refused.
        let mut board = Board::default();
        for entry in &self.jobs {
            board.put(entry.clone())?;
        }
        let agents = std::mem::take(&mut world.resource_mut::<Roster>().0);
        let jobs = std::mem::take(&mut world.resource_mut::<JobEntities>().0);
        for entity in agents.into_iter().chain(jobs.into_iter().flatten()) {
            world.despawn(entity);
        }
        world.insert_resource(board);
        world.insert_resource(self.clock.clone());
        world.insert_resource(self.rng.clone());
        match self.camera {
            Some(camera) => world.insert_resource(camera),
            None => drop(world.remove_resource::<Camera>()),
        }
        let profiles: Vec<_> = self.profiles.iter().cloned().map(Arc::new).collect();
        for saved in &self.agents {
            let kind = profiles.iter().find(|profile| profile.name == saved.kind);
            let kind = kind.expect("the check has found each agent's kind");
            let entity = spawn_agent(world, kind, saved.name.clone(), saved.place);
            let state = (
                saved.energy,
                saved.activity,
                saved.doing,
                saved.memory.clone(),
                saved.thoughts.clone(),
            );
            world.entity_mut(entity).insert(state);
        }
        thinker::resume(world);
        // A world that was saved while time stood still shows its jobs before the next tick.
        world.run_system_cached(systems::mirror).expect("the plugin has added what it takes");
        Ok(())
    }
}
