//! Weights that are painted: what is marked, what was done last, undo, and saving a copy.

use std::path::PathBuf;
use std::sync::Arc;

use bevy::prelude::*;
use bevy::tasks::futures::check_ready;
use bevy::tasks::{AsyncComputeTaskPool, Task};

use crate::model::PixelModel;
use crate::model::edits::{Brush, Painted, Region, WeightEdits, save_copy};
use crate::model::plan::{Orientation, Plot, Rect};
use crate::world::layout::{Atlas, Place};

/// The last edit, for what is told of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Last {
    /// The tensor of its first weight.
    pub tensor: usize,
    /// What became of it.
    pub painted: Painted,
}

/// Edits of the model in the world, and what is marked for the next.
#[derive(Resource, Default)]
pub struct Edits {
    /// The edited tiles, with undo.
    pub overlay: WeightEdits,
    /// Whether a drag on the map marks weights instead of moving the map.
    pub painting: bool,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// The last edit that was not taken back.
    pub last: Option<Last>,
    /// Whether the model computes and is drawn, for now, as its file says.
    pub bypassed: bool,
    /// Why weights cannot be painted, if they cannot.
    pub fixed: Option<String>,
    marked: Vec<Region>,
    cells: Vec<Rect>,
    saving: Option<(PathBuf, Task<Result<usize, String>>)>,
}

impl Edits {
    /// The weights that are marked.
    pub fn marked(&self) -> &[Region] {
        &self.marked
    }

    /// Where they lie on the map.
    pub fn cells(&self) -> &[Rect] {
        &self.cells
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.marked.iter().map(Region::weights).sum()
    }

    /// A tile's bytes as the device has them.
    pub fn tile<'a>(&'a self, model: &'a PixelModel, tile: u32) -> &'a [u8] {
        if self.bypassed { model.tile_unverified(tile) } else { self.overlay.tile(model, tile) }
    }

    /// Marks the weights between two cells, as far as the plot reaches that the first lies in.
    /// Where there is none, nothing is marked.
    pub fn mark(&mut self, atlas: &Atlas, from: (i64, i64), to: (i64, i64)) {
        self.clear();
        let plots = &atlas.model().plan().plots;
        let Some(plot) = plots.iter().find(|plot| plot.weight_at(from.0, from.1).is_some()) else {
            return;
        };
        let rect = plot.rect;
        let to = (
            to.0.clamp(rect.x, rect.x + rect.width - 1),
            to.1.clamp(rect.y, rect.y + rect.height - 1),
        );
        let (x, y) = (from.0.min(to.0), from.1.min(to.1));
        let cells = Rect::new(x, y, (from.0 - to.0).abs() + 1, (from.1 - to.1).abs() + 1);
        self.marked = regions_of(plot, cells);
        self.cells.push(cells);
    }

    /// Marks the weights of a place: a weight, a tensor, or whatever lies wholly inside of a head,
    /// a layer or a field.
    pub fn mark_place(&mut self, atlas: &Atlas, place: &Place) {
        self.clear();
        let Some(rect) = atlas.rect(place) else { return };
        if matches!(place, Place::Weight(..)) {
            self.mark(atlas, (rect.x, rect.y), (rect.x, rect.y));
            return;
        }
        let only = match place {
            Place::Tensor(name) => atlas.model().tensor_index(name),
            _ => None,
        };
        let inside =
            |plot: &&Plot| only.map_or(rect.contains(&plot.rect), |tensor| plot.tensor == tensor);
        for plot in atlas.model().plan().plots.iter().filter(inside) {
            let (rows, columns) = (plot.rows.clone(), plot.columns.clone());
            self.marked.push(Region { tensor: plot.tensor, rows, columns });
            self.cells.push(plot.rect);
        }
    }

    /// Marks nothing any more.
    pub fn clear(&mut self) {
        self.marked.clear();
        self.cells.clear();
    }

    /// Paints what is marked. What cannot be done is told in [`Edits::problem`].
    pub fn paint(&mut self, model: &PixelModel, brush: Brush) -> Option<Painted> {
        self.problem = None;
        let Some(tensor) = self.marked.first().map(|region| region.tensor) else {
            self.problem = Some("mark weights first: G, then click or drag".into());
            return None;
        };
        if let Some(why) = &self.fixed {
            self.problem = Some(why.clone());
            return None;
        }
        match self.overlay.paint(model, &self.marked, brush) {
            Ok(painted) => {
                self.last = Some(Last { tensor, painted });
                Some(painted)
            }
            Err(error) => {
                self.problem = Some(error.to_string());
                None
            }
        }
    }

    /// Takes back the last edit, and says what that came to.
    pub fn undo(&mut self) -> String {
        self.last = None;
        match self.overlay.undo() {
            0 => "no change of weights to take back".into(),
            tiles => format!("taken back: {tiles} {} as before", plural(tiles)),
        }
    }

    /// Does again what was taken back last, and says what that came to.
    pub fn redo(&mut self) -> String {
        match self.overlay.redo() {
            0 => "no change of weights to do again".into(),
            tiles => format!("done again: {tiles} {} changed", plural(tiles)),
        }
    }

    /// Makes every weight what it is in the file; this too can be taken back.
    pub fn restore_all(&mut self) {
        self.last = None;
        self.overlay.restore_all();
    }

    /// Whether a copy is on its way to the disk.
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Writes a copy of the model with its edits, beside what else goes on.
    pub fn save(&mut self, model: &Arc<PixelModel>, path: PathBuf) {
        if self.saving.is_some() {
            return;
        }
        // The clone shares the tiles and keeps them as they are now: painting may go on meanwhile.
        let (model, overlay, target) = (Arc::clone(model), self.overlay.clone(), path.clone());
        let task = AsyncComputeTaskPool::get().spawn(async move {
            let saved = save_copy(&model, &overlay, &target, &|_| ());
            saved.map(|saved| saved.edited).map_err(|error| error.to_string())
        });
        self.saving = Some((path, task));
    }

    /// How saving went, once it is over.
    pub(super) fn saved(&mut self) -> Option<String> {
        let (path, task) = self.saving.as_mut()?;
        let told = match check_ready(task)? {
            Ok(edited) => {
                let tiles = plural(edited);
                format!("saved as {}, {edited} {tiles} with checksums of their own", path.display())
            }
            Err(problem) => format!("not saved: {problem}"),
        };
        self.saving = None;
        Some(told)
    }
}

fn plural(tiles: usize) -> &'static str {
    if tiles == 1 { "tile" } else { "tiles" }
}

/// The weights in a rectangle of cells of a plot.
fn regions_of(plot: &Plot, cells: Rect) -> Vec<Region> {
    let (right, bottom) = (cells.x + cells.width - 1, cells.y + cells.height - 1);
    let tensor = plot.tensor;
    if plot.orientation == Orientation::Wrapped {
        // Each line of cells is a run of its own; the last line of a plot may end early.
        let run = |y: i64| {
            let (_, first) = plot.weight_at(cells.x, y)?;
            let end = (first + cells.width as u64).min(plot.columns.end);
            Some(Region { tensor, rows: 0..1, columns: first..end })
        };
        return (cells.y..=bottom).filter_map(run).collect();
    }
    // In a matrix, turned or not, two opposite corners tell both ranges.
    let corners = plot.weight_at(cells.x, cells.y).zip(plot.weight_at(right, bottom));
    let region = |((row, column), (last_row, last_column)): ((u64, u64), (u64, u64))| Region {
        tensor,
        rows: row..last_row + 1,
        columns: column..last_column + 1,
    };
    corners.map(region).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atlas() -> Atlas {
        Atlas::new(Arc::new(crate::app::kinds::assets().default_model().unwrap()))
    }

    #[test]
    fn a_drag_marks_the_weights_under_it_and_stays_in_its_plot() {
        let atlas = atlas();
        let mut edits = Edits::default();
        for name in ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "blk.0.ffn_norm.weight"] {
            let tensor = atlas.model().tensor_index(name).unwrap();
            let plot = atlas.model().plan().plots_of(tensor)[0].clone();
            let from = (plot.rect.x + 1, plot.rect.y);
            let to = (plot.rect.x + 3, plot.rect.y + plot.rect.height + 500);
            edits.mark(&atlas, to.min(from), (to.0, to.1));
            assert!(!edits.marked().is_empty(), "{name}");
            let mut found = 0;
            for region in edits.marked() {
                assert_eq!(region.tensor, tensor, "{name}");
                for row in region.rows.clone() {
                    for column in region.columns.clone() {
                        let (x, y) = plot.cell(row, column);
                        let cells = edits.cells()[0];
                        assert!(cells.contains(&Rect::new(x, y, 1, 1)), "{name} [{row}, {column}]");
                        found += 1;
                    }
                }
            }
            assert_eq!(found, edits.count());
            assert!(edits.cells()[0].width == 3 && plot.rect.contains(&edits.cells()[0]), "{name}");
        }
        edits.mark(&atlas, (-5, -5), (3, 3));
        assert_eq!(edits.count(), 0, "there is nothing");
    }

    #[test]
    fn a_head_is_marked_with_all_its_plots() {
        let atlas = atlas();
        let mut edits = Edits::default();
        edits.mark_place(&atlas, &Place::Head(1, 2));
        let config = atlas.model().config();
        let one = u64::from(config.head_size) * u64::from(config.embedding_size);
        assert!(edits.count() >= 2 * one, "{} weights, Q and O have {one} each", edits.count());
        let name = "blk.0.ffn_up.weight";
        edits.mark_place(&atlas, &Place::Tensor(name.into()));
        let tiling = &atlas.model().tensor(name).unwrap().tiling;
        assert_eq!(edits.count(), tiling.rows * tiling.columns);
        edits.mark_place(&atlas, &Place::Weight(name.into(), 2, 3));
        assert_eq!(
            edits.marked(),
            [Region::weight(atlas.model().tensor_index(name).unwrap(), 2, 3)]
        );
    }

    #[test]
    fn what_cannot_be_painted_is_told_in_words() {
        let atlas = atlas();
        let mut edits = Edits::default();
        assert_eq!(edits.paint(atlas.model(), Brush::Zero), None);
        assert!(edits.problem.as_ref().is_some_and(|problem| problem.contains("mark weights")));
        edits.mark_place(&atlas, &Place::Weight("blk.0.ffn_up.weight".into(), 2, 3));
        edits.fixed = Some("streamed".into());
        assert_eq!(edits.paint(atlas.model(), Brush::Zero), None);
        assert_eq!(edits.problem.as_deref(), Some("streamed"));
        edits.fixed = None;
        assert!(edits.paint(atlas.model(), Brush::Set(0.5)).is_some() && edits.problem.is_none());
        assert!(edits.undo().contains("1 tile") && edits.undo().starts_with("no change"));
    }
}
