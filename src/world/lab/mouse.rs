//! While weights are painted, a click or a drag on the map marks them; the wheel and the keys still
//! move it.

use bevy::prelude::*;

use super::Edits;
use crate::world::Map;

/// Marks what is dragged over.
pub(super) fn mark(
    buttons: Option<Res<ButtonInput<MouseButton>>>,
    mut edits: ResMut<Edits>,
    mut map: ResMut<Map>,
    mut from: Local<Option<(i64, i64)>>,
) {
    let edits = edits.bypass_change_detection();
    map.held = edits.painting;
    let (Some(buttons), true) = (buttons, edits.painting) else {
        *from = None;
        return;
    };
    // Over a panel there is no pointer on the map.
    let cell = map.pointer.map(|pointer| map.view.cell_at(pointer));
    if buttons.just_pressed(MouseButton::Left) {
        *from = cell;
    }
    if let (Some(first), Some(cell)) = (*from, cell) {
        edits.mark(&map.atlas, first, cell);
    }
    if !buttons.pressed(MouseButton::Left) {
        *from = None;
    }
}
