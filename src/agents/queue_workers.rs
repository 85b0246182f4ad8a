//! Agents on the coach's tasks: the board follows the queue, and the worker pool does what the
//! queue gives out.
//!
//! In: a [`TaskRunner`] for the tasks of a queue. Out: a [`WorkerPool`] and a [`QueueWorkers`], as
//! resources of a world with [`super::AgentsPlugin`].

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bevy::prelude::*;

use super::simulation::Clock;
use super::{Activity, Agent, Board, Job, JobState, Outcome, QueueSync, Roster, WorkerPool};
use crate::coach::{Attempt, Step, TaskId, TaskRunner};

/// Hears what happens to tasks, from the threads that work.
pub type Tell = dyn Fn(Step) + Send + Sync;

/// The agents' side of a queue.
#[derive(Resource)]
pub struct QueueWorkers {
    hands: Arc<TaskRunner>,
    bridge: QueueSync,
    waiting: Arc<Mutex<HashSet<TaskId>>>,
    /// How many more tasks may be begun.
    allowance: Arc<AtomicU32>,
}

impl QueueWorkers {
    /// Puts agents of a world to work on a queue: in these phases, or in the current one as it
    /// moves on; at most so many tasks; on as many benches and for such a share of the time as
    /// [`WorkerPool::new`] has them.
    pub fn employ(
        world: &mut World,
        hands: Arc<TaskRunner>,
        phases: Vec<u32>,
        max_tasks: Option<u32>,
        (benches, share): (usize, f64),
        tell: Arc<Tell>,
    ) {
        let waiting: Arc<Mutex<HashSet<TaskId>>> = Arc::default();
        let allowance = Arc::new(AtomicU32::new(max_tasks.unwrap_or(u32::MAX)));
        let work = {
            let (hands, waiting, allowance) = (hands.clone(), waiting.clone(), allowance.clone());
            move |job: &Job, agent: &str| work(&hands, &waiting, &allowance, &tell, job, agent)
        };
        world.insert_resource(WorkerPool::new(Arc::new(work), benches, share));
        world.insert_resource(Self { hands, bridge: QueueSync::new(phases), waiting, allowance });
    }

    /// What tasks are done with.
    pub fn hands(&self) -> &Arc<TaskRunner> {
        &self.hands
    }

    /// Offers tasks again that waited for something: it may be there now.
    pub fn try_again(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether nothing is left that these agents can do: to be asked after a tick.
    pub fn is_done(world: &World) -> bool {
        let (Some(crew), Some(workshop)) =
            (world.get_resource::<Self>(), world.get_resource::<WorkerPool>())
        else {
            return true;
        };
        if workshop.busy() > 0 {
            return false;
        }
        if crew.allowance.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let board = world.resource::<Board>();
        let waiting = crew.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !crew.bridge.is_current(board, crew.hands.desk().version(), &waiting) {
            // The next tick brings what has become ready.
            return false;
        }
        let agents = world
            .resource::<Roster>()
            .entities()
            .iter()
            .filter_map(|&entity| world.get::<Agent>(entity));
        let agents: Vec<&Agent> = agents.collect();
        let can = |job: &Job| {
            agents.iter().any(|agent| agent.profile.level(&job.action, job.wanted) > 0.0)
        };
        // A job that nobody can do stays on the board, and nobody waits for it.
        let is_left = |entry: &super::Entry| match entry.state {
            JobState::Taken(_) => true,
            state => state.is_open() && can(&entry.job),
        };
        !board.entries().iter().any(is_left)
    }

    /// Whether some agent is on its way: then time may go as fast as it can.
    pub fn is_anybody_under_way(world: &World) -> bool {
        let walks =
            |&entity: &Entity| matches!(world.get::<Activity>(entity), Some(Activity::Walking(_)));
        world.resource::<Roster>().entities().iter().any(walks)
    }
}

/// Does a task, on a thread of the workshop.
fn work(
    hands: &TaskRunner,
    waiting: &Mutex<HashSet<TaskId>>,
    allowance: &AtomicU32,
    tell: &Arc<Tell>,
    job: &Job,
    agent: &str,
) -> Outcome {
    let one_less = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
    if allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
        return Outcome::Returned("no more tasks were asked for".into());
    }
    let Ok(id) = job.task.parse::<TaskId>() else {
        return Outcome::Returned(format!("{:?} is no task", job.task));
    };
    match hands.attempt(&id, agent, &mut |step| tell(step)) {
        Ok(Attempt::Done) => Outcome::Done,
        Ok(Attempt::Open(why) | Attempt::Taken(why)) => Outcome::Returned(why),
        Ok(Attempt::Waits(what)) => {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            Outcome::Returned(format!("waits for {what}"))
        }
        Err(error) => {
            hands.desk().complain(&error);
            // Not offered again by itself: the disk may be full, and would be asked without end.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            Outcome::Returned(error.to_string())
        }
    }
}

/// Brings the board in line with the queue.
pub(super) fn follow(clock: Res<Clock>, mut crew: ResMut<QueueWorkers>, mut board: ResMut<Board>) {
    let QueueWorkers { hands, bridge, waiting, .. } = &mut *crew;
    let desk = hands.desk();
    // The version first: a state that comes between the two is looked at again.
    let (version, queue) = (desk.version(), desk.queue());
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = hands.shop().model().plan();
    if let Err(error) = bridge.follow(&mut board, &queue, version, &waiting, plan, clock.tick()) {
        warn!("{error}");
    }
}
