//! What adapters add to the weights, as a view of the land: near, a cell has the colour of what is
//! added to its weight, or of both together; far, a block has that of its root mean square. It is
//! computed on the processor for what is in sight, from the numbers that the kernels read, and is
//! drawn over the cells in opaque colours: what is seen is what is added.

use std::collections::HashMap;
use std::ops::Range;

use bevy::prelude::*;
use bevy_egui::egui;
use egui::Color32;

use crate::model::plan::Rect as Cells;
use crate::model::weights::tile_weights;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::map_of;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::of_palette;
use crate::world::adapters::LoadedAdapters;
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::lab::Edits;
use crate::world::layout::{Atlas, Quad};
use crate::world::palette::{Colouring, Palette, Palettes, RANGE, Theme};
use crate::world::settings::Settings;
use crate::world::update::{MatrixUpdate, mean_of};
use crate::world::view::View;

/// Points across the least block that has a colour of its own: from there on it is a cell.
pub(crate) const CELLS_FROM: f64 = 6.0;

/// What was painted last, and of what.
#[derive(Default)]
pub(crate) struct PaintedUpdate {
    of: Option<(View, Colouring, Theme, String, (u64, bool))>,
    lights: Lights,
    known: KnownUpdates,
}

/// What is known of the adapters, as long as they are the same.
#[derive(Default)]
struct KnownUpdates {
    /// What they add to a tensor, and its root mean square.
    of_tensors: HashMap<usize, Option<(MatrixUpdate, f32)>>,
    /// Products of some rows, or of some columns, of a tensor: many blocks share them.
    products: HashMap<(usize, bool, Range<usize>), Vec<f64>>,
    /// The largest root mean square of any tensor.
    most: f32,
}

/// Products that are kept; a screen has some hundreds for each tensor.
const MOST_PRODUCTS: usize = 100_000;

/// A block of cells of a quad, in cells.
struct Blocks<'a> {
    quad: &'a Quad,
    /// The first row and column of the tensor that it shows.
    first: [usize; 2],
    /// Whether rows lie along x.
    rows_across: bool,
    /// Cells of a block's side.
    side: usize,
}

impl Blocks<'_> {
    /// Rows and columns of the tensor under some cells of the quad.
    fn ranges(&self, x: usize, y: usize) -> [Range<usize>; 2] {
        let (width, height) = (self.quad.width as usize, self.quad.height as usize);
        let across = x..(x + self.side).min(width);
        let down = y..(y + self.side).min(height);
        let (rows, columns) = if self.rows_across { (across, down) } else { (down, across) };
        let shifted = |range: Range<usize>, first: usize| range.start + first..range.end + first;
        [shifted(rows, self.first[0]), shifted(columns, self.first[1])]
    }
}

pub(crate) fn draw(
    (atlas, camera, settings): (Res<Atlas>, Res<MapCamera>, Res<Settings>),
    (palettes, loaded, edits): (Res<Palettes>, Res<LoadedAdapters>, Res<Edits>),
    mut painted: Local<PaintedUpdate>,
    mut lights: ResMut<Lights>,
) {
    let (view, theme) = (camera.view, settings.theme);
    let is_shown = match settings.colouring {
        Colouring::Update => true,
        // Of both together a block says no more than of the weights alone.
        Colouring::WithUpdate => view.scale >= CELLS_FROM,
        _ => false,
    };
    if !is_shown {
        // Adapters may change meanwhile.
        *painted = PaintedUpdate::default();
        return;
    }
    let with_weights = settings.colouring == Colouring::WithUpdate;
    let edited = (edits.overlay.version(), edits.bypassed);
    let of = Some((view, settings.colouring, theme, settings.palette.clone(), edited));
    if painted.of != of || loaded.is_changed() || atlas.is_changed() {
        let is_new = painted.known.most == 0.0;
        if is_new || loaded.is_changed() || atlas.is_changed() {
            painted.known = KnownUpdates::default();
            painted.known.most = most_added(&atlas, &loaded);
        }
        painted.of = of;
        let mut mesh = RectMesh::beside(minimap(&view, &atlas));
        let palette = palettes.named(&settings.palette);
        let visible = view.visible();
        for quad in atlas.quads().iter().filter(|quad| quad.encoding().is_some()) {
            let cells =
                Cells::new(quad.x.into(), quad.y.into(), quad.width.into(), quad.height.into());
            if cells.overlaps(&visible) {
                let painter = QuadPainter {
                    atlas: &atlas,
                    view: &view,
                    loaded: &loaded,
                    edits: &edits,
                    palette,
                    theme,
                    with_weights,
                };
                painter.paint(&mut mesh, quad, &mut painted.known);
            }
        }
        let mut own = Lights::default();
        mesh.shine(map_of(&view), &mut own);
        painted.lights = own;
    }
    lights.add(&painted.lights);
}

/// The largest root mean square of what is added to any tensor.
fn most_added(atlas: &Atlas, loaded: &LoadedAdapters) -> f32 {
    let tensors = atlas.model().tensors().iter();
    let updates = tensors.filter_map(|tensor| MatrixUpdate::new(loaded, &tensor.name));
    updates.map(|update| update.spread()).fold(f32::MIN_POSITIVE, f32::max)
}

/// What quads are painted with.
struct QuadPainter<'a> {
    atlas: &'a Atlas,
    view: &'a View,
    loaded: &'a LoadedAdapters,
    edits: &'a Edits,
    palette: &'a Palette,
    theme: Theme,
    with_weights: bool,
}

impl QuadPainter<'_> {
    /// A number in the colour of so many spreads.
    fn colour(&self, number: f32, spread: f32) -> Color32 {
        let spreads = (number / spread).clamp(-RANGE, RANGE);
        of_palette(self.palette.weight(self.theme, spreads))
    }

    /// Paints what is added to the cells of a quad, or both together.
    fn paint(&self, mesh: &mut RectMesh, quad: &Quad, known: &mut KnownUpdates) {
        let (model, view) = (self.atlas.model(), self.view);
        let (tensor, shape) = model.tile_shape(quad.tile);
        if known.products.len() > MOST_PRODUCTS {
            known.products.clear();
        }
        let KnownUpdates { of_tensors, products, most } = known;
        let found = of_tensors.entry(tensor).or_insert_with(|| {
            let update = MatrixUpdate::new(self.loaded, &model.tensors()[tensor].name)?;
            let spread = update.spread();
            (spread > 0.0).then_some((update, spread))
        });
        let whole = Cells::new(quad.x.into(), quad.y.into(), quad.width.into(), quad.height.into());
        let Some((update, spread)) = found else {
            if !self.with_weights {
                // Nothing is added here.
                mesh.fill(on_screen(view, whole), self.colour(0.0, 1.0));
            }
            return;
        };
        let side = ((CELLS_FROM / view.scale).ceil() as usize).next_power_of_two();
        let first = [
            shape.rows.start as usize + quad.row.max(0) as usize,
            shape.columns.start as usize + quad.column as usize,
        ];
        let rows_across = quad.kind >> 8 & 0xFF == 0;
        let blocks = Blocks { quad, first, rows_across, side };
        let weights = self.with_weights.then(|| {
            let tiling = &model.tensors()[tensor].tiling;
            tile_weights(tiling, &shape, self.edits.tile(model, quad.tile))
        });
        let stride = (shape.columns.end - shape.columns.start) as usize;
        let weight = |row: usize, column: usize| {
            let at =
                (row - shape.rows.start as usize) * stride + column - shape.columns.start as usize;
            weights.as_ref().and_then(|weights| weights.get(at)).copied()
        };
        let seen = visible_part(view, whole);
        for y in (seen[1].start / side * side..seen[1].end).step_by(side) {
            for x in (seen[0].start / side * side..seen[0].end).step_by(side) {
                let [rows, columns] = blocks.ranges(x, y);
                let colour = if side == 1 {
                    let added = update.at(rows.start, columns.start);
                    match weight(rows.start, columns.start) {
                        Some(weight) => self.colour(weight + added, self.atlas.spread(tensor)),
                        None => self.colour(added, *spread),
                    }
                } else {
                    let count = rows.len() * columns.len();
                    let key = (tensor, true, rows.clone());
                    let of_rows = products.entry(key).or_insert_with(|| update.row_products(rows));
                    let of_rows = of_rows.clone();
                    let key = (tensor, false, columns.clone());
                    let of_columns =
                        products.entry(key).or_insert_with(|| update.column_products(columns));
                    // Of all matrices alike: where more was learnt, the land is brighter.
                    self.colour(mean_of(&of_rows, of_columns, count) * RANGE, *most)
                };
                let wide = side.min(quad.width as usize - x) as i64;
                let high = side.min(quad.height as usize - y) as i64;
                let cells = Cells::new(whole.x + x as i64, whole.y + y as i64, wide, high);
                mesh.fill(on_screen(view, cells), colour);
            }
        }
    }
}

/// The cells of a rectangle that are in sight, from its own corner.
fn visible_part(view: &View, cells: Cells) -> [Range<usize>; 2] {
    let visible = view.visible();
    let part = |start: i64, size: i64, from: i64, count: i64| {
        let first = (from - start).clamp(0, size) as usize;
        let end = (from + count + 1 - start).clamp(0, size) as usize;
        first..end
    };
    [
        part(cells.x, cells.width, visible.x, visible.width),
        part(cells.y, cells.height, visible.y, visible.height),
    ]
}
