//! The directory of a pack: which tiles it holds, where in it, their digests, and which older tiles
//! are gone.
//!
//! Spec: `specs/map.md`, "Directory". Integers are little-endian.

use super::fields::RecordFields;
use crate::map::MapError;
use crate::map::geometry::{TilePos, TileSize};
use crate::pxi::hex;

pub(super) const MAGIC: [u8; 4] = *b"PXMD";
pub(super) const VERSION: [u8; 2] = [1, 0];
const HEADER_LEN: usize = 64;
const DIGEST_LEN: usize = 32;
const TILE_LEN: usize = 20;
const REMOVED_LEN: usize = 16;

/// The number that tells maps apart.
pub(super) type MapId = [u8; 16];

/// How much a pack holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Tiles' worth of pixels: equal tiles share one slot.
    pub slots: u32,
    /// Tiles, of which several may share a slot.
    pub tiles: u32,
    /// Positions that older packs may have and that are unallocated since.
    pub removed: u32,
}

impl Counts {
    /// The directory's length in bytes.
    pub(super) fn directory_len(self) -> u64 {
        let records = |count: u32, len: usize| u64::from(count) * len as u64;
        HEADER_LEN as u64
            + records(self.slots, DIGEST_LEN)
            + records(self.tiles, TILE_LEN)
            + records(self.removed, REMOVED_LEN)
    }
}

/// A directory whose fields agree with one another.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    /// The map that the pack belongs to.
    pub map_id: MapId,
    /// The pack's number; of two packs the higher one is the newer.
    pub pack: u64,
    /// The side of the tiles.
    pub tile_size: TileSize,
    digests: &'a [[u8; DIGEST_LEN]],
    tiles: &'a [[u8; TILE_LEN]],
    removed: &'a [[u8; REMOVED_LEN]],
}

impl<'a> Directory<'a> {
    /// Reads a directory and checks all of it. Nothing is allocated.
    ///
    /// # Errors
    /// The first field that is not as `specs/map.md` says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MapError> {
        let directory = Self::parse_header(bytes)?;
        let fields = RecordFields::new("directory", bytes);
        let mut last = None;
        let slots = directory.digests.len();
        for (tile, slot) in directory.tiles() {
            check_tile(&fields, "tile", directory.tile_size, &mut last, tile)?;
            if slot as usize >= slots {
                return Err(fields.bad("slot", slot, format!("less than {slots}")));
            }
        }
        let mut last = None;
        for tile in directory.removed() {
            check_tile(&fields, "removed", directory.tile_size, &mut last, tile)?;
            if directory.slot_of(tile).is_some() {
                return Err(fields.bad("removed", tile, "no tile of the same pack"));
            }
        }
        Ok(directory)
    }

    /// Reads the header and the lengths only, of a directory that has been checked before.
    pub(super) fn parse_header(bytes: &'a [u8]) -> Result<Self, MapError> {
        let mut fields = RecordFields::new("directory", bytes);
        check_start(&mut fields, MAGIC)?;
        let tile_size = read_tile_size(&mut fields)?;
        let map_id = fields.array("map_id")?;
        let pack = fields.u64("pack")?;
        let counts = Counts {
            slots: fields.u32("slot_count")?,
            tiles: fields.u32("tile_count")?,
            removed: fields.u32("removed_count")?,
        };
        fields.reserved(20)?;
        if bytes.len() as u64 != counts.directory_len() {
            return Err(fields.bad("length", bytes.len(), counts.directory_len()));
        }
        // The length has been compared in 64 bits, so these products fit.
        let digests = fields.take(counts.slots as usize * DIGEST_LEN, "digests")?;
        let tiles = fields.take(counts.tiles as usize * TILE_LEN, "tiles")?;
        let removed = fields.take(counts.removed as usize * REMOVED_LEN, "removed")?;
        fields.end()?;
        Ok(Self {
            map_id,
            pack,
            tile_size,
            digests: digests.as_chunks().0,
            tiles: tiles.as_chunks().0,
            removed: removed.as_chunks().0,
        })
    }

    /// How much the pack holds.
    pub fn counts(&self) -> Counts {
        // The lengths came from 32-bit counts.
        let [slots, tiles, removed] =
            [self.digests.len(), self.tiles.len(), self.removed.len()].map(|count| count as u32);
        Counts { slots, tiles, removed }
    }

    /// The digest of the pixels in a slot.
    pub fn digest(&self, slot: u32) -> Option<&'a [u8; DIGEST_LEN]> {
        self.digests.get(slot as usize)
    }

    /// Every tile and its slot, row by row.
    pub fn tiles(&self) -> impl ExactSizeIterator<Item = (TilePos, u32)> + use<'a> {
        self.tiles.iter().map(read_tile)
    }

    /// The positions without a tile, row by row.
    pub fn removed(&self) -> impl ExactSizeIterator<Item = TilePos> + use<'a> {
        self.removed.iter().map(|record| read_pos(record))
    }

    /// The slot of a tile.
    pub fn slot_of(&self, tile: TilePos) -> Option<u32> {
        // In order, as `parse` has checked.
        let place = self.tiles.binary_search_by_key(&tile, |record| read_tile(record).0).ok()?;
        Some(read_tile(&self.tiles[place]).1)
    }
}

/// The bytes of a directory. Tiles and removed positions are in their order.
pub(super) fn encode(
    map_id: &MapId,
    pack: u64,
    tile_size: TileSize,
    digests: &[[u8; DIGEST_LEN]],
    tiles: &[(TilePos, u32)],
    removed: &[TilePos],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(VERSION);
    bytes.extend(tile_size.side().to_le_bytes());
    bytes.extend(map_id);
    bytes.extend(pack.to_le_bytes());
    for count in [digests.len(), tiles.len(), removed.len()] {
        bytes.extend((count as u32).to_le_bytes());
    }
    bytes.resize(HEADER_LEN, 0);
    bytes.extend(digests.iter().flatten());
    for (tile, slot) in tiles {
        bytes.extend(tile.x.to_le_bytes());
        bytes.extend(tile.y.to_le_bytes());
        bytes.extend(slot.to_le_bytes());
    }
    for tile in removed {
        bytes.extend(tile.x.to_le_bytes());
        bytes.extend(tile.y.to_le_bytes());
    }
    bytes
}

/// Checks the magic and the version with which indexes and directories begin.
pub(super) fn check_start(fields: &mut RecordFields<'_>, magic: [u8; 4]) -> Result<(), MapError> {
    let found: [u8; 4] = fields.array("magic")?;
    if found != magic {
        return Err(fields.bad("magic", hex(&found), hex(&magic)));
    }
    let [major, minor] = fields.array("version")?;
    if [major, minor] != VERSION {
        return Err(fields.bad(
            "version",
            format!("{major}.{minor}"),
            "1.0, the only one that is known here",
        ));
    }
    Ok(())
}

pub(super) fn read_tile_size(fields: &mut RecordFields<'_>) -> Result<TileSize, MapError> {
    let side = fields.u16("tile_size")?;
    TileSize::new(side.into()).map_err(|_| {
        fields.bad(
            "tile_size",
            side,
            format!("a power of two from {} to {}", TileSize::MIN, TileSize::MAX),
        )
    })
}

fn check_tile(
    fields: &RecordFields<'_>,
    field: &'static str,
    size: TileSize,
    last: &mut Option<TilePos>,
    tile: TilePos,
) -> Result<(), MapError> {
    if size.rect_of(tile).is_err() {
        return Err(fields.bad(field, tile, "a tile of the plane"));
    }
    if let Some(last) = last.replace(tile)
        && last >= tile
    {
        return Err(fields.bad(
            field,
            format!("{tile} after {last}"),
            "rows from the top, each from the left",
        ));
    }
    Ok(())
}

fn read_tile(record: &[u8; TILE_LEN]) -> (TilePos, u32) {
    let slot = record.last_chunk().expect("a record is longer than a number");
    (read_pos(record), u32::from_le_bytes(*slot))
}

fn read_pos(record: &[u8]) -> TilePos {
    let coordinate = |offset: usize| {
        let bytes = record[offset..].first_chunk().expect("a record holds two coordinates");
        i64::from_le_bytes(*bytes)
    };
    TilePos::new(coordinate(0), coordinate(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let tiles = [(TilePos::new(5, -1), 1), (TilePos::new(-3, 0), 0), (TilePos::new(4, 0), 1)];
        let removed = [TilePos::new(5, 0), TilePos::new(0, 9)];
        encode(&[7; 16], 3, TileSize::default(), &[[1; 32], [2; 32]], &tiles, &removed)
    }

    #[test]
    fn a_directory_comes_back() {
        let bytes = example();
        let directory = Directory::parse(&bytes).unwrap();
        assert_eq!((directory.pack, directory.map_id), (3, [7; 16]));
        assert_eq!(directory.counts(), Counts { slots: 2, tiles: 3, removed: 2 });
        assert_eq!(bytes.len() as u64, directory.counts().directory_len());
        assert_eq!(directory.slot_of(TilePos::new(4, 0)), Some(1));
        assert_eq!(directory.slot_of(TilePos::new(5, 0)), None);
        assert_eq!(directory.digest(1), Some(&[2; 32]));
        assert_eq!(directory.digest(2), None);
        let tiles: Vec<_> = directory.tiles().collect();
        let removed: Vec<_> = directory.removed().collect();
        let again = encode(&[7; 16], 3, directory.tile_size, &[[1; 32], [2; 32]], &tiles, &removed);
        assert_eq!(again, bytes);
    }

    #[test]
    fn what_is_not_in_order_is_refused_and_named() {
        let cases: [(usize, &[u8], &str); 10] = [
            (0, b"PXIM", "magic"),
            (4, &[2], "version"),
            (5, &[1], "version"),
            (6, &[63], "tile_size"),
            (0x20, &[3], "length"),
            (0x24, &[255, 255, 255, 255], "length"),
            (0x2C, &[1], "reserved"),
            (64 + 64 + 16, &[2], "slot"),
            (64 + 64 + 28, &[0xFE, 255, 255, 255, 255, 255, 255, 255], "tile"),
            (64 + 64 + 60, &[4], "removed"),
        ];
        for (offset, bytes, field) in cases {
            let mut damaged = example();
            damaged[offset..offset + bytes.len()].copy_from_slice(bytes);
            let error = Directory::parse(&damaged).unwrap_err();
            assert!(
                matches!(&error, MapError::Field { field: found, .. } if *found == field),
                "{field}: {error}"
            );
        }
        for len in 0..example().len() {
            assert!(Directory::parse(&example()[..len]).is_err());
        }
    }
}
