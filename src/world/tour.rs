//! Tours: `*.tour.ron` move the camera, say something, mute, prompt and wait, and leave pictures.
//!
//! A step that names what the model does not have is told on the screen and in
//! [`TourRun::complaints`], and the tour goes on.

use std::path::PathBuf;
use std::time::Instant;

use bevy::prelude::*;
use bevy::render::renderer::RenderDevice;
use serde::Deserialize;

use super::WorldSystems;
use super::camera::{MapCamera, Navigate};
use super::device_recovery::Device;
use super::keys::{UserAction, on_action};
use super::lab::{Edits, marks};
use super::layout::{Atlas, Place};
use super::notices::Notices;
use super::palette::{Colouring, Palettes, Theme};
use super::pointer::Selection;
use super::screenshot::Shots;
use super::settings::Settings;
use super::tabs::{Instrument, Shown};
use super::think::{Generation, lens::Lens};
use crate::content::assets::Assets;
use crate::model::edits::Brush;
use crate::tiles::{ModelIndex, Muted};

/// One step of a tour.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TourStep {
    /// Says something from now on; an empty text says nothing.
    Caption(String),
    /// Flies to a place, in so many seconds.
    Look {
        /// Where to.
        at: Place,
        /// How long.
        #[serde(default)]
        seconds: Option<f64>,
    },
    /// Flies to a place seen at so many points per cell.
    Zoom {
        /// Where to.
        at: Place,
        /// Points per cell.
        scale: f64,
    },
    /// Selects a place, or nothing.
    Select(Option<Place>),
    /// Waits.
    Wait(f32),
    /// What is shown of each weight.
    Colouring(Colouring),
    /// The palette.
    Palette(String),
    /// Light or dark.
    Theme(Theme),
    /// Mutes a head or layer.
    Mute(Place),
    /// Lets it speak again.
    Unmute(Place),
    /// Marks and paints the weights of a place, over the file and not into it.
    Paint {
        /// Which.
        at: Place,
        /// How.
        brush: Brush,
    },
    /// Takes back the last painting; nothing is marked then.
    Undo,
    /// Gives the model a prompt and waits for so many tokens.
    Prompt {
        /// The text.
        text: String,
        /// The most tokens of the answer.
        tokens: u32,
    },
    /// Shows an instrument, or none.
    Show(Option<Instrument>),
    /// Leaves a picture of this name.
    Shot(String),
    /// Gives the graphics device up, as a driver does that starts anew: to see that the window
    /// lives on.
    LoseDevice,
}

/// A tour as it is written in its file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tour {
    /// What it is called.
    pub title: String,
    /// Its steps.
    pub steps: Vec<TourStep>,
}

/// A tour that is being taken.
#[derive(Resource, Debug)]
pub struct TourRun {
    tour: Tour,
    next: usize,
    wait: f32,
    frames: u32,
    /// What is said now.
    pub caption: String,
    /// Where pictures go; without it, none are left.
    pub shots: Option<PathBuf>,
    /// Whether the program ends with the tour.
    pub exit_at_end: bool,
    /// Whether flights are jumps and nothing is waited for: nobody watches.
    pub hurry: bool,
    /// Until when it begins anew each time that it ends.
    pub repeat_until: Option<Instant>,
    /// What the tour named that is not there.
    pub complaints: Vec<String>,
}

impl TourRun {
    /// Begins a tour.
    pub fn new(tour: Tour, shots: Option<PathBuf>, exit_at_end: bool) -> Self {
        let complaints = Vec::new();
        // A few frames pass first: the shaders are compiled and the window is laid out.
        Self {
            tour,
            next: 0,
            wait: 0.0,
            frames: 8,
            caption: String::new(),
            shots,
            exit_at_end,
            hurry: false,
            repeat_until: None,
            complaints,
        }
    }

    /// Whether all its steps are done.
    pub fn is_over(&self) -> bool {
        self.next >= self.tour.steps.len()
            && self.frames == 0
            && self.wait <= 0.0
            && !self.is_repeated()
    }

    fn is_repeated(&self) -> bool {
        self.repeat_until.is_some_and(|until| Instant::now() < until)
    }

    /// Keeps what went wrong, once however often the tour begins anew.
    fn complain(&mut self, complaint: String) {
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }
}

/// Frames that pass before a picture is taken, so that text of the step before is on it.
const SETTLE: u32 = 3;

/// Frames that pass after a device was given up: it is noticed, and another one is opened.
const REOPENED: u32 = 8;

/// The tour that a newcomer is invited to.
const INTRODUCTION: &str = "first-steps";

/// Runs the [`TourRun`] that is there.
pub(super) struct TourPlugin;

impl Plugin for TourPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            Update,
            (
                run.in_set(WorldSystems::Input).run_if(resource_exists::<TourRun>),
                begin_or_end.in_set(WorldSystems::Act).run_if(on_action(UserAction::TakeTour)),
            ),
        );
    }
}

/// Begins the introductory tour, or ends the one that is taken.
fn begin_or_end(
    assets: Res<Assets>,
    tour: Option<Res<TourRun>>,
    mut notices: ResMut<Notices>,
    mut commands: Commands,
) {
    if tour.is_some() {
        commands.remove_resource::<TourRun>();
        return;
    }
    match assets.content::<Tour>("tour", INTRODUCTION) {
        Ok(tour) => commands.insert_resource(TourRun::new(tour, None, false)),
        Err(error) => notices.tell(error.to_string()),
    }
}

fn run(
    time: Res<Time>,
    index: Option<Res<ModelIndex>>,
    mut run: ResMut<TourRun>,
    (atlas, palettes, camera): (Res<Atlas>, Res<Palettes>, Res<MapCamera>),
    (mut selection, mut notices): (ResMut<Selection>, ResMut<Notices>),
    mut navigate: MessageWriter<Navigate>,
    mut settings: ResMut<Settings>,
    mut shots: ResMut<Shots>,
    mut mind: ResMut<Generation>,
    (mut shown, lens, loss): (ResMut<Shown>, Res<Lens>, Res<Device>),
    (mut edits, device): (ResMut<Edits>, Option<Res<RenderDevice>>),
    mut exit: MessageWriter<AppExit>,
    mut commands: Commands,
) {
    run.wait -= time.delta_secs();
    if run.frames > 0 {
        run.frames -= 1;
        return;
    }
    let is_busy = camera.flight.is_some() || shots.is_busy() || mind.is_busy() || lens.is_working();
    if run.wait > 0.0 || is_busy || loss.lost.is_some() {
        return;
    }
    let Some(step) = run.tour.steps.get(run.next).cloned() else {
        if run.is_repeated() {
            run.next = 0;
        } else if run.exit_at_end {
            exit.write(AppExit::Success);
        } else {
            commands.remove_resource::<TourRun>();
        }
        return;
    };
    run.next += 1;
    let complain = |run: &mut TourRun, notices: &mut Notices, place: &Place| {
        let text =
            format!("the tour names {}, which {} does not have", atlas.name(place), atlas.title());
        notices.tell(text.clone());
        run.complain(text);
    };
    let loses_device = step == TourStep::LoseDevice;
    match step {
        TourStep::Caption(text) => run.caption = text,
        TourStep::Look { at, seconds } => {
            let seconds = if run.hurry { Some(0.0) } else { seconds };
            match camera.view_of(&at, &atlas) {
                Some(view) => _ = navigate.write(Navigate::View(view, seconds)),
                None => complain(&mut run, &mut notices, &at),
            }
            selection.0 = None;
        }
        TourStep::Zoom { at, scale } => match atlas.rect(&at) {
            Some(rect) => {
                let view = super::view::View { scale, ..camera.view.fit(rect) };
                navigate.write(Navigate::View(view, run.hurry.then_some(0.0)));
            }
            None => complain(&mut run, &mut notices, &at),
        },
        TourStep::Select(place) => match place {
            Some(place) if atlas.rect(&place).is_none() => complain(&mut run, &mut notices, &place),
            place => selection.0 = place,
        },
        TourStep::Wait(seconds) => run.wait = if run.hurry { 0.0 } else { seconds },
        TourStep::Prompt { text, tokens } => {
            mind.paused = false;
            mind.ask(atlas.model(), &text, false, tokens, 0.0);
            if let Some(problem) = &mind.problem {
                run.complain(format!("the tour's prompt: {problem}"));
            }
        }
        TourStep::Colouring(colouring) => settings.colouring = colouring,
        TourStep::Palette(name) => {
            if !palettes.0.iter().any(|palette| palette.name == name) {
                let text = format!("the tour names the palette {name:?}, which is not there");
                notices.tell(text.clone());
                run.complain(text);
            }
            settings.palette = name;
        }
        TourStep::Theme(theme) => settings.theme = theme,
        TourStep::Mute(ref place) | TourStep::Unmute(ref place) => {
            let entity = index.and_then(|index| marks::entity_of(place, &index));
            match entity {
                Some(entity) if matches!(step, TourStep::Mute(_)) => {
                    commands.entity(entity).insert(Muted);
                }
                Some(entity) => {
                    commands.entity(entity).remove::<Muted>();
                }
                None => complain(&mut run, &mut notices, place),
            }
        }
        TourStep::Show(instrument) => shown.0 = instrument,
        TourStep::Paint { at, brush } => {
            edits.mark_place(&atlas, &at);
            if edits.count() == 0 {
                complain(&mut run, &mut notices, &at);
            } else if edits.paint(atlas.model(), brush).is_none()
                && let Some(problem) = edits.problem.clone()
            {
                run.complain(problem);
            }
        }
        TourStep::Undo => {
            edits.undo();
            edits.clear();
        }
        TourStep::LoseDevice => {
            if let Some(device) = device {
                super::device_recovery::lose(&device);
            }
        }
        TourStep::Shot(name) => {
            if let Some(folder) = &run.shots {
                shots.take(folder.join(format!("{name}.png")));
            }
        }
    }
    let next_is_shot = matches!(run.tour.steps.get(run.next), Some(TourStep::Shot(_)));
    run.frames = if loses_device {
        REOPENED
    } else if next_is_shot {
        SETTLE
    } else {
        0
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_tour_is_read_and_leaves_pictures() {
        let tours = crate::app::kinds::assets().all::<Tour>("tour").unwrap();
        assert!(!tours.is_empty());
        for (name, tour) in tours {
            assert!(tour.steps.iter().any(|step| matches!(step, TourStep::Shot(_))), "{name}");
        }
    }
}
