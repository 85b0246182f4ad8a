//! Agents on the coach's tasks: the board follows the queue, and the worker pool does what the
//! queue gives out.
//!
//! In: a [`TaskRunner`] for the tasks of a queue. Out: a [`WorkerPool`] and a [`QueueWorkers`], as
//! resources of a world with [`super::AgentsPlugin`]. What programs can do now is a job on the
//! board, and nothing else is. The queue decides: a job is only an offer, and an agent that takes
//! it has to begin the task there, which one worker alone can.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bevy::prelude::*;

use super::simulation::Clock;
use super::{
    Activity, Agent, AgentsError, Board, Job, JobId, JobOutcome, JobState, Roster, WorkerPool,
};
use crate::coach::{Attempt, Queue, Task, TaskId, TaskRunner, TaskStep};
use crate::model::MapPlan;

/// Is called with what happens to tasks, from the threads that work.
pub type StepListener = dyn Fn(TaskStep) + Send + Sync;

/// The agents' side of a queue.
#[derive(Resource)]
pub struct QueueWorkers {
    runner: Arc<TaskRunner>,
    offers: Offers,
    waiting: Arc<Mutex<HashSet<TaskId>>>,
    /// How many more tasks may be begun.
    allowance: Arc<AtomicU32>,
    /// When the user last gave leave, as far as it was looked at.
    leave: Option<SystemTime>,
}

impl QueueWorkers {
    /// Puts agents of a world to work on a queue: in these phases, or in the current one as it
    /// moves on; at most so many tasks; on as many benches and for such a share of the time as
    /// [`WorkerPool::new`] has them.
    pub fn employ(
        world: &mut World,
        runner: Arc<TaskRunner>,
        phases: Vec<u32>,
        max_tasks: Option<u32>,
        (benches, share): (usize, f64),
        tell: Arc<StepListener>,
    ) {
        let waiting: Arc<Mutex<HashSet<TaskId>>> = Arc::default();
        let allowance = Arc::new(AtomicU32::new(max_tasks.unwrap_or(u32::MAX)));
        let work = {
            let (runner, waiting, allowance) = (runner.clone(), waiting.clone(), allowance.clone());
            move |job: &Job, agent: &str| {
                JobOutcome::InQueue(attempt(&runner, &waiting, &allowance, &tell, &job.task, agent))
            }
        };
        world.insert_resource(WorkerPool::new(Arc::new(work), benches, share));
        let (offers, leave) = (Offers::new(phases), leave_given(&runner));
        world.insert_resource(Self { runner, offers, waiting, allowance, leave });
    }

    /// What tasks are done with.
    pub fn runner(&self) -> &Arc<TaskRunner> {
        &self.runner
    }

    /// Offers tasks again that waited for something: it may be there now.
    pub(crate) fn try_again(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether nothing is left that these agents can do: to be asked after a tick.
    pub fn is_done(world: &World) -> bool {
        let (Some(workers), Some(pool)) =
            (world.get_resource::<Self>(), world.get_resource::<WorkerPool>())
        else {
            return true;
        };
        // What is being done may make other tasks ready.
        if pool.busy() > 0 {
            return false;
        }
        if workers.allowance.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let board = world.resource::<Board>();
        let waiting = workers.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !workers.offers.is_current(board, workers.runner.shared_queue().version(), &waiting) {
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
        let is_left = |entry: &super::BoardEntry| match entry.state {
            JobState::Taken(_) => true,
            state => state.is_open() && can(&entry.job),
        };
        !board.entries().iter().any(is_left)
    }

    /// Whether some agent is on its way: then time may go as fast as it can.
    pub(crate) fn is_anybody_under_way(world: &World) -> bool {
        let walks =
            |&entity: &Entity| matches!(world.get::<Activity>(entity), Some(Activity::Walking(_)));
        world.resource::<Roster>().entities().iter().any(walks)
    }
}

/// When the user last gave leave, here or in another terminal.
fn leave_given(runner: &TaskRunner) -> Option<SystemTime> {
    runner.allowed_commands()?.path().metadata().ok()?.modified().ok()
}

/// Does a task, on a thread of the worker pool.
fn attempt(
    runner: &TaskRunner,
    waiting: &Mutex<HashSet<TaskId>>,
    allowance: &AtomicU32,
    tell: &Arc<StepListener>,
    task: &TaskId,
    agent: &str,
) -> Attempt {
    // The highest number is no limit.
    let one_less = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
    if allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
        return Attempt::Taken("no more tasks were asked for".into());
    }
    let attempt = runner.attempt(task, agent, &mut |step| tell(step)).unwrap_or_else(|error| {
        runner.shared_queue().note_problem(&error);
        // Not offered again by itself: the disk may be full, and would be asked without end.
        Attempt::Waits(error.to_string())
    });
    if let Attempt::Waits(_) = attempt {
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(task.clone());
    }
    attempt
}

/// Brings the board in line with the queue.
pub(super) fn follow(
    clock: Res<Clock>,
    mut workers: ResMut<QueueWorkers>,
    mut board: ResMut<Board>,
) {
    let QueueWorkers { runner, offers, waiting, leave, .. } = &mut *workers;
    let shared = runner.shared_queue();
    // The version first: a state that comes between the two is looked at again.
    let (version, queue) = (shared.version(), shared.queue());
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    // What waits may wait for leave, which a person gives in another terminal.
    if !waiting.is_empty()
        && let given = leave_given(runner)
        && *leave != given
    {
        *leave = given;
        waiting.clear();
    }
    let plan = runner.context().model().plan();
    if let Err(error) = offers.follow(&mut board, &queue, version, &waiting, plan, clock.tick()) {
        warn!("{error}");
    }
}

/// What the board was brought in line with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SyncMark {
    version: u64,
    // No job leaves a board: one that comes changes `jobs`, one that is closed changes `open`.
    jobs: usize,
    open: usize,
    waiting: usize,
}

impl SyncMark {
    fn of(board: &Board, version: u64, waiting: &HashSet<TaskId>) -> Self {
        Self { version, jobs: board.entries().len(), open: board.open(), waiting: waiting.len() }
    }
}

/// What a queue has on offer, as jobs on a board. Pure.
#[derive(Debug, Default)]
struct Offers {
    phases: Vec<u32>,
    seen: Option<SyncMark>,
}

impl Offers {
    /// Those of some phases, one after the other; without any, of the current one as it moves on.
    fn new(phases: Vec<u32>) -> Self {
        Self { phases, seen: None }
    }

    /// The tasks that are on offer, without those that wait for something.
    fn tasks<'a>(&self, queue: &'a Queue, waiting: &HashSet<TaskId>) -> Vec<&'a Task> {
        let of_phase = |phase: Option<u32>| -> Vec<&'a Task> {
            queue
                .for_programs(phase)
                .into_iter()
                .filter(|task| !waiting.contains(&task.id))
                .collect()
        };
        if self.phases.is_empty() {
            return of_phase(None);
        }
        // The next phase begins when nothing of the one before can be done and nobody is on it.
        for &phase in &self.phases {
            let offers = of_phase(Some(phase));
            let busy =
                queue.tasks().iter().any(|task| task.phase == phase && task.worker.is_some());
            if busy || !offers.is_empty() {
                return offers;
            }
        }
        Vec::new()
    }

    /// Brings the board in line, if anything has changed since it was.
    fn follow(
        &mut self,
        board: &mut Board,
        queue: &Queue,
        version: u64,
        waiting: &HashSet<TaskId>,
        plan: &MapPlan,
        tick: u64,
    ) -> Result<(), AgentsError> {
        if self.is_current(board, version, waiting) {
            return Ok(());
        }
        let tasks = self.tasks(queue, waiting);
        let on_offer: HashSet<&TaskId> = tasks.iter().map(|task| &task.id).collect();
        let open = |(number, entry): (u32, &super::BoardEntry)| {
            entry.state.is_open().then(|| (entry.job.task.clone(), (JobId(number), entry.state)))
        };
        let mut on_board: HashMap<TaskId, (JobId, JobState)> =
            (0..).zip(board.entries()).filter_map(open).collect();
        // The agent that has a job finds out that it is gone when its attempt ends; only what
        // nobody has is withdrawn.
        on_board.retain(|task, (job, state)| {
            let stays = matches!(state, JobState::Taken(_)) || on_offer.contains(task);
            if !stays {
                board.withdraw(*job);
            }
            stays
        });
        for task in tasks.into_iter().filter(|task| !on_board.contains_key(&task.id)) {
            board.push(Job::of_task(task, plan), tick)?;
        }
        self.seen = Some(SyncMark::of(board, version, waiting));
        Ok(())
    }

    /// Whether the board is in line with a version of the queue.
    fn is_current(&self, board: &Board, version: u64, waiting: &HashSet<TaskId>) -> bool {
        self.seen == Some(SyncMark::of(board, version, waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::AgentId;
    use crate::coach::{self, TaskReport, Worker, plan};
    use jiff::Zoned;

    const TEXT: &str = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [
        Task(id: \"one\", title: \"x\", action: verify_tiles, priority: 5),
        Task(id: \"two\", title: \"x\", action: ablate(layer: 0, head: 1), priority: 5,
            dependencies: [\"one\"]),
        Task(id: \"mine\", title: \"x\", action: ask_person(question: \"?\"), priority: 9,
            agent: human),
    ]), Phase(name: \"b\", tasks: [
        Task(id: \"later\", title: \"x\", action: verify_tiles, priority: 5),
    ])])";

    fn open(board: &Board) -> Vec<&str> {
        board
            .entries()
            .iter()
            .filter(|entry| entry.state.is_open())
            .map(|entry| entry.job.task.as_str())
            .collect()
    }

    #[test]
    fn the_board_has_what_programs_can_do_now_and_nothing_twice() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let now = Zoned::now();
        let mut queue = plan::parse("p", TEXT, &now).unwrap();
        let (mut board, mut offers) = (Board::default(), Offers::default());
        let mut waiting = HashSet::new();
        let mut follow = |board: &mut Board, queue: &Queue, version, waiting: &HashSet<TaskId>| {
            offers.follow(board, queue, version, waiting, model.plan(), 3).unwrap();
        };
        follow(&mut board, &queue, 1, &waiting);
        follow(&mut board, &queue, 1, &waiting);
        assert_eq!(open(&board), ["one"], "what depends, a person's task and the next phase wait");

        // It is taken here and begun there: no second job comes of it.
        let one: TaskId = "one".parse().unwrap();
        assert!(board.take(JobId(0), AgentId(0)));
        queue.start(&one, Worker::new("w", coach::AgentKind::Auto), &now).unwrap();
        follow(&mut board, &queue, 2, &waiting);
        assert_eq!(open(&board), ["one"]);
        queue.finish(&one, TaskReport::new("r"), &now).unwrap();
        board.finish(JobId(0), 4);
        follow(&mut board, &queue, 3, &waiting);
        assert_eq!(open(&board), ["two"]);
        assert_ne!(
            board.entry(JobId(1)).job.place,
            board.entry(JobId(0)).job.place,
            "it is about a head"
        );

        // What waits is no job until it does not; what a person does meanwhile is withdrawn.
        waiting.insert("two".parse().unwrap());
        follow(&mut board, &queue, 3, &waiting);
        assert_eq!(open(&board), [""; 0]);
        waiting.clear();
        follow(&mut board, &queue, 3, &waiting);
        assert_eq!(open(&board), ["two"]);
        queue.accept(&"two".parse().unwrap(), "a person", "done", &now).unwrap();
        follow(&mut board, &queue, 4, &waiting);
        assert_eq!(open(&board), [""; 0]);
        queue.accept(&"mine".parse().unwrap(), "a person", "yes", &now).unwrap();
        follow(&mut board, &queue, 5, &waiting);
        assert_eq!(open(&board), ["later"]);
    }
}
