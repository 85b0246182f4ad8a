//! The board of agents beside the coach's queue: what programs can do now is a job, and nothing
//! else is. Pure.
//!
//! In: the queue as it is, and the board. Out: new jobs for tasks that are ready or to be reviewed,
//! and jobs withdrawn that no longer are. The queue decides: a job is only an offer, and whoever
//! takes it has to begin the task there, which one alone can.

use std::collections::{HashMap, HashSet};

use super::{AgentsError, Board, JobId, JobState, job_of_task};
use crate::coach::{Queue, Task, TaskId};
use crate::model::MapPlan;

/// What the board was brought in line with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    version: u64,
    jobs: usize,
    open: usize,
    waiting: usize,
}

impl Seen {
    fn of(board: &Board, version: u64, waiting: &HashSet<TaskId>) -> Self {
        Self { version, jobs: board.entries().len(), open: board.open(), waiting: waiting.len() }
    }
}

/// Keeps a board in line with a queue.
#[derive(Debug, Default)]
pub struct QueueSync {
    phases: Vec<u32>,
    seen: Option<Seen>,
}

impl QueueSync {
    /// A bridge for some phases, one after the other; without any, for the current one as it moves
    /// on.
    pub fn new(phases: Vec<u32>) -> Self {
        Self { phases, seen: None }
    }

    /// The tasks that are on offer, without those that wait for something.
    fn offers<'a>(&self, queue: &'a Queue, waiting: &HashSet<TaskId>) -> Vec<&'a Task> {
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
    ///
    /// # Errors
    /// The board is full.
    pub fn follow(
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
        let offers = self.offers(queue, waiting);
        let wanted: HashSet<&str> = offers.iter().map(|task| task.id.as_str()).collect();
        let open = |(number, entry): (u32, &super::Entry)| {
            entry.state.is_open().then(|| (entry.job.task.clone(), (JobId(number), entry.state)))
        };
        let mut on_board: HashMap<String, (JobId, JobState)> =
            (0..).zip(board.entries()).filter_map(open).collect();
        // Whoever has a job finds out by themselves that it is gone; only what nobody has is
        // withdrawn.
        on_board.retain(|task, (job, state)| {
            let stays = matches!(state, JobState::Taken(_)) || wanted.contains(task.as_str());
            if !stays {
                board.withdraw(*job);
            }
            stays
        });
        for task in offers {
            if !on_board.contains_key(task.id.as_str()) {
                board.push(job_of_task(task, plan), tick)?;
            }
        }
        self.seen = Some(Seen::of(board, version, waiting));
        Ok(())
    }

    /// Whether the board is in line with a version of the queue.
    pub fn is_current(&self, board: &Board, version: u64, waiting: &HashSet<TaskId>) -> bool {
        self.seen == Some(Seen::of(board, version, waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::AgentId;
    use crate::coach::{Agent, Report, Worker, plan};
    use jiff::Zoned;

    const TEXT: &str = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [
        Task(id: \"one\", title: \"x\", action: verify_tiles, priority: 5),
        Task(id: \"two\", title: \"x\", action: ablate(layer: 0, head: 1), priority: 5, dependencies: [\"one\"]),
        Task(id: \"mine\", title: \"x\", action: ask_person(question: \"?\"), priority: 9, agent: human),
    ]), Phase(name: \"b\", tasks: [Task(id: \"later\", title: \"x\", action: verify_tiles, priority: 5)])])";

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
        let (mut board, mut bridge) = (Board::default(), QueueSync::default());
        let mut waiting = HashSet::new();
        let mut follow = |board: &mut Board, queue: &Queue, version, waiting: &HashSet<TaskId>| {
            bridge.follow(board, queue, version, waiting, model.plan(), 3).unwrap();
        };
        follow(&mut board, &queue, 1, &waiting);
        follow(&mut board, &queue, 1, &waiting);
        assert_eq!(open(&board), ["one"], "what depends, a person's task and the next phase wait");

        // It is taken here and begun there: no second job comes of it.
        let one: TaskId = "one".parse().unwrap();
        assert!(board.take(JobId(0), AgentId(0)));
        queue.start(&one, Worker::new("w", Agent::Auto), &now).unwrap();
        follow(&mut board, &queue, 2, &waiting);
        assert_eq!(open(&board), ["one"]);
        queue.finish(&one, Report::new("r"), &now).unwrap();
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
