//! The plane: points, rectangles and tile positions in 64-bit coordinates, exact up to the plane's
//! edge.
//!
//! x grows to the right and y downwards. A rectangle keeps its last column and row rather than the
//! ones after them, so that the whole plane is a rectangle too.

use super::MapError;
use serde::Serialize;
use std::fmt;

/// A pixel's place on the plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Point {
    /// Column; it grows to the right.
    pub x: i64,
    /// Row; it grows downwards.
    pub y: i64,
}

impl Point {
    /// A point from its coordinates.
    pub const fn new(x: i64, y: i64) -> Self {
        Self { x, y }
    }

    /// The eight points around this one, in the order of [`DIRECTIONS`]; none beyond the plane's
    /// edge.
    pub fn neighbours(self) -> [Option<Self>; 8] {
        DIRECTIONS.map(|(dx, dy)| {
            Some(Self { x: self.x.checked_add(dx.into())?, y: self.y.checked_add(dy.into())? })
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({}, {})", self.x, self.y)
    }
}

/// The eight neighbours, row by row: north-west, north, north-east, west, east, south-west, south,
/// south-east.
pub const DIRECTIONS: [(i8, i8); 8] =
    [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

/// A rectangle of pixels; it is never empty and never leaves the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Rect {
    /// Every pixel there is.
    pub const PLANE: Self =
        Self { left: i64::MIN, top: i64::MIN, right: i64::MAX, bottom: i64::MAX };

    /// A rectangle from its top left pixel and its size in pixels.
    ///
    /// # Errors
    /// It would be empty or leave the plane.
    pub fn new(x: i64, y: i64, width: u64, height: u64) -> Result<Self, MapError> {
        if width == 0 || height == 0 {
            return Err(MapError::EmptyRect { width, height });
        }
        match (x.checked_add_unsigned(width - 1), y.checked_add_unsigned(height - 1)) {
            (Some(right), Some(bottom)) => Ok(Self { left: x, top: y, right, bottom }),
            _ => {
                let what = format!("the rectangle of {width} x {height} pixels at ({x}, {y})");
                Err(MapError::OutsidePlane { what })
            }
        }
    }

    /// The smallest rectangle that holds both points.
    pub fn from_corners(one: Point, other: Point) -> Self {
        Self {
            left: one.x.min(other.x),
            top: one.y.min(other.y),
            right: one.x.max(other.x),
            bottom: one.y.max(other.y),
        }
    }

    /// The first column, which is inside.
    pub const fn left(&self) -> i64 {
        self.left
    }

    /// The first row, which is inside.
    pub const fn top(&self) -> i64 {
        self.top
    }

    /// The last column, which is inside.
    pub const fn right(&self) -> i64 {
        self.right
    }

    /// The last row, which is inside.
    pub const fn bottom(&self) -> i64 {
        self.bottom
    }

    /// The top left pixel.
    pub const fn corner(&self) -> Point {
        Point { x: self.left, y: self.top }
    }

    /// Columns; 2^64 for the whole plane.
    pub fn width(&self) -> u128 {
        u128::from(self.right.abs_diff(self.left)) + 1
    }

    /// Rows; 2^64 for the whole plane.
    pub fn height(&self) -> u128 {
        u128::from(self.bottom.abs_diff(self.top)) + 1
    }

    /// Whether the pixel lies inside.
    pub fn contains(&self, point: Point) -> bool {
        self.left <= point.x
            && point.x <= self.right
            && self.top <= point.y
            && point.y <= self.bottom
    }

    /// Whether they share a pixel.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.left <= other.right
            && other.left <= self.right
            && self.top <= other.bottom
            && other.top <= self.bottom
    }

    /// The pixels they share.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        })
    }

    /// The smallest rectangle that holds both.
    pub fn union(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl fmt::Display for Rect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} x {} at {}", self.width(), self.height(), self.corner())
    }
}

/// A tile's column and row among the tiles of a map; tile (0, 0) has pixel (0, 0) in its top left
/// corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TilePos {
    /// Column, in tiles; it grows to the right.
    pub x: i64,
    /// Row, in tiles; it grows downwards.
    pub y: i64,
}

impl TilePos {
    /// A position from its column and row.
    pub const fn new(x: i64, y: i64) -> Self {
        Self { x, y }
    }
}

/// Row by row, as tiles are listed in a directory.
impl Ord for TilePos {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.y, self.x).cmp(&(other.y, other.x))
    }
}

impl PartialOrd for TilePos {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TilePos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({}, {})", self.x, self.y)
    }
}

/// The side of a map's tiles in pixels: a power of two, so that the plane is cut into whole tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileSize {
    log2: u8,
}

impl TileSize {
    /// The smallest side. A smaller tile would be shorter than what the index keeps about it.
    pub const MIN: u16 = 8;
    /// The largest side: a tile of 3 MiB.
    pub const MAX: u16 = 1024;

    /// A tile size from the side in pixels.
    ///
    /// # Errors
    /// It is no power of two from [`Self::MIN`] to [`Self::MAX`].
    pub fn new(side: u64) -> Result<Self, MapError> {
        if side.is_power_of_two() && (u64::from(Self::MIN)..=u64::from(Self::MAX)).contains(&side) {
            Ok(Self { log2: side.trailing_zeros() as u8 })
        } else {
            Err(MapError::NoTileSize { found: side })
        }
    }

    /// The side in pixels.
    pub const fn side(self) -> u16 {
        1 << self.log2
    }

    /// The bytes of a tile: three for each pixel.
    pub const fn tile_len(self) -> usize {
        3 << (2 * self.log2)
    }

    /// The tile that holds a pixel.
    pub const fn tile_of(self, point: Point) -> TilePos {
        // An arithmetic shift rounds down, also left of and above the origin.
        TilePos { x: point.x >> self.log2, y: point.y >> self.log2 }
    }

    /// The pixel's column and row within its tile.
    pub(crate) const fn within_tile(self, point: Point) -> (usize, usize) {
        // In two's complement the low bits count from the tile's edge left of the origin too.
        let mask = (1 << self.log2) - 1;
        ((point.x & mask) as usize, (point.y & mask) as usize)
    }

    /// The pixels of a tile.
    ///
    /// # Errors
    /// The tile lies outside the plane.
    pub fn rect_of(self, tile: TilePos) -> Result<Rect, MapError> {
        // A tile of this range lies in the plane whole, since the plane's edge is one of tiles.
        let last = i64::MAX >> self.log2;
        let inside = -last - 1..=last;
        if !inside.contains(&tile.x) || !inside.contains(&tile.y) {
            return Err(MapError::OutsidePlane {
                what: format!("tile {tile} of {self} x {self} pixels"),
            });
        }
        let (left, top) = (tile.x << self.log2, tile.y << self.log2);
        let reach = i64::from(self.side()) - 1;
        Ok(Rect { left, top, right: left + reach, bottom: top + reach })
    }

    /// The first and the last tile that a rectangle touches.
    pub(crate) fn tiles_of(self, rect: &Rect) -> (TilePos, TilePos) {
        (self.tile_of(rect.corner()), self.tile_of(Point::new(rect.right, rect.bottom)))
    }

    /// How many tiles a rectangle touches.
    pub fn tile_count(self, rect: &Rect) -> u128 {
        let (first, last) = self.tiles_of(rect);
        (u128::from(last.x.abs_diff(first.x)) + 1)
            .saturating_mul(u128::from(last.y.abs_diff(first.y)) + 1)
    }

    /// The rectangle of whole tiles around a rectangle.
    pub(crate) fn footprint(self, rect: &Rect) -> Rect {
        // It stays in the plane: clearing and setting low bits cannot overflow.
        let mask = i64::from(self.side()) - 1;
        Rect {
            left: rect.left & !mask,
            top: rect.top & !mask,
            right: rect.right | mask,
            bottom: rect.bottom | mask,
        }
    }

    /// The eight tiles around a tile, in the order of [`DIRECTIONS`]; none beyond the plane's edge.
    pub fn neighbours(self, tile: TilePos) -> [Option<TilePos>; 8] {
        Point::new(tile.x, tile.y).neighbours().map(|neighbour| {
            let tile = neighbour.map(|point| TilePos::new(point.x, point.y))?;
            self.rect_of(tile).is_ok().then_some(tile)
        })
    }
}

impl Default for TileSize {
    fn default() -> Self {
        Self { log2: 6 }
    }
}

impl fmt::Display for TileSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.side().fmt(formatter)
    }
}

impl Serialize for Rect {
    /// As people say it: the corner and the size.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Rect", 4)?;
        fields.serialize_field("x", &self.left)?;
        fields.serialize_field("y", &self.top)?;
        // Only rectangles as wide as the plane itself have no 64-bit size.
        fields.serialize_field("width", &u64::try_from(self.width()).unwrap_or(u64::MAX))?;
        fields.serialize_field("height", &u64::try_from(self.height()).unwrap_or(u64::MAX))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_round_down_on_both_sides_of_the_origin() {
        let size = TileSize::default();
        for (pixel, tile, within) in
            [(0, 0, 0), (63, 0, 63), (64, 1, 0), (-1, -1, 63), (-64, -1, 0), (-65, -2, 63)]
        {
            assert_eq!(size.tile_of(Point::new(pixel, 0)).x, tile);
            assert_eq!(size.within_tile(Point::new(0, pixel)).1, within);
        }
    }

    #[test]
    fn the_edge_of_the_plane_is_an_edge_of_tiles() {
        for side in [8, 64, 1024] {
            let size = TileSize::new(side).unwrap();
            let (first, last) = size.tiles_of(&Rect::PLANE);
            assert_eq!(size.rect_of(first).unwrap().corner(), Point::new(i64::MIN, i64::MIN));
            let end = size.rect_of(last).unwrap();
            assert_eq!((end.right(), end.bottom()), (i64::MAX, i64::MAX));
            assert!(size.rect_of(TilePos::new(last.x + 1, 0)).is_err());
            assert!(size.rect_of(TilePos::new(0, first.y - 1)).is_err());
            assert_eq!(size.neighbours(first).iter().flatten().count(), 3);
            assert_eq!(size.footprint(&Rect::PLANE), Rect::PLANE);
        }
        assert_eq!(Rect::PLANE.width(), 1 << 64);
        assert_eq!(Point::new(i64::MAX, 0).neighbours().iter().flatten().count(), 5);
    }

    #[test]
    fn what_is_no_rectangle_or_tile_size_is_refused() {
        assert!(matches!(Rect::new(0, 0, 0, 1), Err(MapError::EmptyRect { .. })));
        assert!(Rect::new(i64::MAX, 0, 1, 1).is_ok());
        assert!(matches!(Rect::new(i64::MAX, 0, 2, 1), Err(MapError::OutsidePlane { .. })));
        assert!(Rect::new(i64::MIN, i64::MIN, u64::MAX, u64::MAX).is_ok());
        for side in [0, 1, 4, 63, 65, 2048, u64::MAX] {
            assert!(matches!(TileSize::new(side), Err(MapError::NoTileSize { .. })), "{side}");
        }
    }

    #[test]
    fn rectangles_meet_as_sets_of_pixels_do() {
        let one = Rect::new(-2, -2, 4, 4).unwrap();
        let other = Rect::new(1, 1, 4, 4).unwrap();
        assert_eq!(one.intersection(&other), Some(Rect::new(1, 1, 1, 1).unwrap()));
        assert_eq!(one.union(&other), Rect::new(-2, -2, 7, 7).unwrap());
        assert!(!one.overlaps(&Rect::new(2, 0, 1, 1).unwrap()));
    }
}
