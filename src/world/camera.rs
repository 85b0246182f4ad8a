//! The camera of the map: what moves it, and the views that it comes back to.

use bevy::prelude::*;

use super::keys::UserAction;
use super::layout::{Atlas, Place};
use super::notices::Notices;
use super::pointer::{Pointer, Selection};
use super::settings::Settings;
use super::tabs::Drawer;
use super::tour::{TourProblem, TourRun, TourStep};
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
    /// Where it is now.
    pub view: View,
    /// Where it is on its way to.
    pub flight: Option<Flight>,
    /// The cells that it was sent to see.
    framed: Rect,
    /// What lies beside the land, and can be gone to.
    pub(super) beside: Option<Rect>,
}

impl MapCamera {
    /// A camera that sees all of the map.
    pub fn whole(bounds: Rect) -> Self {
        Self { view: View::default().fit(bounds), flight: None, framed: bounds, beside: None }
    }

    /// Is at a view at once, and on its way to none.
    pub(crate) fn jump(&mut self, to: View) {
        self.view = to;
        self.flight = None;
    }

    /// Where the middle of the screen may be: over the land and what lies beside it.
    pub(super) fn reach(&self, bounds: Rect) -> Rect {
        self.beside.map_or(bounds, |beside| bounds.union(beside))
    }

    /// Flies to a view; `seconds` of 0 is a jump, `None` as long as its way takes.
    pub fn fly(&mut self, to: View, seconds: Option<f64>, bounds: Rect) {
        // A bookmark may have been made on a screen of another size, or be edited in its file.
        let to = View { size: self.view.size, ..to }.bounded(self.reach(bounds));
        match seconds {
            Some(seconds) if seconds <= 0.0 => self.jump(to),
            Some(seconds) => self.flight = Some(Flight::new(self.view, to, seconds)),
            None => self.flight = Some(Flight::usual(self.view, to)),
        }
    }

    /// Is on another screen: what is framed there is framed on this one too, else the middle stays.
    fn resize(&mut self, size: [f64; 2], bounds: Rect) {
        let to = self.flight.map_or(self.view, |flight| flight.target());
        let framed = [bounds, self.framed].into_iter().find(|&rect| to == to.fit(rect));
        let to = View { size, ..to };
        let to = framed.map_or(to.bounded(self.reach(bounds)), |rect| to.fit(rect));
        self.view.size = size;
        match self.flight {
            Some(_) => self.flight = Some(Flight::usual(self.view, to)),
            None => self.view = to,
        }
    }

    /// The view of a place, or `None` where the model has no such place.
    pub fn view_of(&self, place: &Place, atlas: &Atlas) -> Option<View> {
        let view = self.view.fit(atlas.rect(place)?);
        // A weight is gone to as the middle of the screen.
        Some(match place {
            Place::Weight(..) => View { scale: WEIGHT_SCALE, ..view },
            _ => view.over_land(atlas.bounds()),
        })
    }
}

/// The views that were left, as in a browser.
#[derive(Resource, Debug, Clone, Default)]
pub(crate) struct ViewHistory {
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
    /// To a place, in so many seconds, as a view is gone to.
    Look(Place, Option<f64>),
    /// To a view in so many seconds: 0 is a jump, `None` as long as its way takes.
    View(View, Option<f64>),
    /// To the view before.
    Back,
    /// To the view that was left by going back.
    Forward,
}

/// Pans, zooms and goes about as is asked for.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    time: Res<Time>,
    atlas: Res<Atlas>,
    pointer: Res<Pointer>,
    mut camera: ResMut<MapCamera>,
    mut navigate: MessageWriter<Navigate>,
) {
    let (mut pan, mut zoom) = ([0.0; 2], 0.0);
    for action in actions.read() {
        match action {
            // The map moves against the camera.
            UserAction::PanLeft => pan[0] += 1.0,
            UserAction::PanRight => pan[0] -= 1.0,
            UserAction::PanUp => pan[1] += 1.0,
            UserAction::PanDown => pan[1] -= 1.0,
            UserAction::ZoomIn => zoom += 1.0,
            UserAction::ZoomOut => zoom -= 1.0,
            UserAction::Home => _ = navigate.write(Navigate::To(Place::Model)),
            UserAction::Back => _ = navigate.write(Navigate::Back),
            UserAction::Forward => _ = navigate.write(Navigate::Forward),
            _ => {}
        }
    }
    let bounds = camera.reach(atlas.bounds());
    // After a frame that took long, the map does not leap.
    let seconds = time.delta_secs_f64().min(0.1);
    if pan != [0.0; 2] {
        let view = camera.view.panned(pan.map(|part| part * PAN_SPEED * seconds), bounds);
        camera.jump(view);
    }
    if zoom != 0.0 {
        let held = pointer.0.unwrap_or(camera.view.middle());
        let view = camera.view.zoomed((zoom * ZOOM_SPEED * seconds).exp2(), held, bounds);
        camera.jump(view);
    }
}

/// Takes the steps of a tour that are about what is seen and selected.
pub(super) fn follow_tour(
    mut steps: MessageReader<TourStep>,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    mut selection: ResMut<Selection>,
    mut navigate: MessageWriter<Navigate>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        let (place, to) = match step {
            TourStep::Look { at, seconds } => {
                selection.0 = None;
                (at, atlas.rect(at).map(|_| Navigate::Look(at.clone(), *seconds)))
            }
            TourStep::Zoom { at, scale } => {
                let to = |rect| View { scale: *scale, ..camera.view.fit(rect) };
                (at, atlas.rect(at).map(|rect| Navigate::View(to(rect), None)))
            }
            TourStep::Select(place) => {
                match place {
                    Some(place) if atlas.rect(place).is_none() => {
                        problems.write(TourProblem::NoPlace(place.clone()));
                    }
                    place => selection.0.clone_from(place),
                }
                continue;
            }
            _ => continue,
        };
        match to {
            Some(to) => _ = navigate.write(to),
            None => _ = problems.write(TourProblem::NoPlace(place.clone())),
        }
    }
}

/// Whether the camera is on its way: a tour waits for it.
pub(super) fn is_flying(camera: Res<MapCamera>) -> bool {
    camera.flight.is_some()
}

/// The map's size: what the drawer leaves of the screen, as the camera has it.
pub(super) fn resize(
    cameras: Query<&Camera>,
    atlas: Res<Atlas>,
    drawer: Res<Drawer>,
    mut camera: ResMut<MapCamera>,
) {
    let Some(size) = cameras.iter().next().and_then(Camera::logical_viewport_size) else { return };
    let size = [drawer.map_of(size.x), size.y].map(f64::from);
    // A minimised window may have no size; the view waits for the one that it comes back with.
    if size != camera.view.size && size.iter().all(|&side| side >= 1.0) {
        camera.resize(size, atlas.bounds());
    }
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
            Navigate::Look(place, seconds) => {
                history.leave(here);
                (camera.view_of(place, &atlas), *seconds)
            }
            Navigate::View(view, seconds) => {
                history.leave(here);
                (Some(*view), *seconds)
            }
            // No `leave` here: it would forget the views that can be gone forward to.
            Navigate::Back => (history.back(here), None),
            Navigate::Forward => (history.forward(here), None),
        };
        if let Navigate::To(place) | Navigate::Look(place, _) = wanted
            && let Some(rect) = atlas.rect(place)
        {
            camera.framed = rect;
        }
        if let Some(to) = to {
            camera.fly(to, seconds, atlas.bounds());
        }
    }
}

/// Takes a flight further; whoever wants no motion, or does not watch, jumps.
pub(super) fn fly(
    time: Res<Time>,
    settings: Res<Settings>,
    tour: Option<Res<TourRun>>,
    mut camera: ResMut<MapCamera>,
) {
    let Some(mut flight) = camera.flight else { return };
    let is_jump = settings.reduced_motion || tour.is_some_and(|tour| tour.hurry);
    let seconds = if is_jump { f64::MAX } else { time.delta_secs_f64() };
    // The screen may have changed its size since the flight began.
    let (view, arrived) = flight.advance(seconds, camera.view.size);
    camera.view = view;
    camera.flight = (!arrived).then_some(flight);
}
