//! Panels: the text on the map and the frame around it, in egui.
//!
//! In: the world's resources, such as the [`MapCamera`](crate::world::camera::MapCamera). Out: what
//! a person reads, and what they ask for by search and buttons: messages
//! [`Navigate`](crate::world::camera::Navigate) and [`UserAction`]. Text is chosen by its size on
//! the screen ([`crate::world::layout::labels`]) before any of it is laid out.

mod cards;
mod charts;
mod coach;
mod frame;
mod lab;
mod labels;
mod rect_mesh;
mod style;

use bevy::prelude::*;
use bevy_egui::{EguiPlugin, EguiPrimaryContextPass};

use crate::world::WorldSystems;
use crate::world::hot_reload::LiveMods;
use crate::world::keys::{UserAction, on_action};
use crate::world::pointer::Selection;
use crate::world::tabs::ShownInstrument;
use crate::world::tour::TourRun;

use cards::{bookmarks, inspector, mods, prompt, settings, welcome};
use charts::{activity, attention, beams, changed, heatmap, layers, lens, light, river, timings};
use coach::{agents, queue};
use frame::{chrome, drawer, egui_recovery, help, search_box};
use lab::{experiment, marks, side_by_side};
use labels::{map_text, placement, token_mark, values};

pub use activity::Scrubbed;
pub use attention::HeadShown;
pub use beams::Chips;
pub use changed::WhatChanged;
pub use charts::streaming;
pub use prompt::PromptBox;
pub use queue::CoachPanel;
pub use search_box::SearchBox;

/// Which panels are open.
#[derive(Resource, Debug, Clone, Default)]
pub struct OpenPanels {
    /// The list of keys.
    pub help: bool,
    /// What is selected, in numbers.
    pub inspector: bool,
    /// Muting, painting and comparing.
    pub experiment: bool,
    /// Prompts times interventions, as files say.
    pub experiments: bool,
}

/// Opens or closes a panel.
fn toggle(mut actions: MessageReader<UserAction>, mut panels: ResMut<OpenPanels>) {
    for action in actions.read() {
        let open = match action {
            UserAction::Help => &mut panels.help,
            UserAction::Inspector => &mut panels.inspector,
            UserAction::Experiment => &mut panels.experiment,
            UserAction::Experiments => &mut panels.experiments,
            _ => continue,
        };
        *open = !*open;
    }
}

/// Closes what lies on top: one thing each time, the last of them what is selected.
fn close(
    tour: Option<Res<TourRun>>,
    live: Option<ResMut<LiveMods>>,
    mut panels: ResMut<OpenPanels>,
    mut instrument: ResMut<ShownInstrument>,
    mut coach: ResMut<CoachPanel>,
    mut scrubbed: ResMut<Scrubbed>,
    mut selection: ResMut<Selection>,
    mut commands: Commands,
) {
    let unread = live.filter(|live| !live.dismissed && !live.problems.is_empty());
    if panels.help {
        panels.help = false;
    } else if let Some(mut live) = unread {
        live.dismissed = true;
    } else if panels.experiments {
        panels.experiments = false;
    } else if instrument.0.is_some() {
        instrument.0 = None;
    } else if coach.open {
        coach.open = false;
    } else if panels.experiment {
        panels.experiment = false;
    } else if panels.inspector {
        panels.inspector = false;
    } else if tour.is_some() {
        commands.remove_resource::<TourRun>();
    } else if scrubbed.0.is_some() {
        scrubbed.0 = None;
    } else {
        selection.0 = None;
    }
}

/// Text and panels. Comes after `WorldPlugin`; its systems run in `EguiPrimaryContextPass`.
pub(crate) struct PanelPlugin;

impl Plugin for PanelPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((EguiPlugin::default(), egui_recovery::EguiRecoveryPlugin))
            .init_resource::<OpenPanels>()
            .init_resource::<CoachPanel>()
            .init_resource::<SearchBox>()
            .init_resource::<PromptBox>()
            .init_resource::<Scrubbed>()
            .init_resource::<values::DecodedTiles>()
            .init_resource::<placement::Taken>()
            .init_resource::<placement::MapWords>()
            .init_resource::<HeadShown>()
            .init_resource::<WhatChanged>()
            .init_resource::<Chips>()
            .add_systems(
                Update,
                (
                    drawer::scrub,
                    (toggle, experiment::open_to_paint).chain(),
                    queue::toggle.run_if(on_action(UserAction::Coach)),
                    close.run_if(on_action(UserAction::Close)),
                )
                    .chain()
                    .in_set(WorldSystems::Act),
            )
            .add_systems(
                Update,
                (attention::follow, queue::keep.run_if(queue::is_to_be_kept))
                    .after(WorldSystems::Move),
            )
            .add_systems(
                EguiPrimaryContextPass,
                (
                    (
                        style::set_style,
                        placement::clear,
                        changed::find,
                        heatmap::draw,
                        river::draw,
                        activity::draw,
                    )
                        .chain(),
                    // The frame around the map: what it covers is known before anything is written
                    // on the map.
                    (
                        chrome::draw,
                        light::draw,
                        queue::draw,
                        prompt::draw,
                        welcome::draw,
                        search_box::draw,
                        inspector::draw,
                    )
                        .chain(),
                    (mods::draw, experiment::draw, side_by_side::draw, bookmarks::draw, help::draw)
                        .chain(),
                    (
                        drawer::bar,
                        lens::draw,
                        attention::draw,
                        layers::draw,
                        timings::draw,
                        settings::draw,
                    )
                        .chain(),
                    // The map has a layer of its own, below.
                    (
                        placement::gather,
                        beams::draw,
                        (map_text::draw, token_mark::draw).chain(),
                        marks::draw,
                        placement::draw,
                        values::draw,
                        agents::draw,
                    )
                        .chain(),
                )
                    // What comes later lies above.
                    .chain(),
            );
    }
}
