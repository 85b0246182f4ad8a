//! Who runs the ticks: the frames of a window, or a run without one.

use std::io::{self, Write};
use std::sync::Arc;

use bevy::prelude::*;

use super::{Clock, SimulationRng, SimulationTrace, WorldSnapshot};
use crate::agents::{
    Agent, AgentId, AgentProfile, AgentsError, AgentsPlugin, Board, Job, Roster, Tick, spawn_agents,
};

/// Runs ticks from the frames' time, as [`Clock`] says.
///
/// Adds, in `PreUpdate`, set [`SimulationSystems::Ticks`], the system that runs them. Needs
/// [`AgentsPlugin`] and Bevy's `TimePlugin`.
pub struct SimulationPlugin;

/// Where the systems of [`SimulationPlugin`] are.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum SimulationSystems {
    /// In `PreUpdate`: the ticks of a frame. Systems in `Update` see agents as they are after it.
    Ticks,
}

impl Plugin for SimulationPlugin {
    fn build(&self, app: &mut App) {
        // It takes the world whole to run a schedule in it, and that has nothing to do with Bevy's
        // own systems here.
        app.add_systems(PreUpdate, run_ticks.in_set(SimulationSystems::Ticks).ambiguous_with_all());
    }
}

/// Real time, so that a pause of the world is the clock's own and stops no animation of the window.
fn run_ticks(world: &mut World) {
    let seconds = world.resource::<Time<Real>>().delta_secs_f64();
    for _ in 0..world.resource_mut::<Clock>().pass(seconds) {
        world.run_schedule(Tick);
    }
}

/// A world of agents and jobs without a window, which advances as fast as it can.
pub struct Simulation {
    app: App,
}

impl Simulation {
    /// A world at tick 0, with agents at places over a map of this size.
    ///
    /// # Errors
    /// The jobs cannot be on a board.
    pub fn new(
        profiles: Vec<AgentProfile>,
        jobs: impl IntoIterator<Item = Job>,
        size: [f64; 2],
        rng: SimulationRng,
    ) -> Result<Self, AgentsError> {
        let board = Board::new(jobs, 0)?;
        let mut app = Self::empty();
        let world = app.world_mut();
        world.insert_resource(board);
        world.insert_resource(rng);
        let profiles: Vec<_> = profiles.into_iter().map(Arc::new).collect();
        spawn_agents(world, &profiles, size);
        Ok(Self { app })
    }

    /// A world as it was saved.
    ///
    /// # Errors
    /// The snapshot contradicts itself.
    pub fn resume(snapshot: &WorldSnapshot) -> Result<Self, AgentsError> {
        let mut app = Self::empty();
        snapshot.restore(app.world_mut())?;
        Ok(Self { app })
    }

    fn empty() -> App {
        let mut app = App::new();
        app.add_plugins(AgentsPlugin).insert_resource(SimulationTrace::enabled());
        app.finish();
        app.cleanup();
        app
    }

    /// Goes on by a tick.
    pub fn tick(&mut self) {
        self.app.world_mut().run_schedule(Tick);
        // Nothing else ends a frame here, and what big-brain and we remember of removed components
        // would pile up.
        self.app.world_mut().clear_trackers();
    }

    /// Its world, with the resources of [`AgentsPlugin`].
    pub fn world(&self) -> &World {
        self.app.world()
    }

    /// Its world, to change it.
    pub fn world_mut(&mut self) -> &mut World {
        self.app.world_mut()
    }

    /// The board that its jobs are on.
    pub fn board(&self) -> &Board {
        self.world().resource::<Board>()
    }

    /// The tick that it is in.
    pub fn now(&self) -> u64 {
        self.world().resource::<Clock>().tick()
    }

    /// What an agent is called.
    pub fn name(&self, agent: AgentId) -> &str {
        let entity = self.world().resource::<Roster>().entity(agent);
        entity.and_then(|entity| self.world().get::<Agent>(entity)).map_or("?", |agent| &agent.name)
    }

    /// All of it, to be saved.
    pub fn snapshot(&self) -> WorldSnapshot {
        WorldSnapshot::of(self.world())
    }

    /// Writes what happened since this was last called, a line of JSON each.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_trace(&mut self, to: &mut impl Write) -> io::Result<()> {
        // Taken out, since names and tasks are read from the world that has it.
        let mut trace = std::mem::replace(
            &mut *self.world_mut().resource_mut::<SimulationTrace>(),
            SimulationTrace::enabled(),
        );
        trace.write(to, self.board(), |agent| self.name(agent))
    }
}
