//! A map's folder: packs of tiles, an index in two copies that names them, and a lock for the one
//! writer.
//!
//! Every file but the lock is a `.pxi` file that appears whole (written beside its place, synced,
//! renamed) and is never changed. Renaming a new `index.pxi` into place is the one moment at which
//! a change becomes true.

mod directory;
mod fields;
mod index;
mod lock;
mod pack;
mod write;

pub use directory::{Counts, Directory};
pub use index::{Index, PackRecord};
pub(super) use pack::Pack;
pub(super) use write::{TileSource, WriteRefusal, merge_candidates};

use super::{MapError, geometry::TileSize, item::Item, regions::Region};
use crate::pxi::PxiFile;
use directory::MapId;
use lock::WriterLock;
use sha2::{Digest, Sha256};
use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    time::SystemTime,
};

const INDEX: &str = "index.pxi";
const INDEX_COPY: &str = "index-copy.pxi";
/// How often a reader starts over because a writer has replaced what it was about to open. A flush
/// takes milliseconds, and so does opening a small map; who never gets through is told what is
/// missing.
const MAX_ATTEMPTS: usize = 200;

#[derive(Debug)]
pub(super) struct MapStore {
    folder: PathBuf,
    tile_size: TileSize,
    map_id: MapId,
    generation: u64,
    next_pack: u64,
    /// By key; a key is given again when its pack is gone.
    packs: Vec<Option<Pack>>,
    /// Numbers of packs that the index on disk does not name yet.
    uncommitted: Vec<u64>,
    /// Numbers of packs that the next index will not name.
    obsolete: Vec<u64>,
    /// Whether an index may have been replaced although an error was reported.
    is_commit_in_doubt: bool,
    lock: Option<WriterLock>,
    problems: Vec<MapError>,
}

/// Where a tile is stored: a pack's key and a slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) key: u32,
    pub(super) slot: u32,
}

impl Location {
    /// The number of a tile's item while its pixels are in memory only.
    pub(super) const UNSAVED: u64 = Item::NUMBER_LIMIT - 1;
    // With 32 bits of slot, a number stays below `UNSAVED`.
    const KEY_LIMIT: usize = (1 << 24) - 1;

    pub(super) fn number(self) -> u64 {
        u64::from(self.key) << 32 | u64::from(self.slot)
    }

    pub(super) fn of(number: u64) -> Option<Self> {
        (number != Self::UNSAVED)
            .then_some(Self { key: (number >> 32) as u32, slot: number as u32 })
    }
}

/// Which of the folder's two indexes is taken, and what is wrong with the other.
struct FoundIndex {
    index: Index,
    problem: Option<MapError>,
    state: IndexState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IndexState {
    /// Both say the same.
    Sound,
    /// `index.pxi` is sound, and the copy has to be made again.
    CopyIsOld,
    /// The copy was taken. It may be one flush behind.
    FromCopy,
}

impl MapStore {
    /// Makes an empty map in a folder, which is made too if it is not there.
    pub(super) fn create(folder: &Path, tile_size: TileSize) -> Result<Self, MapError> {
        fs::create_dir_all(folder)
            .map_err(|error| MapError::io("make the folder")(error).at(folder))?;
        let occupied = |problem: String| Err(MapError::Occupied { problem }.at(folder));
        for entry in fs::read_dir(folder).map_err(|error| MapError::io("list")(error).at(folder))? {
            let name = entry.map_err(|error| MapError::io("list")(error).at(folder))?.file_name();
            match name.to_str() {
                Some(INDEX | INDEX_COPY) => return occupied("there is a map already".to_owned()),
                // Left by a map that was never finished.
                Some("lock") => {}
                Some(name) if is_temporary(name) => {}
                _ => return occupied(format!("the folder holds {name:?}")),
            }
        }
        let mut store = Self {
            folder: folder.to_owned(),
            tile_size,
            map_id: new_map_id(folder),
            generation: 0,
            next_pack: 0,
            packs: Vec::new(),
            uncommitted: Vec::new(),
            obsolete: Vec::new(),
            is_commit_in_doubt: false,
            lock: Some(WriterLock::take(folder)?),
            problems: Vec::new(),
        };
        store.commit(Vec::new())?;
        Ok(store)
    }

    /// Opens a map to read, or to write as the only writer.
    pub(super) fn open(
        folder: &Path,
        to_write: bool,
        tile_size: Option<TileSize>,
    ) -> Result<(Self, Vec<Region>), MapError> {
        // Before the lock, whose file would be left in a folder that has no map.
        if !folder.join(INDEX).exists() && !folder.join(INDEX_COPY).exists() {
            return Err(MapError::NoMap.at(folder));
        }
        // Before the index is read, so that no other writer replaces it meanwhile.
        let lock = if to_write { Some(WriterLock::take(folder)?) } else { None };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let found = find_index(folder)?;
            if let Some(expected) = tile_size
                && expected != found.index.tile_size
            {
                return Err(
                    MapError::TileSize { found: found.index.tile_size, expected }.at(folder)
                );
            }
            let generation = found.index.generation;
            let state = found.state;
            let (mut store, regions) = Self::open_packs(folder, found);
            let is_missing = store.packs.iter().flatten().any(|pack| pack.is_damaged);
            if is_missing && lock.is_none() && attempt < MAX_ATTEMPTS {
                // A missing pack is damage only if no flush has replaced the index that named it.
                let now = find_index(folder)?.index.generation;
                if now != generation {
                    continue;
                }
            }
            store.lock = lock;
            if store.lock.is_some() {
                store.take_over(state, &regions);
            }
            return Ok((store, regions));
        }
    }

    fn open_packs(folder: &Path, found: FoundIndex) -> (Self, Vec<Region>) {
        let FoundIndex { index, problem, .. } = found;
        let Index { tile_size, map_id, generation, next_pack, packs, regions } = index;
        let mut problems = Vec::from_iter(problem);
        let packs = packs
            .into_iter()
            .map(|record| {
                let (pack, found) = Pack::open(folder, record, &map_id, tile_size);
                problems.extend(found);
                Some(pack)
            })
            .collect();
        let store = Self {
            folder: folder.to_owned(),
            tile_size,
            map_id,
            generation,
            next_pack,
            packs,
            uncommitted: Vec::new(),
            obsolete: Vec::new(),
            is_commit_in_doubt: false,
            lock: None,
            problems,
        };
        (store, regions)
    }

    /// Makes the copy of the index the same as the index, and removes what an earlier writer left
    /// when it was killed. Where one of the two indexes may name a file that the other does not,
    /// and where anything is wrong with the packs, nothing is removed: it may be what somebody
    /// needs to mend the map.
    fn take_over(&mut self, state: IndexState, regions: &[Region]) {
        let is_sound = match state {
            IndexState::Sound => true,
            IndexState::FromCopy => false,
            IndexState::CopyIsOld => {
                let index = self.index(self.generation, regions.to_vec());
                write::write_plain(&self.folder.join(INDEX_COPY), &index.encode()).is_ok()
            }
        };
        let known: Vec<_> = self.packs.iter().flatten().map(|pack| pack.record.number).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = pack_number(name);
            // Above every file there is: an index that is lost may have named it.
            if let Some(number) = number {
                self.next_pack = self.next_pack.max(number.saturating_add(1));
            }
            let is_left_over = number.is_some_and(|number| !known.contains(&number));
            if is_sound && self.problems.is_empty() && (is_left_over || is_temporary(name)) {
                // What cannot be removed does no harm and is tried again next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn index(&self, generation: u64, regions: Vec<Region>) -> Index {
        let mut packs: Vec<_> = self.packs.iter().flatten().map(|pack| pack.record).collect();
        // Keys are given again, so their order is not that of the numbers, which the format asks
        // for.
        packs.sort_by_key(|record| record.number);
        let (tile_size, map_id, next_pack) = (self.tile_size, self.map_id, self.next_pack);
        Index { tile_size, map_id, generation, next_pack, packs, regions }
    }

    /// Makes the packs that are held now, and these regions, the map.
    pub(super) fn commit(&mut self, regions: Vec<Region>) -> Result<(), MapError> {
        let index = self.index(self.generation + 1, regions);
        let bytes = index.encode();
        if let Err(error) = write::write_plain(&self.folder.join(INDEX), &bytes) {
            // The new index may be in place: the folder is synced after the rename, and may fail.
            self.is_commit_in_doubt = true;
            return Err(error);
        }
        self.is_commit_in_doubt = false;
        self.generation = index.generation;
        self.uncommitted.clear();
        match write::write_plain(&self.folder.join(INDEX_COPY), &bytes) {
            Ok(()) => {
                for number in std::mem::take(&mut self.obsolete) {
                    self.remove_files(number);
                }
            }
            // The map is saved all the same. The older copy still names the obsolete packs, so they
            // stay for now.
            Err(error) => self.problems.push(error),
        }
        Ok(())
    }

    /// Forgets a pack; its files go once the index does not name them any more.
    pub(super) fn retire(&mut self, key: u32) {
        if let Some(pack) = self.packs.get_mut(key as usize).and_then(Option::take) {
            self.obsolete.push(pack.record.number);
        }
    }

    fn remove_files(&self, number: u64) {
        // A reader on a system that keeps mapped files from being removed leaves them to the next
        // writer.
        let _ = fs::remove_file(pack::tiles_path(&self.folder, number));
        let _ = fs::remove_file(pack::directory_path(&self.folder, number));
    }

    fn keep(&mut self, pack: Pack) -> u32 {
        let free = self.packs.iter().position(Option::is_none);
        let key = free.unwrap_or_else(|| {
            self.packs.push(None);
            self.packs.len() - 1
        });
        self.packs[key] = Some(pack);
        key as u32
    }

    /// Whether one more pack can be numbered within an item.
    pub(super) fn has_room(&self) -> bool {
        self.packs.len() < Location::KEY_LIMIT
    }

    pub(super) fn pack(&self, key: u32) -> Option<&Pack> {
        self.packs.get(key as usize)?.as_ref()
    }

    pub(super) fn pack_mut(&mut self, key: u32) -> Option<&mut Pack> {
        self.packs.get_mut(key as usize)?.as_mut()
    }

    /// The packs and their keys, the newest last.
    pub(super) fn packs(&self) -> Vec<(u32, &Pack)> {
        let mut packs: Vec<_> =
            (0..).zip(&self.packs).filter_map(|(key, pack)| Some((key, pack.as_ref()?))).collect();
        packs.sort_by_key(|(_, pack)| pack.record.number);
        packs
    }

    fn packs_newest_first(&self) -> impl Iterator<Item = (u32, &Pack)> {
        self.packs().into_iter().rev()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn tile_size(&self) -> TileSize {
        self.tile_size
    }

    pub(super) fn map_id(&self) -> &MapId {
        &self.map_id
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn has_uncommitted(&self) -> bool {
        !self.uncommitted.is_empty() || !self.obsolete.is_empty()
    }

    /// What was found wrong when the map was opened, and since.
    pub(super) fn problems(&self) -> &[MapError] {
        &self.problems
    }

    pub(super) fn report(&mut self, problem: MapError) {
        self.problems.push(problem);
    }

    /// The generation on disk now.
    pub(super) fn generation_on_disk(&self) -> Result<u64, MapError> {
        find_index(&self.folder).map(|found| found.index.generation)
    }

    /// Checks both indexes, and gives what is wrong.
    pub(super) fn verify_indexes(&self) -> Vec<MapError> {
        let mut problems = Vec::new();
        for name in [INDEX, INDEX_COPY] {
            let path = self.folder.join(name);
            let verified =
                PxiFile::open(&path).and_then(|file| file.verify()).map_err(MapError::from);
            let checked = verified.and_then(|()| read_index(&path)).and_then(|index| {
                if index.map_id == self.map_id {
                    Ok(())
                } else {
                    Err(pack::foreign(&index.map_id, &self.map_id))
                }
            });
            problems.extend(checked.err().map(|error| error.at(&path)));
        }
        problems
    }
}

impl Drop for MapStore {
    /// What was written but never committed is no part of the map. It stays where an index may name
    /// it after all.
    fn drop(&mut self) {
        if !self.is_commit_in_doubt {
            self.uncommitted.iter().for_each(|number| self.remove_files(*number));
        }
    }
}

/// Reads `index.pxi`, or the copy where it is damaged or another map's.
fn find_index(folder: &Path) -> Result<FoundIndex, MapError> {
    let [index_path, copy_path] = [INDEX, INDEX_COPY].map(|name| folder.join(name));
    match (read_index(&index_path), read_index(&copy_path)) {
        (Ok(index), Ok(copy)) if index.map_id != copy.map_id => {
            // A file of another map was put here: the packs tell whose folder it is.
            let is_copy_ours = owner(folder, &copy) == Some(copy.map_id);
            let (ours, other, path) =
                if is_copy_ours { (copy, index, index_path) } else { (index, copy, copy_path) };
            let problem = Some(pack::foreign(&other.map_id, &ours.map_id).at(&path));
            let state = if is_copy_ours { IndexState::FromCopy } else { IndexState::CopyIsOld };
            Ok(FoundIndex { index: ours, problem, state })
        }
        (Ok(index), copy) => {
            let state = match &copy {
                Ok(copy) if *copy == index => IndexState::Sound,
                _ => IndexState::CopyIsOld,
            };
            // A missing or an older copy is what a writer leaves that was killed at the right
            // moment.
            Ok(FoundIndex { index, problem: copy.err().filter(MapError::is_damage), state })
        }
        // A map of another version is not damaged, and its copy is not asked instead.
        (Err(error), _) if is_other_version(&error) => Err(error),
        (Err(problem), Ok(copy)) => {
            Ok(FoundIndex { index: copy, problem: Some(problem), state: IndexState::FromCopy })
        }
        (Err(index), Err(copy)) => {
            Err(MapError::NoIndex { index: Box::new(index), copy: Box::new(copy) })
        }
    }
}

fn read_index(path: &Path) -> Result<Index, MapError> {
    let read = || -> Result<Index, MapError> {
        let file = PxiFile::open(path)?;
        let index = Index::parse(file.payload()?);
        // A version is told even where the rest is not understood, but nothing else is believed
        // unverified.
        if let Err(error) = &index
            && is_other_version(error)
        {
            return index;
        }
        file.verify()?;
        index
    };
    read().map_err(|error| error.at(path))
}

fn is_other_version(error: &MapError) -> bool {
    matches!(error.inner(), MapError::Field { part: "index", field: "version", .. })
}

/// The map to which the packs belong that an index names.
fn owner(folder: &Path, index: &Index) -> Option<MapId> {
    index.packs.iter().find_map(|record| {
        let file = PxiFile::open(pack::directory_path(folder, record.number)).ok()?;
        Some(Directory::parse_header(file.payload().ok()?).ok()?.map_id)
    })
}

/// The number in the name of a pack's file.
fn pack_number(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".pxi")?;
    let digits = stem.strip_prefix("tiles-").or_else(|| stem.strip_prefix("directory-"))?;
    digits.parse().ok()
}

/// Whether a name is one of the temporary names of `specs/pxi.md`.
fn is_temporary(name: &str) -> bool {
    name.starts_with(".pixel-llm-") && name.ends_with(".tmp")
}

/// A number that no other map has: it tells maps apart and keeps no secret.
fn new_map_id(folder: &Path) -> MapId {
    let mut hash = Sha256::new();
    hash.update(folder.as_os_str().as_encoded_bytes());
    hash.update(std::process::id().to_le_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    hash.update(now.as_nanos().to_le_bytes());
    // The seed of the standard library's hash maps is random in every process.
    hash.update(RandomState::new().hash_one(0).to_le_bytes());
    *hash.finalize().first_chunk().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_fit_into_numbers() {
        for location in [
            Location { key: 0, slot: 0 },
            Location { key: Location::KEY_LIMIT as u32 - 1, slot: u32::MAX },
        ] {
            assert_eq!(Location::of(location.number()), Some(location));
            assert!(location.number() < Location::UNSAVED);
        }
        assert_eq!(Location::of(Location::UNSAVED), None);
    }

    #[test]
    fn files_are_known_by_their_names() {
        assert_eq!(pack_number("tiles-0000000007.pxi"), Some(7));
        assert_eq!(pack_number("directory-12345678901.pxi"), Some(12_345_678_901));
        assert_eq!(pack_number("tiles-x.pxi"), None);
        assert_eq!(pack_number("index.pxi"), None);
        assert!(is_temporary(".pixel-llm-1-2.tmp") && !is_temporary("a.tmp"));
    }
}
