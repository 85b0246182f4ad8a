//! Panels: the text on the map and the frame around it, in egui.
//!
//! In: the world's resources, such as the [`MapCamera`](crate::world::camera::MapCamera). Out: what
//! a person reads, and what they ask for by search and buttons: messages
//! [`Navigate`](crate::world::camera::Navigate) and [`UserAction`]. Text is chosen by its size on
//! the screen ([`crate::world::layout::labels`]) before any of it is laid out.

mod activity;
mod agent_card;
mod agents;
mod attention;
mod beams;
mod bookmarks;
mod chrome;
mod coach;
mod coach_task;
mod device;
mod drawer;
mod experiment;
mod heatmap;
mod help;
mod inspector;
mod lab_marks;
mod label_placement;
mod layers;
mod lens;
mod light;
mod map_text;
mod mods;
mod prompt;
mod rect_mesh;
mod search_box;
mod settings;
mod side_by_side;
pub mod streaming;
mod style;
mod timings;
mod values;
mod welcome;

use bevy::prelude::*;
use bevy_egui::{EguiPlugin, EguiPrimaryContextPass};

use crate::world::WorldSystems;
use crate::world::keys::{UserAction, on_action};

pub use activity::Scrubbed;
pub use attention::HeadShown;
pub use beams::Chips;
pub use coach::CoachPanel;
pub use prompt::PromptBox;
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
}

/// Opens or closes a panel.
fn toggle(mut actions: MessageReader<UserAction>, mut panels: ResMut<OpenPanels>) {
    for action in actions.read() {
        let open = match action {
            UserAction::Help => &mut panels.help,
            UserAction::Inspector => &mut panels.inspector,
            UserAction::Experiment => &mut panels.experiment,
            _ => continue,
        };
        *open = !*open;
    }
}

/// Text and panels. Comes after `WorldPlugin`; its systems run in `EguiPrimaryContextPass`.
pub struct PanelPlugin;

impl Plugin for PanelPlugin {
    fn build(&self, app: &mut App) {
        app.add_plugins((EguiPlugin::default(), device::EguiRecoveryPlugin))
            .init_resource::<OpenPanels>()
            .init_resource::<CoachPanel>()
            .init_resource::<SearchBox>()
            .init_resource::<PromptBox>()
            .init_resource::<Scrubbed>()
            .init_resource::<values::DecodedTiles>()
            .init_resource::<label_placement::Taken>()
            .init_resource::<label_placement::MapWords>()
            .init_resource::<HeadShown>()
            .init_resource::<Chips>()
            .add_systems(
                Update,
                (
                    drawer::scrub,
                    (toggle, experiment::open_to_paint).chain(),
                    coach::toggle.run_if(on_action(UserAction::Coach)),
                )
                    .in_set(WorldSystems::Act),
            )
            .add_systems(
                Update,
                (attention::follow, coach::keep.run_if(coach::is_to_be_kept))
                    .after(WorldSystems::Move),
            )
            .add_systems(
                EguiPrimaryContextPass,
                (
                    (style::set_style, label_placement::clear, heatmap::draw, activity::draw)
                        .chain(),
                    // The frame around the map: what it covers is known before anything is written
                    // on the map.
                    (
                        chrome::draw,
                        light::draw,
                        coach::draw,
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
                        label_placement::gather,
                        beams::draw,
                        map_text::draw,
                        lab_marks::draw,
                        label_placement::draw,
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
