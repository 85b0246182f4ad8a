//! A copy of a model with its edits, as a file of its own: fresh checksums, statistics and coarse
//! levels of the edited tiles.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{WeightEdits, coarse_of};
use crate::model::convert::Progress;
use crate::model::error::ModelError;
use crate::model::file_head::seal;
use crate::model::pixel_model::PixelModel;
use crate::model::tile_record;
use crate::pxi::{DEFAULT_WIDTH, PayloadFile, Target};

/// What a copy holds that was saved.
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
    // The target refuses as well, but only after all edited tiles have been looked at.
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
        tile_record::put(&mut head, &sections, tile, &Sha256::digest(bytes).into(), &coarse);
    }
    seal(&mut head, model.header().clone(), model.config());

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
