//! The index of a map: its tile size, its packs and its regions. Whatever the index names is the
//! map; whatever it does not name is not.
//!
//! Spec: `specs/map.md`, "Index". Integers are little-endian.

use super::directory;
use super::directory::{Counts, MapId};
use super::fields::RecordFields;
use crate::map::MapError;
use crate::map::geometry::{Rect, TileSize};
use crate::map::regions::{Region, check_name};

pub(super) const MAGIC: [u8; 4] = *b"PXMI";
const PACK_LEN: usize = 56;
/// A region whose name has one byte.
const LEAST_REGION_LEN: usize = 35;

/// What an index says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The side of the tiles.
    pub tile_size: TileSize,
    /// The number that tells maps apart.
    pub map_id: MapId,
    /// The number of flushes there have been; 1 for a new map.
    pub generation: u64,
    /// Every pack has had a lower number.
    pub next_pack: u64,
    /// The packs, oldest first.
    pub packs: Vec<PackRecord>,
    /// The regions by name.
    pub regions: Vec<Region>,
}

/// What the index says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// Its number, which is in the names of its files.
    pub number: u64,
    /// How much it holds.
    pub counts: Counts,
    /// The SHA-256 of its directory, which holds those of its tiles.
    pub directory_digest: [u8; 32],
}

impl Index {
    /// Reads an index and checks each field. Regions are not compared with one another here.
    ///
    /// # Errors
    /// The first field that is not as `specs/map.md` says.
    pub fn parse(bytes: &[u8]) -> Result<Self, MapError> {
        let mut fields = RecordFields::new("index", bytes);
        directory::check_start(&mut fields, MAGIC)?;
        let tile_size = directory::read_tile_size(&mut fields)?;
        let map_id = fields.array("map_id")?;
        let generation = fields.u64("generation")?;
        let next_pack = fields.u64("next_pack")?;
        let pack_count = fields.u32("pack_count")?;
        let region_count = fields.u32("region_count")?;
        fields.reserved(16)?;
        fields.check_room(pack_count, PACK_LEN, "pack_count")?;
        let mut packs = Vec::with_capacity(pack_count as usize);
        for _ in 0..pack_count {
            let pack = read_pack(&mut fields)?;
            if packs.last().is_some_and(|last: &PackRecord| last.number >= pack.number)
                || pack.number >= next_pack
            {
                return Err(fields.bad(
                    "pack",
                    pack.number,
                    format!("ascending numbers below {next_pack}"),
                ));
            }
            packs.push(pack);
        }
        fields.check_room(region_count, LEAST_REGION_LEN, "region_count")?;
        let mut regions: Vec<Region> = Vec::with_capacity(region_count as usize);
        for _ in 0..region_count {
            let region = read_region(&mut fields)?;
            if regions.last().is_some_and(|last| last.name >= region.name) {
                return Err(fields.bad(
                    "name",
                    format!("{:?}", region.name),
                    "names in ascending order",
                ));
            }
            regions.push(region);
        }
        fields.end()?;
        Ok(Self { tile_size, map_id, generation, next_pack, packs, regions })
    }

    /// The bytes of this index.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(directory::VERSION);
        bytes.extend(self.tile_size.side().to_le_bytes());
        bytes.extend(self.map_id);
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.next_pack.to_le_bytes());
        bytes.extend((self.packs.len() as u32).to_le_bytes());
        bytes.extend((self.regions.len() as u32).to_le_bytes());
        bytes.extend([0; 16]);
        for PackRecord { number, counts, directory_digest } in &self.packs {
            bytes.extend(number.to_le_bytes());
            for count in [counts.slots, counts.tiles, counts.removed, 0] {
                bytes.extend(count.to_le_bytes());
            }
            bytes.extend(directory_digest);
        }
        for Region { name, rect, length } in &self.regions {
            bytes.extend(rect.left().to_le_bytes());
            bytes.extend(rect.top().to_le_bytes());
            // A region's sides and its name are checked when it is made.
            bytes.extend((rect.width() as u32).to_le_bytes());
            bytes.extend((rect.height() as u32).to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend(name.as_bytes());
        }
        bytes
    }
}

fn read_pack(fields: &mut RecordFields<'_>) -> Result<PackRecord, MapError> {
    let number = fields.u64("pack")?;
    let counts = Counts {
        slots: fields.u32("slot_count")?,
        tiles: fields.u32("tile_count")?,
        removed: fields.u32("removed_count")?,
    };
    fields.reserved(4)?;
    Ok(PackRecord { number, counts, directory_digest: fields.array("directory_digest")? })
}

fn read_region(fields: &mut RecordFields<'_>) -> Result<Region, MapError> {
    let (x, y) = (fields.i64("x")?, fields.i64("y")?);
    let (width, height) = (fields.u32("width")?, fields.u32("height")?);
    let rect = Rect::new(x, y, width.into(), height.into())
        .map_err(|error| fields.bad("rectangle", error, "a rectangle of the plane"))?;
    let length = fields.u64("length")?;
    let limit = 3 * u128::from(width) * u128::from(height);
    if u128::from(length) > limit {
        return Err(fields.bad("length", length, format!("at most {limit}")));
    }
    let name_len = fields.u16("name")?;
    let name = str::from_utf8(fields.take(name_len.into(), "name")?)
        .map_err(|error| fields.bad("name", error, "UTF-8"))?;
    check_name(name).map_err(|error| fields.bad("name", error, "a name that a region can have"))?;
    Ok(Region { name: name.to_owned(), rect, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Index {
        let counts = Counts { slots: 1, tiles: 2, removed: 3 };
        let pack = |number| PackRecord { number, counts, directory_digest: [number as u8; 32] };
        let region = |name: &str, x| Region {
            name: name.into(),
            rect: Rect::new(x, i64::MIN, u32::MAX.into(), 2).unwrap(),
            length: 6,
        };
        Index {
            tile_size: TileSize::new(128).unwrap(),
            map_id: *b"0123456789abcdef",
            generation: 9,
            next_pack: 8,
            packs: vec![pack(2), pack(7)],
            regions: vec![region("a", -5), region("ü", 1 << 40)],
        }
    }

    #[test]
    fn an_index_comes_back() {
        let index = example();
        assert_eq!(Index::parse(&index.encode()).unwrap(), index);
    }

    #[test]
    fn what_is_not_in_order_is_refused_and_named() {
        let regions = 64 + 2 * PACK_LEN;
        let cases: [(usize, &[u8], &str); 13] = [
            (0, b"PXMD", "magic"),
            (4, &[0], "version"),
            (6, &[0], "tile_size"),
            (0x28, &[255, 255, 255, 255], "pack_count"),
            (0x2C, &[255, 255, 255, 255], "region_count"),
            (0x30, &[1], "reserved"),
            (64, &[7], "pack"),
            (64 + PACK_LEN, &[8], "pack"),
            (64 + 20, &[1], "reserved"),
            (regions + 16, &[0, 0, 0, 0], "rectangle"),
            (regions + 31, &[1], "length"),
            (regions + 34, &[0xFF], "name"),
            (regions + 34, b"\n", "name"),
        ];
        for (offset, bytes, field) in cases {
            let mut damaged = example().encode();
            damaged[offset..offset + bytes.len()].copy_from_slice(bytes);
            let error = Index::parse(&damaged).unwrap_err();
            assert!(
                matches!(&error, MapError::Field { field: found, .. } if *found == field),
                "{field}: {error}"
            );
        }
        let whole = example().encode();
        (0..whole.len()).for_each(|len| assert!(Index::parse(&whole[..len]).is_err()));
        assert!(Index::parse(&[&whole[..], &[0]].concat()).is_err());
        let mut twice = example();
        twice.regions[1].name = "a".into();
        assert!(Index::parse(&twice.encode()).is_err());
    }
}
