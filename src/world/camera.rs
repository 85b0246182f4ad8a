//! The camera of the map: what moves it, and the views that it comes back to.

use bevy::prelude::*;
use bevy_egui::input::EguiWantsInput;

use super::keys::{Action, Keys};
use super::layout::{Atlas, Place};
use super::notices::Notices;
use super::palette::{Colouring, Palettes, Theme};
use super::pointer::{Pointer, Selection};
use super::settings::Settings;
use super::view::{Flight, View};
use crate::model::plan::Rect;

/// Points a second while a key is held.
const PAN_SPEED: f64 = 900.0;
/// Doublings a second while a key is held.
const ZOOM_SPEED: f64 = 2.2;
/// Views that can be gone back to.
const MOST_BACK: usize = 100;
/// Points per cell where a weight is gone to: its number can be read.
const WEIGHT_SCALE: f64 = 64.0;

/// From where the map is seen.
#[derive(Resource, Debug, Clone)]
pub struct MapCamera {
    /// Where it is.
    pub view: View,
    /// Where it is on its way to.
    pub flight: Option<Flight>,
}

impl MapCamera {
    /// A camera that sees all of the map.
    pub fn whole(bounds: Rect) -> Self {
        Self { view: View::default().fit(bounds), flight: None }
    }

    /// Is at a view at once, and on its way to none.
    pub fn jump(&mut self, to: View) {
        self.view = to;
        self.flight = None;
    }

    /// Flies to a view; `seconds` of 0 is a jump, `None` as long as its way takes.
    pub fn fly(&mut self, to: View, seconds: Option<f64>, bounds: Rect) {
        let to = View { size: self.view.size, ..to }.bounded(bounds);
        match seconds {
            Some(seconds) if seconds <= 0.0 => self.jump(to),
            Some(seconds) => self.flight = Some(Flight::new(self.view, to, seconds)),
            None => self.flight = Some(Flight::usual(self.view, to)),
        }
    }

    /// The view of a place, or `None` where the model has no such place.
    pub fn view_of(&self, place: &Place, atlas: &Atlas) -> Option<View> {
        let view = self.view.fit(atlas.rect(place)?);
        let scale = if matches!(place, Place::Weight(..)) { WEIGHT_SCALE } else { view.scale };
        Some(View { scale, ..view })
    }
}

/// The views that were left, as in a browser.
#[derive(Resource, Debug, Clone, Default)]
pub struct ViewHistory {
    back: Vec<View>,
    forward: Vec<View>,
}

impl ViewHistory {
    /// Remembers a view that is left for one of somebody's choice.
    fn leave(&mut self, view: View) {
        self.back.push(view);
        if self.back.len() > MOST_BACK {
            self.back.remove(0);
        }
        self.forward.clear();
    }

    /// The view before `here`.
    fn back(&mut self, here: View) -> Option<View> {
        let view = self.back.pop()?;
        self.forward.push(here);
        Some(view)
    }

    /// The view that was left by going back.
    fn forward(&mut self, here: View) -> Option<View> {
        let view = self.forward.pop()?;
        self.back.push(here);
        Some(view)
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Asks the camera to go somewhere: it sets out in [`WorldSystems::Move`](super::WorldSystems).
#[derive(Message, Debug, Clone, PartialEq)]
pub enum Navigate {
    /// To a place, which is selected. That the model has none is told.
    To(Place),
    /// To a view in so many seconds: 0 is a jump, `None` as long as its way takes.
    View(View, Option<f64>),
    /// To the view before.
    Back,
    /// To the view that was left by going back.
    Forward,
}

/// What keys do that has to do with the map.
pub(super) fn keys(
    keys: Res<Keys>,
    input: Option<Res<ButtonInput<KeyCode>>>,
    wants: Option<Res<EguiWantsInput>>,
    time: Res<Time>,
    atlas: Res<Atlas>,
    palettes: Res<Palettes>,
    pointer: Res<Pointer>,
    mut camera: ResMut<MapCamera>,
    mut notices: ResMut<Notices>,
    mut settings: ResMut<Settings>,
    mut navigate: MessageWriter<Navigate>,
) {
    let Some(input) = input else { return };
    if wants.is_some_and(|wants| wants.wants_any_keyboard_input()) {
        return;
    }
    let bounds = atlas.bounds();
    let seconds = time.delta_secs_f64().min(0.1);
    let held = |action| f64::from(u8::from(keys.held(&input, action)));
    let by = [
        held(Action::PanLeft) - held(Action::PanRight),
        held(Action::PanUp) - held(Action::PanDown),
    ];
    if by != [0.0; 2] {
        let view = camera.view.panned(by.map(|part| part * PAN_SPEED * seconds), bounds);
        camera.jump(view);
    }
    let zoom = held(Action::ZoomIn) - held(Action::ZoomOut);
    if zoom != 0.0 {
        let held = pointer.0.unwrap_or(camera.view.size.map(|side| side / 2.0));
        let view = camera.view.zoomed((zoom * ZOOM_SPEED * seconds).exp2(), held, bounds);
        camera.jump(view);
    }
    let pressed = |action| keys.pressed(&input, action);
    if pressed(Action::Home) {
        navigate.write(Navigate::To(Place::Model));
    }
    if pressed(Action::Back) {
        navigate.write(Navigate::Back);
    }
    if pressed(Action::Forward) {
        navigate.write(Navigate::Forward);
    }
    if pressed(Action::NextColouring) {
        let at = Colouring::ALL.iter().position(|&one| one == settings.colouring).unwrap_or(0);
        settings.colouring = Colouring::ALL[(at + 1) % Colouring::ALL.len()];
    }
    if pressed(Action::NextPalette) {
        settings.palette = palettes.after(&settings.palette).to_owned();
        notices.tell(format!("palette: {}", settings.palette));
    }
    if pressed(Action::NextTheme) {
        settings.theme = if settings.theme == Theme::Dark { Theme::Light } else { Theme::Dark };
    }
    if pressed(Action::Bookmark) {
        let (x, y) = camera.view.cell_at(camera.view.size.map(|side| side / 2.0));
        let name = atlas.trail(x, y).last().map_or_else(String::new, |place| atlas.name(place));
        notices.tell(format!("bookmarked: {name}"));
        settings.bookmarks.entry(atlas.title()).or_default().push((name, camera.view));
    }
}

/// The screen's size, as the camera has it.
pub(super) fn resize(
    cameras: Query<&Camera>,
    atlas: Res<Atlas>,
    mut camera: ResMut<MapCamera>,
    mut fitted: Local<bool>,
) {
    let Some(size) = cameras.iter().next().and_then(Camera::logical_viewport_size) else { return };
    let size = [f64::from(size.x), f64::from(size.y)];
    if size != camera.view.size && size.iter().all(|&side| side >= 1.0) {
        let bounds = atlas.bounds();
        let view = View { size, ..camera.view };
        camera.view = if *fitted { view.bounded(bounds) } else { view.fit(bounds) };
    }
    *fitted = true;
}

/// Sets out to where somebody wants to go.
pub(super) fn navigate(
    mut wanted: MessageReader<Navigate>,
    atlas: Res<Atlas>,
    mut camera: ResMut<MapCamera>,
    mut history: ResMut<ViewHistory>,
    mut selection: ResMut<Selection>,
    mut notices: ResMut<Notices>,
) {
    for wanted in wanted.read() {
        let here = camera.view;
        let (to, seconds) = match wanted {
            Navigate::To(place) => {
                let view = camera.view_of(place, &atlas);
                if view.is_some() {
                    selection.0 = (*place != Place::Model).then(|| place.clone());
                    history.leave(here);
                } else {
                    notices.tell(format!("{} has no {}", atlas.title(), atlas.name(place)));
                }
                (view, None)
            }
            Navigate::View(view, seconds) => {
                history.leave(here);
                (Some(*view), *seconds)
            }
            Navigate::Back => (history.back(here), None),
            Navigate::Forward => (history.forward(here), None),
        };
        if let Some(to) = to {
            camera.fly(to, seconds, atlas.bounds());
        }
    }
}

/// Flights.
pub(super) fn fly(time: Res<Time>, settings: Res<Settings>, mut camera: ResMut<MapCamera>) {
    let Some(mut flight) = camera.flight else { return };
    let seconds = if settings.reduced_motion { f64::MAX } else { time.delta_secs_f64() };
    let (view, arrived) = flight.advance(seconds, camera.view.size);
    camera.view = view;
    camera.flight = (!arrived).then_some(flight);
}
