//! The map itself: which tiles there are, which of them are in memory, and single pixels.

use super::{
    MapError,
    cache::TileCache,
    geometry::{Point, TilePos, TileSize},
    item::{Item, Kind},
    quadtree::Quadtree,
    regions::Regions,
    store::{Location, MapStore},
    tile::{Pixel, Tile},
};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How a map is made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// The tiles' size. A new map gets it, or the usual 64 pixels; a map of another tile size is
    /// refused.
    pub tile_size: Option<TileSize>,
    /// The most bytes of stored tiles that are kept in memory.
    pub cache_in_bytes: usize,
    /// The most bytes of changed tiles that wait in memory; more are written to the folder early,
    /// where they become part of the map with the next flush all the same.
    pub unsaved_in_bytes: usize,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { tile_size: None, cache_in_bytes: 64 << 20, unsaved_in_bytes: 64 << 20 }
    }
}

/// What a map is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read what the last flush left; many may.
    Read,
    /// To read and write; one at a time may.
    Write,
}

/// A plane of pixels without an end, of which only the tiles exist that were written.
///
/// Reading takes `&self` and may be done by many threads. Changes are in memory, and seen by
/// whoever reads this value, until [`Self::flush`] makes them part of the stored map, all together.
/// A map that is dropped keeps what was flushed and nothing else.
#[derive(Debug)]
pub struct InfiniteMap {
    pub(super) tile_size: TileSize,
    pub(super) tree: Quadtree,
    /// Tiles that differ from what is stored.
    pub(super) unsaved: HashMap<TilePos, Arc<Tile>>,
    /// Positions whose stored tile is gone.
    pub(super) removed: BTreeSet<TilePos>,
    pub(super) regions: Regions,
    pub(super) regions_changed: bool,
    pub(super) cache: Mutex<TileCache>,
    pub(super) unsaved_limit: usize,
    pub(super) store: Option<MapStore>,
}

impl InfiniteMap {
    /// A map without a folder: it keeps every tile in memory, and a flush does nothing.
    pub fn in_memory(tile_size: TileSize) -> Self {
        Self::empty(tile_size, &MapOptions { cache_in_bytes: 0, ..MapOptions::default() })
    }

    /// Makes a map in a folder that is empty or does not exist, and opens it to write.
    ///
    /// # Errors
    /// There is something in the folder, or it cannot be written to.
    pub fn create(folder: impl AsRef<Path>, options: &MapOptions) -> Result<Self, MapError> {
        let tile_size = options.tile_size.unwrap_or_default();
        let store = MapStore::create(folder.as_ref(), tile_size)?;
        Ok(Self { store: Some(store), ..Self::empty(tile_size, options) })
    }

    /// Opens a map. Tiles that cannot be read are named by [`Self::problems`] and are errors when
    /// they are asked for; all others can be used.
    ///
    /// # Errors
    /// There is no map, or it has another version or tile size, or both copies of its index are
    /// damaged, or it is to be written to and another process does so.
    pub fn open(
        folder: impl AsRef<Path>,
        access: Access,
        options: &MapOptions,
    ) -> Result<Self, MapError> {
        let folder = folder.as_ref();
        let (store, regions) = MapStore::open(folder, access == Access::Write, options.tile_size)?;
        let mut map = Self::empty(store.tile_size(), options);
        map.store = Some(store);
        map.index_stored_tiles()?;
        for region in regions {
            // Each was checked alone; together they may still overlap, which no writer of ours
            // leaves.
            map.regions.add(&mut map.tree, map.tile_size, region).map_err(|error| {
                MapError::field("index", "region", error, "regions that share no tile").at(folder)
            })?;
        }
        Ok(map)
    }

    /// Opens a map to write, or makes it where there is none.
    ///
    /// # Errors
    /// Those of [`Self::open`] and [`Self::create`].
    pub(crate) fn open_or_create(
        folder: impl AsRef<Path>,
        options: &MapOptions,
    ) -> Result<Self, MapError> {
        match Self::open(folder.as_ref(), Access::Write, options) {
            Err(error) if matches!(error.inner(), MapError::NoMap) => Self::create(folder, options),
            opened => opened,
        }
    }

    fn empty(tile_size: TileSize, options: &MapOptions) -> Self {
        Self {
            tile_size,
            tree: Quadtree::default(),
            unsaved: HashMap::new(),
            removed: BTreeSet::new(),
            regions: Regions::default(),
            regions_changed: false,
            cache: Mutex::new(TileCache::new(tile_size, options.cache_in_bytes)),
            unsaved_limit: (options.unsaved_in_bytes / tile_size.tile_len()).max(1),
            store: None,
        }
    }

    /// Puts the tiles of every pack into the index, from the oldest pack to the newest.
    fn index_stored_tiles(&mut self) -> Result<(), MapError> {
        let Self { store: Some(store), tree, tile_size, .. } = self else { return Ok(()) };
        let keys: Vec<_> = store.packs().iter().map(|(key, _)| *key).collect();
        for key in keys {
            let mut live = 0;
            let mut outdated = Vec::new();
            if let Some(directory) = store.pack(key).and_then(|pack| pack.directory()) {
                for (tile, slot) in directory.tiles() {
                    let rect = tile_size.rect_of(tile)?;
                    let item =
                        Item { rect, kind: Kind::PIXELS, number: Location { key, slot }.number() };
                    match tree.find(rect.corner(), Kind::PIXELS) {
                        Some(old) => {
                            outdated.push(old.number);
                            tree.renumber(rect.corner(), Kind::PIXELS, item.number);
                        }
                        None => tree.insert(item)?,
                    }
                    live += 1;
                }
                for tile in directory.removed() {
                    if let Some(old) = tree.find(tile_size.rect_of(tile)?.corner(), Kind::PIXELS) {
                        outdated.push(old.number);
                        tree.remove(&old);
                    }
                }
            }
            outdated.into_iter().filter_map(Location::of).for_each(|old| release(store, old));
            if let Some(pack) = store.pack_mut(key) {
                pack.live = live;
            }
        }
        Ok(())
    }

    /// The side of the tiles.
    pub fn tile_size(&self) -> TileSize {
        self.tile_size
    }

    /// The folder, if the map has one.
    pub fn folder(&self) -> Option<&Path> {
        self.store.as_ref().map(MapStore::folder)
    }

    /// How often the map was flushed, in its life.
    pub fn generation(&self) -> u64 {
        self.store.as_ref().map_or(0, MapStore::generation)
    }

    /// What was found damaged, missing or foreign when the map was opened, and since.
    pub fn problems(&self) -> &[MapError] {
        self.store.as_ref().map_or(&[], MapStore::problems)
    }

    /// A tile; none where nothing was ever written.
    ///
    /// # Errors
    /// The tile is damaged or missing in its file.
    pub fn tile(&self, pos: TilePos) -> Result<Option<Arc<Tile>>, MapError> {
        if let Some(tile) = self.unsaved.get(&pos) {
            return Ok(Some(tile.clone()));
        }
        if let Some(tile) = self.lock_cache().get(pos) {
            return Ok(Some(tile));
        }
        let Some(Location { key, slot }) = self.location(pos) else { return Ok(None) };
        let at_tile = |error| MapError::Tile { tile: pos, source: Box::new(error) };
        let pack = self.store.as_ref().and_then(|store| store.pack(key));
        let pack = pack.expect("the index names packs that are held");
        // The cache is not locked meanwhile, so readers do not wait for each other's disk; two that
        // read the same tile both put the same pixels.
        let tile =
            pack.read(slot).and_then(|rgb| Tile::from_rgb(self.tile_size, rgb)).map_err(at_tile)?;
        let tile = Arc::new(tile);
        self.lock_cache().put(pos, tile.clone());
        Ok(Some(tile))
    }

    /// Whether anything was ever written to a tile.
    pub(crate) fn has_tile(&self, pos: TilePos) -> bool {
        self.tile_item(pos).is_some()
    }

    /// The colour of a pixel; none where its tile was never written, which is not the same as
    /// black.
    ///
    /// # Errors
    /// The pixel's tile is damaged or missing in its file.
    pub fn pixel(&self, point: Point) -> Result<Option<Pixel>, MapError> {
        let tile = self.tile(self.tile_size.tile_of(point))?;
        Ok(tile.and_then(|tile| tile.pixel(self.tile_size.within_tile(point))))
    }

    /// Colours a pixel. The rest of its tile is black if it is new.
    ///
    /// # Errors
    /// The map cannot be written to, the tile is damaged, or there is no room for changes.
    pub fn set_pixel(&mut self, point: Point, pixel: Pixel) -> Result<(), MapError> {
        let within = self.tile_size.within_tile(point);
        self.tile_mut(self.tile_size.tile_of(point), false)?.set_pixel(within, pixel);
        Ok(())
    }

    /// Replaces a tile, whatever was there.
    ///
    /// # Errors
    /// The map cannot be written to, the tile is outside the plane or of another size, or there is
    /// no room.
    pub fn put_tile(&mut self, pos: TilePos, tile: Tile) -> Result<(), MapError> {
        if tile.size() != self.tile_size {
            return Err(MapError::TileSize { found: self.tile_size, expected: tile.size() });
        }
        *self.tile_mut(pos, true)? = tile;
        Ok(())
    }

    /// Makes a tile one that was never written, and tells whether it had been.
    ///
    /// # Errors
    /// The map cannot be written to.
    pub fn remove_tile(&mut self, pos: TilePos) -> Result<bool, MapError> {
        self.check_writable()?;
        let Some(item) = self.tile_item(pos) else { return Ok(false) };
        self.tree.remove(&item);
        self.unsaved.remove(&pos);
        self.lock_cache().remove(pos);
        if let Some(store) = &mut self.store {
            if let Some(location) = Location::of(item.number) {
                release(store, location);
            }
            // An older pack may hold the tile even where the newest pixels were never saved.
            if !store.packs().is_empty() {
                self.removed.insert(pos);
            }
        }
        Ok(true)
    }

    /// A tile to be changed: what it was, or a new one; with `overwrite` a new one in any case, so
    /// that what is stored is not even read.
    pub(super) fn tile_mut(
        &mut self,
        pos: TilePos,
        overwrite: bool,
    ) -> Result<&mut Tile, MapError> {
        if !self.unsaved.contains_key(&pos) {
            self.check_writable()?;
            let rect = self.tile_size.rect_of(pos)?;
            if self.unsaved.len() >= self.unsaved_limit {
                self.pack_unsaved(false)?;
            }
            let stored = self.tile_item(pos);
            // Before the index changes: where the old pixels are damaged, all stays as it was.
            let tile = match stored {
                Some(_) if !overwrite => self.tile(pos)?,
                _ => None,
            };
            match stored {
                Some(item) => {
                    self.tree.renumber(rect.corner(), Kind::PIXELS, Location::UNSAVED);
                    if let (Some(store), Some(location)) =
                        (&mut self.store, Location::of(item.number))
                    {
                        release(store, location);
                    }
                }
                None => self.tree.insert(Item {
                    rect,
                    kind: Kind::PIXELS,
                    number: Location::UNSAVED,
                })?,
            }
            // Its place in the cache would make the tile shared, and changing it a copy.
            self.lock_cache().remove(pos);
            self.removed.remove(&pos);
            self.unsaved.insert(pos, tile.unwrap_or_else(|| Arc::new(Tile::black(self.tile_size))));
        }
        let tile = self.unsaved.get_mut(&pos).expect("it was there or has been put there");
        // A copy only where somebody still holds the old pixels, which must not change then.
        Ok(Arc::make_mut(tile))
    }

    pub(super) fn check_writable(&self) -> Result<(), MapError> {
        match &self.store {
            Some(store) if !store.is_writable() => Err(MapError::ReadOnly.at(store.folder())),
            _ => Ok(()),
        }
    }

    pub(super) fn tile_item(&self, pos: TilePos) -> Option<Item> {
        let corner = self.tile_size.rect_of(pos).ok()?.corner();
        self.tree.find(corner, Kind::PIXELS)
    }

    fn location(&self, pos: TilePos) -> Option<Location> {
        Location::of(self.tile_item(pos)?.number)
    }

    /// The cache is whole after every call, so a panic elsewhere does not spoil it.
    pub(super) fn lock_cache(&self) -> MutexGuard<'_, TileCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stored tile is no longer the one that counts.
pub(super) fn release(store: &mut MapStore, location: Location) {
    if let Some(pack) = store.pack_mut(location.key) {
        pack.live = pack.live.saturating_sub(1);
    }
}
