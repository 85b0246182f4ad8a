//! A pack: two finished files that are never written again. `tiles-N.pxi` holds the pixels of its
//! tiles one after another, and then a second copy of the directory; `directory-N.pxi` holds the
//! directory.

use super::directory::{Directory, MapId};
use super::index::PackRecord;
use crate::map::MapError;
use crate::map::geometry::{TilePos, TileSize};
use crate::pxi::{PxiFile, hex};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A pack that was opened, as far as its files allow.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(super) record: PackRecord,
    tile_size: TileSize,
    tiles_path: PathBuf,
    /// The file of pixels, or why there is none.
    tiles: Result<PxiFile, String>,
    directory: DirectoryIn,
    /// How many of its tiles no newer pack has replaced.
    pub(crate) live: u32,
    /// A pack that could not be read in full is left as it is, for whoever may mend it.
    pub(crate) is_damaged: bool,
}

/// Where the directory is read from.
#[derive(Debug)]
enum DirectoryIn {
    OwnFile(PxiFile),
    TilesFile,
    Nowhere,
}

pub(super) fn tiles_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("tiles-{number:010}.pxi"))
}

pub(super) fn directory_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("directory-{number:010}.pxi"))
}

impl Pack {
    /// Opens the files of a pack. What is wrong with them comes beside the pack, which gives what
    /// it still can.
    pub(super) fn open(
        folder: &Path,
        record: PackRecord,
        map_id: &MapId,
        tile_size: TileSize,
    ) -> (Self, Vec<MapError>) {
        let mut problems = Vec::new();
        let tiles_path = tiles_path(folder, record.number);
        let tiles = open_tiles(&tiles_path, &record, map_id, tile_size).map_err(|error| {
            let problem = error.to_string();
            problems.push(error);
            problem
        });
        let path = directory_path(folder, record.number);
        let own = PxiFile::open(&path)
            .map_err(MapError::from)
            .and_then(|file| {
                check_directory(file.payload()?, &record, map_id, tile_size).map(|()| file)
            })
            .map_err(|error| error.at(&path));
        let directory = match own {
            Ok(file) => DirectoryIn::OwnFile(file),
            Err(error) => {
                problems.push(error);
                let copy = tiles.as_ref().ok().and_then(|file| directory_copy(file, &record));
                match copy.map(|copy| check_directory(copy, &record, map_id, tile_size)) {
                    Some(Ok(())) => DirectoryIn::TilesFile,
                    _ => DirectoryIn::Nowhere,
                }
            }
        };
        let is_damaged = !problems.is_empty();
        (Self { record, tile_size, tiles_path, tiles, directory, live: 0, is_damaged }, problems)
    }

    /// The directory, if it can be had from either file.
    pub(crate) fn directory(&self) -> Option<Directory<'_>> {
        let bytes = match (&self.directory, &self.tiles) {
            (DirectoryIn::OwnFile(file), _) => file.payload().ok()?,
            (DirectoryIn::TilesFile, Ok(tiles)) => directory_copy(tiles, &self.record)?,
            _ => return None,
        };
        Directory::parse_header(bytes).ok()
    }

    /// Reads a slot's pixels and checks them.
    pub(crate) fn read(&self, slot: u32) -> Result<Box<[u8]>, MapError> {
        self.read_unlocated(slot).map_err(|error| error.at(&self.tiles_path))
    }

    fn read_unlocated(&self, slot: u32) -> Result<Box<[u8]>, MapError> {
        let unreadable = |problem: &str| MapError::Unreadable { problem: problem.to_owned() };
        let file = self.tiles.as_ref().map_err(|problem| unreadable(problem))?;
        let directory = self.directory().ok_or_else(|| unreadable("its directory is lost"))?;
        let expected = directory.digest(slot).ok_or_else(|| unreadable("it has no such slot"))?;
        let tile_len = self.tile_size.tile_len();
        // The slot is below the count by which the file's length was checked.
        let start = slot as usize * tile_len;
        // The copy is checked, and not the mapped bytes, which another program could change
        // meanwhile.
        let pixels: Box<[u8]> = file.payload()?[start..start + tile_len].into();
        let found = Sha256::digest(&pixels);
        if found[..] != expected[..] {
            return Err(MapError::Checksum { found: hex(&found), expected: hex(expected) });
        }
        Ok(pixels)
    }

    /// The tiles that lie in a slot.
    pub(crate) fn tiles_in(&self, slot: u32) -> Vec<TilePos> {
        let Some(directory) = self.directory() else { return Vec::new() };
        directory.tiles().filter(|(_, other)| *other == slot).map(|(tile, _)| tile).collect()
    }

    /// The path of the file of pixels.
    pub(crate) fn tiles_path(&self) -> &Path {
        &self.tiles_path
    }

    pub(crate) fn record(&self) -> &PackRecord {
        &self.record
    }

    /// Checks both files against the checksums in their headers, and gives what is wrong.
    pub(crate) fn verify_files(&self) -> Vec<MapError> {
        let mut problems: Vec<MapError> = Vec::new();
        if let Ok(file) = &self.tiles {
            problems.extend(file.verify().err().map(MapError::from));
            let own = self.directory();
            let copy = directory_copy(file, &self.record).map(Sha256::digest);
            if own.is_some() && copy.is_none_or(|copy| copy[..] != self.record.directory_digest[..])
            {
                let (found, expected) = ("another one", "the same as in its own file");
                problems.push(
                    MapError::field("directory", "copy", found, expected).at(&self.tiles_path),
                );
            }
        }
        if let DirectoryIn::OwnFile(file) = &self.directory {
            problems.extend(file.verify().err().map(MapError::from));
        }
        problems
    }

    /// The bytes of both files.
    pub(crate) fn file_len(&self) -> u64 {
        let directory = match &self.directory {
            DirectoryIn::OwnFile(file) => file.file_len(),
            _ => 0,
        };
        self.tiles.as_ref().map_or(0, PxiFile::file_len) + directory
    }
}

fn open_tiles(
    path: &Path,
    record: &PackRecord,
    map_id: &MapId,
    tile_size: TileSize,
) -> Result<PxiFile, MapError> {
    let file = PxiFile::open(path)?;
    let payload = file.payload()?;
    let expected = u64::from(record.counts.slots) * tile_size.tile_len() as u64
        + record.counts.directory_len();
    // Said first, since a foreign file most often has another length as well.
    if let Some(copy) = directory_copy(&file, record)
        && let Ok(copy) = Directory::parse_header(copy)
        && copy.map_id != *map_id
    {
        return Err(foreign(&copy.map_id, map_id).at(path));
    }
    if payload.len() as u64 != expected {
        return Err(MapError::field("tiles", "length", payload.len(), expected).at(path));
    }
    Ok(file)
}

/// The bytes at the end of the file of pixels, where the second directory is.
fn directory_copy<'a>(tiles: &'a PxiFile, record: &PackRecord) -> Option<&'a [u8]> {
    let payload = tiles.payload().ok()?;
    let start = payload.len().checked_sub(usize::try_from(record.counts.directory_len()).ok()?)?;
    Some(&payload[start..])
}

fn check_directory(
    bytes: &[u8],
    record: &PackRecord,
    map_id: &MapId,
    tile_size: TileSize,
) -> Result<(), MapError> {
    let digest = Sha256::digest(bytes);
    let directory = Directory::parse(bytes);
    // Foreign before a wrong digest, which it has as well and which says less.
    if let Ok(directory) = &directory
        && directory.map_id != *map_id
    {
        return Err(foreign(&directory.map_id, map_id));
    }
    if digest[..] != record.directory_digest[..] {
        return Err(MapError::Checksum {
            found: hex(&digest),
            expected: hex(&record.directory_digest),
        });
    }
    let directory = directory?;
    let field = |field, found: &dyn ToString, expected: &dyn ToString| {
        Err(MapError::field("directory", field, found.to_string(), expected.to_string()))
    };
    if directory.pack != record.number {
        return field("pack", &directory.pack, &record.number);
    }
    if directory.tile_size != tile_size {
        return field("tile_size", &directory.tile_size, &tile_size);
    }
    if directory.counts() != record.counts {
        return field(
            "slot_count",
            &format!("{:?}", directory.counts()),
            &format!("{:?}", record.counts),
        );
    }
    Ok(())
}

pub(super) fn foreign(found: &MapId, expected: &MapId) -> MapError {
    MapError::Foreign { found: hex(found), expected: hex(expected) }
}
