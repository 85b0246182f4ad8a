//! The world's own time: ticks of a fixed length, whatever the frames do. Pure.

use serde::{Deserialize, Serialize};

/// Ticks of a second, if nobody says: agents move smoothly enough to be followed.
pub const DEFAULT_TICKS_PER_SECOND: f64 = 10.0;
/// The fastest that time may go.
pub const MAX_SPEED: f64 = 64.0;
/// Ticks of one frame at most. What a frame cannot do is left out, so that a slow one does not make
/// the next slower.
pub const MAX_TICKS_PER_FRAME: u32 = 16;

/// The world's own time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct Clock {
    tick: u64,
    ticks_per_second: f64,
    speed: f64,
    paused: bool,
    /// Time that has passed and is not yet a tick, in ticks.
    #[serde(skip)]
    pending: f64,
}

impl Default for Clock {
    fn default() -> Self {
        let ticks_per_second = DEFAULT_TICKS_PER_SECOND;
        Self { tick: 0, ticks_per_second, speed: 1.0, paused: false, pending: 0.0 }
    }
}

impl Clock {
    /// The current tick; 0 before the first.
    pub const fn tick(&self) -> u64 {
        self.tick
    }

    /// Whether time stands still.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Stops time, or lets it go on.
    pub const fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// How many times as fast as usual time goes.
    pub const fn speed(&self) -> f64 {
        self.speed
    }

    /// Makes time go faster or slower; up to [`MAX_SPEED`], and what is no number or not above 0
    /// changes nothing.
    pub const fn set_speed(&mut self, speed: f64) {
        if speed > 0.0 {
            self.speed = speed.min(MAX_SPEED);
        }
    }

    /// How much of the next tick has passed, to draw between ticks.
    pub(crate) const fn share_of_next(&self) -> f64 {
        self.pending
    }

    /// Lets a frame's time pass, and says how many ticks that comes to.
    pub fn pass(&mut self, seconds: f64) -> u32 {
        if self.paused || !seconds.is_finite() || seconds < 0.0 {
            return 0;
        }
        self.pending += seconds * self.ticks_per_second * self.speed;
        let ticks = self.pending.floor();
        // Also those that the frame has no time for, which are left out.
        self.pending -= ticks;
        ticks.min(f64::from(MAX_TICKS_PER_FRAME)) as u32
    }

    /// Goes on by a tick.
    #[cfg(feature = "world")]
    pub(crate) const fn advance(&mut self) {
        self.tick += 1;
    }

    /// Whether what was read from a file can be.
    #[cfg(feature = "world")]
    pub(super) fn check(&self) -> Result<(), String> {
        let sound = |value: f64| value.is_finite() && value > 0.0;
        if sound(self.ticks_per_second) && sound(self.speed) && self.speed <= MAX_SPEED {
            return Ok(());
        }
        Err(format!("a clock of {} ticks a second at speed {}", self.ticks_per_second, self.speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_length_come_to_the_same_ticks() {
        for frames in [7, 60, 144, 1000] {
            let mut clock = Clock::default();
            let ticks: u32 = (0..frames * 3).map(|_| clock.pass(1.0 / f64::from(frames))).sum();
            assert!((29..=30).contains(&ticks), "{ticks} ticks in 3 seconds of {frames} frames");
        }
    }

    #[test]
    fn pause_stops_and_speed_scales() {
        let mut clock = Clock::default();
        clock.set_paused(true);
        assert_eq!(clock.pass(1.0), 0);
        clock.set_paused(false);
        clock.set_speed(4.0);
        assert_eq!(clock.pass(0.25), 10);
        clock.set_speed(f64::NAN);
        clock.set_speed(-1.0);
        assert_eq!(clock.speed(), 4.0);
        clock.set_speed(1e9);
        assert_eq!(clock.speed(), MAX_SPEED);
    }

    #[test]
    fn a_long_frame_is_cut_short() {
        let mut clock = Clock::default();
        assert_eq!(clock.pass(100.0), MAX_TICKS_PER_FRAME);
        assert_eq!(clock.pass(0.05), 0, "what was cut is not made up for");
    }
}
