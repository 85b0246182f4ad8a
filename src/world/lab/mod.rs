//! The lab: what a person changes in the model that they look at, and how its answers differ then.
//!
//! In: marked weights and a brush, heads and layers that are to be muted, scaled or heard alone, a
//! prompt to be answered twice. Out: [`Edits`] in an overlay that the device computes with and the
//! map draws, marks on entities, and a [`Comparison`]. The model's file is never written.

mod actions;
mod again;
mod compare;
mod device;
mod differences;
mod edited_plots;
mod edits;
pub(crate) mod marks;
mod mouse;
pub(crate) mod story;

use std::collections::HashMap;
use std::sync::Arc;

use bevy::prelude::*;

use super::WorldSystems;
use super::draw::MapFrame;
use super::layout::Atlas;
use super::notices::Notices;
use super::tour::{self, TourSystems};
use crate::forward::gpu::EditedWeights;
use crate::model::edits::coarse_of;

pub use compare::{Comparison, ComparisonRow, ComparisonSide, ComparisonStage};
pub use device::DeviceState;
pub use differences::{Difference, Differences};
pub use edited_plots::EditedPlots;
pub use edits::{Edits, Last};

/// Painting, soloing and comparing. Needs what [`super::WorldPlugin`] needs, and
/// `WeightEditsPlugin`.
pub(super) struct LabPlugin;

impl Plugin for LabPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Edits>()
            .init_resource::<Comparison>()
            .init_resource::<EditedWeights>()
            .init_resource::<EditedPlots>()
            .add_plugins(device::DeviceStatePlugin)
            .add_systems(
                Update,
                (
                    tour::hold.in_set(TourSystems::Hold).run_if(again::is_due),
                    (
                        actions::act,
                        marks::act,
                        actions::follow_tour,
                        marks::follow_tour,
                        mouse::mark,
                        again::act,
                        again::answer.run_if(again::is_due),
                        compare::drive,
                    )
                        .chain()
                        .after(super::pointer::mouse)
                        .in_set(WorldSystems::Act),
                    (share, edited_plots::find).chain().in_set(WorldSystems::Move),
                    coarse.in_set(WorldSystems::Frame),
                ),
            );
    }
}

/// Hands the edits to the device, and tells how saving went.
fn share(
    mut edits: ResMut<Edits>,
    mut overlaid: ResMut<EditedWeights>,
    mut notices: ResMut<Notices>,
) {
    let edits = edits.bypass_change_detection();
    if let Some(told) = edits.saved() {
        notices.tell(told);
    }
    let tiles = edits.overlay.tiles();
    if !Arc::ptr_eq(tiles, &overlaid.tiles) || overlaid.bypassed != edits.bypassed {
        *overlaid = EditedWeights { tiles: Arc::clone(tiles), bypassed: edits.bypassed };
    }
}

/// Gives edited tiles the look from afar that their weights have now.
fn coarse(
    overlaid: Res<EditedWeights>,
    atlas: Res<Atlas>,
    mut frame: ResMut<MapFrame>,
    mut of_file: Local<Option<Arc<Vec<u32>>>>,
    mut known: Local<HashMap<u32, (Arc<[u8]>, Vec<u32>)>>,
) {
    if !overlaid.is_changed() {
        return;
    }
    // The first change finds what the plugin made of the file; later ones would find edits in it.
    let of_file = of_file.get_or_insert_with(|| Arc::clone(&frame.coarse));
    let shown = overlaid.shown();
    if shown.is_empty() {
        frame.coarse = Arc::clone(of_file);
        return;
    }
    let mut words = Vec::clone(of_file);
    // Many tiles may be edited, and a brush changes few: only theirs are computed anew.
    known.retain(|tile, (bytes, _)| shown.get(tile).is_some_and(|now| Arc::ptr_eq(now, bytes)));
    for (&tile, bytes) in shown.iter() {
        let (_, blocks) = known.entry(tile).or_insert_with(|| {
            // A brush leaves only finite numbers; a tile that has others keeps the look that it
            // had.
            let blocks = coarse_of(atlas.model(), tile, bytes).map(|coarse| coarse.blocks);
            let blocks = blocks.unwrap_or_else(|_| atlas.model().tile_blocks(tile));
            (Arc::clone(bytes), super::draw::tile_words(atlas.model(), tile, &blocks).to_vec())
        });
        words[tile as usize * blocks.len()..][..blocks.len()].copy_from_slice(blocks);
    }
    frame.coarse = Arc::new(words);
}
