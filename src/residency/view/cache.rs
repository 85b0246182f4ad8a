//! What a view has of what it wants: a set of tiles that stays within its budgets.
//!
//! Of what is wanted, the most wanted that fit the budget together are brought: the coarser levels
//! whole, and of the first that does not fit the part in the middle. A tile is first read, which
//! takes as long as it takes, and then uploaded, so many bytes a frame. Room is made by tiles that
//! were not wanted for the longest time, the finest of them first; what is drawn and what always
//! stays never goes.

use std::collections::{BTreeSet, HashMap};

use super::{TileState, Wanted};

/// Bytes that a view may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Of all its tiles, those on their way included.
    pub memory_in_bytes: u64,
    /// Of uploads in one frame; one tile is always uploaded.
    pub upload_in_bytes: u64,
}

/// What a frame is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tiles to read, the most wanted first.
    pub read: Vec<u32>,
    /// Tiles whose reading is no longer wanted.
    pub cancel: Vec<u32>,
    /// Tiles to upload now: they have been read.
    pub upload: Vec<u32>,
    /// Tiles whose memory is free.
    pub evict: Vec<u32>,
    /// Wanted tiles that are there.
    pub hits: u64,
    /// Tiles on screen that are not there.
    pub misses: u64,
    /// Tiles on screen that the budget has no room for: coarser ones are drawn in their place.
    pub left_out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadStage {
    Reading,
    Read,
    Resident,
}

#[derive(Debug, Clone, Copy)]
struct ViewEntry {
    bytes: u32,
    level: u8,
    last_wanted: u64,
    stage: ReadStage,
}

impl ViewEntry {
    /// Whoever has the least goes first.
    fn key(&self, id: u32) -> (u64, u8, u32) {
        (self.last_wanted, self.level, id)
    }
}

/// The tiles that a view has or waits for.
#[derive(Debug)]
pub struct ViewCache {
    budgets: Budgets,
    frame: u64,
    entries: HashMap<u32, ViewEntry>,
    /// Resident entries that are not wanted and may make room, by their keys.
    order: BTreeSet<(u64, u8, u32)>,
    bad: BTreeSet<u32>,
    /// Bytes of all entries, and of those that always stay.
    taken: u64,
    pinned: HashMap<u32, u32>,
}

impl ViewCache {
    /// A cache without tiles, in the frame before the first.
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            frame: 0,
            entries: HashMap::new(),
            order: BTreeSet::new(),
            bad: BTreeSet::new(),
            taken: 0,
            pinned: HashMap::new(),
        }
    }

    /// Enters a tile that is there and always stays, such as the coarsest level. `false` if there
    /// is no room for it.
    pub fn pin(&mut self, id: u32, bytes: u32) -> bool {
        if self.pinned.contains_key(&id) {
            return true;
        }
        if self.entries.contains_key(&id)
            || self.taken + u64::from(bytes) > self.budgets.memory_in_bytes
        {
            return false;
        }
        self.taken += u64::from(bytes);
        self.pinned.insert(id, bytes);
        true
    }

    /// Changes the budgets, from the next frame on.
    pub(crate) fn set_budgets(&mut self, budgets: Budgets) {
        self.budgets = budgets;
    }

    /// Begins a frame in which these tiles are wanted, the most wanted first. Those behind the
    /// first that does not fit the budget are left out.
    pub fn update(&mut self, wanted: &[Wanted]) -> Changes {
        self.frame += 1;
        let mut changes = Changes::default();
        let wanted = self.that_fit(wanted, &mut changes);
        for tile in &wanted {
            match self.entries.get_mut(&tile.id) {
                Some(entry) => {
                    // By its old key, which the next line changes.
                    self.order.remove(&entry.key(tile.id));
                    entry.last_wanted = self.frame;
                    if entry.stage == ReadStage::Resident {
                        changes.hits += 1;
                    } else {
                        changes.misses += u64::from(tile.visible);
                    }
                }
                None => changes.misses += u64::from(tile.visible),
            }
        }
        self.cancel(&mut changes);
        // A budget may have become smaller.
        self.make_room(0, &mut changes);
        for tile in &wanted {
            if self.entries.contains_key(&tile.id) || self.bad.contains(&tile.id) {
                continue;
            }
            self.make_room(u64::from(tile.bytes), &mut changes);
            self.taken += u64::from(tile.bytes);
            let Wanted { bytes, level, .. } = *tile;
            let entry =
                ViewEntry { bytes, level, last_wanted: self.frame, stage: ReadStage::Reading };
            self.entries.insert(tile.id, entry);
            changes.read.push(tile.id);
        }
        self.upload(&wanted, &mut changes);
        changes
    }

    /// The most wanted tiles that fit the budget together, without those that always stay. What is
    /// damaged takes no room.
    fn that_fit(&self, wanted: &[Wanted], changes: &mut Changes) -> Vec<Wanted> {
        let pinned: u64 = self.pinned.values().map(|&bytes| u64::from(bytes)).sum();
        let mut left = self.budgets.memory_in_bytes.saturating_sub(pinned);
        let mut fit = Vec::with_capacity(wanted.len());
        for (at, tile) in wanted.iter().enumerate() {
            if self.pinned.contains_key(&tile.id) {
                changes.hits += 1;
                continue;
            }
            let bytes = if self.bad.contains(&tile.id) { 0 } else { u64::from(tile.bytes) };
            if bytes > left {
                let seen = |tile: &&Wanted| tile.visible && !self.pinned.contains_key(&tile.id);
                // Nor do smaller ones behind it come: a level goes before the next finer one.
                changes.left_out = wanted[at..].iter().filter(seen).count() as u64;
                break;
            }
            left -= bytes;
            fit.push(*tile);
        }
        fit
    }

    /// A tile has been read. `false` if nobody wants it any more: its bytes can go.
    pub fn arrived(&mut self, id: u32) -> bool {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.stage == ReadStage::Reading => {
                entry.stage = ReadStage::Read;
                true
            }
            _ => false,
        }
    }

    /// A tile is damaged: it takes no room and is not asked for again.
    pub fn damaged(&mut self, id: u32) {
        self.remove(id);
        self.bad.insert(id);
    }

    /// Where a tile is, if it was wanted.
    pub fn state(&self, id: u32) -> Option<TileState> {
        if self.bad.contains(&id) {
            return Some(TileState::Bad);
        }
        if self.pinned.contains_key(&id) {
            return Some(TileState::Resident);
        }
        let resident = |entry: &ViewEntry| entry.stage == ReadStage::Resident;
        self.entries
            .get(&id)
            .map(|entry| if resident(entry) { TileState::Resident } else { TileState::Loading })
    }

    /// Bytes of all tiles, those on their way included.
    pub fn size_in_bytes(&self) -> u64 {
        self.taken
    }

    /// Bytes on their way.
    pub fn bytes_in_flight(&self) -> u64 {
        let waits = |entry: &&ViewEntry| entry.stage != ReadStage::Resident;
        self.entries.values().filter(waits).map(|entry| u64::from(entry.bytes)).sum()
    }

    /// What is not wanted any more need not be read, and what is there may make room.
    fn cancel(&mut self, changes: &mut Changes) {
        let frame = self.frame;
        let mut gone = Vec::new();
        for (&id, entry) in self.entries.iter().filter(|(_, entry)| entry.last_wanted < frame) {
            match entry.stage {
                ReadStage::Resident => _ = self.order.insert(entry.key(id)),
                ReadStage::Reading | ReadStage::Read => gone.push(id),
            }
        }
        // The order of a `HashMap` is another one in every run.
        gone.sort_unstable();
        gone.iter().for_each(|&id| self.remove(id));
        changes.cancel = gone;
    }

    /// Has tiles go that are not wanted until so many bytes more fit. All that are wanted fit
    /// together, so that there are enough.
    fn make_room(&mut self, bytes: u64, changes: &mut Changes) {
        while self.taken + bytes > self.budgets.memory_in_bytes && !self.order.is_empty() {
            self.evict_first(changes);
        }
    }

    fn evict_first(&mut self, changes: &mut Changes) {
        let Some(&(_, _, id)) = self.order.first() else { return };
        self.remove(id);
        changes.evict.push(id);
    }

    fn remove(&mut self, id: u32) {
        if let Some(entry) = self.entries.remove(&id) {
            self.order.remove(&entry.key(id));
            self.taken -= u64::from(entry.bytes);
        }
    }

    fn upload(&mut self, wanted: &[Wanted], changes: &mut Changes) {
        let mut left = self.budgets.upload_in_bytes;
        for tile in wanted {
            let Some(entry) =
                self.entries.get_mut(&tile.id).filter(|entry| entry.stage == ReadStage::Read)
            else {
                continue;
            };
            let bytes = u64::from(entry.bytes);
            // The first goes whatever its size, or one larger than the budget would never come.
            if bytes > left && !changes.upload.is_empty() {
                return;
            }
            left = left.saturating_sub(bytes);
            entry.stage = ReadStage::Resident;
            changes.upload.push(tile.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(id: u32, level: u8, visible: bool) -> Wanted {
        Wanted { id, level, bytes: 10, visible }
    }

    /// A cache whose reads are done at once.
    fn frame(cache: &mut ViewCache, tiles: &[Wanted]) -> Changes {
        let changes = cache.update(tiles);
        for &id in &changes.read {
            assert!(cache.arrived(id));
        }
        changes
    }

    fn cache(memory_in_bytes: u64) -> ViewCache {
        ViewCache::new(Budgets { memory_in_bytes, upload_in_bytes: 20 })
    }

    #[test]
    fn tiles_are_read_then_uploaded_so_many_a_frame() {
        let mut cache = cache(100);
        let tiles = [1, 2, 3].map(|id| wanted(id, 0, true));
        assert_eq!(frame(&mut cache, &tiles).read, [1, 2, 3]);
        assert_eq!(cache.bytes_in_flight(), 30);
        assert_eq!(frame(&mut cache, &tiles).upload, [1, 2]);
        let third = frame(&mut cache, &tiles);
        assert_eq!((third.upload, third.hits, third.misses), (vec![3], 2, 1));
        assert_eq!(cache.bytes_in_flight(), 0);
    }

    #[test]
    fn the_oldest_goes_first_of_these_the_finest_and_never_what_is_drawn() {
        let mut cache = cache(40);
        assert!(cache.pin(9, 10));
        frame(&mut cache, &[wanted(1, 1, true), wanted(2, 0, true)]);
        frame(&mut cache, &[wanted(1, 1, true), wanted(2, 0, true), wanted(3, 0, true)]);
        frame(&mut cache, &[wanted(3, 0, true)]);
        let found = frame(&mut cache, &[wanted(3, 0, true), wanted(4, 0, true)]);
        assert_eq!((found.evict, found.read), (vec![2], vec![4]), "1 is as old and coarser");
        let full = frame(&mut cache, &[3, 4, 5, 6].map(|id| wanted(id, 0, true)));
        assert_eq!(
            (full.evict, full.read, full.left_out),
            (vec![1], vec![5], 1),
            "there is no room for 6"
        );
        assert_eq!(cache.size_in_bytes(), 40);
        assert_eq!(cache.state(9), Some(TileState::Resident));
    }

    #[test]
    fn a_view_that_moves_on_cancels_what_it_waited_for() {
        let mut cache = cache(100);
        assert_eq!(cache.update(&[wanted(1, 0, true)]).read, [1]);
        assert_eq!(cache.update(&[wanted(2, 0, true)]).cancel, [1]);
        assert!(!cache.arrived(1));
        assert_eq!(cache.size_in_bytes(), 10);
    }

    #[test]
    fn a_damaged_tile_is_told_and_not_asked_for_again() {
        let mut cache = cache(100);
        cache.update(&[wanted(1, 0, true)]);
        cache.damaged(1);
        assert_eq!((cache.state(1), cache.size_in_bytes()), (Some(TileState::Bad), 0));
        assert!(cache.update(&[wanted(1, 0, true)]).read.is_empty());
    }

    #[test]
    fn what_lies_beside_the_screen_makes_room_for_what_is_on_it() {
        let mut cache = cache(20);
        frame(&mut cache, &[wanted(1, 0, true), wanted(2, 0, false)]);
        let found =
            frame(&mut cache, &[wanted(1, 0, true), wanted(3, 0, true), wanted(2, 0, false)]);
        assert_eq!((found.cancel, found.read, found.left_out), (vec![2], vec![3], 0));
        let found =
            frame(&mut cache, &[wanted(1, 0, true), wanted(3, 0, true), wanted(2, 0, false)]);
        assert_eq!(found.read, [0u32; 0], "but not the other way round");
    }

    #[test]
    fn a_screen_of_more_than_the_budget_has_the_coarse_tiles_first_and_then_the_nearest() {
        let mut cache = cache(30);
        let fine = [1, 2, 3].map(|id| wanted(id, 0, true));
        for _ in 0..3 {
            frame(&mut cache, &fine);
        }
        assert!(
            [1, 2, 3]
                .map(|id| cache.state(id))
                .iter()
                .all(|&state| state == Some(TileState::Resident))
        );
        // Further out two coarse tiles are on the screen too: fine ones that are on it make room
        // for them.
        let all = [wanted(8, 1, true), wanted(9, 1, true), fine[0], fine[1], fine[2]];
        let found = frame(&mut cache, &all);
        assert_eq!((found.evict, found.read, found.left_out), (vec![2, 3], vec![8, 9], 2));
        frame(&mut cache, &all);
        let there = [8, 9, 1].map(|id| cache.state(id));
        assert_eq!(there, [Some(TileState::Resident); 3]);
        assert!(frame(&mut cache, &all).read.is_empty(), "it comes to rest");
    }

    #[test]
    fn a_smaller_budget_is_kept_at_once() {
        let mut cache = cache(40);
        let tiles = [1, 2, 3, 4].map(|id| wanted(id, 0, true));
        for _ in 0..3 {
            frame(&mut cache, &tiles);
        }
        cache.set_budgets(Budgets { memory_in_bytes: 25, upload_in_bytes: 20 });
        assert_eq!(frame(&mut cache, &tiles).evict, [3, 4]);
        assert_eq!(cache.size_in_bytes(), 20);
    }
}
