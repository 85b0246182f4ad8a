//! A copy of a model with its edits, as a file of its own: fresh checksums, statistics and coarse
//! levels of the edited tiles.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{WeightEdits, coarse_of};
use crate::model::convert::Progress;
use crate::model::error::ModelError;
use crate::model::header::{
    COARSE_RECORD_BYTES, HEAD_CHECKSUM, HEADER_BYTES, Header, TILE_RECORD_BYTES,
};
use crate::model::pixel_model::{PixelModel, head_checksum};
use crate::pxi::{DEFAULT_WIDTH, PayloadFile, Target};

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Tiles that differ from those of the model's file.
    pub edited: usize,
    /// Bytes of the payload.
    pub payload_size_in_bytes: u64,
}

/// Writes the model with its edits to `path`, where nothing may be yet. `progress` hears of bytes
/// written.
///
/// # Errors
/// There is a file already, a tile that is not edited is damaged, or the file cannot be written.
/// Nothing is left behind then.
pub fn save_copy(
    model: &PixelModel,
    overlay: &WeightEdits,
    path: &Path,
    progress: Progress<'_>,
) -> Result<Saved, ModelError> {
    if path.exists() {
        let source = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is there already");
        return Err(ModelError::Io {
            action: format!("save a copy as {}", path.display()),
            source,
        });
    }
    let sections = model.header().sections;
    let mut head = model.head_bytes().to_vec();
    for (&tile, bytes) in overlay.tiles().iter() {
        let coarse = coarse_of(model, tile, bytes)?;
        let mut put = |offset: u64, bytes: &[u8]| {
            head[offset as usize..][..bytes.len()].copy_from_slice(bytes)
        };
        let record = sections.tile_table + u64::from(tile) * TILE_RECORD_BYTES;
        put(record, &Sha256::digest(bytes));
        let statistics = coarse.statistics;
        for (place, value) in (0..).zip([statistics.mean, statistics.spread, statistics.peak]) {
            put(record + 32 + 4 * place, &value.to_le_bytes());
        }
        put(sections.coarse_table + u64::from(tile) * COARSE_RECORD_BYTES, &coarse.grid_bytes());
    }
    let mut root = Sha256::new();
    let table = &head[sections.tile_table as usize..];
    for record in table.chunks_exact(TILE_RECORD_BYTES as usize).take(model.tile_count() as usize) {
        root.update(&record[..32]);
    }
    let header =
        Header { root: root.finalize().into(), head_checksum: [0; 32], ..model.header().clone() };
    head[..HEADER_BYTES].copy_from_slice(&header.encode(model.config()));
    let checksum = head_checksum(&head);
    head[HEAD_CHECKSUM].copy_from_slice(&checksum);

    let output =
        PayloadFile::create(Target::new(path, false), DEFAULT_WIDTH, sections.payload_size())?;
    output.write_at(0, &head)?;
    let done = AtomicU64::new(0);
    (0..model.tile_count()).into_par_iter().try_for_each(|tile| {
        let bytes =
            if overlay.is_edited(tile) { overlay.tile(model, tile) } else { model.tile(tile)? };
        output.write_at(model.tile_range(tile).start as u64, bytes)?;
        let size = bytes.len() as u64;
        progress(done.fetch_add(size, Ordering::Relaxed) + size);
        Ok::<(), ModelError>(())
    })?;
    output.finish(&|_| ())?;
    Ok(Saved { edited: overlay.tiles().len(), payload_size_in_bytes: sections.payload_size() })
}
