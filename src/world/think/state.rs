//! What the model computes with: the factors of its heads and layers, edited tiles, and adapters.
//!
//! Each token keeps that of its step, so that what was computed before a change is told from what
//! is true now.

use std::sync::Arc;

use crate::forward::Interventions;
use crate::forward::gpu::EditedWeights;
use crate::model::edits::Tiles;
use crate::world::adapters::{ActingAdapter, LoadedAdapters};

/// What a step computes with, where that is not the file alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelState {
    /// Factors of heads and layers.
    pub interventions: Interventions,
    /// Edited tiles, by their number.
    pub tiles: Arc<Tiles>,
    /// Adapters that act.
    pub adapters: Vec<ActingAdapter>,
}

impl ModelState {
    /// What steps of this frame compute with.
    pub(super) fn now(
        interventions: &Interventions,
        edited: &EditedWeights,
        loaded: &LoadedAdapters,
    ) -> Self {
        if edited.bypassed {
            return Self::default();
        }
        Self {
            interventions: interventions.clone(),
            tiles: Arc::clone(&edited.tiles),
            adapters: loaded.acting(),
        }
    }

    /// Whether it is the model as its file says.
    pub fn is_as_in_file(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether two states are the same; the same one is told without a look at it.
pub(super) fn is_same(a: &Arc<ModelState>, b: &Arc<ModelState>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
