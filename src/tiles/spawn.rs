//! Puts a model's parts into the world as entities, all at once, and takes them out again.

use std::collections::HashMap;

use bevy::prelude::*;

use super::{Head, HeadOf, Layer, LayerOf, Model, ModelIndex, Tensor, TensorOf, Tile, TileOf};
use crate::model::{self, ModelConfig, PixelModel};

/// Spawns the entities of a model and inserts their [`ModelIndex`]. There is one model in a world:
/// one that was there before is despawned.
pub fn spawn_model(world: &mut World, model: &PixelModel) -> Entity {
    let name =
        model.path().file_stem().map_or_else(|| "model".into(), |name| name.to_string_lossy());
    spawn_parts(world, &name, model.config(), model.tensors())
}

/// [`spawn_model`] from a model's tables. They must be those of one model, as
/// [`crate::model::tensors::check_family`] says.
pub fn spawn_parts(
    world: &mut World,
    name: &str,
    config: &ModelConfig,
    tensors: &[model::Tensor],
) -> Entity {
    despawn_model(world);
    let (layer_count, head_count) = (config.layer_count, config.head_count);
    let tile_count = tensors.last().map_or(0, |tensor| tensor.tiles().end);
    let root = Model {
        layers: layer_count,
        heads: head_count,
        tensors: tensors.len() as u32,
        tiles: tile_count,
    };
    let root = world.spawn((root, Name::new(name.to_owned()))).id();

    let layer = |index| (Layer { index }, LayerOf(root), Name::new(format!("layer {index}")));
    let layers: Vec<Entity> = world.spawn_batch((0..layer_count).map(layer)).collect();

    let head = |(layer, index): (u32, u32)| {
        let head = Head { layer, index, kv_head: index / config.heads_per_kv() };
        (head, HeadOf(layers[layer as usize]), Name::new(format!("layer {layer} head {index}")))
    };
    let places = (0..layer_count).flat_map(|layer| (0..head_count).map(move |head| (layer, head)));
    // Collected first: a batch makes room for as many as its iterator says there are, and this one
    // cannot say.
    let bundles: Vec<_> = places.map(head).collect();
    let heads: Vec<Entity> = world.spawn_batch(bundles).collect();

    let tensor = |(index, tensor): (u32, &model::Tensor)| {
        let of = tensor
            .layer()
            .and_then(|(layer, _)| layers.get(layer as usize))
            .copied()
            .unwrap_or(root);
        (Tensor { index }, TensorOf(of), Name::new(tensor.name.clone()))
    };
    let bundles: Vec<_> = (0..).zip(tensors).map(tensor).collect();
    let tensor_entities: Vec<Entity> = world.spawn_batch(bundles).collect();

    let tiles_of = |(tensor, &entity): (&model::Tensor, &Entity)| {
        tensor.tiles().map(move |index| (Tile { index }, TileOf(entity)))
    };
    let bundles: Vec<_> = tensors.iter().zip(&tensor_entities).flat_map(tiles_of).collect();
    let tiles: Vec<Entity> = world.spawn_batch(bundles).collect();

    let names: HashMap<Box<str>, u32> =
        tensors.iter().map(|tensor| Box::from(tensor.name.as_str())).zip(0..).collect();
    world.insert_resource(ModelIndex {
        model: root,
        layers,
        heads,
        heads_per_layer: head_count,
        tensors: tensor_entities,
        tiles,
        names,
    });
    root
}

/// Despawns the model that is in the world, if there is one, with everything that belongs to it.
pub fn despawn_model(world: &mut World) {
    let Some(model) = world.get_resource::<ModelIndex>().map(ModelIndex::model) else { return };
    world.despawn(model);
    // The hook of `Model` has removed the index.
}
