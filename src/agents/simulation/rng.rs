//! Chance: what a seed decides. Each draw is a hash of what it is about, so that nothing depends on
//! the order of draws. Pure.

use serde::{Deserialize, Serialize};

#[cfg(feature = "world")]
use crate::agents::JobOutcome;
use crate::agents::{AgentId, JobId};
use crate::forward::sampling::Key;

/// What a seed decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct SimulationRng {
    /// The seed, which is a part of every draw.
    pub seed: u64,
    /// The chance that an attempt at simulated work fails.
    pub failure: f32,
}

/// What a draw is about.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum DrawTopic {
    // The numbers are a part of every draw: with others, saved worlds would go on differently.
    Place = 0,
    #[cfg(feature = "world")]
    Outcome = 1,
    Work = 2,
}

impl SimulationRng {
    fn draw(&self, about: DrawTopic, index: u32, group: u32) -> [f64; 4] {
        let words = Key::new(self.seed, about as u64).noise(index, group);
        // Exact in 64 bits, and always below 1.
        words.map(|word| f64::from(word) / 2.0_f64.powi(32))
    }

    /// Where an agent begins, as shares of the map.
    pub fn place_of(&self, agent: AgentId) -> [f64; 2] {
        let [x, y, ..] = self.draw(DrawTopic::Place, agent.0, 0);
        [x, y]
    }

    /// Of a job: two shares from 0 to 1, for instance for its length and its priority.
    pub(crate) fn shares_of(&self, job: JobId) -> [f64; 2] {
        let [x, y, ..] = self.draw(DrawTopic::Work, job.0, 0);
        [x, y]
    }

    /// How an attempt at simulated work ends.
    #[cfg(feature = "world")]
    pub fn outcome(&self, job: JobId, failures: u32) -> JobOutcome {
        // With the failures so far, so that each attempt has a chance of its own.
        let [share, ..] = self.draw(DrawTopic::Outcome, job.0, failures);
        match share < f64::from(self.failure) {
            true => JobOutcome::Failed(format!("by chance, {} of 1", self.failure)),
            false => JobOutcome::Done,
        }
    }
}
