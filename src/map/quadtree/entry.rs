//! An item as the tree keeps it, in 32 bytes, and the squares that its corner lies in.

use super::NodeSums;
use crate::map::MapError;
use crate::map::geometry::{Point, Rect};
use crate::map::item::{Item, Kind};

/// The longest side of an item: its side less one has 32 bits.
const MAX_SIDE: u128 = 1 << 32;
const KIND_SHIFT: u32 = 56;

/// An item in less space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuadEntry {
    x: i64,
    y: i64,
    /// Width and height, less one.
    reach: [u32; 2],
    /// The kind in the upper 8 bits, the number in the others.
    tag: u64,
}

impl QuadEntry {
    pub(super) fn new(item: Item) -> Result<Self, MapError> {
        let Item { rect, kind, number } = item;
        let side = rect.width().max(rect.height());
        if side > MAX_SIDE {
            return Err(MapError::TooLarge {
                what: "side of an item",
                found: side,
                limit: MAX_SIDE,
            });
        }
        if number >= Item::NUMBER_LIMIT {
            let limit = u128::from(Item::NUMBER_LIMIT) - 1;
            return Err(MapError::TooLarge {
                what: "number of an item",
                found: number.into(),
                limit,
            });
        }
        // A side of 2^32, less one, is the greatest number of 32 bits.
        let reach = [(rect.width() - 1) as u32, (rect.height() - 1) as u32];
        Ok(Self {
            x: rect.left(),
            y: rect.top(),
            reach,
            tag: u64::from(kind.code()) << KIND_SHIFT | number,
        })
    }

    pub(super) fn item(&self) -> Item {
        Item { rect: self.rect(), kind: self.kind(), number: self.tag & (Item::NUMBER_LIMIT - 1) }
    }

    pub(super) fn rect(&self) -> Rect {
        let [width, height] = self.reach;
        // The sums were within the plane when the entry was made from a rectangle.
        let end = Point::new(
            self.x.wrapping_add_unsigned(width.into()),
            self.y.wrapping_add_unsigned(height.into()),
        );
        Rect::from_corners(Point::new(self.x, self.y), end)
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::from_code((self.tag >> KIND_SHIFT) as u8)
    }

    pub(super) fn is_at(&self, corner: Point, kind: Kind) -> bool {
        self.x == corner.x && self.y == corner.y && self.kind() == kind
    }

    pub(super) fn renumber(&mut self, number: u64) {
        self.tag =
            u64::from(self.kind().code()) << KIND_SHIFT | (number & (Item::NUMBER_LIMIT - 1));
    }

    pub(super) fn corner(&self) -> Corner {
        Point::new(self.x, self.y).into()
    }

    pub(super) fn sums(&self) -> NodeSums {
        NodeSums { bounds: self.rect(), count: 1, kinds: self.kind().into() }
    }
}

/// A point whose coordinates have been moved up by 2^63, so that squares are common leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corner {
    x: u64,
    y: u64,
}

impl From<Point> for Corner {
    fn from(point: Point) -> Self {
        const SIGN: u64 = 1 << 63;
        Self { x: point.x as u64 ^ SIGN, y: point.y as u64 ^ SIGN }
    }
}

/// A square of 2^level pixels a side, at a multiple of its side; level 64 is the whole plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuadCell {
    /// A point inside; its lower `level` bits mean nothing.
    within: Corner,
    level: u8,
}

impl QuadCell {
    /// The smallest square that holds both points.
    pub(super) fn around(one: Corner, other: Corner) -> Self {
        Self { within: one, level: level_of(one, other) }
    }

    /// The smallest square that holds this one and a point.
    pub(super) fn extended(self, point: Corner) -> Self {
        Self { within: self.within, level: self.level.max(level_of(self.within, point)) }
    }

    pub(super) fn contains(self, point: Corner) -> bool {
        level_of(self.within, point) <= self.level
    }

    /// A point of the square.
    pub(super) fn corner(self) -> Corner {
        self.within
    }

    /// Whether the square is a single pixel, and cannot be divided.
    pub(super) fn is_point(self) -> bool {
        self.level == 0
    }

    /// Which quarter of the square holds a point of it. A square that is divided is no single
    /// pixel.
    pub(super) fn quadrant(self, point: Corner) -> usize {
        let bit = self.level.saturating_sub(1);
        ((point.y >> bit & 1) << 1 | point.x >> bit & 1) as usize
    }
}

/// How many lower bits the points differ in.
fn level_of(one: Corner, other: Corner) -> u8 {
    let difference = (one.x ^ other.x) | (one.y ^ other.y);
    (u64::BITS - difference.leading_zeros()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small_and_gives_its_item_back() {
        assert_eq!(size_of::<QuadEntry>(), 32);
        let rect = Rect::new(i64::MAX - 9, i64::MIN, 10, 1 << 32).unwrap();
        let item = Item { rect, kind: Kind::free(31).unwrap(), number: Item::NUMBER_LIMIT - 1 };
        let mut entry = QuadEntry::new(item).unwrap();
        assert_eq!(entry.item(), item);
        entry.renumber(5);
        assert_eq!(entry.item(), Item { number: 5, ..item });
        assert!(QuadEntry::new(Item { number: Item::NUMBER_LIMIT, ..item }).is_err());
        assert!(
            QuadEntry::new(Item { rect: Rect::new(0, 0, 1, (1 << 32) + 1).unwrap(), ..item })
                .is_err()
        );
    }

    #[test]
    fn squares_are_common_leading_bits() {
        let corner = |x, y| Corner::from(Point::new(x, y));
        assert!(QuadCell::around(corner(5, 5), corner(5, 5)).is_point());
        assert_eq!(QuadCell::around(corner(0, 0), corner(3, 0)).level, 2);
        let plane = QuadCell::around(corner(-1, 0), corner(0, 0));
        assert_eq!(plane.level, 64);
        assert_eq!((plane.quadrant(corner(-1, -1)), plane.quadrant(corner(0, 0))), (0, 3));
        assert!(plane.contains(corner(i64::MAX, i64::MIN)));
    }
}
