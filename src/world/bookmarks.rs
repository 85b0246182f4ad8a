//! Bookmarks: views of a model that are kept in the settings.

use bevy::prelude::*;

use super::camera::{MapCamera, Navigate};
use super::keys::UserAction;
use super::layout::Atlas;
use super::notices::Notices;
use super::settings::Settings;

/// Keeps this view, or goes to the next that was kept.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    mut settings: ResMut<Settings>,
    mut notices: ResMut<Notices>,
    mut navigate: MessageWriter<Navigate>,
    mut next: Local<usize>,
) {
    for action in actions.read() {
        match action {
            UserAction::Bookmark => {
                let (x, y) = camera.view.cell_at(camera.view.middle());
                let place = atlas.trail(x, y).pop();
                let name = place.map_or_else(String::new, |place| atlas.name(&place));
                notices.tell(format!("bookmarked: {name}"));
                settings.bookmarks.entry(atlas.title()).or_default().push((name, camera.view));
            }
            UserAction::NextBookmark => {
                let list = settings.bookmarks.get(&atlas.title()).map_or(&[][..], Vec::as_slice);
                // At least 1: a remainder by the length of an empty list would panic.
                match list.get(*next % list.len().max(1)) {
                    Some((name, view)) => {
                        navigate.write(Navigate::View(*view, None));
                        notices.tell(format!("bookmark: {name}"));
                        *next = (*next + 1) % list.len();
                    }
                    None => notices.tell("no bookmarks here yet: B makes one"),
                }
            }
            _ => {}
        }
    }
}
