//! The first frames of a window say what is going on, before anything is done that takes long: the
//! weights go to the graphics device, and shaders are compiled.

use bevy::prelude::*;

use super::layout::Atlas;
use crate::forward::gpu::{ForwardStatus, KernelProgress};
use crate::words::short_count;

/// A window that is being opened. Without it the map is there from the first frame on.
#[derive(Resource, Debug, Default)]
pub struct Opening {
    frames: u32,
}

impl Opening {
    /// Frames that say what is going on. The first may be drawn before a window is shown.
    pub const FRAMES: u32 = 3;

    /// What is going on, where it keeps somebody waiting.
    pub fn line(&self, status: &ForwardStatus, atlas: &Atlas) -> Option<String> {
        if self.frames <= Self::FRAMES {
            let (title, weights) = (atlas.title(), short_count(atlas.model().weight_count()));
            return Some(format!(
                "opening {title}: {weights} weights go to the graphics device, and what draws them \
                 is compiled"
            ));
        }
        let KernelProgress { compiled, wanted } = status.kernels;
        (compiled < wanted)
            .then(|| format!("compiling what computes: {compiled} of {wanted} kernels"))
    }
}

/// Counts the frames.
pub(super) fn count(mut opening: ResMut<Opening>) {
    opening.frames = opening.frames.saturating_add(1);
}
