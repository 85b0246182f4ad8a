//! Where the time of a batch goes, stage by stage.
//!
//! An engine that can tell gives an [`EngineProfile`] from
//! [`Engine::profile`](super::Engine::profile).
//! Profiles of batches of one shape add up, so that a caller can look at the mean of many.

use std::time::Duration;

/// One stage of a forward pass, over all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileStage {
    /// The name of its kernel, or of what takes its place.
    pub name: &'static str,
    /// How often it was dispatched.
    pub dispatches: u64,
    /// The time it took.
    pub time: Duration,
    /// Bytes of weights it read.
    pub weight_bytes: u64,
    /// Weights times columns that it multiplied; 0 where the engine does not count them.
    pub multiplications: u64,
}

/// What the device of an engine does at most, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceLimits {
    /// Bytes per second in one streaming read of memory.
    pub read_bytes: f64,
    /// Multiplications per second of weights with activations that are in the caches.
    pub multiplications: f64,
}

/// What some passes spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineProfile {
    /// The stages, in the order in which they run.
    pub stages: Vec<ProfileStage>,
    /// The time from the batch to its answers: that of the stages, and what lies between them.
    pub total: Duration,
    /// How many passes these are the sums of.
    pub passes: u32,
}

impl EngineProfile {
    /// Adds the figures of more passes.
    pub fn add(&mut self, other: &Self) {
        for stage in &other.stages {
            match self.stages.iter_mut().find(|known| known.name == stage.name) {
                Some(known) => {
                    known.dispatches += stage.dispatches;
                    known.time += stage.time;
                    known.weight_bytes += stage.weight_bytes;
                    known.multiplications += stage.multiplications;
                }
                None => self.stages.push(*stage),
            }
        }
        self.total += other.total;
        self.passes += other.passes;
    }

    /// Dispatches of one pass, which is one token of one answer.
    pub(crate) fn dispatches_per_pass(&self) -> f64 {
        let sum: u64 = self.stages.iter().map(|stage| stage.dispatches).sum();
        sum as f64 / f64::from(self.passes.max(1))
    }

    /// The time that belongs to no stage.
    pub fn rest(&self) -> Duration {
        // Stages are timed one by one, and may add up to more than the whole.
        self.total.saturating_sub(self.stages.iter().map(|stage| stage.time).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_add_up_stage_by_stage() {
        let stage = |name, dispatches, micros| ProfileStage {
            name,
            dispatches,
            time: Duration::from_micros(micros),
            weight_bytes: 100 * dispatches,
            multiplications: 0,
        };
        let of = |stages: Vec<ProfileStage>| EngineProfile {
            stages,
            total: Duration::from_micros(50),
            passes: 1,
        };
        let mut sum = EngineProfile::default();
        sum.add(&of(vec![stage("qkv", 6, 20), stage("logits", 1, 10)]));
        sum.add(&of(vec![stage("qkv", 6, 24), stage("sample", 1, 1)]));
        assert_eq!(
            sum.stages,
            [stage("qkv", 12, 44), stage("logits", 1, 10), stage("sample", 1, 1)]
        );
        assert_eq!(sum.dispatches_per_pass(), 7.0);
        assert_eq!(sum.rest(), Duration::from_micros(45));
    }

    #[test]
    fn no_pass_has_no_figures() {
        assert_eq!(EngineProfile::default().dispatches_per_pass(), 0.0);
        assert_eq!(EngineProfile::default().rest(), Duration::ZERO);
    }
}
