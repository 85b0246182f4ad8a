//! Cuts a step of a window into slices: as many layers in one submission as the rest of a frame's
//! budget holds, so that a model whose step takes longer than a frame does not hold up what is
//! drawn.
//!
//! In: what earlier slices took. Out: where the next one ends. The output counts as layers, by its
//! share of the multiplications.

use std::time::Duration;

use crate::model::ModelConfig;

/// A slice that is not the first of its frame has at least this part of the layers: each
/// submission has a cost of its own, and hooks are read after each.
const LEAST_PART: usize = 4;

/// How the layers of a step are computed: each way takes a time of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerWay {
    /// One column, each layer in one dispatch.
    Fused,
    /// One column, kernel by kernel.
    Single,
    /// Several columns, kernel by kernel.
    Several,
}

impl LayerWay {
    /// The way of a step.
    pub fn of(fused: bool, columns: usize) -> Self {
        match (fused, columns) {
            (true, _) => Self::Fused,
            (false, 0 | 1) => Self::Single,
            (false, _) => Self::Several,
        }
    }
}

/// What layers take, by the last slices.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerClock {
    /// Of one layer and column, for each way.
    took: [Option<Duration>; 3],
}

impl LayerClock {
    /// What so many layers of so many columns are expected to take.
    pub fn expects(&self, way: LayerWay, layers: f64, columns: usize) -> Option<Duration> {
        self.took[way as usize].map(|took| took.mul_f64(layers * columns.max(1) as f64))
    }

    /// Learns from a slice. More counts at once, less with time.
    pub fn learn(&mut self, way: LayerWay, layers: f64, columns: usize, took: Duration) {
        if layers <= 0.0 {
            return;
        }
        let took = took.div_f64(layers * columns.max(1) as f64);
        let before = &mut self.took[way as usize];
        *before = Some(before.map_or(took, |before| took.max((before * 3 + took) / 4)));
    }

    /// Knows nothing of a way any more.
    pub fn forget(&mut self, way: LayerWay) {
        self.took[way as usize] = None;
    }
}

/// The layers of a model, and its output as layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerCount {
    layers: usize,
    output: f64,
}

impl LayerCount {
    /// Those of a step that wants logits or not.
    pub fn new(config: &ModelConfig, wants_logits: bool) -> Self {
        let size = f64::from(config.embedding_size);
        let (query, kv) = (f64::from(config.query_size()), f64::from(config.kv_size()));
        let layer = size * (2.0 * (query + kv) + 3.0 * f64::from(config.hidden_size));
        let output = f64::from(config.vocab_size) * size / layer.max(1.0);
        let output = if wants_logits { output } else { 0.0 };
        Self { layers: config.layer_count as usize, output }
    }

    /// Where a step ends: behind the output.
    pub fn end(self) -> usize {
        self.layers + 1
    }

    /// How many layers a slice counts as.
    pub fn counted(self, from: usize, to: usize) -> f64 {
        let layers = to.min(self.layers).saturating_sub(from);
        layers as f64 + if to > self.layers { self.output } else { 0.0 }
    }

    /// Where the slice from a layer on ends that fits what is left, `None` where none does that is
    /// worth its submission. The first of a frame has at least a layer: a step always goes on.
    pub fn slice(
        self,
        clock: &LayerClock,
        (way, columns): (LayerWay, usize),
        from: usize,
        left: Duration,
        is_first: bool,
    ) -> Option<usize> {
        let least = (self.layers / LEAST_PART).max(1);
        let fits = match clock.expects(way, 1.0, columns) {
            Some(one) if one > Duration::ZERO => left.div_duration_f64(one),
            // Not known yet: a few will tell.
            _ => least as f64,
        };
        if self.counted(from, self.end()) <= fits {
            return Some(self.end());
        }
        if from >= self.layers {
            return is_first.then_some(self.end());
        }
        let layers = (fits as usize).min(self.layers - from);
        match layers {
            0 if is_first => Some(from + 1),
            layers if is_first || layers >= least || from + layers == self.layers => {
                Some(from + layers)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn count() -> LayerCount {
        LayerCount { layers: 20, output: 4.0 }
    }

    #[test]
    fn a_step_that_fits_is_not_cut() {
        let mut clock = LayerClock::default();
        clock.learn(LayerWay::Fused, 24.0, 1, MS(24));
        let of = (LayerWay::Fused, 1);
        assert_eq!(count().slice(&clock, of, 0, MS(24), true), Some(21));
        assert_eq!(count().slice(&clock, of, 0, Duration::MAX, false), Some(21));
    }

    #[test]
    fn a_step_that_does_not_fit_is_cut_where_the_budget_ends_and_always_goes_on() {
        let mut clock = LayerClock::default();
        clock.learn(LayerWay::Several, 10.0, 5, MS(500));
        let of = (LayerWay::Several, 5);
        assert_eq!(count().slice(&clock, of, 0, MS(400), true), Some(8));
        assert_eq!(count().slice(&clock, of, 8, MS(100), false), None, "too little to submit");
        assert_eq!(count().slice(&clock, of, 8, Duration::ZERO, true), Some(9));
        assert_eq!(count().slice(&clock, of, 16, MS(390), true), Some(20), "without the output");
        assert_eq!(count().slice(&clock, of, 20, MS(10), false), None);
        assert_eq!(count().slice(&clock, of, 20, MS(10), true), Some(21));
    }

    #[test]
    fn a_step_of_which_nothing_is_known_begins_with_a_few_layers() {
        let of = (LayerWay::Single, 1);
        assert_eq!(count().slice(&LayerClock::default(), of, 0, MS(400), true), Some(5));
    }

    #[test]
    fn more_counts_at_once_and_less_with_time() {
        let mut clock = LayerClock::default();
        let way = LayerWay::Single;
        clock.learn(way, 2.0, 1, MS(4));
        clock.learn(way, 2.0, 1, MS(12));
        assert_eq!(clock.expects(way, 1.0, 1), Some(MS(6)));
        clock.learn(way, 2.0, 1, MS(4));
        assert_eq!(clock.expects(way, 1.0, 1), Some(MS(5)));
        assert_eq!(clock.expects(LayerWay::Fused, 1.0, 1), None, "another way");
        clock.forget(way);
        assert_eq!(clock.expects(way, 1.0, 1), None);
    }
}
