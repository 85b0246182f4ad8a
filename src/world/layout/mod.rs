//! Where everything lies and what it is called: geometry on a model's map plan, without entities.
//!
//! In: a model. Out: an [`Atlas`] with a [`Quad`] per tile and plot, the [`Place`] at a cell,
//! [`labels`] and a [`search`] by name.

pub mod labels;
mod place;
mod quads;
pub mod search;

pub use place::{Place, Spot};
#[cfg(test)]
pub(crate) use quads::FLAT;
pub use quads::{Quad, STATE_DAMAGED, STATE_EDITED};
pub(crate) use quads::{STATE_MUTED, STATE_SCALED};

use std::sync::Arc;

use bevy::prelude::Resource;

use crate::model::PixelModel;
use crate::model::plan::Rect;

/// A model's map. As a resource it is only read, but for a mod that lays the model out anew.
#[derive(Resource, Debug, Clone)]
pub struct Atlas {
    model: Arc<PixelModel>,
    quads: Vec<Quad>,
    spreads: Vec<f32>,
    bounds: Rect,
}

impl Atlas {
    /// The map of a model.
    pub fn new(model: Arc<PixelModel>) -> Self {
        let spreads: Vec<f32> =
            model.tensors().iter().map(|tensor| model.tensor_spread(tensor)).collect();
        let quads = quads::quads(&model, &spreads);
        let [width, height] = model.plan().size;
        Self { quads, spreads, bounds: Rect::new(0, 0, width, height), model }
    }

    /// The model that it is the map of.
    pub fn model(&self) -> &Arc<PixelModel> {
        &self.model
    }

    /// One per tile and plot that shows a part of it, and one per piece of the river.
    pub fn quads(&self) -> &[Quad] {
        &self.quads
    }

    /// The rectangle that everything lies in.
    pub fn bounds(&self) -> Rect {
        self.bounds
    }

    /// Root mean square of a tensor's weights: the unit of its colours.
    pub fn spread(&self, tensor: usize) -> f32 {
        self.spreads[tensor]
    }

    /// The model's name as people know it.
    pub fn title(&self) -> String {
        let named = self
            .model
            .metadata()
            .str("general.name")
            .ok()
            .flatten()
            .filter(|name| !name.is_empty());
        let stem = || self.model.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        named.map(str::to_owned).or_else(stem).unwrap_or_else(|| "model".into())
    }
}
