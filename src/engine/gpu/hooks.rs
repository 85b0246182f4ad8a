//! A step of the GPU engine with hooks, and the world in which its model is entities.

use bevy::ecs::world::World;
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::GpuEngine;
use crate::engine::{Batch, EngineError};
use crate::forward::cpu::Column;
use crate::forward::gpu::model::{Unread, set_hooks, take_unread};
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
        let render_world = self.app.sub_app_mut(RenderApp).world_mut();
        let unread = take_unread(render_world);
        let device = render_world.resource::<RenderDevice>();
        let read = |unread: Unread| unread.read(device, render_world.resource::<RenderQueue>());
        let watched = unread.map(read).transpose();
        let watched = watched.map_err(|error| EngineError::Other(Box::new(error)));
        Ok(Hooked { logits: logits?, watched: watched?.unwrap_or_default() })
    }
}
