//! Writing a pack: fresh tiles and tiles of older packs, equal pixels once, as two files that
//! appear whole.

use super::directory::Counts;
use super::index::PackRecord;
use super::pack::Pack;
use super::{MapStore, directory, pack};
use crate::map::MapError;
use crate::map::geometry::TilePos;
use crate::map::tile::Tile;
use crate::pxi::{Compression, PxiWriter, WriteOptions};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fs, io::Write, path::Path};

/// The width of the pictures that indexes and directories are, in pixels: their last row wastes
/// little.
const PLAIN_WIDTH: u32 = 64;

/// Where the pixels of a tile come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TileSource<'a> {
    Fresh(&'a Tile),
    Stored { key: u32, slot: u32 },
}

/// Why a pack was not written.
pub(crate) enum WriteRefusal {
    /// This older pack has a damaged tile, which must not be passed on.
    Damaged {
        key: u32,
    },
    Failed(MapError),
}

impl From<MapError> for WriteRefusal {
    fn from(error: MapError) -> Self {
        Self::Failed(error)
    }
}

impl MapStore {
    /// Writes a pack and opens it; tiles and removed positions are in their order. The index does
    /// not know it yet.
    pub(crate) fn write_pack(
        &mut self,
        tiles: &[(TilePos, TileSource<'_>)],
        removed: &[TilePos],
    ) -> Result<u32, WriteRefusal> {
        let number = self.next_pack;
        let tiles_path = pack::tiles_path(&self.folder, number);
        let options =
            WriteOptions { width: self.tile_size.side().into(), compression: Compression::None };
        let mut writer = PxiWriter::create(&tiles_path, options).map_err(MapError::from)?;
        let mut slots = WrittenSlots::default();
        let mut placed = Vec::with_capacity(tiles.len());
        for (tile, source) in tiles {
            let slot = match source {
                TileSource::Fresh(tile) => {
                    slots.add(tile.digest(), tile.rgb(), &mut writer, &tiles_path)?
                }
                TileSource::Stored { key, slot } => {
                    let damaged = WriteRefusal::Damaged { key: *key };
                    let Some(pack) = self.pack(*key) else { return Err(damaged) };
                    let digest =
                        pack.directory().and_then(|directory| directory.digest(*slot).copied());
                    match digest.and_then(|digest| slots.by_digest.get(&digest)) {
                        Some(known) => *known,
                        None => {
                            let Ok(rgb) = pack.read(*slot) else { return Err(damaged) };
                            slots.add(
                                Sha256::digest(&rgb).into(),
                                &rgb,
                                &mut writer,
                                &tiles_path,
                            )?
                        }
                    }
                }
            };
            placed.push((*tile, slot));
        }
        let directory = directory::encode(
            &self.map_id,
            number,
            self.tile_size,
            &slots.digests,
            &placed,
            removed,
        );
        write_all(&mut writer, &directory, &tiles_path)?;
        let [slot_count, tile_count, removed_count] =
            [slots.digests.len(), placed.len(), removed.len()].map(|count| count as u32);
        let record = PackRecord {
            number,
            counts: Counts { slots: slot_count, tiles: tile_count, removed: removed_count },
            directory_digest: Sha256::digest(&directory).into(),
        };
        // The pixels are on the disk before the directory that names them.
        writer.finish().map_err(MapError::from)?;
        if let Err(error) = write_plain(&pack::directory_path(&self.folder, number), &directory) {
            // Without its directory the pack is no use, and the disk may be full.
            let _ = fs::remove_file(&tiles_path);
            return Err(error.into());
        }
        // Opened as by a reader: what was written is looked at before an index names it.
        let (mut pack, problems) = Pack::open(&self.folder, record, &self.map_id, self.tile_size);
        if let Some(error) = problems.into_iter().next() {
            return Err(error.into());
        }
        pack.live = tile_count;
        self.next_pack += 1;
        self.uncommitted.push(number);
        Ok(self.keep(pack))
    }
}

/// The tiles' worth of pixels that have been written.
#[derive(Default)]
struct WrittenSlots {
    digests: Vec<[u8; 32]>,
    by_digest: HashMap<[u8; 32], u32>,
}

impl WrittenSlots {
    fn add(
        &mut self,
        digest: [u8; 32],
        rgb: &[u8],
        writer: &mut PxiWriter,
        path: &Path,
    ) -> Result<u32, MapError> {
        if let Some(known) = self.by_digest.get(&digest) {
            return Ok(*known);
        }
        write_all(writer, rgb, path)?;
        let slot = self.digests.len() as u32;
        self.digests.push(digest);
        self.by_digest.insert(digest, slot);
        Ok(slot)
    }
}

/// Writes a `.pxi` file whose payload is these bytes.
pub(super) fn write_plain(path: &Path, payload: &[u8]) -> Result<(), MapError> {
    let options = WriteOptions { width: PLAIN_WIDTH, compression: Compression::None };
    let mut writer = PxiWriter::create(path, options)?;
    write_all(&mut writer, payload, path)?;
    writer.finish()?;
    Ok(())
}

fn write_all(writer: &mut PxiWriter, bytes: &[u8], path: &Path) -> Result<(), MapError> {
    writer.write_all(bytes).map_err(|error| MapError::io("write")(error).at(path))
}

/// A pack of a million tiles is a file of 12 GB; merging stops short of what would be too long to
/// wait for.
pub(crate) const MAX_MERGED_TILES: usize = 1 << 16;

/// The packs that a pack of `fresh` records should take in: those not much larger than itself and
/// what it has taken in already, so that every tile is copied a few times only (the logarithm of
/// the number of flushes), and those that hold little that is still of use.
pub(crate) fn merge_candidates(store: &MapStore, fresh: usize) -> Vec<u32> {
    let mut total = fresh;
    let mut keys = Vec::new();
    for (key, pack) in store.packs_newest_first() {
        let Counts { tiles, removed, .. } = pack.record().counts;
        let (live, weight) = (pack.live as usize, pack.live as usize + removed as usize);
        let is_mostly_dead = live * 2 < tiles as usize;
        let is_small = weight <= 2 * total && total + weight <= MAX_MERGED_TILES;
        if !pack.is_damaged && (is_small || is_mostly_dead) {
            total += weight;
            keys.push(key);
        }
    }
    keys
}
