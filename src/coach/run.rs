//! One worker alone: takes the next task, does it, until nothing is left that a program can do.
//! Where there is a world, agents do the same.

use std::collections::HashSet;

use super::{Attempt, CoachError, TaskId, TaskRunner, TaskStep};

/// Does tasks of a queue, one after the other.
pub struct Runner<'a> {
    runner: &'a TaskRunner,
    /// Only this phase, or the current one.
    phase: Option<u32>,
    /// Tasks that wait for something that will not come during this run.
    waiting: HashSet<TaskId>,
}

impl<'a> Runner<'a> {
    /// A runner for a phase, or for the current one as it moves on.
    pub fn new(runner: &'a TaskRunner, phase: Option<u32>) -> Self {
        Self { runner, phase, waiting: HashSet::new() }
    }

    /// Does one task, or reviews one. False when there is nothing left that a program can do.
    ///
    /// # Errors
    /// The queue cannot be read or written. What goes wrong with a task is noted there instead.
    pub fn step(&mut self, tell: &mut (dyn FnMut(TaskStep) + Send)) -> Result<bool, CoachError> {
        if self.runner.context().pause_token().is_cancelled() {
            return Ok(false);
        }
        self.runner.shared_queue().refresh()?;
        let queue = self.runner.shared_queue().queue();
        let next = queue
            .for_programs(self.phase)
            .into_iter()
            .find(|task| !self.waiting.contains(&task.id));
        let Some(task) = next else { return Ok(false) };
        // Else the same task would be the next one again, for ever.
        if let Attempt::Waits(_) = self.runner.attempt(&task.id, "coach run", tell)? {
            self.waiting.insert(task.id.clone());
        }
        Ok(true)
    }
}
