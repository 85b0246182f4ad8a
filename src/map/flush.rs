//! From memory to the folder, and from the folder to memory again.

use super::{
    InfiniteMap, MapError,
    geometry::{Rect, TilePos},
    infinite::{Access, MapOptions},
    item::{Kind, Kinds},
    regions::Region,
    store::{Location, TileSource, WriteRefusal, merge_candidates},
};
use std::sync::Arc;

impl InfiniteMap {
    /// Makes every change since the last flush part of the stored map, all together. When this
    /// returns, neither a killed process nor a lost power supply undoes them; when it fails, the
    /// stored map is as it was, the changes are still in memory, and it may be tried again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn flush(&mut self) -> Result<(), MapError> {
        if self.store.is_none() {
            return Ok(());
        }
        self.check_writable()?;
        self.pack_unsaved(true)?;
        // A flush of no change makes no generation, so that readers need not open the map again.
        if let Some(store) = &mut self.store
            && (self.regions_changed || store.has_uncommitted())
        {
            let regions: Vec<Region> = self.regions.iter().cloned().collect();
            store.commit(regions)?;
            self.regions_changed = false;
        }
        Ok(())
    }

    /// Flushes the map and gives it up, so that another process may write to it.
    ///
    /// # Errors
    /// Those of [`Self::flush`]; the map is given up even so.
    pub fn close(mut self) -> Result<(), MapError> {
        self.flush()
    }

    /// Takes up what another process has flushed since, in a map opened for reading, and tells
    /// whether there was anything. What was placed stays.
    ///
    /// # Errors
    /// The map cannot be opened any more.
    pub fn refresh(&mut self) -> Result<bool, MapError> {
        let Some(store) = &self.store else { return Ok(false) };
        if store.is_writable() || store.generation_on_disk()? == store.generation() {
            return Ok(false);
        }
        let tile_len = self.tile_size.tile_len();
        let options = MapOptions {
            tile_size: Some(self.tile_size),
            cache_in_bytes: self.lock_cache().stats(self.tile_size).limit_in_bytes,
            unsaved_in_bytes: self.unsaved_limit.saturating_mul(tile_len),
        };
        let mut new = Self::open(store.folder(), Access::Read, &options)?;
        // What was placed is in no file, so it is carried over.
        let stored = Kind::PIXELS | Kind::REGION;
        for item in self.tree.region(&Rect::PLANE, Kinds::ALL) {
            if !stored.contains(item.kind) {
                new.tree.insert(item)?;
            }
        }
        *self = new;
        Ok(true)
    }

    /// Writes the changed tiles into a new pack, which is no part of the stored map yet. To `merge`
    /// is to take older packs in that are small or hold little of use.
    ///
    /// A pack with a damaged slot is left out and the write tried again: each turn leaves one out,
    /// so it ends. The index is told last, so that it is right where writing fails.
    pub(super) fn pack_unsaved(&mut self, merge: bool) -> Result<(), MapError> {
        let Self { store: Some(store), tree, unsaved, removed, tile_size, .. } = self else {
            return Ok(());
        };
        if unsaved.is_empty() && removed.is_empty() {
            return Ok(());
        }
        if !store.has_room() {
            let found = store.packs().len() as u128;
            return Err(MapError::TooLarge { what: "number of packs", found, limit: found });
        }
        let is_current = |tile: TilePos, number: u64| {
            let corner = tile_size.rect_of(tile).ok().map(|rect| rect.corner());
            corner
                .and_then(|corner| tree.find(corner, Kind::PIXELS))
                .is_some_and(|item| item.number == number)
        };
        let mut merged =
            if merge { merge_candidates(store, unsaved.len() + removed.len()) } else { Vec::new() };
        let new = loop {
            let mut tiles: Vec<(TilePos, TileSource<'_>)> =
                unsaved.iter().map(|(pos, tile)| (*pos, TileSource::Fresh(tile))).collect();
            // A position without a tile needs to be told only as long as an older pack may have one
            // for it.
            let is_all = merged.len() == store.packs().len();
            let mut gone: Vec<_> =
                if is_all { Vec::new() } else { removed.iter().copied().collect() };
            for key in &merged {
                let Some(directory) = store.pack(*key).and_then(|pack| pack.directory()) else {
                    continue;
                };
                tiles.extend(directory.tiles().filter_map(|(tile, slot)| {
                    let location = Location { key: *key, slot };
                    is_current(tile, location.number())
                        .then_some((tile, TileSource::Stored { key: *key, slot }))
                }));
                if !is_all {
                    let has_tile = |tile: &TilePos| {
                        let corner = tile_size.rect_of(*tile).ok().map(|rect| rect.corner());
                        corner.is_some_and(|corner| tree.find(corner, Kind::PIXELS).is_some())
                    };
                    gone.extend(directory.removed().filter(|tile| !has_tile(tile)));
                }
            }
            if tiles.is_empty() && gone.is_empty() {
                break None;
            }
            tiles.sort_unstable_by_key(|(tile, _)| *tile);
            gone.sort_unstable();
            gone.dedup();
            match store.write_pack(&tiles, &gone) {
                Ok(key) => break Some(key),
                Err(WriteRefusal::Failed(error)) => return Err(error),
                Err(WriteRefusal::Damaged { key }) => {
                    if let Some(pack) = store.pack_mut(key) {
                        pack.is_damaged = true;
                        let problem = "it holds a damaged tile, so it is kept as it is".to_owned();
                        let problem = MapError::Unreadable { problem }.at(pack.tiles_path());
                        store.report(problem);
                    }
                    merged.retain(|other| *other != key);
                }
            }
        };
        if let Some(directory) =
            new.and_then(|key| store.pack(key)).and_then(|pack| pack.directory())
        {
            let key = new.unwrap_or_default();
            for (tile, slot) in directory.tiles() {
                let corner = tile_size.rect_of(tile)?.corner();
                tree.renumber(corner, Kind::PIXELS, Location { key, slot }.number());
            }
        }
        merged.into_iter().for_each(|key| store.retire(key));
        removed.clear();
        let saved: Vec<(TilePos, Arc<_>)> = unsaved.drain().collect();
        let mut cache = self.lock_cache();
        saved.into_iter().for_each(|(pos, tile)| cache.put(pos, tile));
        Ok(())
    }
}
