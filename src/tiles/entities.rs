//! What a model consists of, as components and the relationships between them.
//!
//! A model has layers and a layer has query heads; a tensor belongs to its layer, or to the model
//! where it belongs to none, as the embedding does; a tensor has tiles. There is one entity per
//! tile and none per weight. Despawning an entity despawns what belongs to it.

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};

use super::ModelIndex;

/// The root of a model's entities.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
#[component(on_remove = forget)]
pub struct Model {
    /// How many layers it has.
    pub layers: u32,
    /// Query heads of each layer.
    pub heads: u32,
    /// How many tensors it has.
    pub tensors: u32,
    /// Tiles of all tensors.
    pub tiles: u32,
}

/// The index of a model that is gone would lead nowhere.
fn forget(mut world: DeferredWorld, context: HookContext) {
    if world.get_resource::<ModelIndex>().is_some_and(|index| index.model() == context.entity) {
        // By a command: within a hook the world's resources cannot be removed.
        world.commands().remove_resource::<ModelIndex>();
    }
}

/// A layer of a model.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Its number, from 0.
    pub index: u32,
}

/// A query head of a layer.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The number of its layer, from 0.
    pub layer: u32,
    /// Its number in the layer.
    pub index: u32,
    /// The key and value head that it reads, which its group shares.
    pub kv_head: u32,
}

/// A tensor of a layer or of the model itself.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// Its place in the file's table.
    pub index: u32,
}

/// A tile of a tensor. Names are for few; a tile's is its tensor's and its number.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Its place among all tiles of the model.
    pub index: u32,
}

macro_rules! relationship {
    ($source:ident, $target:ident, $of:literal, $has:literal) => {
        #[doc = $of]
        #[derive(Component, Debug, Clone, Copy, PartialEq, Eq)]
        #[relationship(relationship_target = $target)]
        pub struct $source(pub Entity);

        #[doc = $has]
        #[derive(Component, Debug)]
        #[relationship_target(relationship = $source, linked_spawn)]
        pub struct $target(Vec<Entity>);
    };
}

relationship!(
    LayerOf,
    Layers,
    "The model that a layer belongs to.",
    "A model's layers, from the first."
);
relationship!(
    HeadOf,
    Heads,
    "The layer that a head belongs to.",
    "A layer's heads, from the first."
);
relationship!(
    TensorOf,
    Tensors,
    "The layer that a tensor belongs to, or the model.",
    "Tensors of a layer, or those of a model that are of no layer, in file order."
);
relationship!(
    TileOf,
    Tiles,
    "The tensor that a tile is cut from.",
    "A tensor's tiles, in file order."
);
