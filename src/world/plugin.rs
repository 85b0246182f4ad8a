//! The plugin of the map: the state of what is looked at, and the frame that is drawn of it.

use std::sync::Arc;

use bevy::prelude::*;

use super::adapters::AdaptersPlugin;
use super::bookmarks;
use super::camera::{self, MapCamera, Navigate, ViewHistory};
use super::damage::{self, Damage};
use super::device_recovery::DeviceRecoveryPlugin;
use super::draw::{DrawPlugin, MapFrame, coarse_words, relief_fade};
use super::family::FamilyPlugin;
use super::frames;
use super::keys::{self, UserAction};
use super::lab::{EditedPlots, LabPlugin};
use super::layout::{Atlas, Quad, STATE_DAMAGED, STATE_EDITED, STATE_MUTED, STATE_SCALED};
use super::learning::LearningPlugin;
use super::notices::{self, Notices};
use super::opening::{self, Opening};
use super::palette::Palettes;
use super::pointer::{self, Pointer, Selection};
use super::screenshot::ScreenshotPlugin;
use super::search::Search;
use super::settings::{self, Settings};
use super::stream::StreamPlugin;
use super::tabs;
use super::text_scale;
use super::think::ThinkPlugin;
use super::tour::{self, TourPlugin, TourSystems};
use crate::forward::Interventions;
use crate::forward::gpu::EditedWeights;

/// The map as a place: camera, drawing, tours and screenshots.
///
/// Needs an [`Atlas`], [`Palettes`], [`KeyBindings`](super::keys::KeyBindings) and [`Settings`] as
/// resources, a camera, and `GpuModelPlugin` before it. Its systems are in [`WorldSystems`], in
/// `Update`.
pub struct WorldPlugin;

/// The systems of [`WorldPlugin`], in `Update`, one after the other.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorldSystems {
    /// Keys become messages, [`UserAction`]; the tour takes its next step.
    Input,
    /// Each plugin answers what is asked of it; the mouse moves the camera.
    Act,
    /// The camera goes where it was asked to, as [`Navigate`] says, and flies.
    Move,
    /// The frame that is drawn is made.
    Frame,
}

impl Plugin for WorldPlugin {
    fn build(&self, app: &mut App) {
        use WorldSystems::{Act, Frame, Input, Move};
        app.configure_sets(Update, (Input, Act, Move, Frame).chain())
            .add_systems(
                Update,
                (
                    keys::read_keyboard.in_set(Input),
                    damage::find.before(Input),
                    tour::hold.in_set(TourSystems::Hold).run_if(camera::is_flying),
                    // They write the same resources; a chain leaves no order open, as
                    // `tests/world/ambiguity.rs` demands.
                    (
                        camera::act,
                        pointer::mouse,
                        settings::act,
                        text_scale::act,
                        bookmarks::act,
                        tabs::act,
                    )
                        .chain()
                        .in_set(Act),
                    (camera::follow_tour, settings::follow_tour, tabs::follow_tour)
                        .chain()
                        .after(tabs::act)
                        .in_set(Act),
                    // The size comes first: a place is fitted to the screen of this frame.
                    (
                        text_scale::apply,
                        camera::resize,
                        camera::navigate,
                        camera::fly,
                        notices::fade,
                    )
                        .chain()
                        .in_set(Move),
                    make_frame.in_set(Frame),
                ),
            )
            .add_message::<UserAction>()
            .add_message::<Navigate>()
            .init_resource::<ViewHistory>()
            .init_resource::<Pointer>()
            .init_resource::<Selection>()
            .init_resource::<Notices>()
            .init_resource::<Damage>()
            .init_resource::<frames::Frames>()
            .init_resource::<tabs::Drawer>()
            .init_resource::<Search>()
            .add_systems(First, opening::count.run_if(resource_exists::<Opening>))
            .add_systems(Last, (frames::record, frames::write).chain())
            .add_plugins((
                ScreenshotPlugin,
                ThinkPlugin,
                (AdaptersPlugin, LearningPlugin),
                TourPlugin,
                FamilyPlugin,
                DrawPlugin,
                LabPlugin,
                StreamPlugin,
                DeviceRecoveryPlugin,
            ));
        let (atlas, settings) =
            (app.world().resource::<Atlas>(), app.world().resource::<Settings>());
        let palettes = app.world().resource::<Palettes>();
        let palette = palettes.named(&settings.palette).bake(settings.theme);
        let camera = MapCamera::whole(atlas.bounds());
        let frame = MapFrame {
            view: camera.view,
            pixels_per_point: 1.0,
            minimap: camera.view.minimap(atlas.bounds()),
            minimap_view: camera.view.minimap_view(atlas.bounds()),
            relief_fade: relief_fade(&camera.view, atlas.bounds(), 1.0),
            colouring: settings.colouring,
            theme: settings.theme,
            palette: Arc::new(palette),
            quads: Arc::new(atlas.quads().to_vec()),
            coarse: Arc::new(coarse_words(atlas.model())),
        };
        app.insert_resource(frame).insert_resource(camera);
    }
}

/// Makes the frame that is drawn.
fn make_frame(
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    interventions: Res<Interventions>,
    overlaid: Res<EditedWeights>,
    (edited, damage): (Res<EditedPlots>, Res<Damage>),
    cameras: Query<&Camera>,
    mut frame: ResMut<MapFrame>,
    mut clear: ResMut<ClearColor>,
) {
    frame.view = camera.view;
    frame.minimap = camera.view.minimap(atlas.bounds());
    frame.minimap_view = camera.view.minimap_view(atlas.bounds());
    frame.colouring = settings.colouring;
    if let Some(camera) = cameras.iter().next() {
        frame.pixels_per_point = camera.target_scaling_factor().unwrap_or(1.0);
    }
    frame.relief_fade = relief_fade(&camera.view, atlas.bounds(), frame.pixels_per_point);
    if settings.is_changed() {
        frame.theme = settings.theme;
        frame.palette = Arc::new(palettes.named(&settings.palette).bake(settings.theme));
        let [r, g, b] = settings.theme.ground();
        clear.0 = Color::srgb_u8(r, g, b);
    }
    // Other quads are written to the device and drawn anew; without a change neither is done.
    if interventions.is_changed() || overlaid.is_changed() || damage.is_changed() {
        let heads = atlas.model().config().head_count;
        let quads = atlas.quads().iter();
        let none = Interventions::default();
        // While edits are bypassed the kernels take every factor as 1, and the map says so.
        let interventions = if overlaid.bypassed { &none } else { &*interventions };
        let marked = quads.map(|quad| {
            let is_weights = quad.encoding().is_some();
            let edited = if is_weights && edited.shows(quad) { STATE_EDITED } else { 0 };
            let is_damaged = is_weights && damage.is_damaged(quad.tile);
            let damaged = if is_damaged { STATE_DAMAGED } else { 0 };
            let quad = with_state(quad, interventions, heads);
            Quad { state: quad.state | edited | damaged, ..quad }
        });
        frame.quads = Arc::new(marked.collect());
    }
}

/// A quad with the marks that the interventions come to.
fn with_state(quad: &Quad, interventions: &Interventions, heads: u32) -> Quad {
    // Without interventions the lists are empty, and every factor is 1.
    let at = |list: &[f32], index: u32| list.get(index as usize).copied().unwrap_or(1.0);
    if quad.layer == u32::MAX {
        return *quad;
    }
    let of_head = if quad.head == u32::MAX {
        1.0
    } else {
        at(&interventions.heads, quad.layer * heads + quad.head)
    };
    let factor = of_head * at(&interventions.layers, quad.layer);
    let state = if factor == 0.0 {
        STATE_MUTED
    } else if factor != 1.0 {
        STATE_SCALED
    } else {
        0
    };
    Quad { state: quad.state | state, ..*quad }
}
