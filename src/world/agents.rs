//! Agents in the window's world: they work while the user explores, and wait while the model
//! answers.
//!
//! In: [`TaskRunner`] for the coach's queue. Out: agents and jobs as entities that move, their
//! layers of colour, and the whole state of the world in a file. What is drawn of it is `panel`'s.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bevy::ecs::message::Messages;
use bevy::prelude::*;

use super::WorldSystems;
use super::camera::MapCamera;
use super::family::FamilyFolder;
use super::heatmap::Heatmaps;
use super::keys::{UserAction, on_action};
use super::layout::Atlas;
use super::notices::Notices;
use super::think::Generation;
use super::view::View;
use crate::agents::simulation::{Camera, Clock, SimulationPlugin, WorldSnapshot};
use crate::agents::{
    AgentProfile, AgentsError, AgentsPlugin, AgentsSystems, Position, QueueWorkers, Roster, Tick,
    WorkerPool, spawn_agents,
};
use crate::coach::TaskRunner;

/// Works that go on at once: each takes all threads that work may have.
const BENCHES: usize = 1;
/// The share of the time that a bench is in use; for the rest the machine is the user's alone.
const SHARE: f64 = 0.5;
/// The name under which a snapshot has the layer that is shown.
const SHOWN: &str = "shown";

/// Where agents were a tick ago, for whoever draws between ticks.
#[derive(Resource, Debug, Default)]
pub struct Before(HashMap<Entity, Position>);

impl Before {
    /// Where an agent that is at `now` is to be drawn.
    pub fn between(&self, agent: Entity, now: Position, clock: &Clock) -> [f64; 2] {
        let before = self.0.get(&agent).copied().unwrap_or(now);
        let share = clock.share_of_next().clamp(0.0, 1.0);
        [before.x + (now.x - before.x) * share, before.y + (now.y - before.y) * share]
    }
}

/// Where the state of the world is kept; nowhere in tours and tests.
#[derive(Resource, Debug, Clone, Default)]
pub(crate) struct WorldFile(pub Option<PathBuf>);

/// Puts agents into the world. Comes after [`super::WorldPlugin`].
///
/// Adds [`AgentsPlugin`], [`SimulationPlugin`], [`Heatmaps`], [`Before`] and [`WorldFile`]. Agents
/// come with `inhabit`.
pub struct InhabitedPlugin;

impl Plugin for InhabitedPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((AgentsPlugin, SimulationPlugin))
            .init_resource::<Heatmaps>()
            .init_resource::<Before>()
            .init_resource::<WorldFile>()
            // Agents walk later in the tick, in `AgentsSystems::Act`.
            .add_systems(Tick, remember.after(AgentsSystems::Begin).before(AgentsSystems::Sense))
            .add_systems(
                Update,
                (
                    yield_to_the_prompt,
                    read_surveys,
                    pause.run_if(on_action(UserAction::PauseAgents)),
                )
                    .chain()
                    .after(super::pointer::mouse)
                    .in_set(WorldSystems::Act),
            )
            // It takes the world whole to write it, and changes nothing that others in this
            // schedule look at.
            .add_systems(Last, save_at_the_end.ambiguous_with_all());
    }
}

/// Agents of these kinds, at work on a queue; or the world as it was saved.
///
/// # Errors
/// The saved world contradicts itself.
pub(crate) fn inhabit(
    world: &mut World,
    runner: Arc<TaskRunner>,
    profiles: Vec<AgentProfile>,
    saved: Option<&WorldSnapshot>,
) -> Result<(), AgentsError> {
    world.insert_resource(FamilyFolder(runner.shared_queue().folder()));
    QueueWorkers::employ(world, runner, Vec::new(), None, (BENCHES, SHARE), Arc::new(|_| ()));
    match saved {
        Some(saved) => restore(world, saved),
        None => {
            let profiles: Vec<_> = profiles.into_iter().map(Arc::new).collect();
            let size = world.resource::<Atlas>().model().plan().size.map(|cells| cells as f64);
            spawn_agents(world, &profiles, size);
            Ok(())
        }
    }
}

/// The state of the world: agents, jobs, camera, and the layer that is shown.
pub fn snapshot(world: &mut World) -> WorldSnapshot {
    let View { centre, scale, .. } = world.resource::<MapCamera>().view;
    let place = Position::new(centre[0], centre[1]);
    world.insert_resource(Camera { place, pixels_per_cell: scale });
    let mut snapshot = WorldSnapshot::of(world);
    if let Some(shown) = &world.resource::<Heatmaps>().shown {
        snapshot.overlays.insert(SHOWN.into(), shown.clone());
    }
    snapshot
}

/// Brings the world into a state that was saved.
///
/// # Errors
/// It contradicts itself; the world is as it was.
pub fn restore(world: &mut World, saved: &WorldSnapshot) -> Result<(), AgentsError> {
    saved.restore(world)?;
    // It names the entities of the world before, which are despawned.
    world.resource_mut::<Before>().0.clear();
    world.resource_mut::<Heatmaps>().shown = saved.overlays.get(SHOWN).cloned();
    if let Some(Camera { place, pixels_per_cell }) = saved.camera {
        // The file may have been edited, or be of a land that was laid out by other rules.
        let bounds = world.resource::<Atlas>().bounds();
        let mut camera = world.resource_mut::<MapCamera>();
        let centre = [place.x, place.y];
        let view = View { centre, scale: pixels_per_cell, ..camera.view }.bounded(bounds);
        camera.jump(view);
    }
    Ok(())
}

/// Writes the state of the world to its file.
///
/// # Errors
/// It cannot be written.
pub fn save(world: &mut World) -> Result<Option<PathBuf>, AgentsError> {
    let Some(path) = world.resource::<WorldFile>().0.clone() else { return Ok(None) };
    let failed =
        |source| AgentsError::File { what: "make the folder of", path: path.clone(), source };
    path.parent().map(std::fs::create_dir_all).transpose().map_err(failed)?;
    snapshot(world).save(&path)?;
    Ok(Some(path))
}

fn remember(roster: Res<Roster>, places: Query<&Position>, mut before: ResMut<Before>) {
    for &agent in roster.entities() {
        if let Ok(&place) = places.get(agent) {
            before.0.insert(agent, place);
        }
    }
}

/// Work waits at its next step while the model answers.
fn yield_to_the_prompt(
    mind: Res<Generation>,
    workers: Option<Res<QueueWorkers>>,
    pool: Option<ResMut<WorkerPool>>,
) {
    let (Some(workers), Some(mut pool)) = (workers, pool) else { return };
    // A paused answer computes nothing, and may be paused for long.
    let answers = mind.is_busy() && !mind.paused;
    if pool.on_hold != answers {
        pool.on_hold = answers;
        workers.runner().context().pause_token().hold(answers);
    }
}

/// Reads what surveys have found whenever the queue has changed.
fn read_surveys(
    workers: Option<Res<QueueWorkers>>,
    atlas: Res<Atlas>,
    mut overlays: ResMut<Heatmaps>,
    mut seen: Local<Option<usize>>,
) {
    let Some(workers) = workers else { return };
    let queue = workers.runner().shared_queue().queue();
    let with_files = |task: &&crate::coach::Task| {
        task.status == crate::coach::Status::Completed
            && task.report.as_ref().is_some_and(|report| !report.files.is_empty())
    };
    let count = queue.tasks().iter().filter(with_files).count();
    // A file has up to 64 MiB: it is not read in each frame, but when another task has left one.
    if *seen == Some(count) {
        return;
    }
    *seen = Some(count);
    for problem in overlays.load(&workers.runner().shared_queue().folder(), atlas.model()) {
        debug!("no layer: {problem}");
    }
}

fn pause(mut clock: ResMut<Clock>, mut notices: ResMut<Notices>) {
    let paused = !clock.is_paused();
    clock.set_paused(paused);
    notices.tell(if paused { "the agents stand still" } else { "the agents go on" });
}

fn save_at_the_end(world: &mut World, mut ended: Local<bool>) {
    let exits = world.get_resource::<Messages<AppExit>>().is_some_and(|exits| !exits.is_empty());
    // The message can be read for two updates; the world is written once.
    if !exits || std::mem::replace(&mut *ended, true) {
        return;
    }
    if let Some(workers) = world.get_resource::<QueueWorkers>() {
        // What is under way goes back to the queue, and is begun anew next time.
        workers.runner().context().pause_token().cancel();
    }
    if let Err(error) = save(world) {
        warn!("the world cannot be kept: {error}");
    }
}
