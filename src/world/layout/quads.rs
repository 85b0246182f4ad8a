//! What is drawn of each tile: a rectangle of cells, and how to find a cell's weight in the page
//! texture.

use bytemuck::{Pod, Zeroable};

use crate::model::coarse::BlockGrid;
use crate::model::plan::{Orientation, Plot, Rect};
use crate::model::tiling::{Layout, TileShape};
use crate::model::{Encoding, PixelModel, Tensor, planes::LINE_BYTES};

/// In [`Quad::state`]: the head or layer says nothing.
pub(crate) const STATE_MUTED: u32 = 1;
/// In [`Quad::state`]: the head or layer is weakened or strengthened.
pub(crate) const STATE_SCALED: u32 = 2;
/// In [`Quad::state`]: weights that it shows are not those of the file.
pub const STATE_EDITED: u32 = 4;
/// In [`Quad::state`]: bytes of the tile do not match its checksum.
pub const STATE_DAMAGED: u32 = 8;

/// In [`Quad::kind`]: a flat colour, that of the river's bed; or where [`Quad::tile`] is 1, of red,
/// green and blue in linear light as the bits of `rows`, `columns` and `first_byte`.
pub(crate) const FLAT: u32 = 255;

/// In [`Quad::kind`]: the ground, under everything; the minimap hides with it what it lies on.
pub(crate) const GROUND: u32 = 254;

/// A tile, or what one plot shows of it, as `shaders/view` reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct Quad {
    /// Left edge in cells.
    pub x: i32,
    /// Top edge in cells.
    pub y: i32,
    /// How many cells across.
    pub width: u32,
    /// How many cells down.
    pub height: u32,
    /// Row of the first cell, counted in the tile; of a vector, the element of the first cell,
    /// which may be negative.
    pub row: i32,
    /// Column of the first cell, counted in the tile; of a vector, elements per line of cells.
    pub column: u32,
    /// The number of the tile that it shows.
    pub tile: u32,
    /// GGML type number of the encoding; 8 bits further the [`Orientation`]: 0 rows along x, 1
    /// columns along x, 2 a vector; 16 bits further the binary logarithm of how many blocks of the
    /// coarse level lie along a row of the tile. Or `FLAT`.
    pub kind: u32,
    /// Rows of the tile.
    pub rows: u32,
    /// Columns of the tile; elements of a vector's.
    pub columns: u32,
    /// One over the spread of the tensor.
    pub scale: f32,
    /// Bits: what is to be seen of its state.
    pub state: u32,
    /// Of a vector, the byte of the tile where its first element begins.
    pub first_byte: u32,
    /// Bytes of the payload before the tile, modulo 3: where the tile's first pixel begins.
    pub phase: u32,
    /// The layer, or `u32::MAX`.
    pub layer: u32,
    /// The query head that it belongs to alone, or `u32::MAX`.
    pub head: u32,
}

impl Quad {
    /// The encoding; `None` where it is flat.
    pub fn encoding(&self) -> Option<Encoding> {
        // `FLAT` and `GROUND` are no numbers of GGML.
        Encoding::from_ggml(self.kind & 0xFF)
    }
}

/// Every quad of a model; the ground, decorations and the river come first, under
/// everything, then one encoding after the other.
pub(super) fn quads(model: &PixelModel, spreads: &[f32]) -> Vec<Quad> {
    let river = model.plan().river.iter().map(|piece| flat(*piece));
    let [width, height] = model.plan().size;
    let ground = Quad { kind: GROUND, ..flat(Rect::new(0, 0, width, height)) };
    let ornaments =
        model.plan().ornaments.iter().map(|ornament| coloured(ornament.rect, ornament.colour));
    let mut quads: Vec<Quad> = std::iter::once(ground).chain(ornaments).chain(river).collect();
    for (index, tensor) in model.tensors().iter().enumerate() {
        for tile in tensor.tiles() {
            let shape = tensor.tiling.tile(u64::from(tile - tensor.first_tile));
            for plot in model.plan().plots_of(index) {
                let Some(part) = plot.part(&shape.rows, &shape.columns) else { continue };
                let phase = (model.tile_range(tile).start % 3) as u32;
                let head = head_of(model, tensor, plot);
                let quad = quad(tensor, &shape, plot, part);
                // No spread is 0: that of zeros is the least positive number.
                quads.push(Quad { tile, phase, head, scale: 1.0 / spreads[index], ..quad });
            }
        }
    }
    // What is flat has no encoding and sorts first; a stable sort keeps its order, ground below
    // river. One encoding after the other makes few runs, each of them one draw.
    quads.sort_by_key(Quad::encoding);
    quads
}

/// A flat quad of a colour of its own, if there is one.
fn coloured(rect: Rect, colour: Option<[u8; 3]>) -> Quad {
    let Some(colour) = colour else { return flat(rect) };
    let [rows, columns, first_byte] =
        colour.map(|channel| crate::model::colour::linear(f32::from(channel) / 255.0).to_bits());
    Quad { tile: 1, rows, columns, first_byte, ..flat(rect) }
}

fn flat(rect: Rect) -> Quad {
    Quad {
        x: rect.x as i32,
        y: rect.y as i32,
        width: rect.width as u32,
        height: rect.height as u32,
        kind: FLAT,
        layer: u32::MAX,
        head: u32::MAX,
        ..Zeroable::zeroed()
    }
}

fn quad(tensor: &Tensor, shape: &TileShape, plot: &Plot, part: Rect) -> Quad {
    let encoding = tensor.encoding();
    let (orientation, row, column) = match plot.orientation {
        Orientation::Wrapped => {
            // A part of several lines begins at the plot's left edge, where the tile may not have
            // begun: the first cells are then of the tile before, and the number negative.
            let lines_down = part.y - plot.rect.y;
            let element =
                lines_down * plot.rect.width + (part.x - plot.rect.x) + plot.columns.start as i64
                    - shape.columns.start as i64;
            (2, element as i32, plot.rect.width as u32)
        }
        along => {
            let (row, column) =
                plot.weight_at(part.x, part.y).expect("a part lies within its plot");
            let along_x = u32::from(along == Orientation::ColumnsAlongX);
            (along_x, (row - shape.rows.start) as i32, (column - shape.columns.start) as u32)
        }
    };
    let first_byte = match tensor.tiling.layout {
        Layout::Matrix => 0,
        Layout::Vector => {
            // A tile's bytes begin with a whole line, its first element may lie further in.
            let blocks = shape.columns.start / encoding.block_len() as u64;
            (blocks * encoding.block_bytes() as u64 - shape.lines.start * LINE_BYTES) as u32
        }
    };
    Quad {
        row,
        column,
        kind: encoding.ggml() | orientation << 8 | BlockGrid::of(shape).blocks[1].ilog2() << 16,
        rows: (shape.rows.end - shape.rows.start) as u32,
        columns: (shape.columns.end - shape.columns.start) as u32,
        first_byte,
        layer: tensor.layer().map_or(u32::MAX, |(layer, _)| layer),
        ..flat(part)
    }
}

/// The query head whose own part of a matrix a plot shows: rows of Q, columns of O.
fn head_of(model: &PixelModel, tensor: &Tensor, plot: &Plot) -> u32 {
    let size = u64::from(model.config().head_size).max(1);
    match tensor.layer() {
        Some((_, "attn_q.weight")) => (plot.rows.start / size) as u32,
        Some((_, "attn_output.weight")) => (plot.columns.start / size) as u32,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Atlas;
    use super::*;

    #[test]
    fn every_cell_of_every_plot_is_in_exactly_one_quad_and_at_its_own_weight() {
        let model = Arc::new(crate::app::kinds::assets().default_model().unwrap());
        let atlas = Atlas::new(Arc::clone(&model));
        let cells: u64 = model
            .plan()
            .plots
            .iter()
            .map(|plot| (plot.rows.end - plot.rows.start) * (plot.columns.end - plot.columns.start))
            .sum();
        let mut drawn = 0u64;
        for quad in atlas.quads().iter().filter(|quad| quad.kind < GROUND || quad.kind > FLAT) {
            let (tensor, shape) = model.tile_shape(quad.tile);
            for dy in (0..quad.height).step_by(quad.height as usize / 2 + 1) {
                for dx in (0..quad.width).step_by(quad.width as usize / 2 + 1) {
                    let (x, y) =
                        (i64::from(quad.x) + i64::from(dx), i64::from(quad.y) + i64::from(dy));
                    let (row, column) = match quad.kind >> 8 & 0xFF {
                        0 => (quad.row + dx as i32, (quad.column + dy) as i32),
                        1 => (quad.row + dy as i32, (quad.column + dx) as i32),
                        _ => (0, quad.row + (dy * quad.column + dx) as i32),
                    };
                    let expected = model.plan().weight_at(x, y);
                    let found = (
                        tensor,
                        shape.rows.start + row as u64,
                        (shape.columns.start as i64 + i64::from(column)) as u64,
                    );
                    if column >= 0 && (column as u32) < quad.columns {
                        assert_eq!(expected, Some(found), "{quad:?} at {dx}, {dy}");
                    }
                }
            }
            drawn += if quad.kind >> 8 & 0xFF == 2 {
                0
            } else {
                u64::from(quad.width) * u64::from(quad.height)
            };
        }
        let vectors: u64 = model
            .tensors()
            .iter()
            .filter(|t| t.tiling.layout == Layout::Vector)
            .map(|t| t.tiling.columns)
            .sum();
        assert_eq!(drawn + vectors, cells);
    }
}
