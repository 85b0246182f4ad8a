//! How long drafts may be: as long as they make answers faster.
//!
//! A pass with more columns takes longer, so a draft pays only where it is right often enough. What
//! passes cost here is measured as they run; how often drafts were right is counted by what they
//! hang on. The length is the one of the most tokens per second, expected.

use std::time::Duration;

/// What a draft hangs on: the least matched tokens of each class, and of how many drafted tokens
/// one is right before anything is known. The last class is of draft models.
const CLASSES: [(usize, f32); 8] = [
    (0, 0.25),
    (3, 0.35),
    (4, 0.45),
    (5, 0.55),
    (7, 0.7),
    (10, 0.85),
    (16, 0.92),
    (usize::MAX, 0.7),
];

/// The class of drafts by a model.
const MODEL: usize = CLASSES.len() - 1;

/// How much a drafted token that was right or wrong counts in its own request, and for those that
/// come after it.
const OWN_RATE: f32 = 1.0 / 12.0;
const COMMON_RATE: f32 = 1.0 / 48.0;

/// Drafting has to promise so much, or it is left out: what it promises is uncertain.
const LEAST_GAIN: f64 = 1.04;

/// How probable it is that a drafted token is the one that is drawn, by what it hangs on.
#[derive(Clone, Debug)]
pub(in crate::batch) struct Chances([f32; CLASSES.len()]);

impl Default for Chances {
    fn default() -> Self {
        Self(CLASSES.map(|(_, chance)| chance))
    }
}

/// What a draft hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::batch) enum Ground {
    /// So many tokens that are the same as those before it.
    Matched(usize),
    /// Another model.
    Model,
}

impl Ground {
    /// The class of its token at an index: where those before it are right, more is matched.
    fn class(self, index: usize) -> usize {
        match self {
            Self::Matched(tokens) => {
                let least =
                    CLASSES[..MODEL].iter().rposition(|&(least, _)| least <= tokens + index);
                least.unwrap_or(0)
            }
            Self::Model => MODEL,
        }
    }
}

impl Chances {
    /// Of one drafted token, after those before it were right.
    fn of(&self, ground: Ground, index: usize) -> f64 {
        f64::from(self.0[ground.class(index)])
    }

    /// Takes in whether a token was right.
    fn learn(&mut self, ground: Ground, index: usize, right: bool, rate: f32) {
        let chance = &mut self.0[ground.class(index)];
        *chance += rate * (f32::from(u8::from(right)) - *chance);
    }
}

/// What could be drafted for one slot.
#[derive(Clone, Debug)]
pub(in crate::batch) struct Offer<'a> {
    pub ground: Ground,
    /// The most tokens.
    pub most: usize,
    pub chances: &'a Chances,
}

/// What passes cost, and how often drafts are right for a request that is new.
#[derive(Clone, Debug, Default)]
pub(in crate::batch) struct Pace {
    times: PassTimes,
    pub chances: Chances,
}

impl Pace {
    /// Takes in how long a pass took.
    pub fn timed(&mut self, columns: usize, took: Duration) {
        self.times.note(columns, took.as_secs_f64());
    }

    /// Takes in whether drafted tokens of a request were right.
    pub fn learn(&mut self, own: &mut Chances, ground: Ground, index: usize, right: bool) {
        own.learn(ground, index, right, OWN_RATE);
        self.chances.learn(ground, index, right, COMMON_RATE);
    }

    /// How many tokens to draft on each offer, beside the `columns` that the pass has anyway, of
    /// which `draws` draw a token. Each drafted token takes `draft_seconds` before it.
    pub fn lengths(
        &self,
        (columns, draws): (usize, usize),
        offers: &[Offer<'_>],
        room: usize,
        draft_seconds: f64,
    ) -> Vec<usize> {
        let mut lengths = vec![0; offers.len()];
        // How probable it is that the next token of each offer counts: all before it are right.
        let mut next: Vec<f64> =
            offers.iter().map(|offer| offer.chances.of(offer.ground, 0)).collect();
        let mut drawn = draws as f64;
        let plain = drawn / self.times.of(columns);
        let (mut best, mut best_lengths) = (plain * LEAST_GAIN, lengths.clone());
        // One token more each time, the most probable first. A pass may cost little more for many
        // columns than for some, so that the best is not always before the first that does not pay.
        for added in 1..=room {
            let open = (0..offers.len()).filter(|&index| lengths[index] < offers[index].most);
            let Some(index) = open.max_by(|&a, &b| next[a].total_cmp(&next[b])) else { break };
            drawn += next[index];
            lengths[index] += 1;
            next[index] *= offers[index].chances.of(offers[index].ground, lengths[index]);
            // A model drafts for all slots side by side.
            let rounds = lengths.iter().max().map_or(0.0, |&most| most as f64);
            let seconds = self.times.of(columns + added) + rounds * draft_seconds;
            if drawn / seconds > best {
                (best, best_lengths) = (drawn / seconds, lengths.clone());
            }
        }
        best_lengths
    }
}

/// The last number of columns of each group whose passes are measured together.
const GROUPS: [usize; 11] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64];

/// How much a pass counts among those of its group.
const TIME_RATE: f64 = 0.15;

/// A group is at most so many times as slow or as fast as a single column lets expect: one pass
/// that was disturbed must not keep drafts from ever being tried again.
const SPREAD: f64 = 4.0;

/// How long passes take by their number of columns.
#[derive(Clone, Debug, Default)]
struct PassTimes {
    /// Seconds of each group's passes, by what is expected of the number of columns.
    seconds: [Option<f64>; GROUPS.len()],
}

/// What a pass costs by its number of columns, where a single one costs 1: measured on SmolLM2 and
/// Qwen2.5 0.5 B on two cores, where from 8 columns on products take wide panels.
fn expected(columns: usize) -> f64 {
    let more = columns.saturating_sub(1) as f64;
    1.0 + 0.32 * more.min(7.0) + 0.24 * (more - 7.0).max(0.0)
}

fn group(columns: usize) -> Option<usize> {
    GROUPS.iter().position(|&last| columns <= last)
}

impl PassTimes {
    fn note(&mut self, columns: usize, seconds: f64) {
        let Some(group) = group(columns) else { return };
        let found = seconds / expected(columns);
        let known = self.seconds[group].get_or_insert(found);
        *known += TIME_RATE * (found - *known);
    }

    /// Seconds of a pass; where nothing is known, in passes of one column.
    fn of(&self, columns: usize) -> f64 {
        let known = |group: usize| {
            // The nearest group below, else above: of like numbers of columns.
            let below = self.seconds[..=group].iter().rev().find_map(|seconds| *seconds);
            below.or_else(|| self.seconds[group..].iter().find_map(|seconds| *seconds))
        };
        let group = group(columns).unwrap_or(GROUPS.len() - 1);
        let Some(found) = known(group) else { return expected(columns) };
        let usual = self.seconds.iter().find_map(|seconds| *seconds).unwrap_or(found);
        expected(columns) * found.clamp(usual / SPREAD, usual * SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MOST_DRAFTED;
    use super::*;

    fn offer(chances: &Chances, matched: usize) -> Offer<'_> {
        Offer { ground: Ground::Matched(matched), most: MOST_DRAFTED, chances }
    }

    fn learnt(right: bool) -> Chances {
        let mut chances = Chances::default();
        for matched in 0..40 {
            for _ in 0..80 {
                chances.learn(Ground::Matched(matched), 0, right, OWN_RATE);
            }
        }
        chances
    }

    #[test]
    fn drafts_are_long_where_they_are_right_and_none_where_they_are_wrong() {
        let pace = Pace::default();
        let (right, wrong) = (learnt(true), learnt(false));
        assert_eq!(pace.lengths((1, 1), &[offer(&right, 20)], 64, 0.0), [MOST_DRAFTED]);
        assert_eq!(pace.lengths((1, 1), &[offer(&wrong, 20)], 64, 0.0), [0]);
        assert_eq!(pace.lengths((1, 1), &[offer(&right, 20)], 3, 0.0), [3], "room is kept to");
        let both = [offer(&wrong, 20), offer(&right, 20)];
        let lengths = pace.lengths((2, 2), &both, 64, 0.0);
        assert!(lengths[0] == 0 && lengths[1] > 4, "{lengths:?}");
    }

    #[test]
    fn what_a_pass_costs_decides() {
        let chances = learnt(true);
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.timed(1, Duration::from_millis(10));
            // As if every column were computed alone.
            for columns in 2..=64 {
                pace.timed(columns, Duration::from_millis(20 * columns as u64));
            }
        }
        let dear = pace.lengths((1, 1), &[offer(&chances, 20)], 64, 0.0);
        assert_eq!(dear, [0]);
        // A draft that takes as long as its pass does not pay.
        let slow = Pace::default().lengths((1, 1), &[offer(&chances, 20)], 64, 2.0);
        assert_eq!(slow, [0]);
    }

    #[test]
    fn a_longer_match_is_trusted_more_and_so_is_what_comes_after_right_tokens() {
        let chances = Chances::default();
        let of = |matched, index| chances.of(Ground::Matched(matched), index);
        assert!(of(2, 0) < of(5, 0) && of(5, 0) < of(16, 0));
        assert_eq!(of(2, 3), of(5, 0));
        assert_eq!(Ground::Model.class(9), MODEL);
        assert_eq!(Ground::Matched(100).class(100), MODEL - 1);
    }
}
