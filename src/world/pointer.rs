//! What a person points at: the mouse moves the map's camera, as in map applications, and a click
//! selects.

use bevy::input::mouse::{MouseScrollUnit, MouseWheel};
use bevy::prelude::*;
use bevy::window::PrimaryWindow;
use bevy_egui::{EguiContexts, egui, input::EguiWantsInput};

use super::camera::{MapCamera, Navigate};
use super::family::FamilyPicture;
use super::lab::Edits;
use super::layout::{Atlas, Place};
use super::tabs::{Drawer, Tab};
use super::view::View;
use crate::model::plan::Rect;

/// Doublings of a notch of the wheel.
const WHEEL_LINE: f64 = 0.35;
/// Doublings of a point of a touchpad's scroll.
const WHEEL_PIXEL: f64 = 0.006;
/// Seconds between the two clicks of one double click.
const DOUBLE_CLICK: f64 = 0.35;
/// Points that a click may move before it is a drag.
const CLICK_SLACK: f64 = 4.0;

/// Where the pointer is on the map, in points of the screen; nowhere while it is over a panel.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq)]
pub struct Pointer(pub Option<[f64; 2]>);

/// The place that is selected on the map.
#[derive(Resource, Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(pub Option<Place>);

/// A press of the mouse's button.
#[derive(Default)]
pub(super) struct Press {
    from: Option<[f64; 2]>,
    last: [f64; 2],
    dragged: bool,
    clicked_at: f64,
}

/// What the mouse does on the map.
pub(super) fn mouse(
    windows: Query<&Window, With<PrimaryWindow>>,
    buttons: Option<Res<ButtonInput<MouseButton>>>,
    wheel: Option<MessageReader<MouseWheel>>,
    wants: Option<Res<EguiWantsInput>>,
    // Virtual time stops at 0.25 s a frame: two clicks around a long frame would count as double.
    time: Res<Time<Real>>,
    mut contexts: EguiContexts,
    (atlas, edits): (Res<Atlas>, Res<Edits>),
    mut camera: ResMut<MapCamera>,
    mut on_map: ResMut<Pointer>,
    mut selection: ResMut<Selection>,
    (mut family, mut drawer): (ResMut<FamilyPicture>, ResMut<Drawer>),
    mut navigate: MessageWriter<Navigate>,
    mut press: Local<Press>,
) {
    let (Some(buttons), Some(mut wheel), Ok(window)) = (buttons, wheel, windows.single()) else {
        return;
    };
    let cursor = window.cursor_position();
    // What egui wants is of the frame before; a pointer that has just come is looked up where it is
    // now.
    let on_area = cursor.zip(contexts.ctx_mut().ok()).is_some_and(|(place, context)| {
        let layer = context.layer_id_at(egui::pos2(place.x, place.y));
        layer.is_some_and(|layer| layer.order != egui::Order::Background)
    });
    let over_panel = on_area || wants.is_some_and(|wants| wants.wants_any_pointer_input());
    let bounds = atlas.bounds();
    let pointer = cursor.map(|place| [f64::from(place.x), f64::from(place.y)]);
    on_map.0 = pointer.filter(|_| !over_panel);
    let Some(pointer) = pointer else {
        press.from = None;
        // Else the map would leap when the pointer comes back.
        wheel.clear();
        return;
    };
    for scroll in wheel.read() {
        let step = match scroll.unit {
            MouseScrollUnit::Line => WHEEL_LINE,
            MouseScrollUnit::Pixel => WHEEL_PIXEL,
        };
        if !over_panel {
            let reach = camera.reach(bounds);
            let view = camera.view.zoomed((f64::from(scroll.y) * step).exp2(), pointer, reach);
            camera.jump(view);
        }
    }
    let button = MouseButton::Left;
    if buttons.just_pressed(button) && !over_panel {
        // The time of the click before stays: by it the next is known as the second.
        *press = Press { from: Some(pointer), last: pointer, dragged: false, ..*press };
    }
    // A drag that began on the map goes on over panels.
    let Some(from) = press.from else { return };
    let moved = (pointer[0] - from[0]).hypot(pointer[1] - from[1]);
    press.dragged |= moved > CLICK_SLACK;
    // While weights are marked, the button is the lab's.
    if press.dragged && buttons.pressed(button) && !edits.painting {
        let by = std::array::from_fn(|i| pointer[i] - press.last[i]);
        let view = camera.view.panned(by, camera.reach(bounds));
        camera.jump(view);
    }
    press.last = pointer;
    if buttons.just_released(button) {
        press.from = None;
        if !press.dragged && !edits.painting {
            if let Some(view) = on_minimap(&camera.view, bounds, pointer) {
                navigate.write(Navigate::View(view, None));
                return;
            }
            let now = time.elapsed_secs_f64();
            let is_second = now - std::mem::replace(&mut press.clicked_at, now) < DOUBLE_CLICK;
            let cell = camera.view.cell_at(pointer);
            family.selected = family.island_at(cell, bounds);
            if let Some(at) = family.selected {
                (selection.0, drawer.0) = (None, Some(Tab::Inspector));
                let there = is_second.then(|| family.view_of(at, &camera, bounds)).flatten();
                navigate.write_batch(there);
                return;
            }
            let to = click(&atlas, &camera.view, pointer, is_second, &mut selection);
            navigate.write_batch(to.map(Navigate::To));
        }
    }
}

/// The view that a click on the minimap means.
fn on_minimap(view: &View, bounds: Rect, pointer: [f64; 2]) -> Option<View> {
    let [left, top, across, down] = view.minimap(bounds)?.map(f64::from);
    let inside = [pointer[0] - left, pointer[1] - top];
    let is_inside = (0.0..across).contains(&inside[0]) && (0.0..down).contains(&inside[1]);
    let centre = view.minimap_view(bounds).to_plane(inside);
    is_inside.then_some(View { centre, ..*view })
}

/// A click selects, a second one dives: gives the place that it goes to.
fn click(
    atlas: &Atlas,
    view: &View,
    pointer: [f64; 2],
    is_second: bool,
    selection: &mut Selection,
) -> Option<Place> {
    let (x, y) = view.cell_at(pointer);
    let trail = atlas.trail(x, y);
    let depth = depth_for(view.scale, &trail);
    selection.0 = trail.get(depth).filter(|place| **place != Place::Model).cloned();
    if !is_second {
        return None;
    }
    let next = trail.iter().position(|place| selection.0.as_ref() == Some(place)).unwrap_or(0);
    let place = selection.0.clone().unwrap_or(Place::Model);
    let here = atlas.rect(&place).map(|rect| view.fit(rect).scale);
    match here {
        // Already there: one deeper, at last to the weight.
        Some(scale) if view.scale >= scale * 0.9 => trail.get(next + 1).cloned().or_else(|| {
            let spot = atlas.spot(x, y)?;
            let name = atlas.model().tensors()[spot.tensor].name.clone();
            Some(Place::Weight(name, spot.row, spot.column))
        }),
        _ => Some(place),
    }
}

/// How deep in a trail a click at a scale means: layers from afar, heads and fields nearer, tensors
/// near.
fn depth_for(scale: f64, trail: &[Place]) -> usize {
    let deepest = trail.len().saturating_sub(1);
    let wanted = if scale < 0.15 {
        1
    } else if scale < 3.0 {
        2
    } else {
        3
    };
    wanted.min(deepest)
}
