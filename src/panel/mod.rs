//! Panels: the text on the map and the frame around it, in egui.
//!
//! In: the world's resources, such as the [`MapCamera`](crate::world::camera::MapCamera). Out: what
//! a person reads, and what they ask for by search and buttons: messages
//! [`Navigate`](crate::world::camera::Navigate) and [`UserAction`]. Text is chosen by its size on
//! the screen ([`crate::world::layout::labels`]) before any of it is laid out.

mod cards;
mod charts;
mod coach;
mod controls;
mod frame;
mod lab;
mod labels;
mod learning;
mod rect_mesh;
mod style;

use bevy::asset::AssetEventSystems;
use bevy::prelude::*;
use bevy_egui::{EguiPlugin, EguiPostUpdateSet, EguiPrimaryContextPass};

use crate::world::WorldSystems;
use crate::world::family::FamilyPicture;
use crate::world::keys::{UserAction, on_action};
use crate::world::pointer::Selection;
use crate::world::tabs::Drawer;
use crate::world::tour::TourRun;

use cards::{bookmarks, inspector, mods, prompt, settings, welcome};
use charts::{
    activity, attention, beams, borders, changed, family, gradient, heatmap, layers, lens, light,
    river, timings, update,
};
use coach::{agents, queue};
use frame::{chrome, drawer, egui_recovery, help, search_box, told};
use lab::{experiment, marks};
use labels::{map_text, placement, token_mark, values};
use learning::lesson;

pub use activity::Scrubbed;
pub use attention::HeadShown;
pub use beams::Chips;
pub use changed::WhatChanged;
pub use charts::streaming;
pub(crate) use controls::clicked;
pub(crate) use drawer::show;
pub use placement::Taken;
pub use prompt::PromptBox;
pub use queue::CoachPanel;
pub use search_box::SearchBox;

/// Closes what lies on top: one thing each time, the last of them what is selected.
fn close(
    tour: Option<Res<TourRun>>,
    mut search: ResMut<SearchBox>,
    mut drawer: ResMut<Drawer>,
    mut scrubbed: ResMut<Scrubbed>,
    (mut selection, mut family): (ResMut<Selection>, ResMut<FamilyPicture>),
    mut commands: Commands,
) {
    if !search.text.is_empty() {
        search.text.clear();
    } else if drawer.0.is_some() {
        drawer.0 = None;
    } else if tour.is_some() {
        commands.remove_resource::<TourRun>();
    } else if scrubbed.0.is_some() {
        scrubbed.0 = None;
    } else {
        (selection.0, family.selected) = (None, None);
    }
}

/// Where panels of the drawer are drawn, in `EguiPrimaryContextPass`: after their names.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DrawerSystems;

/// Letters that are new to egui's font texture would be missing for a frame.
fn draw_at_once(app: &mut App) {
    app.configure_sets(PostUpdate, EguiPostUpdateSet::PostProcessOutput.before(AssetEventSystems));
}

/// Text and panels. Comes after `WorldPlugin`; its systems run in `EguiPrimaryContextPass`.
pub(crate) struct PanelPlugin;

impl Plugin for PanelPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((EguiPlugin::default(), egui_recovery::EguiRecoveryPlugin, draw_at_once))
            .init_resource::<CoachPanel>()
            .init_resource::<SearchBox>()
            .init_resource::<PromptBox>()
            .init_resource::<Scrubbed>()
            .init_resource::<values::DecodedTiles>()
            .init_resource::<Taken>()
            .init_resource::<placement::MapWords>()
            .init_resource::<HeadShown>()
            .init_resource::<WhatChanged>()
            .init_resource::<Chips>()
            .add_systems(
                Update,
                (
                    drawer::scrub,
                    experiment::open_by_itself,
                    mods::open_on_news.run_if(mods::is_news),
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
            .configure_sets(EguiPrimaryContextPass, DrawerSystems.after(drawer::names))
            .add_systems(
                EguiPrimaryContextPass,
                (
                    // The frame around the map: what it covers is known before anything is written
                    // on the map. Each finds its place beside those before it.
                    (
                        style::set_style,
                        placement::clear,
                        changed::find,
                        chrome::trail,
                        search_box::draw,
                        drawer::names,
                        (chrome::corner, light::draw, gradient::legend).chain(),
                    )
                        .chain(),
                    (told::caption, prompt::draw, told::notices).chain(),
                    (family::draw, update::draw, borders::draw, heatmap::draw).chain(),
                    (river::draw, river::draw_gradient).chain(),
                    (activity::draw, gradient::draw).chain(),
                    welcome::draw,
                    (
                        inspector::draw,
                        experiment::draw,
                        lens::draw,
                        attention::draw,
                        layers::draw,
                        timings::draw,
                        (queue::draw, lesson::draw).chain(),
                        bookmarks::draw,
                        mods::draw,
                        settings::draw,
                        help::draw,
                    )
                        .chain()
                        .in_set(DrawerSystems),
                    // The map has a layer of its own, below.
                    (
                        placement::gather,
                        beams::draw,
                        (map_text::draw, token_mark::draw).chain(),
                        marks::draw,
                        // Words stand on agents: nobody walks over a name.
                        agents::draw,
                        placement::draw,
                        values::draw,
                    )
                        .chain(),
                )
                    // What comes later lies above.
                    .chain(),
            );
    }
}
