//! Named regions, and the allocator that finds room for them. No two regions share a tile.

use super::{
    MapError,
    geometry::{Point, Rect, TileSize},
    item::{Item, Kind, Kinds},
    quadtree::Quadtree,
};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    ops::ControlFlow,
};

/// The longest name in bytes, which is also the longest that file systems take.
const MAX_NAME_LEN: usize = 255;
/// The most regions of a map: the index is written at every flush and should stay small.
const MAX_REGIONS: usize = 1 << 16;
/// The longest side of a region in pixels: the index keeps 32 bits for it.
const MAX_SIDE: u64 = u32::MAX as u64;
/// How many places are tried near the origin before a region goes beside everything else.
const MAX_TRIES: usize = 4096;
/// How many things in the way are looked at to get past them at once.
const MAX_BLOCKERS: usize = 64;

/// A rectangle with a name, for bytes or for things that are placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// What it is called.
    pub name: String,
    /// Its pixels; no other region has one of their tiles.
    #[serde(flatten)]
    pub rect: Rect,
    /// How many bytes were written to it, from its first pixel on.
    pub length: u64,
}

impl Region {
    /// How many bytes there is room for.
    pub fn capacity(&self) -> u64 {
        // The largest region has almost 3 * 2^64 bytes, more than a length can say.
        u64::try_from(3 * self.rect.width() * self.rect.height()).unwrap_or(u64::MAX)
    }
}

/// Refuses names that a region cannot have.
pub(super) fn check_name(name: &str) -> Result<(), MapError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME_LEN {
        "is longer than 255 bytes"
    } else if name.contains(char::is_control) {
        "has a control character"
    } else if name.trim() != name {
        "begins or ends with a space"
    } else {
        return Ok(());
    };
    Err(MapError::RegionName { name: name.to_owned(), problem })
}

/// The regions of a map by name, and by the number that their items in the index have.
#[derive(Debug, Default)]
pub(super) struct Regions {
    // Sorted by the bytes of the names, as the index file lists them.
    by_name: BTreeMap<String, (u64, Region)>,
    names: HashMap<u64, String>,
    next: u64,
}

impl Regions {
    pub(super) fn get(&self, name: &str) -> Option<&Region> {
        self.by_name.get(name).map(|(_, region)| region)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Region> {
        self.by_name.get_mut(name).map(|(_, region)| region)
    }

    pub(super) fn by_number(&self, number: u64) -> Option<&Region> {
        self.get(self.names.get(&number)?)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Region> {
        self.by_name.values().map(|(_, region)| region)
    }

    /// Adds a region to the list and to the index, unless it would share a tile with another one.
    pub(super) fn add(
        &mut self,
        tree: &mut Quadtree,
        size: TileSize,
        region: Region,
    ) -> Result<(), MapError> {
        self.check(&region.name, region.rect.width().max(region.rect.height()))?;
        let footprint = size.footprint(&region.rect);
        // A neighbour that ends in the same tile is found by the whole tiles of this one.
        if let Some(other) = tree.region(&footprint, Kind::REGION.into()).first() {
            let other =
                self.by_number(other.number).map_or_else(String::new, |other| other.name.clone());
            return Err(MapError::Overlap { name: region.name, other });
        }
        // The index first: it may be full, and then nothing has been noted.
        let number = self.next;
        tree.insert(Item { rect: region.rect, kind: Kind::REGION, number })?;
        self.next += 1;
        self.names.insert(number, region.name.clone());
        self.by_name.insert(region.name.clone(), (number, region));
        Ok(())
    }

    pub(super) fn remove(&mut self, tree: &mut Quadtree, name: &str) -> Option<Region> {
        let (number, region) = self.by_name.remove(name)?;
        self.names.remove(&number);
        tree.remove(&Item { rect: region.rect, kind: Kind::REGION, number });
        Some(region)
    }

    /// What can be refused before a place is looked for.
    pub(super) fn check(&self, name: &str, side: u128) -> Result<(), MapError> {
        check_name(name)?;
        if self.by_name.contains_key(name) {
            return Err(MapError::RegionExists { name: name.to_owned() });
        }
        if side > MAX_SIDE.into() {
            return Err(MapError::TooLarge {
                what: "side of a region",
                found: side,
                limit: MAX_SIDE.into(),
            });
        }
        if self.by_name.len() >= MAX_REGIONS {
            let found = self.by_name.len() as u128 + 1;
            return Err(MapError::TooLarge {
                what: "number of regions",
                found,
                limit: MAX_REGIONS as u128,
            });
        }
        Ok(())
    }
}

/// Width and height of a region for some bytes: whole tiles across, as near to a square as that
/// allows.
pub(super) fn shape_for(length: u64, size: TileSize) -> (u64, u64) {
    let pixels = length.div_ceil(3).max(1);
    let side = u64::from(size.side());
    let width = pixels.isqrt().max(1).next_multiple_of(side);
    (width, pixels.div_ceil(width))
}

/// A rectangle whose tiles are free of pixels and regions: the one nearest to the origin among
/// those that lean on what is there, right of it and below.
pub(super) fn free_place(
    tree: &Quadtree,
    size: TileSize,
    width: u64,
    height: u64,
) -> Result<Rect, MapError> {
    let mut places = BinaryHeap::new();
    let mut seen = HashSet::new();
    let mut offer = |places: &mut BinaryHeap<_>, x: i64, y: i64| {
        if let Ok(rect) = Rect::new(x, y, width, height)
            && seen.insert((x, y))
        {
            places.push(Reverse((rect.right().max(rect.bottom()), y, x)));
        }
    };
    // Refuses a size that no place would take.
    Rect::new(0, 0, width, height)?;
    offer(&mut places, 0, 0);
    for _ in 0..MAX_TRIES {
        let Some(Reverse((_, y, x))) = places.pop() else { break };
        let rect = Rect::new(x, y, width, height)?;
        let Some(Point { x: right, y: bottom }) = blocked_until(tree, size, &rect) else {
            return Ok(rect);
        };
        // Whatever is in the way is in the way of every place before its end, too.
        right.checked_add(1).into_iter().for_each(|x| offer(&mut places, x, y));
        bottom.checked_add(1).into_iter().for_each(|y| offer(&mut places, x, y));
    }
    beside_everything(tree, size, width, height)
}

/// The last column and the last row of the tiles of what is in the way.
fn blocked_until(tree: &Quadtree, size: TileSize, rect: &Rect) -> Option<Point> {
    let mut until: Option<Point> = None;
    let mut looked_at = 0;
    let _ = tree.visit_region(&size.footprint(rect), blocking(), &mut |item| {
        let end = size.footprint(&item.rect);
        let (right, bottom) = (end.right(), end.bottom());
        until = Some(until.map_or(Point::new(right, bottom), |until| {
            Point::new(until.x.max(right), until.y.max(bottom))
        }));
        looked_at += 1;
        if looked_at < MAX_BLOCKERS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    until
}

fn beside_everything(
    tree: &Quadtree,
    size: TileSize,
    width: u64,
    height: u64,
) -> Result<Rect, MapError> {
    // Of an empty tree the first place is free, so `PLANE` is never met.
    let bounds = tree.bounds().map_or(Rect::PLANE, |bounds| size.footprint(&bounds));
    // Whole tiles, so that the last one ends where what is there begins.
    let whole = |side: u64| side.next_multiple_of(size.side().into());
    let corners = [
        bounds.right().checked_add(1).map(|x| (x, 0)),
        bounds.bottom().checked_add(1).map(|y| (0, y)),
        bounds.left().checked_sub_unsigned(whole(width)).map(|x| (x, 0)),
        bounds.top().checked_sub_unsigned(whole(height)).map(|y| (0, y)),
    ];
    corners.into_iter().flatten().find_map(|(x, y)| Rect::new(x, y, width, height).ok()).ok_or_else(
        || MapError::OutsidePlane { what: format!("a region of {width} x {height} pixels") },
    )
}

fn blocking() -> Kinds {
    Kind::PIXELS | Kind::REGION
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region(name: &str, rect: Rect) -> Region {
        Region { name: name.into(), rect, length: 0 }
    }

    proptest! {
        #[test]
        fn regions_never_share_a_tile(
            sizes in prop::collection::vec((1_u64..300, 1_u64..300), 1..40),
            tiles in prop::collection::vec((-3_i64..6, -3_i64..6), 0..20),
            removed in prop::collection::vec(any::<bool>(), 40),
        ) {
            let size = TileSize::default();
            let (mut tree, mut regions) = (Quadtree::default(), Regions::default());
            for (x, y) in tiles {
                let rect = Rect::new(x * 64, y * 64, 64, 64).unwrap();
                tree.insert(Item { rect, kind: Kind::PIXELS, number: 0 }).unwrap();
            }
            for (index, (width, height)) in sizes.into_iter().enumerate() {
                let rect = free_place(&tree, size, width, height).unwrap();
                let there = tree.region(&size.footprint(&rect), Kind::PIXELS.into());
                prop_assert!(there.is_empty());
                regions.add(&mut tree, size, region(&index.to_string(), rect)).unwrap();
                if removed[index] {
                    regions.remove(&mut tree, &index.to_string()).unwrap();
                }
            }
            let all: Vec<_> = regions.iter().map(|region| size.footprint(&region.rect)).collect();
            for (index, one) in all.iter().enumerate() {
                prop_assert!(all[index + 1..].iter().all(|other| !one.overlaps(other)));
            }
        }
    }

    #[test]
    fn regions_pack_from_the_origin() {
        let size = TileSize::default();
        let (mut tree, mut regions) = (Quadtree::default(), Regions::default());
        let places: Vec<_> = (0..4)
            .map(|index| {
                let rect = free_place(&tree, size, 100, 64).unwrap();
                regions.add(&mut tree, size, region(&index.to_string(), rect)).unwrap();
                (rect.left(), rect.top())
            })
            .collect();
        assert_eq!(places, [(0, 0), (0, 64), (0, 128), (128, 0)]);
        regions.remove(&mut tree, "1").unwrap();
        assert_eq!(free_place(&tree, size, 100, 64).unwrap().corner(), Point::new(0, 64));
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let size = TileSize::default();
        let (mut tree, mut regions) = (Quadtree::default(), Regions::default());
        regions.add(&mut tree, size, region("a", Rect::new(0, 0, 10, 10).unwrap())).unwrap();
        let near = region("b", Rect::new(63, 63, 1, 1).unwrap());
        assert!(matches!(regions.add(&mut tree, size, near), Err(MapError::Overlap { .. })));
        let same = region("a", Rect::new(640, 0, 1, 1).unwrap());
        assert!(matches!(regions.add(&mut tree, size, same), Err(MapError::RegionExists { .. })));
        for name in ["", " a", "a\n", &"x".repeat(256)] {
            assert!(matches!(regions.check(name, 1), Err(MapError::RegionName { .. })), "{name:?}");
        }
        assert!(regions.check("c", 1 << 32).is_err());
        assert!(free_place(&tree, size, u64::MAX, 1).is_err());
    }

    #[test]
    fn a_crowd_at_the_origin_is_got_round() {
        let size = TileSize::new(8).unwrap();
        let mut tree = Quadtree::default();
        for index in 0..(300 * 300) {
            let rect = Rect::new(index % 300 * 8, index / 300 * 8, 8, 8).unwrap();
            tree.insert(Item { rect, kind: Kind::PIXELS, number: 0 }).unwrap();
        }
        let rect = free_place(&tree, size, 8, 8).unwrap();
        assert!(tree.region(&rect, Kinds::ALL).is_empty());
    }

    #[test]
    fn shapes_hold_what_they_are_for() {
        let size = TileSize::default();
        for length in [0, 1, 3, 4, 12_288, 12_289, 1 << 40] {
            let (width, height) = shape_for(length, size);
            assert!(width * height * 3 >= length && width.is_multiple_of(64));
            assert!((height - 1) * width * 3 < length.max(1));
        }
        assert_eq!(shape_for(12_288, size), (64, 64));
    }
}
