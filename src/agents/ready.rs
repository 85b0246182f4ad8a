//! Jobs that can be taken, by what they ask for: a thought looks at a few of them, however many
//! there are. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Job, JobId, Position};
use crate::map::{Item, Kind, Kinds, Quadtree, Rect};

/// How many of each list a thought looks at: the most urgent, the oldest, the nearest.
pub const LOOKED_AT: usize = 6;

/// Ready jobs of one [`JobKind`](super::JobKind), in three orders. The most urgent are what the
/// coach would give out, the nearest save a way, and the oldest see to it that nothing waits for
/// ever behind what is urgent or near.
#[derive(Debug, Default)]
pub(super) struct ReadyJobs {
    urgent: BTreeSet<(u32, Reverse<u8>, u64, JobId)>,
    oldest: BTreeSet<(u64, JobId)>,
    near: Quadtree,
}

impl ReadyJobs {
    pub fn len(&self) -> usize {
        self.oldest.len()
    }

    pub fn insert(&mut self, id: JobId, job: &Job, since: u64) {
        // The coach's order, which is by phase, priority and age.
        self.urgent.insert((job.phase, Reverse(job.priority), since, id));
        self.oldest.insert((since, id));
        // It takes up to 2^32 items of one cell; a board has fewer jobs.
        self.near
            .insert(item(id, job))
            .expect("an item of one cell with a small number can be kept");
    }

    pub fn remove(&mut self, id: JobId, job: &Job, since: u64) {
        self.urgent.remove(&(job.phase, Reverse(job.priority), since, id));
        self.oldest.remove(&(since, id));
        self.near.remove(&item(id, job));
    }

    /// Adds the jobs that are worth a thought from a place. With few of them these are all.
    pub(crate) fn shortlist(&self, from: Position, list: &mut Vec<JobId>) {
        if self.len() <= 2 * LOOKED_AT {
            list.extend(self.oldest.iter().map(|&(_, id)| id));
            return;
        }
        let start = list.len();
        list.extend(self.urgent.iter().take(LOOKED_AT).map(|&(.., id)| id));
        list.extend(self.oldest.iter().take(LOOKED_AT).map(|&(_, id)| id));
        let near = self.near.nearest(from.cell(), LOOKED_AT, Kinds::ALL);
        list.extend(near.into_iter().map(|near| JobId(near.item.number as u32)));
        // Only its own part: what stands before it is another kind's.
        list[start..].sort_unstable();
        list.dedup();
    }

    /// Every job, in the order of their age.
    pub fn iter(&self) -> impl Iterator<Item = JobId> {
        self.oldest.iter().map(|&(_, id)| id)
    }
}

fn item(id: JobId, job: &Job) -> Item {
    let cell = job.place.cell();
    let kind = Kind::free(Kind::FIRST_FREE).expect("the first free kind is free");
    Item { rect: Rect::from_corners(cell, cell), kind, number: u64::from(id.0) }
}
