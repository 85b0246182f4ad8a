//! Where everything lies on the map (specs/pxi_llm.md section 8): every tensor, layer, head and
//! tile gets its rectangles.
//!
//! [`Rules`] say where layers, districts and decorations go; without any, the map is that of the
//! specification.
//!
//! The rule that makes the map readable: the residual dimension runs along x in every plot, so that
//! a vertical line through a layer is one dimension of the stream. A line of cells is one neuron,
//! one dimension of a head, or one token.

mod grid;
mod layers;
pub mod rules;
mod strip;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::config::ModelConfig;
use super::tensors::Tensor;
use super::tiling::Layout;

pub use rules::{Ornament, Rules, Sign};

/// A rectangle of cells; y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Rect {
    /// Left edge, in cells.
    pub x: i64,
    /// Top edge, in cells.
    pub y: i64,
    /// Cells across; 0 where it is empty.
    pub width: i64,
    /// Cells down; 0 where it is empty.
    pub height: i64,
}

impl Rect {
    /// A rectangle from its corner and size.
    pub fn new(x: i64, y: i64, width: i64, height: i64) -> Self {
        Self { x, y, width, height }
    }

    /// The smallest rectangle that holds both; an empty one does not count.
    pub fn union(self, other: Self) -> Self {
        if self.width == 0 || self.height == 0 {
            return other;
        }
        if other.width == 0 || other.height == 0 {
            return self;
        }
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self::new(x, y, right - x, bottom - y)
    }

    /// The cells that they share; an empty rectangle where there are none.
    pub(crate) fn intersection(self, other: Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        if right <= x || bottom <= y {
            Self::default()
        } else {
            Self::new(x, y, right - x, bottom - y)
        }
    }

    /// Whether they share a cell.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    /// Whether `other` lies inside.
    pub fn contains(&self, other: &Self) -> bool {
        self.union(*other) == *self
    }
}

/// How a tensor's rows and columns lie in a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Cell (x, y) is row x, column y.
    RowsAlongX,
    /// Cell (x, y) is row y, column x.
    ColumnsAlongX,
    /// Elements of a vector fill the plot row by row.
    Wrapped,
}

/// A rectangle of the map that shows a rectangle of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plot {
    /// Index of the tensor in the table.
    pub tensor: usize,
    /// Rows of the tensor.
    pub rows: Range<u64>,
    /// Columns of the tensor.
    pub columns: Range<u64>,
    /// How rows and columns lie in it.
    pub orientation: Orientation,
    /// Where on the map.
    pub rect: Rect,
}

impl Plot {
    /// The cell of a weight that the plot shows.
    pub fn cell(&self, row: u64, column: u64) -> (i64, i64) {
        let (row, column) = ((row - self.rows.start) as i64, (column - self.columns.start) as i64);
        let (x, y) = match self.orientation {
            Orientation::RowsAlongX => (row, column),
            Orientation::ColumnsAlongX => (column, row),
            Orientation::Wrapped => (column % self.rect.width, column / self.rect.width),
        };
        (self.rect.x + x, self.rect.y + y)
    }

    /// The weight at a cell, as row and column of the tensor, if the plot has one there.
    pub fn weight_at(&self, x: i64, y: i64) -> Option<(u64, u64)> {
        let (x, y) = (x - self.rect.x, y - self.rect.y);
        if x < 0 || y < 0 || x >= self.rect.width || y >= self.rect.height {
            return None;
        }
        let (row, column) = match self.orientation {
            Orientation::RowsAlongX => (x, y),
            Orientation::ColumnsAlongX => (y, x),
            Orientation::Wrapped => (0, y * self.rect.width + x),
        };
        let (row, column) = (self.rows.start + row as u64, self.columns.start + column as u64);
        (row < self.rows.end && column < self.columns.end).then_some((row, column))
    }

    /// The part of the plot that shows the given rows and columns: a tile's, for instance.
    pub fn part(&self, rows: &Range<u64>, columns: &Range<u64>) -> Option<Rect> {
        let rows = self.rows.start.max(rows.start)..self.rows.end.min(rows.end);
        let columns = self.columns.start.max(columns.start)..self.columns.end.min(columns.end);
        if rows.is_empty() || columns.is_empty() {
            return None;
        }
        let (x, y) = self.cell(rows.start, columns.start);
        let (height, width) =
            ((rows.end - rows.start) as i64, (columns.end - columns.start) as i64);
        Some(match self.orientation {
            Orientation::RowsAlongX => Rect::new(x, y, height, width),
            Orientation::ColumnsAlongX => Rect::new(x, y, width, height),
            Orientation::Wrapped => {
                // Over several rows the smallest rectangle around the part is as wide as the plot.
                let (_, last) = self.cell(0, columns.end - 1);
                let across = if last == y { width } else { self.rect.width };
                Rect::new(if last == y { x } else { self.rect.x }, y, across, last - y + 1)
            }
        })
    }
}

/// Where one head's weights lie.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HeadPlan {
    /// Its layer, from 0.
    pub layer: u32,
    /// Its number in the layer.
    pub head: u32,
    /// The key and value head that it shares.
    pub kv_head: u32,
    /// Around its rows of Q and its columns of O.
    pub rect: Rect,
}

/// Where one layer's parts lie.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerPlan {
    /// Its number, from 0.
    pub layer: u32,
    /// Around both banks and the river.
    pub rect: Rect,
    /// The north bank, where no rule says otherwise: the heads.
    pub attention: Rect,
    /// The other bank: gate, up and down.
    pub feed_forward: Rect,
    /// The stretch of river between them, from edge to edge of the layer.
    pub river: Rect,
    /// Parts of that stretch, one for each lane of the layer, from west to east: embedding_size
    /// cells wide, so that a dimension of the stream is above and below its own columns of weights.
    pub channels: Vec<Rect>,
    /// Whether the stream runs towards smaller x here.
    pub westward: bool,
}

/// The whole map of a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MapPlan {
    /// Cells across and down.
    pub size: [i64; 2],
    /// The unit of space between things.
    pub unit: i64,
    /// Every plot; those of one tensor follow each other in the order of its rows or columns.
    pub plots: Vec<Plot>,
    /// Plots of each tensor, as a range of `plots`.
    pub of_tensor: Vec<Range<usize>>,
    /// Layers from first to last.
    pub layers: Vec<LayerPlan>,
    /// Heads, all of layer 0 first.
    pub heads: Vec<HeadPlan>,
    /// The river from its source to its end, piece by piece: reaches through the layers and the
    /// spaces between them, and bends. No two share a cell.
    pub river: Vec<Rect>,
    /// Around the embedding's bands.
    pub embedding: Rect,
    /// Around the output's bands; empty when the embedding is the output.
    pub output: Rect,
    /// What lies on the ground, lowest first.
    pub ornaments: Vec<Ornament>,
    /// What is written beside the model's own names.
    pub signs: Vec<Sign>,
}

impl MapPlan {
    /// Plans the map of a model. `tensors` must have passed [`super::tensors::check_family`].
    pub fn new(config: &ModelConfig, tensors: &[Tensor]) -> Self {
        Self::with_rules(config, tensors, &Rules::default())
    }

    /// Plans the map of a model by rules, which must have no [`Rules::problems`].
    pub fn with_rules(config: &ModelConfig, tensors: &[Tensor], rules: &Rules) -> Self {
        let mut plan = layers::plan(config, tensors, rules);
        rules::decorate(&mut plan, rules);
        plan
    }

    /// The plots that show a tensor.
    pub fn plots_of(&self, tensor: usize) -> &[Plot] {
        &self.plots[self.of_tensor[tensor].clone()]
    }

    /// The smallest rectangle around a tensor's plots.
    pub(crate) fn tensor_rect(&self, tensor: usize) -> Rect {
        self.plots_of(tensor).iter().fold(Rect::default(), |rect, plot| rect.union(plot.rect))
    }

    /// The rectangles that show tile `index` (counted in its tensor): one, or one per plot that the
    /// tile reaches into.
    pub fn tile_rects(&self, tensors: &[Tensor], tensor: usize, index: u64) -> Vec<Rect> {
        let shape = tensors[tensor].tiling.tile(index);
        self.plots_of(tensor)
            .iter()
            .filter_map(|plot| plot.part(&shape.rows, &shape.columns))
            .collect()
    }

    /// The plot and weight at a cell: tensor, row, column.
    pub fn weight_at(&self, x: i64, y: i64) -> Option<(usize, u64, u64)> {
        self.plots
            .iter()
            .find_map(|plot| plot.weight_at(x, y).map(|(row, column)| (plot.tensor, row, column)))
    }
}

/// How a tensor as a whole lies when nothing is known of it.
pub(super) fn default_orientation(tensor: &Tensor) -> Orientation {
    match tensor.tiling.layout {
        Layout::Vector => Orientation::Wrapped,
        Layout::Matrix => Orientation::RowsAlongX,
    }
}
