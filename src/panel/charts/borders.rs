//! What an adapter is made of, around the plots that it changes: where a plot's rows lie along an
//! edge, the factor `B` has a line there for each rank, and along the other edge `A` has. So what
//! is added to a weight, `s sum_k B[row, k] A[k, column]`, is made of the pixels straight above it
//! and straight beside it, rank by rank.

use bevy::prelude::*;
use bevy_egui::egui;
use egui::{Color32, Rect, pos2};

use crate::model::adapter::LowRank;
use crate::model::plan::{Orientation, Plot, Rect as Cells};
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::map_of;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::of_palette;
use crate::world::adapters::LoadedAdapters;
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::Atlas;
use crate::world::palette::{Palette, Palettes, Theme};
use crate::world::settings::Settings;
use crate::world::view::View;

/// Points of a cell from which on there are borders: farther away they would be a grey line.
const CELL: f64 = 2.0;
/// What of the room between two plots borders may take: a plot's own ends before the next one.
const ROOM: f64 = 0.8;

/// What was painted last, and of what.
#[derive(Default)]
pub(crate) struct PaintedBorders {
    of: Option<(View, Theme, String)>,
    lights: Lights,
}

pub(crate) fn draw(
    (atlas, camera, settings): (Res<Atlas>, Res<MapCamera>, Res<Settings>),
    (palettes, loaded): (Res<Palettes>, Res<LoadedAdapters>),
    mut painted: Local<PaintedBorders>,
    mut lights: ResMut<Lights>,
) {
    let view = camera.view;
    if view.scale < CELL || loaded.acting_updates().next().is_none() {
        *painted = PaintedBorders::default();
        return;
    }
    let of = Some((view, settings.theme, settings.palette.clone()));
    if painted.of != of || loaded.is_changed() || atlas.is_changed() {
        painted.of = of;
        let palette = palettes.named(&settings.palette);
        let painter = Painter { atlas: &atlas, view: &view, palette, theme: settings.theme };
        let mut mesh = RectMesh::beside(minimap(&view, &atlas));
        painter.paint(&loaded, &mut mesh);
        painted.lights = Lights::default();
        mesh.shine(map_of(&view), &mut painted.lights);
    }
    lights.add(&painted.lights);
}

/// What borders are painted with.
struct Painter<'a> {
    atlas: &'a Atlas,
    view: &'a View,
    palette: &'a Palette,
    theme: Theme,
}

impl Painter<'_> {
    /// The borders of all plots in sight.
    fn paint(&self, loaded: &LoadedAdapters, mesh: &mut RectMesh) {
        let (model, visible) = (self.atlas.model(), self.view.visible());
        let plan = model.plan();
        // No border is broader than a cell per rank, and it ends before the next plot.
        let acting = loaded.acting().len() as i64;
        let most = acting * loaded.acting_updates().map(|it| it.rank as i64).max().unwrap_or(0);
        let near = |plot: &&Plot| {
            // A border may be in sight where its plot is not, and what bounds it too.
            let Cells { x, y, width, height } = plot.rect;
            let around = Cells::new(x - most, y - most, width + 2 * most, height + 2 * most);
            around.overlaps(&visible) && plot.orientation != Orientation::Wrapped
        };
        let plots: Vec<&Plot> = plan.plots.iter().filter(near).collect();
        for plot in &plots {
            let name = &model.tensors()[plot.tensor].name;
            let updates: Vec<&LowRank> =
                loaded.acting_updates().filter(|update| update.tensor == *name).collect();
            let ranks: usize = updates.iter().map(|update| update.rank).sum();
            if ranks == 0 {
                continue;
            }
            let others = || plots.iter().map(|other| other.rect);
            let (north, west) = room(plot.rect, others(), ranks as i64);
            let thick = [north, west].map(|room| (room * ROOM / ranks as f64).min(1.0));
            let mut line = 0;
            for update in updates {
                let spreads = [&update.b, &update.a].map(|numbers| spread(numbers));
                for rank in 0..update.rank {
                    self.lines(plot, (update, rank, spreads), (line, thick), mesh);
                    line += 1;
                }
            }
        }
    }

    /// The lines of a rank of an update: the one above the plot, and the one west of it.
    fn lines(
        &self,
        plot: &Plot,
        (update, rank, spreads): (&LowRank, usize, [f32; 2]),
        (line, [high, wide]): (usize, [f64; 2]),
        mesh: &mut RectMesh,
    ) {
        let rows_across = plot.orientation == Orientation::RowsAlongX;
        let of_row =
            |at: i64| update.b.get((plot.rows.start as usize + at as usize) * update.rank + rank);
        let of_column = |at: i64| {
            let column = plot.columns.start as usize + at as usize;
            update.a.get(rank * update.inputs + column).filter(|_| column < update.inputs)
        };
        let place = on_screen(self.view, plot.rect);
        let (scale, screen) = (self.view.scale as f32, map_of(self.view));
        let [high, wide] = [high, wide].map(|cells| cells as f32 * scale);
        let far = line as f32;
        let above = place.top() - (far + 1.0) * high..=place.top() - far * high;
        let beside = place.left() - (far + 1.0) * wide..=place.left() - far * wide;
        for at in in_sight(place.left()..place.right(), screen.left()..screen.right(), scale) {
            let (number, spread) =
                if rows_across { (of_row(at), spreads[0]) } else { (of_column(at), spreads[1]) };
            let left = place.left() + at as f32 * scale;
            let cell = Rect::from_x_y_ranges(left..=left + scale, above.clone());
            self.fill(mesh, cell, number, spread);
        }
        for at in in_sight(place.top()..place.bottom(), screen.top()..screen.bottom(), scale) {
            let (number, spread) =
                if rows_across { (of_column(at), spreads[1]) } else { (of_row(at), spreads[0]) };
            let top = place.top() + at as f32 * scale;
            let cell =
                Rect::from_min_max(pos2(*beside.start(), top), pos2(*beside.end(), top + scale));
            self.fill(mesh, cell, number, spread);
        }
    }

    fn fill(&self, mesh: &mut RectMesh, cell: Rect, number: Option<&f32>, spread: f32) {
        let Some(number) = number else { return };
        let colour: Color32 = of_palette(self.palette.weight(self.theme, number / spread));
        mesh.fill(cell, colour);
    }
}

/// Root mean square, above zero: `B` is zero before the first step.
fn spread(numbers: &[f32]) -> f32 {
    let squares: f32 = numbers.iter().map(|number| number * number).sum();
    (squares / numbers.len().max(1) as f32).sqrt().max(f32::MIN_POSITIVE)
}

/// Cells from the first point of a plot on that are in sight.
fn in_sight(
    place: std::ops::Range<f32>,
    screen: std::ops::Range<f32>,
    scale: f32,
) -> std::ops::Range<i64> {
    let count = ((place.end - place.start) / scale).round();
    let first = ((screen.start - place.start) / scale).floor().clamp(0.0, count);
    let end = ((screen.end - place.start) / scale).ceil().clamp(first, count);
    first as i64..end as i64
}

/// Cells that are free north and west of a plot before another one, at most `most` of each.
fn room(plot: Cells, others: impl Iterator<Item = Cells>, most: i64) -> (f64, f64) {
    let (mut north, mut west) = (most, most);
    for other in others {
        let (right, bottom) = (other.x + other.width, other.y + other.height);
        let is_above = other.x < plot.x + plot.width && plot.x < right && bottom <= plot.y;
        let is_beside = other.y < plot.y + plot.height && plot.y < bottom && right <= plot.x;
        if is_above {
            north = north.min(plot.y - bottom);
        }
        if is_beside {
            west = west.min(plot.x - right);
        }
    }
    (north as f64, west as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_end_before_the_next_plot() {
        let plot = Cells::new(100, 100, 50, 40);
        let above = Cells::new(120, 50, 10, 45);
        let beside = Cells::new(20, 90, 77, 20);
        let below = Cells::new(100, 145, 50, 10);
        assert_eq!(room(plot, [plot, above, beside, below].into_iter(), 8), (5.0, 3.0));
        assert_eq!(room(plot, [plot].into_iter(), 8), (8.0, 8.0));
        let touching = Cells::new(100, 60, 50, 40);
        assert_eq!(room(plot, [touching].into_iter(), 8).0, 0.0);
    }

    #[test]
    fn only_cells_in_sight_are_painted() {
        assert_eq!(in_sight(-20.0..100.0, 0.0..50.0, 4.0), 5..18);
        assert_eq!(in_sight(10.0..50.0, 0.0..500.0, 4.0), 0..10);
        assert_eq!(in_sight(600.0..640.0, 0.0..500.0, 4.0), 0..0);
    }

    #[test]
    fn factors_of_zeros_have_a_spread_to_divide_by() {
        assert_eq!(spread(&[3.0, -3.0]), 3.0);
        assert!(0.0 / spread(&[0.0; 4]) == 0.0 && spread(&[]) > 0.0);
    }
}
