//! Rectangles of pixels, and bytes in them, across any number of tiles.
//!
//! The bytes of a rectangle are those of its pixels, row by row: byte `i` is channel `i mod 3` of
//! pixel `i div 3`. A window is a run of them, and falls into spans: the parts of one row in one
//! tile.

use super::{
    InfiniteMap, MapError,
    geometry::{Point, Rect, TilePos, TileSize},
    tile::{BLACK, Pixel},
};

/// The most bytes that are read at once: more is read in pieces.
const MAX_READ_LEN: u64 = 1 << 28;

/// A rectangle of pixels that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The pixels that were asked for.
    pub rect: Rect,
    /// Their bytes, row by row; zeros where nothing was ever written.
    pub rgb: Vec<u8>,
    /// The parts of the rectangle where nothing was ever written, one for each tile.
    pub unallocated: Vec<Rect>,
}

impl Patch {
    /// The colour of a pixel; none outside the patch and where nothing was ever written.
    pub fn pixel(&self, point: Point) -> Option<Pixel> {
        if !self.rect.contains(point) || self.unallocated.iter().any(|rect| rect.contains(point)) {
            return None;
        }
        let (column, row) = (point.x.abs_diff(self.rect.left()), point.y.abs_diff(self.rect.top()));
        let index = u128::from(row) * self.rect.width() + u128::from(column);
        self.rgb.as_chunks().0.get(usize::try_from(index).ok()?).copied()
    }
}

/// A run of the bytes of a rectangle.
#[derive(Clone, Copy, Debug)]
struct Window {
    rect: Rect,
    row_len: u64,
    start: u64,
    end: u64,
}

/// A run of bytes in one row of one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    in_tile: usize,
    in_window: usize,
    len: usize,
}

impl Window {
    fn new(rect: Rect, start: u64, len: u64) -> Result<Self, MapError> {
        // The whole plane has 3 * 2^128 bytes, which even 128 bits do not count.
        let limit = 3 * rect.width().saturating_mul(rect.height()).min(u128::MAX / 3);
        let end = u128::from(start) + u128::from(len);
        if end > limit {
            return Err(MapError::TooLarge {
                what: "end of the bytes in the rectangle",
                found: end,
                limit,
            });
        }
        let too_large = |found| MapError::TooLarge {
            what: "bytes of a rectangle",
            found,
            limit: u64::MAX.into(),
        };
        let row_len = u64::try_from(3 * rect.width()).map_err(|_| too_large(limit))?;
        let end = u64::try_from(end).map_err(|_| too_large(end))?;
        Ok(Self { rect, row_len, start, end })
    }

    fn whole(rect: Rect) -> Result<Self, MapError> {
        let len = 3 * rect.width().saturating_mul(rect.height()).min(u128::MAX / 3);
        let too_large =
            MapError::TooLarge { what: "bytes of a rectangle", found: len, limit: u64::MAX.into() };
        Self::new(rect, 0, u64::try_from(len).map_err(|_| too_large)?)
    }

    fn len(&self) -> u64 {
        self.end - self.start
    }

    /// The tiles that it touches, row by row.
    fn tiles(&self, size: TileSize) -> impl Iterator<Item = TilePos> + use<> {
        // One row may be very wide, and the window a short part of it.
        let (first_row, last_row) =
            (self.start / self.row_len, self.end.saturating_sub(1) / self.row_len);
        let whole = (0, self.row_len - 1);
        let within_row = (self.start % self.row_len, self.end.saturating_sub(1) % self.row_len);
        let (left, right) = if first_row == last_row { within_row } else { whole };
        let tile_at = |byte: u64, row: u64| {
            let (left, top) = (self.rect.left(), self.rect.top());
            size.tile_of(Point::new(
                left.saturating_add_unsigned(byte / 3),
                top.saturating_add_unsigned(row),
            ))
        };
        let (first, last) = (tile_at(left, first_row), tile_at(right, last_row));
        let rows = (self.len() > 0).then_some(first.y..=last.y);
        // Of a window that begins or ends within a row some tiles at its corners have no byte.
        let window = *self;
        rows.into_iter()
            .flatten()
            .flat_map(move |y| (first.x..=last.x).map(move |x| TilePos::new(x, y)))
            .filter(move |tile| window.spans(size, *tile).next().is_some())
    }

    /// Its spans in a tile.
    fn spans(&self, size: TileSize, tile: TilePos) -> impl Iterator<Item = Span> + use<> {
        let area = size.rect_of(tile).ok().and_then(|rect| rect.intersection(&self.rect));
        let window = *self;
        area.into_iter().flat_map(move |area| {
            (area.top()..=area.bottom()).filter_map(move |y| window.span(size, &area, y))
        })
    }

    fn span(&self, size: TileSize, area: &Rect, y: i64) -> Option<Span> {
        // The row may lie past the end of a window whose rectangle has more bytes than 64 bits
        // count.
        let row_start = y.abs_diff(self.rect.top()).checked_mul(self.row_len)?;
        let first = row_start.checked_add(3 * area.left().abs_diff(self.rect.left()))?;
        // A part of a tile's row is short.
        let last = first.saturating_add(3 * area.width() as u64);
        let (from, to) = (first.max(self.start), last.min(self.end));
        if from >= to {
            return None;
        }
        let (column, row) = size.within_tile(Point::new(area.left(), y));
        let in_tile = 3 * (row * usize::from(size.side()) + column) + (from - first) as usize;
        Some(Span { in_tile, in_window: (from - self.start) as usize, len: (to - from) as usize })
    }

    /// Whether every byte of a tile is in it.
    fn covers(&self, size: TileSize, tile: TilePos) -> bool {
        self.spans(size, tile).map(|span| span.len).sum::<usize>() == size.tile_len()
    }
}

impl InfiniteMap {
    /// Reads a rectangle of pixels.
    ///
    /// # Errors
    /// The rectangle has more than 2^28 bytes, or a tile of it is damaged or missing in its file.
    pub fn read_pixels(&self, rect: &Rect) -> Result<Patch, MapError> {
        let window = Window::whole(*rect)?;
        let mut rgb = zeros(window.len())?;
        let mut unallocated = Vec::new();
        for pos in window.tiles(self.tile_size) {
            match self.tile(pos)? {
                Some(tile) => {
                    for Span { in_tile, in_window, len } in window.spans(self.tile_size, pos) {
                        rgb[in_window..][..len].copy_from_slice(&tile.rgb()[in_tile..][..len]);
                    }
                }
                None => unallocated.extend(self.tile_size.rect_of(pos)?.intersection(rect)),
            }
        }
        Ok(Patch { rect: *rect, rgb, unallocated })
    }

    /// Writes a rectangle of pixels from their bytes, row by row.
    ///
    /// # Errors
    /// The bytes do not fit the rectangle, or those of [`Self::write_bytes`].
    pub fn write_pixels(&mut self, rect: &Rect, rgb: &[u8]) -> Result<(), MapError> {
        let window = Window::whole(*rect)?;
        if window.len() != rgb.len() as u64 {
            let (found, expected) = (rgb.len() as u64, window.len());
            return Err(MapError::Length { what: "a rectangle of pixels", found, expected });
        }
        self.write_window(&window, |tile, span| {
            tile[span.in_tile..][..span.len].copy_from_slice(&rgb[span.in_window..][..span.len]);
        })
    }

    /// Gives a rectangle one colour.
    ///
    /// # Errors
    /// The map cannot be written to, a tile is damaged, or there is no room for changes.
    pub fn fill(&mut self, rect: &Rect, pixel: Pixel) -> Result<(), MapError> {
        self.write_window(&Window::whole(*rect)?, |tile, span| {
            tile[span.in_tile..][..span.len].as_chunks_mut().0.fill(pixel);
        })
    }

    /// Makes black what was never written in a rectangle, so that all of it can be read as bytes.
    ///
    /// # Errors
    /// The map cannot be written to, or there is no room for changes.
    pub fn allocate_tiles(&mut self, rect: &Rect) -> Result<(), MapError> {
        for pos in Window::whole(*rect)?.tiles(self.tile_size) {
            if !self.has_tile(pos) {
                self.tile_mut(pos, true)?.rgb_mut().as_chunks_mut().0.fill(BLACK);
            }
        }
        Ok(())
    }

    /// Reads `len` bytes of a rectangle from its byte `start` on.
    ///
    /// # Errors
    /// They are not all in the rectangle or more than 2^28, some were never written, or a tile is
    /// damaged.
    pub fn read_bytes(&self, rect: &Rect, start: u64, len: u64) -> Result<Vec<u8>, MapError> {
        let window = Window::new(*rect, start, len)?;
        let mut bytes = zeros(len)?;
        for pos in window.tiles(self.tile_size) {
            let Some(tile) = self.tile(pos)? else {
                let area = self.tile_size.rect_of(pos)?.intersection(rect);
                let Point { x, y } = area.map_or_else(Point::default, |area| area.corner());
                return Err(MapError::Unallocated { x, y });
            };
            for Span { in_tile, in_window, len } in window.spans(self.tile_size, pos) {
                bytes[in_window..][..len].copy_from_slice(&tile.rgb()[in_tile..][..len]);
            }
        }
        Ok(bytes)
    }

    /// Writes bytes of a rectangle from its byte `start` on; the other bytes keep their values.
    ///
    /// # Errors
    /// They do not fit, the map cannot be written to, a tile is damaged, or there is no room for
    /// changes. Some of the bytes may have been written then, in memory; the stored map changes
    /// with a flush only.
    pub fn write_bytes(&mut self, rect: &Rect, start: u64, bytes: &[u8]) -> Result<(), MapError> {
        let window = Window::new(*rect, start, bytes.len() as u64)?;
        self.write_window(&window, |tile, span| {
            tile[span.in_tile..][..span.len].copy_from_slice(&bytes[span.in_window..][..span.len]);
        })
    }

    fn write_window(
        &mut self,
        window: &Window,
        change: impl Fn(&mut [u8], Span),
    ) -> Result<(), MapError> {
        self.check_writable()?;
        let size = self.tile_size;
        for pos in window.tiles(size) {
            // A tile that is written in full is not read, so a damaged one can be replaced.
            let overwrite = window.covers(size, pos);
            let rgb = self.tile_mut(pos, overwrite)?.rgb_mut();
            window.spans(size, pos).for_each(|span| change(rgb, span));
        }
        Ok(())
    }
}

fn zeros(len: u64) -> Result<Vec<u8>, MapError> {
    if len > MAX_READ_LEN {
        let what = "number of bytes to read at once";
        return Err(MapError::TooLarge { what, found: len.into(), limit: MAX_READ_LEN.into() });
    }
    Ok(vec![0; len as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_window_is_in_one_span() {
        let size = TileSize::new(8).unwrap();
        for rect in [
            Rect::new(-5, -9, 20, 19).unwrap(),
            Rect::new(i64::MAX - 9, i64::MAX - 6, 10, 7).unwrap(),
        ] {
            let all = 3 * (rect.width() * rect.height()) as u64;
            for (start, end) in
                [(0, all), (1, all - 1), (70, 71), (59, 62), (100, 333.min(all)), (5, 5)]
            {
                let window = Window::new(rect, start, end - start).unwrap();
                let mut seen = vec![0; (end - start) as usize];
                let mut last = None;
                for tile in window.tiles(size) {
                    assert!(last.replace(tile) < Some(tile));
                    for span in window.spans(size, tile) {
                        assert!(span.in_tile + span.len <= size.tile_len());
                        seen[span.in_window..][..span.len].iter_mut().for_each(|count| *count += 1);
                    }
                }
                assert!(seen.iter().all(|count| *count == 1), "{rect} {start} {end}");
            }
            assert!(Window::new(rect, 1, all).is_err());
        }
        // A short part of one very wide row is no long search.
        let wide = Rect::new(-5, 0, 1 << 60, 3).unwrap();
        let window = Window::new(wide, (3 << 60) + 12, 30).unwrap();
        assert_eq!(
            window.tiles(size).collect::<Vec<_>>(),
            [TilePos::new(-1, 0), TilePos::new(0, 0), TilePos::new(1, 0)]
        );
        assert!(Window::whole(Rect::PLANE).is_err());
        assert!(Window::new(Rect::PLANE, 0, 1).is_err());
    }
}
