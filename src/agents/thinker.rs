//! Agents' thinkers, on big-brain: each picks the highest of the scores of work, rest and waiting.
//!
//! In: what a tick's look at the board came to ([`set_scores`]): for work the measure of the best
//! job's considerations (`scores`), for rest its curve. Out: what [`Decision`] says.
//!
//! Within a tick a choice is made until it is settled: every thinker has been asked, and what it
//! broke off is wrapped up. So a choice takes effect in the tick in which it is made, and a world
//! that was saved goes on as it would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bevy::ecs::schedule::{ScheduleLabel, SingleThreadedExecutor};
use bevy::prelude::*;
use bevy_for_big_brain::Commands as BrainCommands;
use big_brain::choices::Choice;
use big_brain::prelude::*;

use super::components::{Activity, Agent, Decision, Roster};
use super::simulation::{Clock, Incident, SimulationTrace};
use super::{Board, WorkerPool};

/// The schedule in which big-brain scores, picks and acts.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
struct Thinking;

/// The schedule in which big-brain attaches thinkers to new agents and takes them from agents that
/// are gone.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
struct Tidying;

/// What waiting is worth: less than any work.
const WAIT: f32 = 0.005;
/// What work is worth at least where there is some.
const WORK_AT_LEAST: f32 = 0.01;
/// Rounds of thought in which choices settle: one to break off, one to begin anew, and as many for
/// new thinkers.
const ROUNDS: usize = 8;
/// big-brain looks at its clock after so many thinkers, and may go on with the others in the next
/// round.
const THINKERS_PER_LOOK: usize = 500;

/// How often thinkers were asked.
#[derive(Resource, Debug, Clone, Default)]
struct Picks(Arc<AtomicUsize>);

pub(super) fn add(app: &mut App) {
    app.init_resource::<Picks>();
    for mut schedule in [Schedule::new(Thinking), Schedule::new(Tidying)] {
        schedule.set_executor(SingleThreadedExecutor::new());
        app.add_schedule(schedule);
    }
    app.add_plugins(BigBrainPlugin::new(Thinking).set_cleanup_schedule(Tidying))
        .add_systems(Thinking, carry_out.in_set(BigBrainSet::Actions))
        // big-brain's own scorers and actions are parts of other thinkers than these, and leave the
        // order among themselves open.
        .ignore_ambiguity(Thinking, BigBrainSet::Scorers, BigBrainSet::Scorers)
        .ignore_ambiguity(Thinking, BigBrainSet::Actions, BigBrainSet::Actions);
}

/// On an agent: the scorer entity of its work.
#[derive(Component, Debug, Clone, Copy)]
pub(super) struct WorkScorer(Entity);

/// On an agent: the scorer entity of its rest.
#[derive(Component, Debug, Clone, Copy)]
pub(super) struct RestScorer(Entity);

/// Builds a scorer whose entity its agent knows: a look at the board sets its score.
#[derive(Debug)]
struct KnownScorer<C> {
    label: &'static str,
    known_as: fn(Entity) -> C,
}

impl<C: Component> ScorerBuilder for KnownScorer<C>
where
    Self: std::fmt::Debug,
{
    fn build(&self, commands: &mut BrainCommands, scorer: Entity, actor: Entity) {
        commands.entity(actor).insert((self.known_as)(scorer));
    }

    fn label(&self) -> Option<&str> {
        Some(self.label)
    }
}

/// Marks an action by what it is for.
#[derive(Component, Debug, Clone, Copy)]
struct For(Decision);

impl ActionBuilder for For {
    fn build(&self, commands: &mut BrainCommands, action: Entity, _actor: Entity) {
        commands.entity(action).insert(*self);
    }

    fn label(&self) -> Option<&str> {
        Some(label(self.0))
    }
}

const fn label(doing: Decision) -> &'static str {
    match doing {
        Decision::Work => "work",
        Decision::Rest => "rest",
        Decision::Wait => "wait",
    }
}

/// [`Highest`], and counts how often it was asked.
#[derive(Debug, Clone)]
struct CountedHighest(Picks);

impl Picker for CountedHighest {
    fn pick<'a>(&self, choices: &'a [Choice], scores: &Query<&Score>) -> Option<&'a Choice> {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        Highest.pick(choices, scores)
    }
}

/// The thinker of an agent of this world.
pub(super) fn thinker(world: &World) -> ThinkerBuilder {
    // Of equal scores the first wins.
    Thinker::build()
        .picker(CountedHighest(world.resource::<Picks>().clone()))
        .when(KnownScorer { label: "rest", known_as: RestScorer }, For(Decision::Rest))
        .when(KnownScorer { label: "work", known_as: WorkScorer }, For(Decision::Work))
        .when(FixedScore::build(WAIT).label("wait"), For(Decision::Wait))
}

/// Sets the scores of an agent's thinker: what work and rest are worth to it.
pub(super) fn set_scores(
    scores: &mut Query<&mut Score>,
    (WorkScorer(of_work), work): (&WorkScorer, f32),
    (RestScorer(of_rest), rest): (&RestScorer, f32),
) {
    let work = if work > 0.0 { work.clamp(WORK_AT_LEAST, 1.0) } else { 0.0 };
    for (scorer, value) in [(of_work, work), (of_rest, rest.clamp(0.0, 1.0))] {
        if let Ok(mut score) = scores.get_mut(*scorer) {
            score.set(value);
        }
    }
}

/// Begins what thinkers ask for, and wraps up what they break off: a job goes back to the board
/// with what is left of it.
fn carry_out(
    clock: Res<Clock>,
    pool: Option<Res<WorkerPool>>,
    mut board: ResMut<Board>,
    mut trace: ResMut<SimulationTrace>,
    mut agents: Query<(&Agent, &mut Activity, &mut Decision)>,
    mut actions: Query<(&Actor, &For, &mut ActionState)>,
) {
    let (mut broken_off, mut resting) = (Vec::new(), Vec::new());
    for (Actor(actor), For(done), mut state) in &mut actions {
        match *state {
            ActionState::Requested => {
                *state = ActionState::Executing;
                let Ok((agent, mut activity, mut doing)) = agents.get_mut(*actor) else { continue };
                doing.set_if_neq(*done);
                if *done == Decision::Rest && *activity != Activity::Resting {
                    *activity = Activity::Resting;
                    resting.push(agent.id);
                }
            }
            ActionState::Cancelled => {
                *state = ActionState::Failure;
                let Ok((agent, activity, _)) = agents.get(*actor) else { continue };
                if *activity != Activity::Idle {
                    broken_off.push((agent.id, *actor));
                }
            }
            ActionState::Init
            | ActionState::Executing
            | ActionState::Success
            | ActionState::Failure => {}
        }
    }
    // Entities come in any order, agents in that of their numbers.
    resting.sort_unstable();
    for id in resting {
        trace.note(clock.tick(), id, Incident::Rests);
    }
    broken_off.sort_unstable_by_key(|(id, _)| *id);
    for (id, actor) in broken_off {
        let Ok((_, mut activity, _)) = agents.get_mut(actor) else { continue };
        if let Some(job) = activity.job() {
            assert!(
                pool.is_none() || matches!(*activity, Activity::Walking(_)),
                "work is not broken off"
            );
            let left = board.entry(job).left;
            board.hand_over(job, left);
            trace.note(clock.tick(), id, Incident::HandsOver { job });
        }
        *activity = Activity::Idle;
    }
}

/// Gives new agents their thinkers, and takes away those of agents that are gone.
pub(super) fn attach(world: &mut World) {
    world.run_schedule(Tidying);
}

fn score_as_decided(
    mut scores: Query<&mut Score>,
    agents: Query<(&Decision, &WorkScorer, &RestScorer)>,
) {
    for (doing, work, rest) in &agents {
        let is = |other: Decision| f32::from(u8::from(*doing == other));
        set_scores(&mut scores, (work, is(Decision::Work)), (rest, is(Decision::Rest)));
    }
}

/// Lets every thinker come to what [`Decision`] says, after a world has been restored.
pub(super) fn resume(world: &mut World) {
    attach(world);
    world.run_system_cached(score_as_decided).expect("it takes no resources");
    think(world);
}

/// Lets every thinker choose, until all choices are in effect.
pub(super) fn think(world: &mut World) {
    let count = world.resource::<Roster>().entities().len();
    let picks = world.resource::<Picks>().0.clone();
    let mut actions = world.query::<(&For, &ActionState)>();
    let mut asked = 0;
    for _ in 0..ROUNDS * (1 + count / THINKERS_PER_LOOK) {
        picks.store(0, Ordering::Relaxed);
        world.run_schedule(Thinking);
        asked += picks.load(Ordering::Relaxed);
        let mut under_way = 0;
        let steady = actions.iter(world).all(|(_, state)| {
            under_way += 1;
            *state == ActionState::Executing
        });
        match steady && under_way == count {
            true if asked >= count => return,
            true => {}
            false => asked = 0,
        }
    }
    debug!("{count} thinkers do not come to a decision; they go on in the next tick");
}
