//! What the camera of the map sees, told to the view set of [`crate::residency`], which brings the
//! tiles of a model that does not fit the device.

use bevy::prelude::*;

use super::WorldSystems;
use super::draw::MapFrame;
use crate::residency::{ResidencyPlugin, WantedView};

/// Tells the view set what is on the screen. Comes after `GpuModelPlugin`.
pub(super) struct StreamPlugin;

impl Plugin for StreamPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins(ResidencyPlugin).add_systems(Update, want.after(WorldSystems::Frame));
    }
}

/// The view set ranks in `PostUpdate`, when the frame is made.
fn want(frame: Res<MapFrame>, mut wanted: ResMut<WantedView>) {
    let zoom = frame.view.scale as f32 * frame.pixels_per_point;
    wanted.set_if_neq(WantedView { rect: frame.view.visible(), zoom });
}
