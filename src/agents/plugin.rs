//! The plugin of agents, and how they come into the world.

use std::sync::Arc;

use bevy::ecs::schedule::{ScheduleLabel, SingleThreadedExecutor};
use bevy::prelude::*;

use super::components::{Agent, JobEntities, Roster};
use super::simulation::{Clock, SimulationRng, SimulationTrace};
use super::{
    AgentId, AgentProfile, Board, Position, QueueWorkers, queue_workers, systems, thinker,
};

/// A tick of the world. [`super::simulation::SimulationPlugin`] runs it from the frame's time; a
/// run without a window as fast as it can.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tick;

/// The parts of a [`Tick`], in their order.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum AgentsSystems {
    /// The clock goes on, the board follows the coach's queue where agents work on one, and new
    /// agents get their thinkers.
    Begin,
    /// Each agent's [`super::Thoughts`] are brought up to date, and the scores of its thinker.
    Sense,
    /// Thinkers decide, and what they break off goes back to the board.
    Think,
    /// Agents walk, work and rest.
    Act,
    /// The entities of jobs follow the board.
    Mirror,
}

/// Agents on big-brain.
///
/// Adds the schedule [`Tick`] with the sets of [`AgentsSystems`], and the resources [`Board`],
/// [`Roster`], [`JobEntities`], [`Clock`], [`SimulationTrace`] and [`SimulationRng`]. Agents come
/// with [`spawn_agents`], jobs with [`Board::push`]. With a [`super::WorkerPool`] work is real,
/// without it simulated. Needs nothing, and no GPU.
pub struct AgentsPlugin;

impl Plugin for AgentsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Board>()
            .init_resource::<Roster>()
            .init_resource::<JobEntities>()
            .init_resource::<Clock>()
            .init_resource::<SimulationTrace>()
            .init_resource::<SimulationRng>()
            .init_resource::<systems::ThoughtBudget>();
        // A tick has no work for two threads, and handing systems to them takes longer than running
        // them.
        let mut tick = Schedule::new(Tick);
        tick.set_executor(SingleThreadedExecutor::new());
        app.add_schedule(tick);
        thinker::add(app);
        use AgentsSystems::{Act, Begin, Mirror, Sense, Think};
        app.configure_sets(Tick, (Begin, Sense, Think, Act, Mirror).chain()).add_systems(
            Tick,
            (
                (
                    systems::begin,
                    queue_workers::follow.run_if(resource_exists::<QueueWorkers>),
                    thinker::attach,
                )
                    .chain()
                    .in_set(Begin),
                systems::sense.in_set(Sense),
                thinker::think.in_set(Think),
                systems::act.in_set(Act),
                systems::mirror.in_set(Mirror),
            ),
        );
    }
}

/// Puts an agent into the world, with the next number.
pub fn spawn_agent(
    world: &mut World,
    profile: &Arc<AgentProfile>,
    name: String,
    place: Position,
) -> Entity {
    let id = AgentId(world.resource::<Roster>().entities().len() as u32);
    let agent = Agent::new(id, name.clone(), profile.clone());
    let bundle = (agent, place, thinker::thinker(world), Name::new(name));
    let entity = world.spawn(bundle).id();
    world.resource_mut::<Roster>().0.push(entity);
    entity
}

/// Puts as many agents of each kind into the world as it says, at places over a rectangle from
/// (0, 0) to `size` that the seed decides.
pub fn spawn_agents(world: &mut World, profiles: &[Arc<AgentProfile>], size: [f64; 2]) {
    for profile in profiles {
        for number in 1..=profile.count {
            let id = world.resource::<Roster>().entities().len() as u32;
            let [x, y] = world.resource::<SimulationRng>().place_of(AgentId(id));
            let place = Position::new(x * size[0], y * size[1]);
            spawn_agent(world, profile, format!("{} {number}", profile.name), place);
        }
    }
}
