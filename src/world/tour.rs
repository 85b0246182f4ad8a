//! Tours: `*.tour.ron` move the camera, say something, mute, prompt and wait, and leave pictures.
//!
//! A step is a message, [`TourStep`], and each plugin answers those that are about what it owns.
//! One that names what the model does not have is told on the screen and in
//! [`TourRun::complaints`], and the tour goes on.

use std::path::PathBuf;
use std::time::Instant;

use bevy::prelude::*;
use serde::Deserialize;

use super::WorldSystems;
use super::adapters::AdapterSwitch;
use super::keys::{UserAction, on_action};
use super::layout::{Atlas, Place};
use super::notices::Notices;
use super::palette::{Colouring, Theme};
use super::tabs::Tab;
use crate::content::assets::Assets;
use crate::model::edits::Brush;

/// One step of a tour: a message for the plugin that owns what it is about.
#[derive(Message, Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TourStep {
    /// Says something from now on; an empty text says nothing.
    Caption(String),
    /// Flies to a place, in so many seconds.
    Look {
        /// The place that is flown to.
        at: Place,
        /// How long that takes; 0 is a jump.
        #[serde(default)]
        seconds: Option<f64>,
    },
    /// Flies to a place seen at so many points per cell.
    Zoom {
        /// The place in the middle.
        at: Place,
        /// Points per cell, above 0.
        scale: f64,
    },
    /// Selects a place, or nothing.
    Select(Option<Place>),
    /// Waits so many seconds.
    Wait(f32),
    /// What is shown of each weight.
    Colouring(Colouring),
    /// The palette, by its name.
    Palette(String),
    /// Light or dark ground.
    Theme(Theme),
    /// Mutes a head or layer.
    Mute(Place),
    /// Lets it speak again.
    Unmute(Place),
    /// Marks and paints the weights of a place, over the file and not into it.
    Paint {
        /// The place whose weights they are.
        at: Place,
        /// What is done to each weight.
        brush: Brush,
    },
    /// Takes back the last painting; nothing is marked then.
    Undo,
    /// Gives the model a prompt and waits for so many tokens.
    Prompt {
        /// The text, as it is.
        text: String,
        /// The most tokens of the answer.
        tokens: u32,
    },
    /// Begins to learn lines: a corpus by its name, or a file of JSON lines. The tour goes on.
    Learn(String),
    /// Waits until so many steps are learnt, or the lesson is over.
    AwaitStep(u64),
    /// Switches an adapter, by its name: what was learnt is called as its lines are.
    Adapter {
        /// Its name.
        name: String,
        /// How it takes part from now on.
        switch: AdapterSwitch,
    },
    /// Walks through the model's family, from the founder to the current one: each island is flown
    /// to, and its figures are shown.
    Family,
    /// Opens a panel of the drawer, or closes the drawer.
    Show(Option<Tab>),
    /// Leaves a picture of this name.
    Screenshot(String),
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
    /// Its steps, the first first.
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
    /// Begins a tour at its first step.
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

    /// Whether it walks through the model's family.
    pub(crate) fn shows_family(&self) -> bool {
        self.tour.steps.contains(&TourStep::Family)
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

/// The systems of a tour, in [`WorldSystems::Input`].
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TourSystems {
    /// Whatever a step began and is not over says so: [`hold`].
    Hold,
    /// The next step is sent.
    Step,
}

/// Says that a tour has to wait in this frame.
#[derive(Message, Debug, Clone, Copy)]
pub(super) struct HoldTour;

/// Lets a tour wait: each plugin adds it to [`TourSystems::Hold`], to run while something of its
/// own is under way.
pub(super) fn hold(mut holds: MessageWriter<HoldTour>) {
    holds.write(HoldTour);
}

/// Why a step cannot be taken. The tour goes on.
#[derive(Message, Debug, Clone)]
pub(super) enum TourProblem {
    /// The model has no such place.
    NoPlace(Place),
    /// There is no palette of that name.
    NoPalette(String),
    /// It was tried: why it failed, in words.
    Failed(String),
}

/// Runs the [`TourRun`] that is there: its steps are messages, each answered in
/// [`WorldSystems::Act`] by the plugin that owns what it is about.
pub(super) struct TourPlugin;

impl Plugin for TourPlugin {
    fn build(&self, app: &mut App) {
        app.add_message::<TourStep>()
            .add_message::<HoldTour>()
            .add_message::<TourProblem>()
            .configure_sets(
                Update,
                (TourSystems::Hold, TourSystems::Step)
                    .chain()
                    .in_set(WorldSystems::Input)
                    .run_if(resource_exists::<TourRun>),
            )
            .add_systems(
                Update,
                (
                    run.in_set(TourSystems::Step),
                    begin_or_end.in_set(WorldSystems::Act).run_if(on_action(UserAction::TakeTour)),
                    collect.in_set(WorldSystems::Move).run_if(resource_exists::<TourRun>),
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

/// Sends the next step, once what the steps before began is over.
fn run(
    time: Res<Time>,
    mut run: ResMut<TourRun>,
    mut holds: MessageReader<HoldTour>,
    mut steps: MessageWriter<TourStep>,
    mut exit: MessageWriter<AppExit>,
    mut commands: Commands,
) {
    // Counted to the end: what is left unread would hold the tour in the next frame too.
    let is_held = holds.read().count() > 0;
    run.wait -= time.delta_secs();
    if run.frames > 0 {
        run.frames -= 1;
        return;
    }
    if run.wait > 0.0 || is_held {
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
    // Only a picture needs the step before to be drawn first.
    let next_is_shot = matches!(run.tour.steps.get(run.next), Some(TourStep::Screenshot(_)));
    run.frames = match step {
        TourStep::LoseDevice => REOPENED,
        _ if next_is_shot => SETTLE,
        _ => 0,
    };
    match step {
        TourStep::Caption(text) => run.caption = text,
        TourStep::Wait(seconds) => run.wait = if run.hurry { 0.0 } else { seconds },
        step => _ = steps.write(step),
    }
}

/// Takes in what cannot be done of the steps.
fn collect(
    mut problems: MessageReader<TourProblem>,
    atlas: Res<Atlas>,
    mut run: ResMut<TourRun>,
    mut notices: ResMut<Notices>,
) {
    for problem in problems.read() {
        let text = match problem {
            TourProblem::NoPlace(place) => {
                let (name, title) = (atlas.name(place), atlas.title());
                format!("the tour names {name}, which {title} does not have")
            }
            TourProblem::NoPalette(name) => {
                format!("the tour names the palette {name:?}, which is not there")
            }
            TourProblem::Failed(why) => why.clone(),
        };
        // The panel of what failed tells it already.
        if !matches!(problem, TourProblem::Failed(_)) {
            notices.tell(text.clone());
        }
        run.complain(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_tour_is_read_and_leaves_pictures() {
        let tours = crate::app::kinds::assets().all::<Tour>("tour").unwrap();
        assert!(!tours.is_empty());
        for (name, tour) in tours {
            assert!(
                tour.steps.iter().any(|step| matches!(step, TourStep::Screenshot(_))),
                "{name}"
            );
        }
    }
}
