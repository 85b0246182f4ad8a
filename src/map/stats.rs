//! Figures about a map, and the check of all of it.

use super::{
    InfiniteMap, MapError,
    cache::CacheStats,
    geometry::{Rect, TilePos},
    item::Kind,
    quadtree::TreeStats,
    store::{Location, Pack},
};
use crate::pxi::hex;
use serde::Serialize;
use std::ops::ControlFlow;

/// What a map is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapStats {
    /// The number that tells maps apart, if this one has a folder.
    pub map_id: Option<String>,
    /// How often it was flushed.
    pub generation: u64,
    /// The side of a tile in pixels.
    pub tile_size: u16,
    /// Tiles that exist, stored or in memory.
    pub tiles: usize,
    /// Tiles changed since the last flush.
    pub unsaved_tiles: usize,
    /// Regions, each with a name.
    pub regions: usize,
    /// Packs in the folder.
    pub packs: usize,
    /// The bytes of their files.
    pub stored_in_bytes: u64,
    /// Tiles in packs that newer ones have replaced.
    pub outdated_tiles: u64,
    /// The tight rectangle around everything.
    pub bounds: Option<Rect>,
    /// The index in memory.
    pub index: TreeStats,
    /// Stored tiles in memory, and how often one was found there.
    pub cache: CacheStats,
    /// What is damaged, missing or foreign as far as is known.
    pub problems: usize,
}

/// Something wrong with a stored map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapProblem {
    /// The tile that is lost, if it is one.
    pub tile: Option<TilePos>,
    /// What is wrong and where.
    pub problem: String,
}

/// The result of checking a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Tiles' worth of pixels that were read and hashed.
    pub slots: u64,
    /// The bytes of those pixels.
    pub bytes: u64,
    /// What is wrong. Empty for a sound map.
    pub problems: Vec<MapProblem>,
}

impl InfiniteMap {
    /// Figures about the map. This counts the nodes of the index one by one.
    pub fn stats(&self) -> MapStats {
        let packs: Vec<_> =
            self.store.iter().flat_map(|store| store.packs()).map(|(_, pack)| pack).collect();
        let outdated =
            |pack: &&Pack| u64::from(pack.record().counts.tiles.saturating_sub(pack.live));
        let index = self.tree.stats();
        let mut tiles = 0;
        // Counted and not collected: a map may have millions.
        let _ = self.tree.visit_region(&Rect::PLANE, Kind::PIXELS.into(), &mut |_| {
            tiles += 1;
            ControlFlow::Continue(())
        });
        MapStats {
            map_id: self.store.as_ref().map(|store| hex(store.map_id())),
            generation: self.generation(),
            tile_size: self.tile_size.side(),
            tiles,
            unsaved_tiles: self.unsaved.len(),
            regions: self.regions.iter().len(),
            packs: packs.len(),
            stored_in_bytes: packs.iter().map(|pack| pack.file_len()).sum(),
            outdated_tiles: packs.iter().map(outdated).sum(),
            bounds: self.tree.bounds(),
            index,
            cache: self.lock_cache().stats(self.tile_size),
            problems: self.problems().len(),
        }
    }

    /// How many bytes [`Self::verify`] will hash tile by tile.
    pub(crate) fn bytes_to_verify(&self) -> u64 {
        let slots = |pack: &Pack| u64::from(pack.record().counts.slots);
        let packs = self.store.iter().flat_map(|store| store.packs());
        packs.map(|(_, pack)| slots(pack) * self.tile_size.tile_len() as u64).sum()
    }

    /// Checks everything stored: both indexes, both directories of each pack, and the pixels of
    /// every tile; reports how many bytes of tiles have been hashed.
    pub fn verify(&self, progress: &dyn Fn(u64)) -> Verified {
        let mut verified = Verified::default();
        let Some(store) = &self.store else { return verified };
        let found =
            |error: &MapError| MapProblem { tile: tile_of(error), problem: error.to_string() };
        let mut problems: Vec<_> = store.problems().iter().map(found).collect();
        problems.extend(store.verify_indexes().iter().map(found));
        for (key, pack) in store.packs() {
            problems.extend(pack.verify_files().iter().map(found));
            for slot in 0..pack.record().counts.slots {
                verified.slots += 1;
                verified.bytes += self.tile_size.tile_len() as u64;
                if let Err(error) = pack.read(slot) {
                    let location = Location { key, slot }.number();
                    // What a newer pack has replaced is no loss.
                    let lost = pack.tiles_in(slot).into_iter().filter(|tile| {
                        self.tile_item(*tile).is_some_and(|item| item.number == location)
                    });
                    let name = |tile| MapProblem {
                        tile: Some(tile),
                        problem: format!("tile {tile}: {error}"),
                    };
                    problems.extend(lost.map(name));
                }
                progress(verified.bytes);
            }
        }
        // What was found when the map was opened is found again here.
        let mut once: Vec<MapProblem> = Vec::with_capacity(problems.len());
        for problem in problems {
            let is_known = problem.tile.is_none() && once.contains(&problem);
            if !is_known {
                once.push(problem);
            }
        }
        verified.problems = once;
        verified
    }
}

fn tile_of(error: &MapError) -> Option<TilePos> {
    match error {
        MapError::Tile { tile, .. } => Some(*tile),
        MapError::File { source, .. } => tile_of(source),
        _ => None,
    }
}
