//! Damaged, missing and foreign files of a map are named, and the rest of it stays usable; what
//! cannot be opened is refused; what cannot be written leaves the map as it was.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::{
    map::{Access, InfiniteMap, MapError, MapOptions, Point, Rect, TilePos, TileSize},
    pxi::{PxiWriter, WriteOptions},
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const PACKS: i64 = 3;

fn options() -> MapOptions {
    // Without a cache every question is answered by the files.
    MapOptions { cache_in_bytes: 0, ..MapOptions::default() }
}

/// Three packs, of 100, 20 and 4 tiles: small enough, each, not to be merged with the one before.
/// Pack `n` has the rows of tiles `10 n` to `10 n + 9`, and `n` is in every pixel's red.
fn make(folder: &Path) {
    let mut map = InfiniteMap::create(folder, &options()).unwrap();
    for (pack, tiles) in (0..PACKS).zip([100, 20, 4]) {
        for index in 0..tiles {
            let rect =
                map.tile_size().rect_of(TilePos::new(index % 10, 10 * pack + index / 10)).unwrap();
            map.fill(&rect, [pack as u8, index as u8, 7]).unwrap();
        }
        map.flush().unwrap();
    }
    assert_eq!(map.stats().packs, PACKS as usize);
    assert!(map.verify(&|_| ()).problems.is_empty());
}

fn map() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map");
    make(&path);
    (folder, path)
}

fn open(folder: &Path) -> InfiniteMap {
    InfiniteMap::open(folder, Access::Read, &options()).unwrap()
}

fn first_of(pack: i64) -> Point {
    Point::new(0, 640 * pack)
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder)
        .into_iter()
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect()
}

#[test]
fn a_flipped_bit_costs_one_tile() {
    let (_guard, folder) = map();
    // Pack 1 has 20 slots; this is in the fourth.
    flip(&folder.join("tiles-0000000001.pxi"), 64 + 3 * 12_288 + 100);
    let map = open(&folder);
    assert!(map.problems().is_empty());
    let refused = map.pixel(Point::new(3 * 64, 640)).unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    let message = refused.to_string();
    assert!(
        message.starts_with("tile (3, 10): ")
            && message.contains("tiles-0000000001.pxi: SHA-256 is"),
        "{message}"
    );
    for pack in 0..PACKS {
        assert_eq!(map.pixel(first_of(pack)).unwrap(), Some([pack as u8, 0, 7]));
    }
    let verified = map.verify(&|_| ());
    assert_eq!(
        verified.problems.iter().filter_map(|problem| problem.tile).collect::<Vec<_>>(),
        [TilePos::new(3, 10)]
    );

    // The map can be written to, the pack is not merged into a new one, and the tile can be
    // replaced.
    let mut map = InfiniteMap::open(&folder, Access::Write, &options()).unwrap();
    assert!(map.set_pixel(Point::new(3 * 64, 640), [1; 3]).is_err());
    for x in 0..60 {
        map.set_pixel(Point::new(x * 64, -64), [5; 3]).unwrap();
    }
    map.flush().unwrap();
    assert!(map.pixel(Point::new(3 * 64, 640)).is_err());
    assert_eq!(map.pixel(Point::new(4 * 64, 640)).unwrap(), Some([1, 4, 7]));
    map.fill(&map.tile_size().rect_of(TilePos::new(3, 10)).unwrap(), [9; 3]).unwrap();
    map.close().unwrap();
    let map = open(&folder);
    assert_eq!(map.pixel(Point::new(3 * 64, 640)).unwrap(), Some([9; 3]));
    assert!(map.verify(&|_| ()).problems.iter().all(|problem| problem.tile.is_none()));
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_small_map_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let size = TileSize::new(8).unwrap();
    let options = MapOptions { tile_size: Some(size), ..options() };
    let mut map = InfiniteMap::create(&folder, &options).unwrap();
    map.write_region("a", b"some bytes").unwrap();
    map.close().unwrap();
    for name in names(&folder).into_iter().filter(|name| name != "lock") {
        let path = folder.join(&name);
        let whole = fs::read(&path).unwrap();
        for offset in 0..whole.len() {
            flip(&path, offset);
            match InfiniteMap::open(&folder, Access::Read, &options) {
                Ok(map) => {
                    let verified = map.verify(&|_| ());
                    assert!(!verified.problems.is_empty(), "byte {offset} of {name}");
                    // With one file damaged, the other copy still tells what is where.
                    assert!(map.region("a").is_some());
                    if !name.starts_with("tiles") {
                        assert_eq!(
                            map.read_region("a").unwrap(),
                            b"some bytes",
                            "byte {offset} of {name}"
                        );
                    }
                }
                // A version that is not known is no damage that a copy could help with.
                Err(error) => {
                    assert!(name == "index.pxi" && error.to_string().contains("version"), "{error}")
                }
            }
            fs::write(&path, &whole).unwrap();
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let map = InfiniteMap::open(&folder, Access::Read, &options).unwrap();
        assert!(!map.verify(&|_| ()).problems.is_empty(), "half of {name}");
        fs::write(&path, &whole).unwrap();
    }
    let map = InfiniteMap::open(&folder, Access::Read, &options).unwrap();
    assert!(map.verify(&|_| ()).problems.is_empty());
}

#[test]
fn a_missing_or_foreign_pack_costs_its_own_tiles() {
    let (_guard, folder) = map();
    let (_other_guard, other) = map();
    let name = "tiles-0000000001.pxi";
    fs::remove_file(folder.join(name)).unwrap();
    for (state, said) in [("missing", "cannot open"), ("foreign", "is foreign: it belongs to map")]
    {
        if state == "foreign" {
            fs::copy(other.join(name), folder.join(name)).unwrap();
        }
        let map = open(&folder);
        assert_eq!(map.problems().len(), 1, "{:?}", map.problems());
        let problem = map.problems()[0].to_string();
        assert!(problem.contains(name) && problem.contains(said), "{problem}");
        let refused = map.pixel(first_of(1)).unwrap_err().to_string();
        assert!(refused.starts_with("tile (0, 10): ") && refused.contains(said), "{refused}");
        assert_eq!(map.pixel(first_of(0)).unwrap(), Some([0, 0, 7]));
        assert_eq!(map.pixel(first_of(2)).unwrap(), Some([2, 0, 7]));
        assert_eq!(map.stats().tiles, 124);
        let lost =
            map.verify(&|_| ()).problems.iter().filter(|problem| problem.tile.is_some()).count();
        assert_eq!(lost, 20);
    }
    // A writer keeps what may be mended.
    let mut map = InfiniteMap::open(&folder, Access::Write, &options()).unwrap();
    map.set_pixel(Point::new(-1, -1), [3; 3]).unwrap();
    map.close().unwrap();
    assert!(folder.join("directory-0000000001.pxi").exists());
    assert_eq!(open(&folder).stats().tiles, 125);
}

#[test]
fn a_lost_directory_is_read_from_the_tiles_file() {
    let (_guard, folder) = map();
    let (_other_guard, other) = map();
    let name = "directory-0000000000.pxi";
    for state in ["damaged", "foreign", "missing"] {
        match state {
            "damaged" => flip(&folder.join(name), 200),
            "foreign" => drop(fs::copy(other.join(name), folder.join(name)).unwrap()),
            _ => fs::remove_file(folder.join(name)).unwrap(),
        }
        let map = open(&folder);
        let problem = map.problems()[0].to_string();
        assert!(map.problems().len() == 1 && problem.contains(name), "{problem}");
        assert_eq!(problem.contains("is foreign"), state == "foreign", "{problem}");
        for pack in 0..PACKS {
            assert_eq!(map.pixel(first_of(pack)).unwrap(), Some([pack as u8, 0, 7]));
        }
    }
}

#[test]
fn a_lost_index_is_read_from_its_copy() {
    let (_guard, folder) = map();
    let (_other_guard, other) = map();
    let index = folder.join("index.pxi");
    let whole = fs::read(&index).unwrap();
    for state in ["damaged", "cut off", "foreign", "missing"] {
        match state {
            "damaged" => flip(&index, 100),
            "cut off" => fs::write(&index, &whole[..whole.len() - 1]).unwrap(),
            "foreign" => drop(fs::copy(other.join("index.pxi"), &index).unwrap()),
            _ => fs::remove_file(&index).unwrap(),
        }
        let map = open(&folder);
        let problem = map.problems()[0].to_string();
        assert!(map.problems().len() == 1 && problem.contains("index.pxi"), "{state}: {problem}");
        assert_eq!(map.stats().tiles, 124);
        assert_eq!(map.pixel(first_of(2)).unwrap(), Some([2, 0, 7]));
        fs::write(&index, &whole).unwrap();
    }
    // The next flush mends it.
    flip(&index, 100);
    let mut map = InfiniteMap::open(&folder, Access::Write, &options()).unwrap();
    map.set_pixel(Point::new(-1, -1), [3; 3]).unwrap();
    map.close().unwrap();
    let map = open(&folder);
    assert!(map.problems().is_empty() && map.verify(&|_| ()).problems.is_empty());
    assert_eq!(map.stats().tiles, 125);
    // Without either there is nothing to go by.
    flip(&index, 100);
    flip(&folder.join("index-copy.pxi"), 100);
    let refused = InfiniteMap::open(&folder, Access::Read, &options()).unwrap_err();
    assert!(refused.is_damage() && refused.to_string().contains("index-copy.pxi"), "{refused}");
}

#[test]
fn swapped_tiles_are_found() {
    let (_guard, folder) = map();
    let path = folder.join("tiles-0000000002.pxi");
    let mut bytes = fs::read(&path).unwrap();
    let (one, other) = bytes[64..64 + 2 * 12_288].split_at_mut(12_288);
    one.swap_with_slice(other);
    fs::write(&path, bytes).unwrap();
    let map = open(&folder);
    assert!(map.pixel(first_of(2)).is_err());
    assert_eq!(map.pixel(Point::new(128, 1280)).unwrap(), Some([2, 2, 7]));
}

#[test]
fn another_tile_size_or_version_is_refused() {
    let (_guard, folder) = map();
    let options = MapOptions { tile_size: Some(TileSize::new(128).unwrap()), ..options() };
    for access in [Access::Read, Access::Write] {
        let refused = InfiniteMap::open(&folder, access, &options).unwrap_err();
        assert!(
            refused.to_string().ends_with("the map has tiles of 64 x 64 pixels, not of 128 x 128"),
            "{refused}"
        );
    }
    // A sound index of a version to come: its copy is not taken instead.
    let index = folder.join("index.pxi");
    let mut payload = pixel_llm::pxi::PxiFile::open(&index).unwrap().read_all().unwrap();
    payload[4] = 2;
    let mut writer = PxiWriter::create(&index, WriteOptions::default()).unwrap();
    writer.write_all(&payload).unwrap();
    writer.finish().unwrap();
    let refused = InfiniteMap::open(&folder, Access::Read, &self::options()).unwrap_err();
    assert!(refused.to_string().contains("index field `version` is 2.0"), "{refused}");
}

#[test]
fn what_is_no_map_is_not_opened_and_not_made_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let refused = InfiniteMap::open(&missing, Access::Read, &options()).unwrap_err();
    assert!(matches!(refused.inner(), MapError::NoMap), "{refused}");
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let refused = InfiniteMap::create(folder.path(), &options()).unwrap_err();
    assert!(refused.to_string().contains("notes.txt"), "{refused}");
    assert_eq!(names(folder.path()), ["notes.txt"]);
    let (_guard, folder) = map();
    assert!(InfiniteMap::create(&folder, &options()).is_err());
    assert_eq!(open(&folder).stats().tiles, 124);
}

#[test]
fn a_map_that_is_read_is_not_changed() {
    let (_guard, folder) = map();
    let before = snapshot(&folder);
    let mut map = open(&folder);
    assert!(matches!(
        map.set_pixel(Point::default(), [0; 3]).unwrap_err().inner(),
        MapError::ReadOnly
    ));
    assert!(map.remove_tile(TilePos::default()).is_err());
    assert!(map.fill(&Rect::new(0, 0, 64, 64).unwrap(), [0; 3]).is_err());
    assert!(map.write_region("a", &[]).is_err() && map.allocate("a", 1, 1).is_err());
    assert!(map.flush().is_err());
    drop(map);
    assert!(snapshot(&folder) == before);
}

#[test]
fn one_writes_and_others_read() {
    let (_guard, folder) = map();
    let mut writer = InfiniteMap::open(&folder, Access::Write, &options()).unwrap();
    let refused = InfiniteMap::open(&folder, Access::Write, &options()).unwrap_err();
    assert!(matches!(refused.inner(), MapError::Locked), "{refused}");
    let mut reader = open(&folder);
    writer.set_pixel(first_of(2), [200; 3]).unwrap();
    assert!(!reader.refresh().unwrap());
    assert_eq!(reader.pixel(first_of(2)).unwrap(), Some([2, 0, 7]));
    for step in 0..20 {
        writer.set_pixel(Point::new(0, 640 * 2), [200 + step; 3]).unwrap();
        writer.flush().unwrap();
    }
    // The reader keeps what it opened, although the pack was merged and its files are gone.
    assert_eq!(reader.pixel(first_of(2)).unwrap(), Some([2, 0, 7]));
    assert_eq!(reader.pixel(Point::new(64, 1280)).unwrap(), Some([2, 1, 7]));
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.pixel(first_of(2)).unwrap(), Some([219; 3]));
    drop(writer);
    InfiniteMap::open(&folder, Access::Write, &options()).unwrap();
}
