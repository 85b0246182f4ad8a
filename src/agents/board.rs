//! The board: every job, who has it, and which can be taken. Pure.
//!
//! In: jobs, in an order in which each comes after what it depends on. Out: short lists for agents
//! that look for work. A job is one agent's at a time, and done once. The status of a task is kept
//! by [`crate::coach::Queue`] alone; the board is an index over what it has on offer, which a
//! thousand agents can ask in every tick: what is ready, who has taken it, and where it is.

use std::collections::{BTreeMap, HashMap};

use super::{AgentId, AgentsError, Job, JobId, JobState, Position, ready::ReadyJobs};
use crate::coach;

/// The most jobs of a board: half of what an index can number.
pub const MAX_JOBS: usize = 1 << 31;
/// How often a job is tried before it counts as failed.
pub const ATTEMPT_LIMIT: u32 = coach::DEFAULT_ATTEMPT_LIMIT;

/// What a job asks for: an action, and whom. Numbered in the order in which they first came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobKind {
    /// The name of the action.
    pub action: String,
    /// Whom it asks for.
    pub wanted: coach::AgentKind,
}

/// A job and where it stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardEntry {
    /// What it is; it never changes.
    pub job: Job,
    /// Whether it waits, can be taken, is taken or closed.
    pub state: JobState,
    /// The tick in which it first could be taken.
    pub since: u64,
    /// Ticks of work that are left.
    pub left: f64,
    /// How often an attempt failed.
    pub failures: u32,
}

/// Every job, who has it, and which can be taken.
#[derive(Debug, Default)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct Board {
    entries: Vec<BoardEntry>,
    kind_of: Vec<u32>,
    dependents: Vec<Vec<JobId>>,
    kinds: Vec<JobKind>,
    kind_numbers: HashMap<JobKind, u32>,
    ready: Vec<ReadyJobs>,
    open_by_phase: BTreeMap<u32, u32>,
    open: usize,
    changed: Vec<JobId>,
}

impl Board {
    /// A board of jobs that come in at a tick.
    ///
    /// # Errors
    /// See [`Self::push`].
    pub fn new(jobs: impl IntoIterator<Item = Job>, tick: u64) -> Result<Self, AgentsError> {
        let mut board = Self::default();
        for job in jobs {
            board.push(job, tick)?;
        }
        Ok(board)
    }

    /// Adds a job.
    ///
    /// # Errors
    /// It depends on one that does not come before it, its place is no number, or there are too
    /// many.
    pub fn push(&mut self, job: Job, tick: u64) -> Result<JobId, AgentsError> {
        let waits = job.after.iter().filter(|&&before| {
            !matches!(
                self.entries.get(before.0 as usize),
                Some(BoardEntry { state: JobState::Done, .. })
            )
        });
        let state = match waits.count() as u32 {
            0 => JobState::Ready,
            count => JobState::Waiting(count),
        };
        let left = job.work;
        self.put(BoardEntry { job, state, since: tick, left, failures: 0 })
    }

    /// Adds a job as it stood.
    pub(in crate::agents) fn put(&mut self, entry: BoardEntry) -> Result<JobId, AgentsError> {
        let count = self.entries.len();
        if count >= MAX_JOBS {
            return Err(AgentsError::TooManyJobs { count: count + 1, limit: MAX_JOBS });
        }
        let id = JobId(count as u32);
        let Position { x, y } = entry.job.place;
        if !x.is_finite() || !y.is_finite() {
            return Err(AgentsError::Place { job: entry.job.task, x, y });
        }
        // Only what came before, so that no jobs wait for each other.
        if let Some(late) = entry.job.after.iter().find(|before| **before >= id) {
            return Err(AgentsError::Dependency { job: id.0, dependency: late.0 });
        }
        for before in &entry.job.after {
            self.dependents[before.0 as usize].push(id);
        }
        let kind = self.number_of(&entry.job);
        if entry.state.is_open() {
            self.open += 1;
            *self.open_by_phase.entry(entry.job.phase).or_default() += 1;
        }
        self.kind_of.push(kind);
        self.dependents.push(Vec::new());
        self.changed.push(id);
        let is_ready = entry.state == JobState::Ready;
        self.entries.push(entry);
        if is_ready {
            self.index(id);
        }
        Ok(id)
    }

    fn number_of(&mut self, job: &Job) -> u32 {
        let kind = JobKind { action: job.action.clone(), wanted: job.wanted };
        if let Some(&number) = self.kind_numbers.get(&kind) {
            return number;
        }
        let number = self.kinds.len() as u32;
        self.kind_numbers.insert(kind.clone(), number);
        self.kinds.push(kind);
        self.ready.push(ReadyJobs::default());
        number
    }

    fn index(&mut self, id: JobId) {
        let entry = &self.entries[id.0 as usize];
        self.ready[self.kind_of[id.0 as usize] as usize].insert(id, &entry.job, entry.since);
    }

    /// Jobs in the order of their numbers.
    pub fn entries(&self) -> &[BoardEntry] {
        &self.entries
    }

    /// A job and where it stands.
    ///
    /// # Panics
    /// The number is of another board.
    pub fn entry(&self, id: JobId) -> &BoardEntry {
        &self.entries[id.0 as usize]
    }

    /// What jobs ask for, by number.
    pub fn kinds(&self) -> &[JobKind] {
        &self.kinds
    }

    /// The number of what a job asks for.
    pub(crate) fn kind_of(&self, id: JobId) -> usize {
        self.kind_of[id.0 as usize] as usize
    }

    /// How many jobs of a kind can be taken.
    pub(crate) fn ready_count(&self, kind: usize) -> usize {
        self.ready.get(kind).map_or(0, ReadyJobs::len)
    }

    /// Every job that can be taken.
    pub fn ready(&self) -> impl Iterator<Item = JobId> {
        self.ready.iter().flat_map(ReadyJobs::iter)
    }

    /// The first phase that has open jobs.
    pub(crate) fn current_phase(&self) -> Option<u32> {
        self.open_by_phase.keys().next().copied()
    }

    /// How many jobs are neither done nor failed.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The jobs of a kind that are worth a thought from a place: a few of the most urgent, the
    /// oldest and the nearest.
    pub(crate) fn shortlist(&self, kind: usize, from: Position, list: &mut Vec<JobId>) {
        if let Some(ready) = self.ready.get(kind) {
            ready.shortlist(from, list);
        }
    }

    /// An agent takes a job, if it can be taken.
    pub fn take(&mut self, id: JobId, agent: AgentId) -> bool {
        let entry = &mut self.entries[id.0 as usize];
        if entry.state != JobState::Ready {
            return false;
        }
        entry.state = JobState::Taken(agent);
        let (kind, since) = (self.kind_of[id.0 as usize] as usize, entry.since);
        self.ready[kind].remove(id, &entry.job, since);
        true
    }

    /// The agent that has a job works on it; gives what is left.
    pub(crate) fn work_on(&mut self, id: JobId, ticks: f64) -> f64 {
        let left = &mut self.entries[id.0 as usize].left;
        *left = (*left - ticks).max(0.0);
        *left
    }

    /// The jobs that came, and those that were closed, since this was last asked: in this order,
    /// so that what came and was closed is named twice.
    pub(crate) fn take_changes(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.changed)
    }

    /// The agent that has a job gives it back with what is left to do.
    ///
    /// # Panics
    /// Nobody has it.
    pub(crate) fn hand_over(&mut self, id: JobId, left: f64) {
        self.leave(id, JobState::Ready);
        self.entries[id.0 as usize].left = left;
        self.index(id);
    }

    /// A job is done; gives those that can be taken now.
    ///
    /// # Panics
    /// Nobody has it.
    pub fn finish(&mut self, id: JobId, tick: u64) -> Vec<JobId> {
        self.leave(id, JobState::Done);
        self.entries[id.0 as usize].left = 0.0;
        self.close(id);
        let mut freed = Vec::new();
        for dependent in self.dependents[id.0 as usize].clone() {
            let entry = &mut self.entries[dependent.0 as usize];
            // Some may have been withdrawn meanwhile.
            let JobState::Waiting(count) = &mut entry.state else { continue };
            *count -= 1;
            if *count == 0 {
                entry.state = JobState::Ready;
                entry.since = tick;
                self.index(dependent);
                freed.push(dependent);
            }
        }
        freed
    }

    /// An attempt failed: the job can be taken again from its beginning, or, at its limit, has
    /// failed.
    ///
    /// # Panics
    /// Nobody has it.
    pub fn fail(&mut self, id: JobId) -> JobState {
        let entry = &mut self.entries[id.0 as usize];
        entry.failures += 1;
        if entry.failures < ATTEMPT_LIMIT {
            let work = entry.job.work;
            self.hand_over(id, work);
            return JobState::Ready;
        }
        self.leave(id, JobState::Failed);
        self.close(id);
        JobState::Failed
    }

    /// A job is no longer on offer, even where an agent has it; one that is closed stays as it is.
    pub(crate) fn withdraw(&mut self, id: JobId) {
        let entry = &mut self.entries[id.0 as usize];
        if !entry.state.is_open() {
            return;
        }
        if entry.state == JobState::Ready {
            let (kind, since) = (self.kind_of[id.0 as usize] as usize, entry.since);
            self.ready[kind].remove(id, &entry.job, since);
        }
        entry.state = JobState::Withdrawn;
        self.close(id);
    }

    fn leave(&mut self, id: JobId, to: JobState) {
        let state = &mut self.entries[id.0 as usize].state;
        assert!(matches!(state, JobState::Taken(_)), "job {} is {state:?}, and nobody's", id.0);
        *state = to;
    }

    fn close(&mut self, id: JobId) {
        self.changed.push(id);
        self.open -= 1;
        let phase = self.entries[id.0 as usize].job.phase;
        let open = self.open_by_phase.get_mut(&phase).expect("an open job's phase was counted");
        *open -= 1;
        if *open == 0 {
            self.open_by_phase.remove(&phase);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANNA: AgentId = AgentId(0);

    fn job(name: &str, after: &[u32]) -> Job {
        let after = after.iter().copied().map(JobId).collect();
        Job { after, ..Job::new(name.parse().unwrap(), "verify_tiles", Position::default(), 3.0) }
    }

    #[test]
    fn a_job_is_one_agent_s_and_frees_what_waits_for_it() {
        let mut board = Board::new([job("a", &[]), job("b", &[]), job("c", &[0, 1])], 0).unwrap();
        assert!(board.take(JobId(0), ANNA));
        assert!(!board.take(JobId(0), AgentId(1)), "it is Anna's");
        assert!(!board.take(JobId(2), ANNA), "it waits");
        assert_eq!(board.finish(JobId(0), 5), []);
        assert!(board.take(JobId(1), ANNA));
        assert_eq!(board.finish(JobId(1), 7), [JobId(2)]);
        assert_eq!((board.entry(JobId(2)).since, board.open()), (7, 1));
    }

    #[test]
    fn what_is_handed_over_keeps_its_age_and_progress() {
        let mut board = Board::new([job("a", &[])], 2).unwrap();
        board.take(JobId(0), ANNA);
        board.hand_over(JobId(0), 1.5);
        let entry = board.entry(JobId(0));
        assert_eq!((entry.state, entry.since, entry.left), (JobState::Ready, 2, 1.5));
    }

    #[test]
    fn the_last_failure_closes_a_job_and_the_next_phase_begins() {
        let later = Job { phase: 2, ..job("b", &[]) };
        let mut board = Board::new([job("a", &[]), later], 0).unwrap();
        for attempt in 1..=ATTEMPT_LIMIT {
            assert_eq!(board.current_phase(), Some(1), "attempt {attempt}");
            assert!(board.take(JobId(0), ANNA));
            board.fail(JobId(0));
        }
        assert_eq!(
            (board.entry(JobId(0)).state, board.current_phase()),
            (JobState::Failed, Some(2))
        );
    }

    #[test]
    fn what_is_withdrawn_cannot_be_taken_and_closes() {
        let mut board = Board::new([job("a", &[]), job("b", &[])], 0).unwrap();
        board.take(JobId(1), ANNA);
        board.withdraw(JobId(0));
        board.withdraw(JobId(1));
        board.withdraw(JobId(1));
        assert!(!board.take(JobId(0), ANNA));
        assert_eq!((board.open(), board.current_phase(), board.ready().count()), (0, None, 0));
    }

    #[test]
    fn what_cannot_be_on_a_board_is_refused() {
        let error = Board::new([job("a", &[0])], 0).unwrap_err().to_string();
        assert_eq!(error, "job 0 depends on job 0, which does not come before it");
        let nowhere = Job { place: Position::new(f64::NAN, 0.0), ..job("a", &[]) };
        assert!(Board::new([nowhere], 0).is_err());
    }

    proptest! {
        /// The three orders and the states never tell different stories, and a short list has the
        /// best of each order.
        #[test]
        fn the_index_follows_the_states(
            kinds in prop::collection::vec((1u8..=10, 0i32..4000, 0u32..3), 1..80),
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4), 0..120),
        ) {
            let jobs = kinds.iter().map(|&(priority, x, phase)| Job {
                priority, phase, place: Position::new(f64::from(x), 0.0), ..job("j", &[])
            });
            let mut board = Board::new(jobs, 0).unwrap();
            for (at, what) in steps {
                let id = JobId(at.index(kinds.len()) as u32);
                let taken = board.take(id, ANNA)
                    || matches!(board.entry(id).state, JobState::Taken(_));
                match what {
                    1 if taken => { board.finish(id, 1); }
                    2 if taken => board.hand_over(id, 1.0),
                    3 if taken => { board.fail(id); }
                    _ => {}
                }
            }
            let mut indexed: Vec<_> = board.ready().collect();
            indexed.sort();
            let ready = |id: &JobId| board.entry(*id).state == JobState::Ready;
            let expected: Vec<_> = (0..kinds.len() as u32).map(JobId).filter(ready).collect();
            prop_assert_eq!(&indexed, &expected);

            let here = Position::new(2000.0, 0.0);
            let mut list = Vec::new();
            board.shortlist(0, here, &mut list);
            let job = |id: &JobId| &board.entry(*id).job;
            let rank = |id: &JobId| (job(id).phase, std::cmp::Reverse(job(id).priority), *id);
            let urgent = expected.iter().min_by_key(|id| rank(id));
            let near = |id: &JobId| job(id).place.distance(here) as u64;
            prop_assert!(urgent.is_none_or(|id| list.contains(id)));
            prop_assert_eq!(list.iter().map(near).min(), expected.iter().map(near).min());
        }
    }
}
