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
        /// Steps until the next is tried.
        rest: u32,
    },
}

impl FusedLayerPolicy {
    /// For a window, which knows nothing yet.
    pub(crate) fn within_frame() -> Self {
        Self::WithinFrame { rest: 0 }
    }

    /// Whether the next step has fused layers. `fits` says whether what is submitted first is
    /// expected to end within what is left of the frame's budget.
    pub(super) fn may_fuse(&mut self, model: &GpuModel, columns: usize, fits: bool) -> bool {
        let wanted = match self {
            Self::UntilSlow => model.fused_layers,
            Self::WithinFrame { .. } => columns == 1,
        };
        wanted && model.has_fused_layers() && self.may_begin(fits)
    }

    fn may_begin(&mut self, fits: bool) -> bool {
        let Self::WithinFrame { rest } = self else { return true };
        if *rest > 0 {
            *rest -= 1;
            return false;
        }
        fits
    }

    /// Learns from a submission of fused layers that ended, of frames that may compute for
    /// `budget`. False where the model's layers are not to be fused any more unless somebody asks
    /// for it.
    pub(super) fn ended(&mut self, barriers: Barriers, took: Duration, budget: Duration) -> bool {
        let Self::WithinFrame { rest } = self else {
            return barriers.failed == 0 && barriers.slow <= MOST_SLOW;
        };
        if barriers.failed > 0 {
            *rest = REST;
        } else if took > budget {
            *rest = SHORT_REST;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Barriers = Barriers { failed: 0, slow: 0 };

    #[test]
    fn fused_layers_rest_after_a_failure_and_after_what_took_too_long() {
        let ms = Duration::from_millis;
        let mut policy = FusedLayerPolicy::within_frame();
        assert!(policy.may_begin(true) && !policy.may_begin(false));
        policy.ended(FAST, ms(50), ms(60));
        assert!(policy.may_begin(true));
        policy.ended(FAST, ms(70), ms(60));
        assert_eq!((0..100).position(|_| policy.may_begin(true)), Some(SHORT_REST as usize));
        policy.ended(Barriers { failed: 1, ..FAST }, ms(10), ms(60));
        assert_eq!((0..100).position(|_| policy.may_begin(true)), Some(REST as usize));
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
