//! Carries edited tiles to the model on the device: the page texture that kernels read and the map
//! draws, and the buffers of norms and biases.
//!
//! In: [`EditedWeights`] of the main world, when it changes. Out: writes before the frame's forward
//! steps are recorded, only of tiles that differ from those that the device has. While it is
//! bypassed, the device has the file's own bytes, and [`super::InterventionsPlugin`] factors of 1.

use std::sync::Arc;

use bevy::{
    prelude::*,
    render::{
        Render, RenderApp, RenderSystems,
        extract_resource::{ExtractResource, ExtractResourcePlugin},
        renderer::RenderQueue,
    },
};

use super::model::{GpuModel, GpuModelSource};
use crate::model::edits::Tiles;
use crate::model::tiling::Layout;
use crate::model::weights::tile_weights;
use crate::residency::compute::Pool;

/// Tiles whose bytes on the device are to be others than those of the file.
#[derive(Resource, Debug, Clone, Default)]
pub struct EditedWeights {
    /// Them, by their number.
    pub tiles: Arc<Tiles>,
    /// Whether the model is, for now, to compute as its file says: without these tiles, and with
    /// every factor 1.
    pub bypassed: bool,
}

impl EditedWeights {
    /// The tiles that are on the device.
    pub fn shown(&self) -> Arc<Tiles> {
        if self.bypassed { Arc::default() } else { Arc::clone(&self.tiles) }
    }

    /// Whether a tile on the device is not that of the file.
    pub fn is_shown(&self, tile: u32) -> bool {
        !self.bypassed && self.tiles.contains_key(&tile)
    }
}

impl ExtractResource for EditedWeights {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

/// Lets [`EditedWeights`] act on the device, in `RenderSystems::PrepareResources`, which is before
/// the forward pass. Comes after `ForwardPlugin`. A model that is streamed through the device is
/// left as it is.
pub struct WeightEditsPlugin;

impl Plugin for WeightEditsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<EditedWeights>();
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.init_resource::<EditedWeights>().add_systems(
            Render,
            apply
                .in_set(RenderSystems::PrepareResources)
                .run_if(resource_exists::<GpuModel>.and_then(not(resource_exists::<Pool>))),
        );
        app.add_plugins(ExtractResourcePlugin::<EditedWeights>::default());
    }
}

/// Writes the tiles that differ from those that the device has.
fn apply(
    overlaid: Res<EditedWeights>,
    network: Res<GpuModel>,
    wanted: Res<GpuModelSource>,
    queue: Res<RenderQueue>,
    mut on_device: Local<Arc<Tiles>>,
) {
    if network.is_changed() {
        // Another device, which has the file's.
        *on_device = Arc::default();
    } else if !overlaid.is_changed() {
        return;
    }
    let (shown, model) = (overlaid.shown(), &wanted.model);
    for (tile, bytes) in differences(&on_device, &shown) {
        let bytes = match bytes {
            Some(bytes) => bytes,
            // It was verified when the model was put on the device.
            None => model.tile_unverified(tile),
        };
        network.pages.write_lines(&queue, network.pages.first_line(tile), bytes);
        let (tensor, shape) = model.tile_shape(tile);
        let tensor = &model.tensors()[tensor];
        // Kernels read vectors from buffers of their own; the texture is what the map draws.
        if tensor.tiling.layout == Layout::Vector {
            let numbers = tile_weights(&tensor.tiling, &shape, bytes);
            network.set_vector(&queue, &tensor.name, shape.columns.start, &numbers);
        }
    }
    *on_device = shown;
}

/// Tiles that are others after than before, and their bytes; `None` are those of the file.
fn differences<'a>(
    before: &'a Tiles,
    after: &'a Tiles,
) -> impl Iterator<Item = (u32, Option<&'a [u8]>)> {
    let gone = before.keys().filter(|tile| !after.contains_key(tile)).map(|&tile| (tile, None));
    let written = after
        .iter()
        // An edit makes bytes of its own: the same bytes are at the same place.
        .filter(|(tile, bytes)| !before.get(tile).is_some_and(|old| Arc::ptr_eq(old, bytes)))
        .map(|(&tile, bytes)| (tile, Some(&bytes[..])));
    gone.chain(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tiles_that_differ_are_written_and_what_goes_is_the_files_again() {
        let [one, two]: [Arc<[u8]>; 2] = [Arc::from([1u8]), Arc::from([2u8])];
        let tiles = |list: &[(u32, &Arc<[u8]>)]| -> Tiles {
            list.iter().map(|&(tile, bytes)| (tile, Arc::clone(bytes))).collect()
        };
        let (before, after) =
            (tiles(&[(1, &one), (2, &one), (3, &one)]), tiles(&[(2, &one), (3, &two)]));
        let found: Vec<_> = differences(&before, &after).collect();
        assert_eq!(found, [(1, None), (3, Some(&[2u8][..]))]);
    }

    #[test]
    fn what_is_bypassed_is_not_shown() {
        let tiles = Arc::new(Tiles::from([(7, Arc::from([1u8]))]));
        let mut overlaid = EditedWeights { tiles, bypassed: false };
        assert!(overlaid.is_shown(7) && !overlaid.is_shown(8));
        overlaid.bypassed = true;
        assert!(!overlaid.is_shown(7) && overlaid.shown().is_empty());
    }
}
