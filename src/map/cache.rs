//! The stored tiles that were looked at last, up to a number of bytes.

use super::{
    geometry::{TilePos, TileSize},
    tile::Tile,
};
use lru::LruCache;
use serde::Serialize;
use std::sync::Arc;

/// Tiles that equal what is stored, so that any of them may be dropped. The one not asked for
/// longest goes first.
pub(super) struct TileCache {
    tiles: LruCache<TilePos, Arc<Tile>>,
    /// How many tiles fit into the bytes allowed: all are of the same size.
    capacity: usize,
    counts: CacheCounts,
}

#[derive(Clone, Copy, Default)]
struct CacheCounts {
    hits: u64,
    misses: u64,
    evictions: u64,
}

/// What the cache holds, and how well it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStats {
    /// Tiles that are in memory now.
    pub tiles: usize,
    /// The bytes of their pixels.
    pub size_in_bytes: usize,
    /// The most bytes of pixels that are held.
    pub limit_in_bytes: usize,
    /// Questions answered without the disk.
    pub hits: u64,
    /// Questions that it could not answer.
    pub misses: u64,
    /// Tiles dropped for others.
    pub evictions: u64,
}

impl TileCache {
    pub(super) fn new(size: TileSize, limit_in_bytes: usize) -> Self {
        let capacity = limit_in_bytes / size.tile_len();
        // A bounded one takes memory for its capacity at once, and cannot have a capacity of none.
        Self { tiles: LruCache::unbounded(), capacity, counts: CacheCounts::default() }
    }

    pub(super) fn get(&mut self, tile: TilePos) -> Option<Arc<Tile>> {
        let found = self.tiles.get(&tile).cloned();
        match found {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        found
    }

    pub(super) fn put(&mut self, pos: TilePos, tile: Arc<Tile>) {
        if self.capacity == 0 {
            return;
        }
        self.tiles.put(pos, tile);
        while self.tiles.len() > self.capacity {
            self.tiles.pop_lru();
            self.counts.evictions += 1;
        }
    }

    pub(super) fn remove(&mut self, tile: TilePos) -> Option<Arc<Tile>> {
        self.tiles.pop(&tile)
    }

    pub(super) fn stats(&self, size: TileSize) -> CacheStats {
        let CacheCounts { hits, misses, evictions } = self.counts;
        CacheStats {
            tiles: self.tiles.len(),
            size_in_bytes: self.tiles.len() * size.tile_len(),
            limit_in_bytes: self.capacity * size.tile_len(),
            hits,
            misses,
            evictions,
        }
    }
}

impl std::fmt::Debug for TileCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TileCache")
            .field("tiles", &self.tiles.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tile_not_asked_for_longest_goes_first() {
        let size = TileSize::new(8).unwrap();
        let tile = Arc::new(Tile::black(size));
        let mut cache = TileCache::new(size, 3 * size.tile_len() + 1);
        let pos = |x| TilePos::new(x, 0);
        (0..3).for_each(|x| cache.put(pos(x), tile.clone()));
        assert!(cache.get(pos(0)).is_some());
        cache.put(pos(3), tile.clone());
        assert!(cache.get(pos(1)).is_none() && cache.get(pos(0)).is_some());
        let stats = cache.stats(size);
        assert_eq!((stats.tiles, stats.size_in_bytes, stats.limit_in_bytes), (3, 576, 576));
        assert_eq!((stats.hits, stats.misses, stats.evictions), (2, 1, 1));
        let mut none = TileCache::new(size, size.tile_len() - 1);
        none.put(pos(0), tile);
        assert!(none.get(pos(0)).is_none());
    }
}
