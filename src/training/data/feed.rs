//! Which examples a step learns from.

use serde::{Deserialize, Serialize};

use crate::forward::sampling::Key;
use crate::names::number_of;

/// The place of a run in its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DataPlace {
    /// How often all examples were seen.
    pub epoch: u32,
    /// How many of this epoch were seen, less than all.
    pub seen: usize,
}

/// Puts examples into steps. Each epoch has an order of its own, which follows from the seed and
/// the epoch's number alone; a step goes on where the one before ended, into the next epoch too, so
/// that all steps but the last are about equally large.
#[derive(Debug, Clone)]
pub struct Feed {
    columns: Vec<usize>,
    batch: usize,
    key: Key,
    /// The order of one epoch, and which one's.
    order: Option<(u32, Vec<u32>)>,
}

impl Feed {
    /// Examples by their columns, for steps of at most `batch` columns; an example that is longer
    /// is a step of its own.
    ///
    /// # Panics
    /// There is no example.
    pub fn new(columns: Vec<usize>, batch: usize, seed: u64) -> Self {
        assert!(!columns.is_empty(), "there is something to learn from");
        let key = Key::new(seed, number_of("order"));
        Self { columns, batch, key, order: None }
    }

    /// The order of the examples in an epoch: by the words of the stream `order`, whose index is
    /// the epoch's number.
    pub fn order(&self, epoch: u32) -> Vec<u32> {
        let word = |example: u32| self.key.noise(epoch, example / 4)[example as usize % 4];
        let mut order: Vec<u32> = (0..self.columns.len() as u32).collect();
        // Of equal words the earlier example.
        order.sort_by_cached_key(|&example| (word(example), example));
        order
    }

    /// The examples of the next step, and the place behind them. A run of `epochs` ends before that
    /// one begins; `None` behind its end.
    pub fn next(
        &mut self,
        mut place: DataPlace,
        epochs: Option<u32>,
    ) -> Option<(Vec<usize>, DataPlace)> {
        let (mut taken, mut columns) = (Vec::new(), 0);
        loop {
            if epochs.is_some_and(|epochs| place.epoch >= epochs) {
                break;
            }
            if self.order.as_ref().is_none_or(|(epoch, _)| *epoch != place.epoch) {
                self.order = Some((place.epoch, self.order(place.epoch)));
            }
            let Some((_, order)) = &self.order else { break };
            let example = order[place.seen] as usize;
            columns += self.columns[example];
            if columns > self.batch && !taken.is_empty() {
                break;
            }
            taken.push(example);
            place.seen += 1;
            if place.seen == order.len() {
                place = DataPlace { epoch: place.epoch + 1, seen: 0 };
            }
        }
        (!taken.is_empty()).then_some((taken, place))
    }

    /// How many steps so many epochs have.
    pub fn steps(&self, epochs: u32) -> u64 {
        let (mut feed, mut place, mut steps) = (self.clone(), DataPlace::default(), 0);
        while let Some((_, next)) = feed.next(place, Some(epochs)) {
            (place, steps) = (next, steps + 1);
        }
        steps
    }

    /// Epochs behind a place, as a number for people.
    pub fn epochs(&self, place: DataPlace) -> f64 {
        f64::from(place.epoch) + place.seen as f64 / self.columns.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(feed: &mut Feed, epochs: u32) -> Vec<Vec<usize>> {
        let mut place = DataPlace::default();
        let mut steps = Vec::new();
        while let Some((step, next)) = feed.next(place, Some(epochs)) {
            steps.push(step);
            place = next;
        }
        steps
    }

    #[test]
    fn the_order_is_that_of_the_noise() {
        let feed = Feed::new(vec![1; 6], 4, 9);
        let key = Key::new(9, 0x6be6_0d72_81a8_29f7);
        assert_eq!(number_of("order"), 0x6be6_0d72_81a8_29f7);
        let words: Vec<u32> = (0..2).flat_map(|group| key.noise(3, group)).take(6).collect();
        let order = feed.order(3);
        assert!(order.windows(2).all(|pair| words[pair[0] as usize] < words[pair[1] as usize]));
        assert_ne!(order, feed.order(4));
    }

    proptest! {
        #[test]
        fn every_epoch_has_every_example_once(
            columns in prop::collection::vec(1usize..40, 1..30),
            batch in 1usize..100,
            seed: u64,
        ) {
            let mut feed = Feed::new(columns.clone(), batch, seed);
            let steps = all(&mut feed, 3);
            prop_assert_eq!(steps.len() as u64, feed.steps(3));
            for step in &steps {
                let sum: usize = step.iter().map(|&at| columns[at]).sum();
                prop_assert!(sum <= batch || step.len() == 1);
            }
            let seen: Vec<usize> = steps.concat();
            for epoch in seen.chunks(columns.len()) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                prop_assert_eq!(epoch, (0..columns.len()).collect::<Vec<_>>());
            }
            // From any place on the steps are those of the whole run.
            let mut place = DataPlace::default();
            for step in &steps {
                let mut fresh = Feed::new(columns.clone(), batch, seed);
                let (again, next) = fresh.next(place, Some(3)).unwrap();
                prop_assert_eq!(&again, step);
                place = next;
            }
        }
    }
}
