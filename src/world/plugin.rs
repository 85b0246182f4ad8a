//! The plugin of the map: the state of what is looked at, and the frame that is drawn of it.

use std::sync::Arc;

use bevy::prelude::*;

use super::camera;
use super::device_recovery::DeviceRecoveryPlugin;
use super::draw::{DrawPlugin, MapFrame, coarse_words};
use super::lab::LabPlugin;
use super::layout::{Atlas, Place, Quad, STATE_EDITED, STATE_MUTED, STATE_SCALED};
use super::palette::Palette;
use super::screenshot::ScreenshotPlugin;
use super::settings::Settings;
use super::stream::StreamPlugin;
use super::think::ThinkPlugin;
use super::tour::TourPlugin;
use super::view::{Flight, View};
use crate::forward::Interventions;
use crate::forward::gpu::EditedWeights;

/// What is looked at, and from where.
#[derive(Resource, Debug, Clone)]
pub struct Map {
    /// The model's map.
    pub atlas: Atlas,
    /// The camera.
    pub view: View,
    /// Where the camera is on its way to.
    pub flight: Option<Flight>,
    /// Views before this one.
    pub back: Vec<View>,
    /// Views that were left by going back.
    pub forward: Vec<View>,
    /// Where the pointer is on the map, in points.
    pub pointer: Option<[f64; 2]>,
    /// What is selected.
    pub selection: Option<Place>,
    /// What a person is told for a while: the text and the seconds that it stays.
    pub notice: Option<(String, f32)>,
    /// Whether the mouse's button is for something else than moving the map and selecting.
    pub held: bool,
    /// All palettes.
    pub palettes: Vec<Palette>,
}

/// Views that can be gone back to.
const MOST_BACK: usize = 100;

impl Map {
    /// The map, seen whole.
    pub fn new(atlas: Atlas, palettes: Vec<Palette>) -> Self {
        let view = View::default().fit(atlas.bounds());
        Self {
            atlas,
            view,
            flight: None,
            back: Vec::new(),
            forward: Vec::new(),
            pointer: None,
            selection: None,
            notice: None,
            held: false,
            palettes,
        }
    }

    /// Flies to a view and remembers the one before; `seconds` of 0 is a jump, `None` as long as
    /// its way takes.
    pub fn go(&mut self, to: View, seconds: Option<f64>) {
        self.back.push(self.view);
        if self.back.len() > MOST_BACK {
            self.back.remove(0);
        }
        self.forward.clear();
        self.fly(to, seconds);
    }

    /// Flies to a place, or says that the model has none.
    pub fn go_to(&mut self, place: &Place, seconds: Option<f64>) -> bool {
        let Some(rect) = self.atlas.rect(place) else {
            self.tell(format!("{} has no {}", self.atlas.title(), self.atlas.name(place)));
            return false;
        };
        let mut view = self.view.fit(rect);
        if matches!(place, Place::Weight(..)) {
            view.scale = WEIGHT_SCALE;
        }
        self.selection = (*place != Place::Model).then(|| place.clone());
        self.go(view, seconds);
        true
    }

    /// The view before this one.
    pub fn go_back(&mut self) {
        if let Some(view) = self.back.pop() {
            self.forward.push(self.view);
            self.fly(view, None);
        }
    }

    /// The view that was left by going back.
    pub fn go_forward(&mut self) {
        if let Some(view) = self.forward.pop() {
            self.back.push(self.view);
            self.fly(view, None);
        }
    }

    fn fly(&mut self, to: View, seconds: Option<f64>) {
        let to = View { size: self.view.size, ..to }.bounded(self.atlas.bounds());
        self.flight = match seconds {
            Some(seconds) if seconds <= 0.0 => {
                self.view = to;
                None
            }
            Some(seconds) => Some(Flight::new(self.view, to, seconds)),
            None => Some(Flight::usual(self.view, to)),
        };
    }

    /// Tells something for a few seconds.
    pub fn tell(&mut self, text: impl Into<String>) {
        self.notice = Some((text.into(), 5.0));
    }

    /// The palette of that name, or the first.
    pub fn palette(&self, name: &str) -> &Palette {
        let named = self.palettes.iter().find(|palette| palette.name == name);
        named.or(self.palettes.first()).expect("the program has palettes of its own")
    }

    /// Where the minimap lies on the screen, in points: left, top, width, height. None where the
    /// screen is too small for it, or shows the whole map itself.
    pub fn minimap(&self) -> Option<[f32; 4]> {
        let [width, height] = self.view.size.map(|side| side as f32);
        let bounds = self.atlas.bounds();
        let aspect = bounds.height as f32 / bounds.width.max(1) as f32;
        let across = 190.0f32.min(150.0 / aspect.max(1e-3));
        let down = (across * aspect).max(20.0);
        let whole = self.view.visible().contains(&bounds);
        (width > 600.0 && height > 400.0 && !whole).then_some([
            14.0,
            height - down - 44.0,
            across,
            down,
        ])
    }

    /// The camera of the minimap.
    pub fn minimap_view(&self) -> View {
        let [_, _, across, down] = self.minimap().unwrap_or([0.0, 0.0, 1.0, 1.0]);
        let bounds = self.atlas.bounds();
        let view = View { size: [f64::from(across), f64::from(down)], ..self.view }.fit(bounds);
        View { scale: view.size[0] / bounds.width.max(1) as f64, ..view }
    }
}

/// Points per cell where a weight is gone to: its number can be read.
const WEIGHT_SCALE: f64 = 64.0;

/// The map as a place: camera, drawing, tours and screenshots.
///
/// Needs a [`Map`], [`Keys`](super::keys::Keys) and [`Settings`] as resources, a camera, and
/// `GpuModelPlugin` before it. Its systems are in [`WorldSystems`], in `Update`.
pub struct WorldPlugin;

/// The systems of [`WorldPlugin`], in `Update`, one after the other.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorldSystems {
    /// Keys, mouse and tours move the camera and change what is shown.
    Input,
    /// The camera flies.
    Move,
    /// The frame that is drawn is made.
    Frame,
}

impl Plugin for WorldPlugin {
    fn build(&self, app: &mut App) {
        let sets = (WorldSystems::Input, WorldSystems::Move, WorldSystems::Frame).chain();
        app.configure_sets(Update, sets)
            .add_systems(
                Update,
                (
                    (camera::keys, camera::mouse).chain().in_set(WorldSystems::Input),
                    (camera::resize, camera::fly).chain().in_set(WorldSystems::Move),
                    make_frame.in_set(WorldSystems::Frame),
                ),
            )
            .init_resource::<super::frames::Frames>()
            .init_resource::<super::tabs::Shown>()
            .add_systems(Last, (super::frames::record, super::frames::write).chain())
            .add_plugins((
                ScreenshotPlugin,
                ThinkPlugin,
                TourPlugin,
                DrawPlugin,
                LabPlugin,
                StreamPlugin,
                DeviceRecoveryPlugin,
            ));
        let (map, settings) = (app.world().resource::<Map>(), app.world().resource::<Settings>());
        let palette = map.palette(&settings.palette).bake(settings.theme);
        let frame = MapFrame {
            view: map.view,
            pixels_per_point: 1.0,
            minimap: map.minimap(),
            minimap_view: map.minimap_view(),
            colouring: settings.colouring,
            theme: settings.theme,
            palette: Arc::new(palette),
            quads: Arc::new(map.atlas.quads().to_vec()),
            coarse: Arc::new(coarse_words(map.atlas.model())),
        };
        app.insert_resource(frame);
    }
}

/// Makes the frame that is drawn.
fn make_frame(
    map: Res<Map>,
    settings: Res<Settings>,
    interventions: Res<Interventions>,
    overlaid: Res<EditedWeights>,
    cameras: Query<&Camera>,
    mut frame: ResMut<MapFrame>,
    mut clear: ResMut<ClearColor>,
) {
    frame.view = map.view;
    frame.minimap = map.minimap();
    frame.minimap_view = map.minimap_view();
    frame.colouring = settings.colouring;
    if let Some(camera) = cameras.iter().next() {
        frame.pixels_per_point = camera.target_scaling_factor().unwrap_or(1.0);
    }
    if settings.is_changed() {
        frame.theme = settings.theme;
        frame.palette = Arc::new(map.palette(&settings.palette).bake(settings.theme));
        let [r, g, b] = settings.theme.ground();
        clear.0 = Color::srgb_u8(r, g, b);
    }
    if interventions.is_changed() || overlaid.is_changed() {
        let heads = map.atlas.model().config().head_count;
        let quads = map.atlas.quads().iter();
        let none = Interventions::default();
        let interventions = if overlaid.bypassed { &none } else { &*interventions };
        let marked = quads.map(|quad| with_edit(with_state(quad, interventions, heads), &overlaid));
        frame.quads = Arc::new(marked.collect());
    }
}

/// A quad with the marks that the interventions come to.
fn with_state(quad: &Quad, interventions: &Interventions, heads: u32) -> Quad {
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

/// A quad with the mark of a tile whose bytes are not those of the file.
fn with_edit(quad: Quad, overlaid: &EditedWeights) -> Quad {
    let edited =
        if quad.encoding().is_some() && overlaid.is_shown(quad.tile) { STATE_EDITED } else { 0 };
    Quad { state: quad.state | edited, ..quad }
}
