//! What an agent makes of the board: the jobs that it considers, what each is worth to it, and why.

use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::job::read_task;
use super::scores::ConsiderationScores;
use super::{AgentProfile, Board, JobId, Position, Situation, Worth};
use crate::coach::TaskId;

/// How many of the jobs that it considered an agent remembers: the best, for people who ask why.
const REMEMBERED_BEST: usize = 3;

/// Something that an agent did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletedJob {
    /// The task that it was.
    #[serde(deserialize_with = "read_task")]
    pub task: TaskId,
    /// The name of its action.
    pub action: String,
    /// The tick in which it was done.
    pub tick: u64,
}

/// A job that was considered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Considered {
    /// Its number on the board.
    pub job: JobId,
    /// What it is worth, and why.
    pub worth: Worth,
}

/// What an agent's judgement of jobs depends on.
#[derive(Debug, Clone, Copy)]
pub struct DecisionContext<'a> {
    /// The kind of the agent.
    pub profile: &'a AgentProfile,
    /// How well it does each kind of job on the board.
    pub levels: &'a [f32],
    /// What it did lately.
    pub memory: &'a VecDeque<CompletedJob>,
    /// Where the agent is.
    pub place: Position,
    /// The agent's energy, from 0 to 1.
    pub energy: f32,
}

impl DecisionContext<'_> {
    /// The best jobs that can be taken, the best first; none that it cannot do or that is vetoed.
    /// `scratch` is emptied and used.
    pub fn consider(&self, board: &Board, tick: u64, scratch: &mut Vec<JobId>) -> Vec<Considered> {
        let mut best: Vec<Considered> = Vec::with_capacity(REMEMBERED_BEST + 1);
        let mut scores = ConsiderationScores::new(&self.profile.utility);
        for (kind, _) in self.levels.iter().enumerate().filter(|(_, level)| **level > 0.0) {
            if board.ready_count(kind) == 0 {
                continue;
            }
            scratch.clear();
            board.shortlist(kind, self.place, scratch);
            // Alike for all jobs of a kind: the memory is looked through once.
            let focus = self.focus(&board.kinds()[kind].action);
            for &job in scratch.iter() {
                let worth = scores.worth(&self.situation(board, job, tick, focus));
                if worth.score <= 0.0 {
                    continue;
                }
                let at = best.partition_point(|other| before(other, worth.score, job).is_lt());
                if at < REMEMBERED_BEST {
                    best.insert(at, Considered { job, worth });
                    best.truncate(REMEMBERED_BEST);
                }
            }
        }
        best
    }

    /// What one job is worth.
    pub fn judge(&self, board: &Board, job: JobId, tick: u64) -> Considered {
        let focus = self.focus(&board.entry(job).job.action);
        let worth = self.profile.utility.worth(&self.situation(board, job, tick, focus));
        Considered { job, worth }
    }

    /// The share of the recent work that was this action.
    fn focus(&self, action: &str) -> f32 {
        let alike = self.memory.iter().filter(|done| done.action == action).count();
        alike as f32 / self.memory.len().max(1) as f32
    }

    fn situation(&self, board: &Board, job: JobId, tick: u64, focus: f32) -> Situation {
        let entry = board.entry(job);
        let phases = board.current_phase().map_or(0, |phase| entry.job.phase.abs_diff(phase));
        let waited = tick.saturating_sub(entry.since) as f32;
        Situation {
            priority: (f32::from(entry.job.priority) - 1.0) / 9.0,
            distance: (self.place.distance(entry.job.place) / self.profile.reach) as f32,
            skill: self.levels.get(board.kind_of(job)).copied().unwrap_or(0.0),
            age: waited / self.profile.patience as f32,
            phase: 1.0 / (1.0 + phases as f32),
            energy: self.energy,
            focus,
        }
    }
}

/// Where `other` stands to a job of that score: the better comes first, and of equal ones the one
/// with the lower number.
fn before(other: &Considered, score: f32, job: JobId) -> Ordering {
    score.total_cmp(&other.worth.score).then_with(|| other.job.cmp(&job))
}

/// How well a kind of agent does each kind of job on a board.
pub fn levels(profile: &AgentProfile, board: &Board) -> Vec<f32> {
    board.kinds().iter().map(|kind| profile.level(&kind.action, kind.wanted)).collect()
}
