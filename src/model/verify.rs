//! Checks every tile of a model on every core, and tells which are damaged and where they lie.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::convert::Progress;
use super::pixel_model::PixelModel;
use super::plan::Rect;

/// A tile whose bytes are not those that were written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DamagedTile {
    /// Index in the tile table.
    pub tile: u32,
    /// Name of its tensor.
    pub tensor: String,
    /// First row and the row after the last.
    pub rows: [u64; 2],
    /// First column and the column after the last.
    pub columns: [u64; 2],
    /// Where it lies on the map.
    pub map: Vec<Rect>,
    /// Its first byte in the file.
    pub file_offset: u64,
    /// The SHA-256 that it should have.
    pub expected: String,
    /// The SHA-256 that it has.
    pub found: String,
}

/// Tiles handed to a core at a time: a few MiB, so that the bar moves and cores seldom wait.
const TILES_AT_ONCE: usize = 64;

/// Hashes every tile again, whatever was checked before. `progress` hears of bytes done out of the
/// tiles' size.
pub fn verify(model: &PixelModel, progress: Progress<'_>) -> Vec<DamagedTile> {
    let done = AtomicU64::new(0);
    let tiles: Vec<u32> = (0..model.tile_count()).collect();
    let mut damaged: Vec<DamagedTile> = tiles
        .par_chunks(TILES_AT_ONCE)
        .flat_map_iter(|tiles| {
            let mut bytes = 0;
            let mut damaged = Vec::new();
            for &tile in tiles {
                // Not `tile`, which answers by what it found the first time.
                let content = model.tile_unverified(tile);
                bytes += content.len() as u64;
                let found: [u8; 32] = Sha256::digest(content).into();
                if found != *model.tile_digest(tile) {
                    damaged.push(describe(model, tile, found));
                }
            }
            progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
            damaged
        })
        .collect();
    damaged.sort_unstable_by_key(|damaged| damaged.tile);
    damaged
}

fn describe(model: &PixelModel, tile: u32, found: [u8; 32]) -> DamagedTile {
    let (tensor, shape) = model.tile_shape(tile);
    let first = model.tensors()[tensor].first_tile;
    DamagedTile {
        tile,
        tensor: model.tensors()[tensor].name.clone(),
        rows: [shape.rows.start, shape.rows.end],
        columns: [shape.columns.start, shape.columns.end],
        map: model.plan().tile_rects(model.tensors(), tensor, u64::from(tile - first)),
        file_offset: (model.tile_range(tile).start + crate::pxi::HEADER_LEN) as u64,
        expected: super::hex(model.tile_digest(tile)),
        found: super::hex(&found),
    }
}
