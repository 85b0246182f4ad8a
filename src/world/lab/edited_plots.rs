//! Which plots show a weight that is not that of the file. A tile may reach over the plots of
//! several heads, and a mark on a head that nobody painted would be false.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bevy::prelude::*;

use crate::forward::gpu::EditedWeights;
use crate::model::PixelModel;
use crate::model::weights::tile_weights;
use crate::world::layout::{Atlas, Quad};

/// A part of a tile that a plot shows: the left upper cell.
type Corner = [i64; 2];

/// The edited parts of plots, by tile.
#[derive(Resource, Debug, Clone, Default)]
pub struct EditedPlots(HashSet<(u32, Corner)>);

impl EditedPlots {
    /// Whether a quad shows a weight that is not that of the file.
    pub fn shows(&self, quad: &Quad) -> bool {
        self.0.contains(&(quad.tile, [quad.x.into(), quad.y.into()]))
    }
}

/// Finds them anew when edits change.
pub(super) fn find(
    edited: Res<EditedWeights>,
    atlas: Res<Atlas>,
    mut plots: ResMut<EditedPlots>,
    mut known: Local<HashMap<u32, (Arc<[u8]>, Vec<Corner>)>>,
) {
    if atlas.is_changed() {
        // A mod may have laid the model out anew.
        known.clear();
    } else if !edited.is_changed() {
        return;
    }
    let shown = edited.shown();
    // Many tiles may be edited, and a brush changes few: only theirs are decoded anew.
    known.retain(|tile, (bytes, _)| shown.get(tile).is_some_and(|now| Arc::ptr_eq(now, bytes)));
    for (&tile, bytes) in shown.iter() {
        let found = || (Arc::clone(bytes), corners(atlas.model(), tile, bytes));
        known.entry(tile).or_insert_with(found);
    }
    let of_tile = |(&tile, (_, corners)): (&u32, &(_, Vec<Corner>))| {
        corners.iter().map(|&corner| (tile, corner)).collect::<Vec<_>>()
    };
    plots.0 = known.iter().flat_map(of_tile).collect();
}

/// The parts of plots that show a weight of a tile which is another with these bytes.
fn corners(model: &PixelModel, tile: u32, bytes: &[u8]) -> Vec<Corner> {
    let (tensor, shape) = model.tile_shape(tile);
    let tiling = &model.tensors()[tensor].tiling;
    let [was, is] =
        [model.tile_unverified(tile), bytes].map(|bytes| tile_weights(tiling, &shape, bytes));
    let stride = shape.columns.end - shape.columns.start;
    let place = |at: u64| (shape.rows.start + at / stride, shape.columns.start + at % stride);
    let pairs = (0..).zip(was.iter().zip(&is));
    let changed: Vec<(u64, u64)> = pairs
        .filter(|(_, (was, is))| was.to_bits() != is.to_bits())
        .map(|(at, _)| place(at))
        .collect();
    let plots = model.plan().plots_of(tensor).iter();
    let parts = plots.filter_map(|plot| {
        let part = plot.part(&shape.rows, &shape.columns)?;
        let is_in =
            |(row, column): &(u64, u64)| plot.rows.contains(row) && plot.columns.contains(column);
        changed.iter().any(is_in).then_some([part.x, part.y])
    });
    parts.collect()
}
