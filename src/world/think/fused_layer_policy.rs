//! When a crew of workgroups that wait for each other computes a step: where the frame waits for it
//! too.
//!
//! On a software adapter that is nearly twice as fast as layers in several dispatches, but only
//! while nothing else wants the processors; what draws the frame does. So a crew gets the steps
//! that are expected to end within what is left of the frame's budget.

use std::time::Duration;

use bevy::prelude::Resource;

/// Steps without a crew after one that came to nothing.
const REST: u32 = 32;
/// Steps without a crew after one that took longer than a frame may think.
const SHORT_REST: u32 = 4;

/// What is known of crews.
#[derive(Resource, Default)]
pub(super) struct FusedLayerPolicy {
    /// What a step takes, by the last ones.
    took: Option<Duration>,
    /// Steps until the next is tried.
    rest: u32,
}

impl FusedLayerPolicy {
    /// Whether the next step is one for a crew, with so much of the budget left.
    pub fn may_begin(&mut self, left: Duration) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        self.took.is_none_or(|took| took <= left)
    }

    /// A step was computed in some time, of frames that may think for `budget`.
    pub fn done(&mut self, took: Duration, budget: Duration) {
        // A longer one counts at once, a shorter one with time.
        self.took = Some(self.took.map_or(took, |before| took.max((before * 3 + took) / 4)));
        if took > budget {
            (self.took, self.rest) = (None, SHORT_REST);
        }
    }

    /// A crew did not come together: other programs want its processors.
    pub fn failed(&mut self) {
        (self.took, self.rest) = (None, REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crew_gets_what_fits_the_frame_and_rests_after_a_failure() {
        let ms = Duration::from_millis;
        let mut crews = FusedLayerPolicy::default();
        assert!(crews.may_begin(ms(60)));
        crews.done(ms(25), ms(60));
        assert!(crews.may_begin(ms(30)) && !crews.may_begin(ms(20)));
        crews.done(ms(40), ms(60));
        assert!(!crews.may_begin(ms(30)), "a longer one counts at once");
        (0..20).for_each(|_| crews.done(ms(25), ms(60)));
        assert!(crews.may_begin(ms(30)));
        crews.done(ms(70), ms(60));
        assert_eq!((0..100).position(|_| crews.may_begin(ms(60))), Some(SHORT_REST as usize));
        crews.failed();
        assert_eq!((0..100).position(|_| crews.may_begin(ms(60))), Some(REST as usize));
    }
}
