//! When the layers of a step are fused, each into one dispatch whose workgroups wait for each
//! other.
//!
//! On a software adapter that is nearly twice as fast as layers in several dispatches, but only
//! while nothing else wants the processors. A batch has them for itself until it is seen that it
//! has not. In a window the drawing of the frame wants them too: fused steps are those that are
//! expected to end within what is left of the frame's budget.

use std::time::Duration;

use crate::forward::gpu::model::GpuModel;

/// Barriers of one step that may take longer than a time slice. On a machine that is busy with
/// other programs, layers in several dispatches are faster, which wait for no thread in particular.
const MOST_SLOW: u32 = 16;
/// Steps of a window without fused layers after one that came to nothing.
const REST: u32 = 32;
/// Steps of a window without fused layers after one that took longer than a frame may compute.
const SHORT_REST: u32 = 4;

/// What the barriers of a fused step came to, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Barriers {
    /// Those at which a workgroup did not come: nothing that the step computed counts.
    pub failed: u32,
    /// Those that took longer than a time slice.
    pub slow: u32,
}

impl From<u32> for Barriers {
    fn from(word: u32) -> Self {
        // As the kernel counts in one word: 1 for one that failed, 65,536 for one that was slow.
        Self { failed: word & 0xFFFF, slow: word >> 16 }
    }
}

/// Which steps have fused layers.
#[derive(Debug)]
pub(crate) enum FusedLayerPolicy {
    /// All, until barriers fail or many are slow.
    UntilSlow,
    /// Those of one column that fit what is left of a frame.
    WithinFrame {
        /// What a step takes, by the last ones.
        took: Option<Duration>,
        /// Steps until the next is tried.
        rest: u32,
    },
}

impl FusedLayerPolicy {
    /// For a window, which knows nothing yet.
    pub(crate) fn within_frame() -> Self {
        Self::WithinFrame { took: None, rest: 0 }
    }

    /// Whether the next step has fused layers, with so much of the frame's budget left.
    pub(super) fn may_fuse(&mut self, model: &GpuModel, columns: usize, left: Duration) -> bool {
        let wanted = match self {
            Self::UntilSlow => model.fused_layers,
            Self::WithinFrame { .. } => columns == 1,
        };
        wanted && model.has_fused_layers() && self.may_begin(left)
    }

    fn may_begin(&mut self, left: Duration) -> bool {
        let Self::WithinFrame { took, rest } = self else { return true };
        if *rest > 0 {
            *rest -= 1;
            return false;
        }
        took.is_none_or(|took| took <= left)
    }

    /// Learns from a fused step that ended, of frames that may compute for `budget`. False where
    /// the model's layers are not to be fused any more unless somebody asks for it.
    pub(super) fn ended(&mut self, barriers: Barriers, took: Duration, budget: Duration) -> bool {
        let Self::WithinFrame { took: expected, rest } = self else {
            return barriers.failed == 0 && barriers.slow <= MOST_SLOW;
        };
        (*expected, *rest) = if barriers.failed > 0 {
            // What a failed step took says nothing.
            (None, REST)
        } else if took > budget {
            // Forgotten too, or one slow step would rule out all later ones: what is left of a
            // frame is never more than its budget.
            (None, SHORT_REST)
        } else {
            // A longer one counts at once, a shorter one with time.
            (Some(expected.map_or(took, |before| took.max((before * 3 + took) / 4))), *rest)
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Barriers = Barriers { failed: 0, slow: 0 };

    #[test]
    fn a_crew_gets_what_fits_the_frame_and_rests_after_a_failure() {
        let ms = Duration::from_millis;
        let mut policy = FusedLayerPolicy::within_frame();
        assert!(policy.may_begin(ms(60)));
        policy.ended(FAST, ms(25), ms(60));
        assert!(policy.may_begin(ms(30)) && !policy.may_begin(ms(20)));
        policy.ended(FAST, ms(40), ms(60));
        assert!(!policy.may_begin(ms(30)), "a longer one counts at once");
        for _ in 0..20 {
            policy.ended(FAST, ms(25), ms(60));
        }
        assert!(policy.may_begin(ms(30)));
        policy.ended(FAST, ms(70), ms(60));
        assert_eq!((0..100).position(|_| policy.may_begin(ms(60))), Some(SHORT_REST as usize));
        policy.ended(Barriers { failed: 1, ..FAST }, ms(10), ms(60));
        assert_eq!((0..100).position(|_| policy.may_begin(ms(60))), Some(REST as usize));
    }

    #[test]
    fn a_batch_goes_on_until_a_barrier_fails_or_many_are_slow() {
        let went_on = |word: u32| {
            FusedLayerPolicy::UntilSlow.ended(word.into(), Duration::MAX, Duration::ZERO)
        };
        assert!(went_on(0) && went_on(MOST_SLOW << 16));
        assert!(!went_on(1) && !went_on((MOST_SLOW + 1) << 16));
    }
}
