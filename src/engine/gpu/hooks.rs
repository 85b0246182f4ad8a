//! A step of the GPU engine with hooks, and the world in which its model is entities.

use bevy::ecs::world::World;

use super::{GpuEngine, StepRequest, request};
use crate::engine::{Batch, EngineError};
use crate::forward::{Hook, Watched};

/// What a step with hooks gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Hooked {
    /// The logits of the columns that were wanted.
    pub logits: Vec<Vec<f32>>,
    /// What the hooks that watch have seen, in their order.
    pub watched: Vec<Watched>,
}

impl GpuEngine {
    /// The main world, in which the model is entities: a `Muted` or `Scale` on a head or layer
    /// counts from the next step on.
    pub fn world_mut(&mut self) -> &mut World {
        self.app.world_mut()
    }

    /// As [`GpuEngine::logits`], with hooks on the columns of the batch.
    ///
    /// # Errors
    /// A hook cannot be set, the batch does not fit, or the device was lost.
    pub fn logits_with_hooks(
        &mut self,
        batch: &Batch,
        wanted: &[u32],
        hooks: &[Hook],
    ) -> Result<Hooked, EngineError> {
        let step = self.run(&StepRequest { hooks: hooks.to_vec(), ..request(batch, wanted) })?;
        Ok(Hooked { logits: step.logits, watched: step.watched })
    }
}
