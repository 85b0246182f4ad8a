//! Edited weights over a model's file, which stays as it is: tiles with other bytes, and the way
//! back.
//!
//! In: [`Region`]s of weights and a [`Brush`]. Out: the bytes of tiles as edited, what became of
//! each request ([`Painted`]), undo and redo bit for bit, and [`save_copy`], a new file with
//! checksums of its own. A value that an encoding cannot hold becomes the nearest that it can,
//! within the scale of the weight's block.

mod paint;
mod save;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::coarse::Coarse;
use super::convert::band_bytes;
use super::error::ModelError;
use super::pixel_model::PixelModel;
use super::rearrange::gather;
use paint::edit_tile;

pub use save::{Saved, save_copy};

/// The most weights of one edit: what is decoded and encoded again in a fraction of a second.
pub(crate) const MOST_WEIGHTS: u64 = 1 << 20;
/// Bytes of tiles that undo and redo keep; the oldest edits are forgotten first.
const MOST_HISTORY_BYTES: usize = 256 << 20;

/// Why weights cannot be edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightEditsError {
    /// A tile of the file is damaged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A number that is none.
    #[error("{0} is no number that a weight can have")]
    NotFinite(f32),
    /// A region that the tensor does not have.
    #[error(
        "{tensor} has no weights in rows {}..{}, columns {}..{}",
        rows.start, rows.end, columns.start, columns.end
    )]
    Outside {
        /// The tensor's name in GGUF.
        tensor: String,
        /// Rows that were asked for.
        rows: Range<u64>,
        /// Columns that were asked for.
        columns: Range<u64>,
    },
    /// More weights than one edit may change.
    #[error("{found} weights are marked; one edit changes at most {most}")]
    TooMany {
        /// The weights of all regions together.
        found: u64,
        /// The bound, which is [`MOST_WEIGHTS`].
        most: u64,
    },
    /// A tensor that is not read as it lies in its tiles.
    #[error("{0} cannot be painted: it is worked into angles when the model is opened")]
    Fixed(String),
}

/// A rectangle of a tensor's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The tensor's place in the file's table.
    pub tensor: usize,
    /// Its rows; 0..1 of a vector.
    pub rows: Range<u64>,
    /// Its columns; elements of a vector.
    pub columns: Range<u64>,
}

impl Region {
    /// The region of one weight.
    pub fn weight(tensor: usize, row: u64, column: u64) -> Self {
        Self { tensor, rows: row..row + 1, columns: column..column + 1 }
    }

    /// How many weights it has.
    pub fn weights(&self) -> u64 {
        let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
        length(&self.rows).saturating_mul(length(&self.columns))
    }
}

/// What is done to each weight.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
pub enum Brush {
    /// It becomes a value.
    Set(f32),
    /// It is multiplied by a number.
    Scale(f32),
    /// It becomes zero, or the nearest that its block can say.
    Zero,
    /// A random number of this standard deviation is added, the same for the same seed and place.
    Noise {
        /// Standard deviation of what is added.
        spread: f32,
        /// Others give other numbers.
        seed: u64,
    },
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Painted {
    /// Weights that were asked for.
    pub weights: u64,
    /// Weights whose value is another now.
    pub changed: u64,
    /// Tiles whose bytes are others now.
    pub tiles: usize,
    /// The farthest that a weight came to lie from what was asked.
    pub largest_miss: f32,
    /// The first weight: what it was, what was asked, what it is.
    pub first: Option<[f32; 3]>,
}

/// Tiles by their number, and their bytes, where these are not those of the file.
pub type Tiles = BTreeMap<u32, Arc<[u8]>>;

/// A tile's bytes as edited; `None` are those of the file.
type Bytes = Option<Arc<[u8]>>;

/// Edited tiles over a model's file, with undo.
#[derive(Debug, Clone, Default)]
pub struct WeightEdits {
    tiles: Arc<Tiles>,
    /// What tiles were before each edit, the last one last.
    undo: Vec<Vec<(u32, Bytes)>>,
    redo: Vec<Vec<(u32, Bytes)>>,
    version: u64,
}

impl WeightEdits {
    /// The edited tiles; shared, so that others can hold them while editing goes on.
    pub fn tiles(&self) -> &Arc<Tiles> {
        &self.tiles
    }

    /// A number that grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a tile's bytes are not those of the file, so that its checksum does not hold.
    pub fn is_edited(&self, tile: u32) -> bool {
        self.tiles.contains_key(&tile)
    }

    /// A tile's bytes, as edited or else as in the file.
    pub fn tile<'a>(&'a self, model: &'a PixelModel, tile: u32) -> &'a [u8] {
        match self.tiles.get(&tile) {
            Some(bytes) => bytes,
            None => model.tile_unverified(tile),
        }
    }

    /// Edits that can be taken back, and edits that can be done again.
    pub fn depth(&self) -> [usize; 2] {
        [self.undo.len(), self.redo.len()]
    }

    /// Changes weights, in one step: all of them or, where one cannot be changed, none.
    ///
    /// # Errors
    /// A region is not there or too large, the brush is no number, or a tile of the file is
    /// damaged.
    pub fn paint(
        &mut self,
        model: &PixelModel,
        regions: &[Region],
        brush: Brush,
    ) -> Result<Painted, WeightEditsError> {
        if let Brush::Set(value) | Brush::Scale(value) | Brush::Noise { spread: value, .. } = brush
            && !value.is_finite()
        {
            return Err(WeightEditsError::NotFinite(value));
        }
        let weights = regions.iter().fold(0u64, |sum, region| sum.saturating_add(region.weights()));
        if weights > MOST_WEIGHTS {
            return Err(WeightEditsError::TooMany { found: weights, most: MOST_WEIGHTS });
        }
        let mut painted = Painted { weights, ..Painted::default() };
        let mut edited: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for region in regions {
            let Some(tensor) = model.tensors().get(region.tensor) else { continue };
            if tensor.name == "rope_freqs.weight" {
                return Err(WeightEditsError::Fixed(tensor.name.clone()));
            }
            let tiling = &tensor.tiling;
            if region.weights() == 0
                || region.rows.end > tiling.rows
                || region.columns.end > tiling.columns
            {
                let (rows, columns) = (region.rows.clone(), region.columns.clone());
                return Err(WeightEditsError::Outside {
                    tensor: tensor.name.clone(),
                    rows,
                    columns,
                });
            }
            let mut row = region.rows.start;
            while row < region.rows.end {
                let mut column = region.columns.start;
                let mut next_row = row + 1;
                while column < region.columns.end {
                    let index = tiling.tile_of(row, column);
                    let (tile, shape) = (tensor.first_tile + index as u32, tiling.tile(index));
                    // Regions may overlap: a later one paints on what an earlier one has painted. A
                    // tile of the file is checked, or its damage would get a checksum of its own.
                    let bytes = match edited.remove(&tile) {
                        Some(bytes) => bytes,
                        None if self.is_edited(tile) => self.tile(model, tile).to_vec(),
                        None => model.tile(tile)?.to_vec(),
                    };
                    next_row = shape.rows.end;
                    let rows = row..region.rows.end.min(next_row);
                    let columns = column..region.columns.end.min(shape.columns.end);
                    column = columns.end;
                    let bytes =
                        edit_tile(tiling, &shape, bytes, (rows, columns), brush, &mut painted);
                    edited.insert(tile, bytes);
                }
                row = next_row;
            }
        }
        let step = edited
            .into_iter()
            .filter(|(tile, bytes)| self.tile(model, *tile) != &bytes[..])
            .map(|(tile, bytes)| {
                // Painted back to the file's bytes it is no edit, and its checksum holds again.
                let as_in_file = model.tile_unverified(tile) == &bytes[..];
                (tile, (!as_in_file).then(|| Arc::from(bytes)))
            })
            .collect();
        painted.tiles = self.commit(step);
        Ok(painted)
    }

    /// Makes every tile what it is in the file, as an edit that can be taken back.
    pub fn restore_all(&mut self) -> usize {
        let step = self.tiles.keys().map(|&tile| (tile, None)).collect();
        self.commit(step)
    }

    /// Takes back the last edit. Gives the tiles that it changes, or 0 where there is none.
    pub fn undo(&mut self) -> usize {
        let Some(step) = self.undo.pop() else { return 0 };
        let before = self.exchange(step);
        self.redo.push(before);
        self.redo.last().map_or(0, Vec::len)
    }

    /// Does again what was taken back last.
    pub fn redo(&mut self) -> usize {
        let Some(step) = self.redo.pop() else { return 0 };
        let before = self.exchange(step);
        self.undo.push(before);
        self.undo.last().map_or(0, Vec::len)
    }

    fn commit(&mut self, step: Vec<(u32, Bytes)>) -> usize {
        let tiles = step.len();
        if tiles > 0 {
            let before = self.exchange(step);
            self.undo.push(before);
            self.redo.clear();
            self.forget_the_oldest();
        }
        tiles
    }

    /// Puts tiles in place and gives what was there.
    fn exchange(&mut self, step: Vec<(u32, Bytes)>) -> Vec<(u32, Bytes)> {
        self.version += 1;
        // Where others hold the list it is copied, but not the tiles in it.
        let tiles = Arc::make_mut(&mut self.tiles);
        step.into_iter()
            .map(|(tile, bytes)| {
                let before = match bytes {
                    Some(bytes) => tiles.insert(tile, bytes),
                    None => tiles.remove(&tile),
                };
                (tile, before)
            })
            .collect()
    }

    fn forget_the_oldest(&mut self) {
        let size = |step: &Vec<(u32, Bytes)>| -> usize {
            step.iter().filter_map(|(_, bytes)| bytes.as_ref()).map(|bytes| bytes.len()).sum()
        };
        let mut all: usize = self.undo.iter().map(size).sum();
        // The last edit can always be taken back.
        while all > MOST_HISTORY_BYTES && self.undo.len() > 1 {
            all -= size(&self.undo.remove(0));
        }
    }
}

/// What a tile of other bytes looks like from afar.
///
/// # Errors
/// A weight is NaN or infinite.
pub(crate) fn coarse_of(model: &PixelModel, tile: u32, bytes: &[u8]) -> Result<Coarse, ModelError> {
    let (tensor, shape) = model.tile_shape(tile);
    let tensor = &model.tensors()[tensor];
    let (_, size) = band_bytes(tensor, u64::from(tile - tensor.first_tile));
    let mut band = vec![0; size as usize];
    gather(&tensor.tiling, &shape, bytes, &mut band);
    Coarse::of(&tensor.tiling, &shape, &band).map_err(|bad| {
        let row = shape.rows.start + bad.row;
        ModelError::tensor(
            &tensor.name,
            format!("row {row} has a weight or scale that is NaN or infinite"),
        )
    })
}

#[cfg(test)]
mod tests;
