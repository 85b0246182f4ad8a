//! Keys of the lab, of bookmarks and of the tour.

use bevy::prelude::*;
use bevy_egui::input::EguiWantsInput;

use super::{Edits, marks};
use crate::content::assets::Assets;
use crate::tiles::{ModelIndex, Muted};
use crate::world::camera::Navigate;
use crate::world::keys::{Action, Keys};
use crate::world::layout::Atlas;
use crate::world::notices::Notices;
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tour::{Tour, TourRun};

/// The tour that a key begins.
const INTRODUCTION: &str = "first-steps";

pub(super) fn keys(
    keys: Res<Keys>,
    input: Option<Res<ButtonInput<KeyCode>>>,
    wants: Option<Res<EguiWantsInput>>,
    settings: Res<Settings>,
    index: Option<Res<ModelIndex>>,
    muted: Query<(), With<Muted>>,
    (assets, tour): (Res<Assets>, Option<Res<TourRun>>),
    (atlas, selection): (Res<Atlas>, Res<Selection>),
    mut notices: ResMut<Notices>,
    mut navigate: MessageWriter<Navigate>,
    mut edits: ResMut<Edits>,
    mut last_bookmark: Local<usize>,
    mut commands: Commands,
) {
    let Some(input) = input else { return };
    if wants.is_some_and(|wants| wants.wants_any_keyboard_input()) {
        return;
    }
    let pressed = |action| keys.pressed(&input, action);
    if pressed(Action::Undo) {
        notices.tell(edits.undo());
    }
    if pressed(Action::Redo) {
        notices.tell(edits.redo());
    }
    if pressed(Action::Paint) {
        edits.painting = !edits.painting;
        notices.tell(if edits.painting {
            "click a weight or drag over some to mark them; G again to move the map"
        } else {
            "a drag moves the map"
        });
    }
    let selected = (&*atlas, &*selection);
    let is_muted = |entity| muted.contains(entity);
    if pressed(Action::Mute) {
        marks::mute_selection(selected, index.as_deref(), is_muted, &mut notices, &mut commands);
    }
    if pressed(Action::Solo) {
        marks::solo_selection(selected, index.as_deref(), is_muted, &mut notices, &mut commands);
    }
    if pressed(Action::NextBookmark) {
        let list = settings.bookmarks.get(&atlas.title()).map_or(&[][..], Vec::as_slice);
        match list.get(*last_bookmark % list.len().max(1)) {
            Some((name, view)) => {
                navigate.write(Navigate::View(*view, None));
                notices.tell(format!("bookmark: {name}"));
                *last_bookmark = (*last_bookmark + 1) % list.len();
            }
            None => notices.tell("no bookmarks here yet: B makes one"),
        }
    }
    if pressed(Action::TakeTour) {
        if tour.is_some() {
            commands.remove_resource::<TourRun>();
            return;
        }
        match assets.content::<Tour>("tour", INTRODUCTION) {
            Ok(tour) => commands.insert_resource(TourRun::new(tour, None, false)),
            Err(error) => notices.tell(error.to_string()),
        }
    }
}
