//! From an address in the model to its entity.

use std::collections::HashMap;

use bevy::prelude::*;

/// The entities of the model that is in the world, by their numbers. It goes when the model does.
#[derive(Resource, Debug)]
pub struct ModelIndex {
    pub(super) model: Entity,
    pub(super) layers: Vec<Entity>,
    /// Layer by layer: `layer * heads_per_layer + head`.
    pub(super) heads: Vec<Entity>,
    pub(super) heads_per_layer: u32,
    pub(super) tensors: Vec<Entity>,
    pub(super) tiles: Vec<Entity>,
    pub(super) names: HashMap<Box<str>, u32>,
}

impl ModelIndex {
    /// The entity of the model itself.
    pub fn model(&self) -> Entity {
        self.model
    }

    /// A layer by its number, from 0.
    pub fn layer(&self, layer: u32) -> Option<Entity> {
        at(&self.layers, layer)
    }

    /// A query head of a layer.
    pub fn head(&self, layer: u32, head: u32) -> Option<Entity> {
        // Head 3 of three would be head 0 of the next layer.
        if head >= self.heads_per_layer {
            return None;
        }
        at(&self.heads, layer.checked_mul(self.heads_per_layer)?.checked_add(head)?)
    }

    /// A tensor by its place in the file's table.
    pub fn tensor(&self, tensor: u32) -> Option<Entity> {
        at(&self.tensors, tensor)
    }

    /// A tensor by its GGUF name.
    pub fn tensor_named(&self, name: &str) -> Option<Entity> {
        self.names.get(name).and_then(|&tensor| self.tensor(tensor))
    }

    /// A tile by its place among all tiles.
    pub fn tile(&self, tile: u32) -> Option<Entity> {
        at(&self.tiles, tile)
    }

    /// How many layers there are.
    pub fn layer_count(&self) -> u32 {
        self.layers.len() as u32
    }

    /// How many query heads each layer has.
    pub fn heads_per_layer(&self) -> u32 {
        self.heads_per_layer
    }

    /// All tiles, in file order.
    pub fn tiles(&self) -> &[Entity] {
        &self.tiles
    }
}

fn at(entities: &[Entity], index: u32) -> Option<Entity> {
    entities.get(index as usize).copied()
}
