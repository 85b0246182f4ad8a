//! How a tensor is cut into tiles (specs/pxi_llm.md section 6): pure geometry, from shape and
//! encoding alone.

use std::ops::Range;

use super::planes::{LINE_BYTES, LINE_TEXELS, SPLIT_COLUMNS, TILE_SIZE, row_group_lines};
use super::quant::Encoding;

/// How a tensor's bytes lie in its tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Layout {
    /// Row groups of planes: texel x of a line belongs to row x of the group.
    Matrix = 0,
    /// The GGUF bytes in order, 1024 to a line.
    Vector = 1,
}

/// The tiles of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Encoding of the weights.
    pub encoding: Encoding,
    /// Matrix or vector, by the number of dimensions.
    pub layout: Layout,
    /// Outputs; 1 for a vector.
    pub rows: u64,
    /// Inputs; the elements of a vector.
    pub columns: u64,
    /// Row groups in a full tile (matrices).
    pub row_groups_per_tile: u64,
    /// Columns in a full tile.
    pub columns_per_tile: u64,
}

/// One tile: which part of its tensor it holds and where its lines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileShape {
    /// Rows of the matrix; 0..1 for a vector.
    pub rows: Range<u64>,
    /// Columns of the matrix; elements of a vector.
    pub columns: Range<u64>,
    /// Lines of the tile, counted from the tensor's first.
    pub lines: Range<u64>,
}

impl TileShape {
    /// Bytes of the tile in the file and on the GPU.
    pub fn size_in_bytes(&self) -> u64 {
        (self.lines.end - self.lines.start) * LINE_BYTES
    }
}

impl Tiling {
    /// The tiling of a tensor with `dimensions` in GGUF order (columns first). `None` when a row is
    /// no whole number of blocks, a dimension is zero, or a size overflows.
    pub fn new(encoding: Encoding, dimensions: &[u64]) -> Option<Self> {
        let columns = *dimensions.first()?;
        let rows = dimensions[1..].iter().try_fold(1u64, |rows, &n| rows.checked_mul(n))?;
        if rows == 0 || columns == 0 || !columns.is_multiple_of(encoding.block_len() as u64) {
            return None;
        }
        encoding
            .row_bytes(columns)?
            .checked_mul(rows.checked_next_multiple_of(LINE_TEXELS)?)?
            .checked_mul(2)?;
        let (layout, row_groups_per_tile, columns_per_tile) = if dimensions.len() == 1 {
            // Whole blocks need not end where a tile does: a vector's tiles are cut by bytes, its
            // columns rounded down.
            let blocks = TILE_SIZE * LINE_BYTES / encoding.block_bytes() as u64;
            (Layout::Vector, 1, blocks * encoding.block_len() as u64)
        } else {
            let lines = row_group_lines(encoding, columns);
            if lines <= TILE_SIZE {
                (Layout::Matrix, TILE_SIZE / lines, columns)
            } else {
                let units = (1..)
                    .take_while(|units| {
                        row_group_lines(encoding, units * SPLIT_COLUMNS) <= TILE_SIZE
                    })
                    .last()
                    .expect("one split unit of any encoding fits a tile, by a test in planes.rs");
                (Layout::Matrix, 1, units * SPLIT_COLUMNS)
            }
        };
        Some(Self { encoding, layout, rows, columns, row_groups_per_tile, columns_per_tile })
    }

    /// Row groups of the matrix.
    pub(crate) fn row_groups(&self) -> u64 {
        self.rows.div_ceil(LINE_TEXELS)
    }

    /// Tiles side by side along the columns.
    pub(crate) fn tiles_across(&self) -> u64 {
        match self.layout {
            Layout::Matrix => self.columns.div_ceil(self.columns_per_tile),
            Layout::Vector => self.line_count().div_ceil(TILE_SIZE),
        }
    }

    /// Tiles of the tensor.
    pub fn tile_count(&self) -> u64 {
        self.row_groups().div_ceil(self.row_groups_per_tile) * self.tiles_across()
    }

    /// Lines of one row group over all its tiles.
    pub fn lines_per_row_group(&self) -> u64 {
        let full = self.columns / self.columns_per_tile;
        let rest = self.columns % self.columns_per_tile;
        full * row_group_lines(self.encoding, self.columns_per_tile)
            + row_group_lines(self.encoding, rest)
    }

    /// Lines of the tensor.
    pub(crate) fn line_count(&self) -> u64 {
        match self.layout {
            Layout::Matrix => self.row_groups() * self.lines_per_row_group(),
            Layout::Vector => self.size_in_bytes().div_ceil(LINE_BYTES),
        }
    }

    /// Bytes of the tensor in GGUF.
    pub fn size_in_bytes(&self) -> u64 {
        self.columns / self.encoding.block_len() as u64
            * self.encoding.block_bytes() as u64
            * self.rows
    }

    /// The part of the tensor in tile `index`, which must be below [`Tiling::tile_count`].
    pub fn tile(&self, index: u64) -> TileShape {
        match self.layout {
            Layout::Matrix => self.matrix_tile(index),
            Layout::Vector => self.vector_tile(index),
        }
    }

    /// All tiles in order.
    pub fn tiles(&self) -> impl Iterator<Item = TileShape> + '_ {
        (0..self.tile_count()).map(|index| self.tile(index))
    }

    /// The index of the tile that holds a weight.
    pub fn tile_of(&self, row: u64, column: u64) -> u64 {
        match self.layout {
            Layout::Matrix => {
                let down = row / LINE_TEXELS / self.row_groups_per_tile;
                down * self.tiles_across() + column / self.columns_per_tile
            }
            Layout::Vector => {
                let byte =
                    column / self.encoding.block_len() as u64 * self.encoding.block_bytes() as u64;
                byte / (TILE_SIZE * LINE_BYTES)
            }
        }
    }

    fn matrix_tile(&self, index: u64) -> TileShape {
        let (down, across) = (index / self.tiles_across(), index % self.tiles_across());
        let first_group = down * self.row_groups_per_tile;
        let groups = self.row_groups_per_tile.min(self.row_groups() - first_group);
        let columns =
            across * self.columns_per_tile..self.columns.min((across + 1) * self.columns_per_tile);
        let first_line = first_group * self.lines_per_row_group()
            + across * row_group_lines(self.encoding, self.columns_per_tile);
        let lines = groups * row_group_lines(self.encoding, columns.end - columns.start);
        TileShape {
            rows: first_group * LINE_TEXELS..self.rows.min((first_group + groups) * LINE_TEXELS),
            columns,
            lines: first_line..first_line + lines,
        }
    }

    fn vector_tile(&self, index: u64) -> TileShape {
        let lines = index * TILE_SIZE..self.line_count().min((index + 1) * TILE_SIZE);
        // A tile owns the elements whose block begins in it, so that each belongs to exactly one.
        let element = |line: u64| {
            let blocks = (line * LINE_BYTES).div_ceil(self.encoding.block_bytes() as u64);
            (blocks * self.encoding.block_len() as u64).min(self.columns)
        };
        TileShape { rows: 0..1, columns: element(lines.start)..element(lines.end), lines }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn smollm2_sizes() {
        let tiling = Tiling::new(Encoding::Q4_1, &[576, 1536]).unwrap();
        assert_eq!((tiling.row_groups_per_tile, tiling.columns_per_tile), (2, 576));
        assert_eq!((tiling.lines_per_row_group(), tiling.tile_count()), (23, 12));
        let tiling = Tiling::new(Encoding::Q4_1, &[1536, 576]).unwrap();
        assert_eq!((tiling.lines_per_row_group(), tiling.tile_count()), (60, 9));
        let tiling = Tiling::new(Encoding::Q4_1, &[4096, 128]).unwrap();
        assert_eq!(
            (tiling.columns_per_tile, tiling.tiles_across(), tiling.tile_count()),
            (1536, 3, 6)
        );
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        assert_eq!(Tiling::new(Encoding::Q4_1, &[33, 2]), None);
        assert_eq!(Tiling::new(Encoding::F32, &[0, 2]), None);
        assert_eq!(Tiling::new(Encoding::F32, &[]), None);
        assert_eq!(Tiling::new(Encoding::F32, &[1 << 40, 1 << 40]), None);
    }

    proptest! {
        #[test]
        fn tiles_cover_every_weight_once_and_lines_without_a_gap(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            blocks in 1u64..40, rows in 1u64..300, vector: bool,
        ) {
            let columns = match encoding.block_len() as u64 {
                1 => blocks * 37,
                len => blocks * len,
            };
            let dimensions = if vector { vec![columns] } else { vec![columns, rows] };
            let tiling = Tiling::new(encoding, &dimensions).unwrap();
            let (mut weights, mut next_line) = (0, 0);
            for (index, tile) in tiling.tiles().enumerate() {
                let height = tile.rows.end - tile.rows.start;
                weights += height * (tile.columns.end - tile.columns.start);
                if tiling.layout == Layout::Vector || tiling.tiles_across() == 1 {
                    prop_assert_eq!(tile.lines.start, next_line);
                }
                next_line = next_line.max(tile.lines.end);
                prop_assert!(tile.lines.end - tile.lines.start <= TILE_SIZE);
                prop_assert!(tile.columns.is_empty()
                    || tiling.tile_of(tile.rows.start, tile.columns.start) == index as u64);
                if !tile.columns.is_empty() {
                    let last = (tile.rows.end - 1, tile.columns.end - 1);
                    prop_assert_eq!(tiling.tile_of(last.0, last.1), index as u64);
                }
            }
            prop_assert_eq!(weights, tiling.rows * tiling.columns);
            prop_assert_eq!(next_line, tiling.line_count());
        }
    }
}
