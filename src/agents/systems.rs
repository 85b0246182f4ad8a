//! What agents do: in each tick they look at the board, and then walk, work or rest.
//!
//! A thought costs microseconds, and there may be thousands of agents. So who works does not look
//! at the board, who walks looks now and then, and in one tick no more than [`THOUGHTS_PER_TICK`]
//! do; the others come first in the next.

use bevy::ecs::query::QueryData;
use bevy::prelude::*;
use big_brain::prelude::{Evaluator, Score};

use super::components::{
    Activity, Agent, AgentMemory, Decision, Energy, JobEntities, OnBoard, Roster, Thoughts,
};
use super::simulation::{Clock, Incident, SimulationRng, SimulationTrace};
use super::think::CompletedJob;
use super::thinker::{self, RestScorer, WorkScorer};
use super::{Board, Job, JobId, JobOutcome, JobState, Position, WorkerPool};
use crate::coach::Attempt;

/// How many agents look at the board in one tick, at most.
pub const THOUGHTS_PER_TICK: u32 = 96;
/// Ticks between looks of one who walks.
const TICKS_BETWEEN_LOOKS: u64 = 16;

/// How many thoughts are left in this tick.
#[derive(Resource, Debug, Default)]
pub(super) struct ThoughtBudget {
    left: u32,
    scratch: Vec<JobId>,
}

#[derive(QueryData)]
#[query_data(mutable)]
pub(super) struct AgentState {
    agent: &'static mut Agent,
    place: &'static mut Position,
    energy: &'static mut Energy,
    memory: &'static mut AgentMemory,
    activity: &'static mut Activity,
    doing: &'static Decision,
    thoughts: &'static mut Thoughts,
}

pub(super) fn begin(mut clock: ResMut<Clock>, mut budget: ResMut<ThoughtBudget>) {
    clock.advance();
    budget.left = THOUGHTS_PER_TICK;
}

/// What work and rest are worth to each agent now: the scores by which its thinker picks.
pub(super) fn sense(
    clock: Res<Clock>,
    roster: Res<Roster>,
    pool: Option<Res<WorkerPool>>,
    mut board: ResMut<Board>,
    mut trace: ResMut<SimulationTrace>,
    mut budget: ResMut<ThoughtBudget>,
    mut agents: Query<(AgentState, &WorkScorer, &RestScorer)>,
    mut scores: Query<&mut Score>,
) {
    let (tick, entities) = (clock.tick(), roster.entities());
    if entities.is_empty() {
        return;
    }
    // Where thoughts run out, others are first in the next tick.
    let first = (tick.wrapping_mul(u64::from(THOUGHTS_PER_TICK)) % entities.len() as u64) as usize;
    for entity in entities[first..].iter().chain(&entities[..first]) {
        let Ok((mut state, work, rest)) = agents.get_mut(*entity) else { continue };
        // Asked here, since `learn` marks the agent as changed.
        if state.agent.levels.len() != board.kinds().len() {
            state.agent.learn(&board);
        }
        let activity = *state.activity;
        state.thoughts.rest = match activity {
            // Real work is not broken off.
            Activity::Working(_) if pool.is_some() => 0.0,
            Activity::Resting => state.agent.profile.rest.go_on.evaluate(state.energy.0),
            _ => state.agent.profile.rest.begin.evaluate(state.energy.0),
        };
        match activity {
            Activity::Working(_) => {}
            // Such rest is above any work: a look would change nothing.
            Activity::Resting if state.thoughts.rest >= 1.0 => state.thoughts.work = 0.0,
            Activity::Idle | Activity::Resting => state.look(&board, tick, &mut budget),
            Activity::Walking(job) => {
                // By its number too, so that not all look in one tick.
                if (tick + u64::from(state.agent.id.0)).is_multiple_of(TICKS_BETWEEN_LOOKS) {
                    state.look_again(job, &mut board, tick, &mut budget, &mut trace);
                }
            }
        }
        thinker::set_scores(&mut scores, (work, state.thoughts.work), (rest, state.thoughts.rest));
    }
}

/// Everybody does what they decided for.
pub(super) fn act(
    clock: Res<Clock>,
    rng: Res<SimulationRng>,
    roster: Res<Roster>,
    mut pool: Option<ResMut<WorkerPool>>,
    mut board: ResMut<Board>,
    mut trace: ResMut<SimulationTrace>,
    mut budget: ResMut<ThoughtBudget>,
    mut agents: Query<AgentState>,
) {
    let tick = clock.tick();
    // In the order of their numbers: one seed gives one world.
    for entity in roster.entities() {
        let Ok(mut state) = agents.get_mut(*entity) else { continue };
        let (id, spend) = (state.agent.id, state.agent.profile.energy_rates.clone());
        match *state.activity {
            Activity::Resting => state.energy.change(spend.rest),
            Activity::Idle if *state.doing == Decision::Work => {
                state.take_up(&mut board, tick, &mut budget, &mut trace);
            }
            Activity::Idle => {}
            Activity::Walking(job) => {
                state.energy.change(-spend.walk);
                let to = board.entry(job).job.place;
                let (place, arrived) = state.place.step_towards(to, state.agent.profile.speed);
                *state.place = place;
                if arrived {
                    *state.activity = Activity::Working(job);
                    trace.note(tick, id, Incident::Begins { job });
                }
            }
            Activity::Working(job) => {
                state.energy.change(-spend.work);
                let outcome = match pool.as_deref_mut() {
                    Some(pool) => pool.poll(job, &board.entry(job).job, &state.agent.name),
                    None => {
                        let level =
                            state.agent.levels.get(board.kind_of(job)).copied().unwrap_or(0.0);
                        let left = board.work_on(job, f64::from(level));
                        (left <= 0.0).then(|| rng.outcome(job, board.entry(job).failures))
                    }
                };
                let Some(outcome) = outcome else { continue };
                state.wrap_up(job, &outcome, &mut board, tick, &mut trace);
                // Who is not tired goes on at once.
                state.look(&board, tick, &mut budget);
                let rest = state.agent.profile.rest.begin.evaluate(state.energy.0);
                if state.thoughts.work > rest {
                    state.take_up(&mut board, tick, &mut budget, &mut trace);
                }
            }
        }
    }
}

impl AgentStateItem<'_, '_> {
    /// Looks for the best jobs, if thoughts are left in this tick.
    fn look(&mut self, board: &Board, tick: u64, budget: &mut ThoughtBudget) {
        let any = self
            .agent
            .levels
            .iter()
            .enumerate()
            .any(|(kind, &level)| level > 0.0 && board.ready_count(kind) > 0);
        if !any {
            // Nothing to look at costs nothing.
            self.thoughts.considered.clear();
            self.thoughts.work = 0.0;
            return;
        }
        if budget.left == 0 {
            return;
        }
        budget.left -= 1;
        let context = self.agent.context(*self.place, &self.energy, &self.memory);
        let considered = context.consider(board, tick, &mut budget.scratch);
        self.thoughts.work = considered.first().map_or(0.0, |best| best.worth.score);
        self.thoughts.considered = considered;
        self.thoughts.tick = tick;
    }

    /// On the way to a job: is there a better one by now?
    fn look_again(
        &mut self,
        own: JobId,
        board: &mut Board,
        tick: u64,
        budget: &mut ThoughtBudget,
        trace: &mut SimulationTrace,
    ) {
        let current =
            self.agent.context(*self.place, &self.energy, &self.memory).judge(board, own, tick);
        let wanted = current.worth.score * (1.0 + self.agent.profile.inertia);
        self.look(board, tick, budget);
        // Where no thought was left, what it thinks is of an earlier tick.
        let is_better = self.thoughts.work > wanted && self.thoughts.tick == tick;
        if is_better {
            let left = board.entry(own).left;
            board.hand_over(own, left);
            trace.note(tick, self.agent.id, Incident::Leaves { job: own });
            self.take_up(board, tick, budget, trace);
        } else {
            self.thoughts.work = current.worth.score;
            self.thoughts.considered.insert(0, current);
        }
    }

    /// Takes the best of the jobs that were considered. Where others were faster, looks once more.
    fn take_up(
        &mut self,
        board: &mut Board,
        tick: u64,
        budget: &mut ThoughtBudget,
        trace: &mut SimulationTrace,
    ) {
        for _ in 0..2 {
            let id = self.agent.id;
            let taken = self
                .thoughts
                .considered
                .iter()
                .position(|considered| board.take(considered.job, id));
            if let Some(at) = taken {
                let chosen = self.thoughts.considered.remove(at);
                *self.activity = Activity::Walking(chosen.job);
                self.thoughts.work = chosen.worth.score;
                trace.note(tick, id, Incident::Takes { job: chosen.job, worth: chosen.worth });
                self.thoughts.considered.insert(0, chosen);
                return;
            }
            self.look(board, tick, budget);
        }
    }

    fn remember(&mut self, job: &Job, tick: u64) {
        let done = CompletedJob { task: job.task.clone(), action: job.action.clone(), tick };
        let at_most = self.agent.profile.memory;
        self.memory.keep(done, at_most);
    }

    fn wrap_up(
        &mut self,
        job: JobId,
        outcome: &JobOutcome,
        board: &mut Board,
        tick: u64,
        trace: &mut SimulationTrace,
    ) {
        let id = self.agent.id;
        *self.activity = Activity::Idle;
        match outcome {
            JobOutcome::Done => {
                self.remember(&board.entry(job).job, tick);
                board.finish(job, tick);
                trace.note(tick, id, Incident::Finishes { job });
            }
            JobOutcome::InQueue(attempt) => {
                let incident = if *attempt == Attempt::Done {
                    self.remember(&board.entry(job).job, tick);
                    Incident::Finishes { job }
                } else {
                    Incident::Returns { job }
                };
                board.withdraw(job);
                trace.note(tick, id, incident);
            }
            JobOutcome::Failed(_) => {
                let again = board.fail(job) == JobState::Ready;
                trace.note(tick, id, Incident::Fails { job, again });
            }
        }
    }
}

/// Gives each job an entity, and takes it away when the job is closed.
pub(super) fn mirror(
    mut commands: Commands,
    mut board: ResMut<Board>,
    mut entities: ResMut<JobEntities>,
) {
    for id in board.take_changes() {
        let entry = board.entry(id);
        let (job, is_open) = (&entry.job, entry.state.is_open());
        // Jobs come in the order of their numbers.
        if id.0 as usize == entities.0.len() {
            let spawn = || {
                let name = Name::new(job.task.as_str().to_owned());
                commands.spawn((OnBoard(id), job.place, name)).id()
            };
            // `None` where it was closed in the tick in which it came.
            entities.0.push(is_open.then(spawn));
        } else if !is_open && let Some(entity) = entities.0[id.0 as usize].take() {
            commands.entity(entity).despawn();
        }
    }
}
