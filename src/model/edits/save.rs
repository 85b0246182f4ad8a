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
use crate::model::header::{HEADER_BYTES, Header, MINOR, Sections};
use crate::model::pixel_model::PixelModel;
use crate::model::planes::LINE_BYTES;
use crate::model::tensors::encode_table;
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
    let of_file = model.header().sections;
    let (sections, mut head) = match of_file.minor {
        MINOR => (of_file, model.head_bytes().to_vec()),
        _ => head_of_this_version(model)?,
    };
    for (&tile, bytes) in overlay.tiles().iter() {
        let coarse = coarse_of(model, tile, bytes)?;
        tile_record::put(&mut head, &sections, tile, &Sha256::digest(bytes).into(), &coarse);
    }
    let map_size = match of_file.minor {
        MINOR => model.header().map_size,
        _ => model.plan().size.map(|side| side as u32),
    };
    seal(&mut head, Header { sections, map_size, ..model.header().clone() }, model.config());

    let output =
        PayloadFile::create(Target::new(path, false), DEFAULT_WIDTH, sections.payload_size())?;
    output.write_at(0, &head)?;
    let done = AtomicU64::new(0);
    (0..model.tile_count()).into_par_iter().try_for_each(|tile| {
        let bytes =
            if overlay.is_edited(tile) { overlay.tile(model, tile) } else { model.tile(tile)? };
        let place = model.tile_range(tile).start as u64 - of_file.tiles + sections.tiles;
        output.write_at(place, bytes)?;
        let size = bytes.len() as u64;
        progress(done.fetch_add(size, Ordering::Relaxed) + size);
        Ok::<(), ModelError>(())
    })?;
    output.finish(&|_| ())?;
    Ok(Saved { edited: overlay.tiles().len(), payload_size_in_bytes: sections.payload_size() })
}

/// The head that a model of an older version has in this one: every tile is looked at, since the
/// older coarse table says less.
fn head_of_this_version(model: &PixelModel) -> Result<(Sections, Vec<u8>), ModelError> {
    let header = model.header();
    let old = header.sections;
    let tiles = u64::from(model.tile_count());
    let (lines, metadata) = (old.tiles_size / LINE_BYTES, old.metadata_size);
    let sections = Sections::plan(MINOR, metadata, old.tensor_table_size, tiles, lines)
        .ok_or_else(|| ModelError::field("model", "sizes that overflow", "under 2^63 bytes"))?;
    let mut head = vec![0; sections.tiles as usize];
    let metadata = HEADER_BYTES..HEADER_BYTES + metadata as usize;
    head[metadata.clone()].copy_from_slice(&model.head_bytes()[metadata]);
    // The rectangles are those of the plan of whoever writes.
    let rects: Vec<_> =
        (0..model.tensors().len()).map(|tensor| model.plan().tensor_rect(tensor)).collect();
    let table = encode_table(model.tensors(), &rects);
    head[sections.tensor_table as usize..][..table.len()].copy_from_slice(&table);
    let coarse = |tile| coarse_of(model, tile, model.tile(tile)?);
    let coarse: Vec<_> = (0..model.tile_count()).into_par_iter().map(coarse).collect();
    for (tile, coarse) in (0..).zip(coarse) {
        tile_record::put(&mut head, &sections, tile, model.tile_digest(tile), &coarse?);
    }
    Ok((sections, head))
}
