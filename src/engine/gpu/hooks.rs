//! A step of the GPU engine with hooks, and the world in which its model is entities.

use bevy::{ecs::world::World, render::RenderApp};

use super::GpuEngine;
use crate::engine::{Batch, EngineError};
use crate::forward::cpu::Column;
use crate::forward::gpu::model::{Hook, Watched, set_hooks, take_watched};

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
        let columns: Vec<Column> = (0..)
            .zip(&batch.columns)
            .map(|(index, column)| Column {
                token: column.token,
                slot: column.slot,
                position: column.position,
                wants_logits: wanted.contains(&index),
            })
            .collect();
        set_hooks(self.app.sub_app_mut(RenderApp).world_mut(), &columns, hooks)
            .map_err(|error| EngineError::Other(Box::new(error)))?;
        let logits = self.logits(batch, wanted);
        // Taken even where the step failed, so that the next one has no hooks.
        let watched = take_watched(self.app.sub_app_mut(RenderApp).world_mut())
            .map_err(|error| EngineError::Other(Box::new(error)));
        Ok(Hooked { logits: logits?, watched: watched? })
    }
}
