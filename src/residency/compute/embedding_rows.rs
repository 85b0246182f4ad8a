//! Which tiles of the embedding are on the device: those of the tokens of a pass, and the latest of
//! those before.

use std::num::NonZeroUsize;

use lru::LruCache;

/// Places for tiles, of which the least recently used is given away.
#[derive(Debug)]
pub(super) struct EmbeddingRowCache {
    tiles: LruCache<u32, u32>,
    capacity: usize,
}

/// A tile that has to be brought, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bring {
    pub tile: u32,
    pub place: u32,
    /// The tile that goes for it, if one does.
    pub evicts: Option<u32>,
}

impl EmbeddingRowCache {
    pub fn new(capacity: usize) -> Self {
        // A tile that is put in evicts another only when we say so.
        Self {
            tiles: LruCache::unbounded(),
            capacity: NonZeroUsize::new(capacity).map_or(1, NonZeroUsize::get),
        }
    }

    /// Has these tiles, which must be no more than there are places, in their places; returns those
    /// that have to be brought.
    pub(crate) fn want(&mut self, tiles: &[u32]) -> Vec<Bring> {
        let mut bring = Vec::new();
        // All that are there first, so that none of them goes for another of this pass.
        for tile in tiles {
            self.tiles.promote(tile);
        }
        for &tile in tiles {
            if self.tiles.contains(&tile) {
                continue;
            }
            let (place, evicts) = if self.tiles.len() < self.capacity {
                (self.tiles.len() as u32, None)
            } else {
                let (gone, place) =
                    self.tiles.pop_lru().expect("there is at least one place, and all are taken");
                (place, Some(gone))
            };
            self.tiles.put(tile, place);
            bring.push(Bring { tile, place, evicts });
        }
        bring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_and_never_one_of_the_pass() {
        let mut places = EmbeddingRowCache::new(3);
        let brought = |bring: Vec<Bring>| {
            bring.iter().map(|b| (b.tile, b.place, b.evicts)).collect::<Vec<_>>()
        };
        assert_eq!(brought(places.want(&[7, 8, 9])), [(7, 0, None), (8, 1, None), (9, 2, None)]);
        assert_eq!(brought(places.want(&[7])), []);
        assert_eq!(brought(places.want(&[1])), [(1, 1, Some(8))], "8 was used longest ago");
        // 9 is the oldest but wanted.
        assert_eq!(brought(places.want(&[2, 9])), [(2, 0, Some(7))]);
        assert_eq!(brought(places.want(&[9, 2, 1])), []);
    }
}
