//! Keys and mouse move the map's camera, as in map applications.

use bevy::input::mouse::{MouseScrollUnit, MouseWheel};
use bevy::prelude::*;
use bevy::window::PrimaryWindow;
use bevy_egui::{EguiContexts, input::EguiWantsInput};

use super::Map;
use super::keys::{Action, Keys};
use super::layout::Place;
use super::palette::{Colouring, Theme};
use super::settings::Settings;
use crate::tiles::{ModelIndex, Muted};

/// Points a second while a key is held.
const PAN_SPEED: f64 = 900.0;
/// Doublings a second while a key is held.
const ZOOM_SPEED: f64 = 2.2;
/// Doublings of a notch of the wheel.
const WHEEL_LINE: f64 = 0.35;
/// Doublings of a point of a touchpad's scroll.
const WHEEL_PIXEL: f64 = 0.006;
/// Seconds between the two clicks of one double click.
const DOUBLE_CLICK: f64 = 0.35;
/// Points that a click may move before it is a drag.
const CLICK_SLACK: f64 = 4.0;

/// What keys do that has to do with the map.
pub(super) fn keys(
    keys: Res<Keys>,
    input: Option<Res<ButtonInput<KeyCode>>>,
    wants: Option<Res<EguiWantsInput>>,
    time: Res<Time>,
    index: Option<Res<ModelIndex>>,
    muted: Query<(), With<Muted>>,
    mut map: ResMut<Map>,
    mut settings: ResMut<Settings>,
    mut commands: Commands,
) {
    let Some(input) = input else { return };
    if wants.is_some_and(|wants| wants.wants_any_keyboard_input()) {
        return;
    }
    let map = &mut *map;
    let bounds = map.atlas.bounds();
    let seconds = time.delta_secs_f64().min(0.1);
    let held = |action| f64::from(u8::from(keys.held(&input, action)));
    let by = [
        held(Action::PanLeft) - held(Action::PanRight),
        held(Action::PanUp) - held(Action::PanDown),
    ];
    if by != [0.0; 2] {
        map.flight = None;
        map.view = map.view.panned(by.map(|part| part * PAN_SPEED * seconds), bounds);
    }
    let zoom = held(Action::ZoomIn) - held(Action::ZoomOut);
    if zoom != 0.0 {
        map.flight = None;
        let middle = map.view.size.map(|side| side / 2.0);
        map.view = map.view.zoomed(
            (zoom * ZOOM_SPEED * seconds).exp2(),
            map.pointer.unwrap_or(middle),
            bounds,
        );
    }
    let pressed = |action| keys.pressed(&input, action);
    if pressed(Action::Home) {
        map.go_to(&Place::Model, None);
    }
    if pressed(Action::Back) {
        map.go_back();
    }
    if pressed(Action::Forward) {
        map.go_forward();
    }
    if pressed(Action::NextColouring) {
        let at = Colouring::ALL.iter().position(|&one| one == settings.colouring).unwrap_or(0);
        settings.colouring = Colouring::ALL[(at + 1) % Colouring::ALL.len()];
    }
    if pressed(Action::NextPalette) {
        let at =
            map.palettes.iter().position(|palette| palette.name == settings.palette).unwrap_or(0);
        settings.palette = map.palettes[(at + 1) % map.palettes.len()].name.clone();
        map.tell(format!("palette: {}", settings.palette));
    }
    if pressed(Action::NextTheme) {
        settings.theme = if settings.theme == Theme::Dark { Theme::Light } else { Theme::Dark };
    }
    if pressed(Action::Bookmark) {
        let (x, y) = map.view.cell_at(map.view.size.map(|side| side / 2.0));
        let name =
            map.atlas.trail(x, y).last().map_or_else(String::new, |place| map.atlas.name(place));
        map.tell(format!("bookmarked: {name}"));
        settings.bookmarks.entry(map.atlas.title()).or_default().push((name, map.view));
    }
    if pressed(Action::Mute) {
        mute_selection(map, index.as_deref(), &muted, &mut commands);
    }
}

/// Mutes the selected head or layer, or lets it speak again.
pub fn mute_selection(
    map: &mut Map,
    index: Option<&ModelIndex>,
    muted: &Query<(), With<Muted>>,
    commands: &mut Commands,
) {
    let entity = map.selection.as_ref().and_then(|place| entity_of(place, index?));
    let Some(entity) = entity else {
        map.tell("select a head or a layer first: click one");
        return;
    };
    let name = map.selection.as_ref().map(|place| map.atlas.name(place)).unwrap_or_default();
    if muted.contains(entity) {
        commands.entity(entity).remove::<Muted>();
        map.tell(format!("{name} speaks again"));
    } else {
        commands.entity(entity).insert(Muted);
        map.tell(format!("{name} is muted"));
    }
}

/// The entity of a head or layer.
pub fn entity_of(place: &Place, index: &ModelIndex) -> Option<Entity> {
    match place {
        Place::Layer(layer) | Place::Attention(layer) | Place::FeedForward(layer) => {
            index.layer(*layer)
        }
        Place::Head(layer, head) => index.head(*layer, *head),
        _ => None,
    }
}

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
    time: Res<Time<Real>>,
    mut contexts: EguiContexts,
    mut map: ResMut<Map>,
    mut press: Local<Press>,
) {
    let (Some(buttons), Some(mut wheel), Ok(window)) = (buttons, wheel, windows.single()) else {
        return;
    };
    let cursor = window.cursor_position();
    // What egui wants is of the frame before; a pointer that has just come is looked up where it is
    // now.
    let on_area = cursor.zip(contexts.ctx_mut().ok()).is_some_and(|(place, context)| {
        let layer = context.layer_id_at(bevy_egui::egui::pos2(place.x, place.y));
        layer.is_some_and(|layer| layer.order != bevy_egui::egui::Order::Background)
    });
    let over_panel = on_area || wants.is_some_and(|wants| wants.wants_any_pointer_input());
    let map = &mut *map;
    let bounds = map.atlas.bounds();
    let pointer = cursor.map(|place| [f64::from(place.x), f64::from(place.y)]);
    map.pointer = pointer.filter(|_| !over_panel);
    let Some(pointer) = pointer else {
        press.from = None;
        wheel.clear();
        return;
    };
    for scroll in wheel.read() {
        let step = match scroll.unit {
            MouseScrollUnit::Line => WHEEL_LINE,
            MouseScrollUnit::Pixel => WHEEL_PIXEL,
        };
        if !over_panel {
            map.flight = None;
            map.view = map.view.zoomed((f64::from(scroll.y) * step).exp2(), pointer, bounds);
        }
    }
    let button = MouseButton::Left;
    if buttons.just_pressed(button) && !over_panel {
        *press = Press { from: Some(pointer), last: pointer, dragged: false, ..*press };
    }
    if let Some(from) = press.from {
        let moved = (pointer[0] - from[0]).hypot(pointer[1] - from[1]);
        press.dragged |= moved > CLICK_SLACK;
        if press.dragged && buttons.pressed(button) && !map.held {
            map.flight = None;
            map.view = map.view.panned(std::array::from_fn(|i| pointer[i] - press.last[i]), bounds);
        }
        press.last = pointer;
        if buttons.just_released(button) {
            press.from = None;
            if !press.dragged && !map.held {
                click(map, pointer, &mut press, time.elapsed_secs_f64());
            }
        }
    }
}

/// A click selects, a second one dives to what is there; on the minimap it goes there.
fn click(map: &mut Map, pointer: [f64; 2], press: &mut Press, now: f64) {
    if let Some([left, top, across, down]) = map.minimap().map(|rect| rect.map(f64::from)) {
        let inside = [pointer[0] - left, pointer[1] - top];
        if inside[0] >= 0.0 && inside[1] >= 0.0 && inside[0] < across && inside[1] < down {
            let centre = map.minimap_view().to_plane(inside);
            map.go(super::view::View { centre, ..map.view }, None);
            return;
        }
    }
    let (x, y) = map.view.cell_at(pointer);
    let trail = map.atlas.trail(x, y);
    let depth = depth_for(map.view.scale, &trail);
    map.selection = trail.get(depth).filter(|place| **place != Place::Model).cloned();
    if now - press.clicked_at < DOUBLE_CLICK {
        let next =
            trail.iter().position(|place| map.selection.as_ref() == Some(place)).unwrap_or(0);
        let place = map.selection.clone().unwrap_or(Place::Model);
        let here = map.atlas.rect(&place).map(|rect| map.view.fit(rect).scale);
        let place = match here {
            // Already there: one deeper, at last to the weight.
            Some(scale) if map.view.scale >= scale * 0.9 => {
                trail.get(next + 1).cloned().or_else(|| {
                    let spot = map.atlas.spot(x, y)?;
                    let name = map.atlas.model().tensors()[spot.tensor].name.clone();
                    Some(Place::Weight(name, spot.row, spot.column))
                })
            }
            _ => Some(place),
        };
        if let Some(place) = place {
            map.go_to(&place, None);
        }
    }
    press.clicked_at = now;
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

/// The screen's size, as the camera has it.
pub(super) fn resize(cameras: Query<&Camera>, mut map: ResMut<Map>, mut fitted: Local<bool>) {
    let Some(size) = cameras.iter().next().and_then(Camera::logical_viewport_size) else { return };
    let size = [f64::from(size.x), f64::from(size.y)];
    if size != map.view.size && size.iter().all(|&side| side >= 1.0) {
        map.view.size = size;
        let bounds = map.atlas.bounds();
        map.view = if *fitted { map.view.bounded(bounds) } else { map.view.fit(bounds) };
    }
    *fitted = true;
}

/// Flights.
pub(super) fn fly(time: Res<Time>, settings: Res<Settings>, mut map: ResMut<Map>) {
    let size = map.view.size;
    if let Some((_, left)) = &mut map.notice {
        *left -= time.delta_secs();
        if *left <= 0.0 {
            map.notice = None;
        }
    }
    let Some(mut flight) = map.flight else { return };
    let seconds = if settings.reduced_motion { f64::MAX } else { time.delta_secs_f64() };
    let (view, arrived) = flight.advance(seconds, size);
    map.view = view;
    map.flight = (!arrived).then_some(flight);
}
