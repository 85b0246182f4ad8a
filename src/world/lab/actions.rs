//! What is asked of the lab: to mark, and to take a change back or do it again.

use bevy::prelude::*;

use super::Edits;
use crate::world::keys::UserAction;
use crate::world::notices::Notices;

pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    mut edits: ResMut<Edits>,
    mut notices: ResMut<Notices>,
) {
    for action in actions.read() {
        match action {
            UserAction::Undo => notices.tell(edits.undo()),
            UserAction::Redo => notices.tell(edits.redo()),
            UserAction::Paint => {
                edits.painting = !edits.painting;
                notices.tell(if edits.painting {
                    "click a weight or drag over some to mark them; G again to move the map"
                } else {
                    "a drag moves the map"
                });
            }
            _ => {}
        }
    }
}
