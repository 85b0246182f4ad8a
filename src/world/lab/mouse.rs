//! While weights are painted, a click or a drag on the map marks them; the wheel and the keys still
//! move it.

use bevy::prelude::*;

use super::Edits;
use crate::world::camera::MapCamera;
use crate::world::layout::Atlas;
use crate::world::pointer::Pointer;

/// Marks what is dragged over.
pub(super) fn mark(
    buttons: Option<Res<ButtonInput<MouseButton>>>,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    pointer: Res<Pointer>,
    mut edits: ResMut<Edits>,
    mut from: Local<Option<(i64, i64)>>,
) {
    let edits = edits.bypass_change_detection();
    let (Some(buttons), true) = (buttons, edits.painting) else {
        *from = None;
        return;
    };
    // Over a panel there is no pointer on the map.
    let cell = pointer.0.map(|pointer| camera.view.cell_at(pointer));
    if buttons.just_pressed(MouseButton::Left) {
        *from = cell;
    }
    if let (Some(first), Some(cell)) = (*from, cell) {
        edits.mark(&atlas, first, cell);
    }
    // Also where it is let go over a panel: else the next move over the map would mark on.
    if !buttons.pressed(MouseButton::Left) {
        *from = None;
    }
}
