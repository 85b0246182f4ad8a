//! A square of RGB pixels, the unit of storage, checksum and caching.

use super::{MapError, geometry::TileSize};
use sha2::{Digest, Sha256};

/// Three bytes: red, green and blue.
pub type Pixel = [u8; 3];

/// What a pixel is that was never written, in a tile that was.
pub const BLACK: Pixel = [0; 3];

/// A tile's pixels, row by row from the top left one.
#[derive(Clone, PartialEq, Eq)]
pub struct Tile {
    size: TileSize,
    rgb: Box<[u8]>,
}

impl Tile {
    /// A tile of black pixels.
    pub fn black(size: TileSize) -> Self {
        Self { size, rgb: vec![0; size.tile_len()].into() }
    }

    /// A tile of one colour.
    pub fn filled(size: TileSize, pixel: Pixel) -> Self {
        let mut tile = Self::black(size);
        tile.rgb.as_chunks_mut().0.fill(pixel);
        tile
    }

    /// A tile from its bytes.
    ///
    /// # Errors
    /// There are too few or too many bytes.
    pub(crate) fn from_rgb(size: TileSize, rgb: impl Into<Box<[u8]>>) -> Result<Self, MapError> {
        let rgb = rgb.into();
        if rgb.len() == size.tile_len() {
            return Ok(Self { size, rgb });
        }
        let (found, expected) = (rgb.len() as u64, size.tile_len() as u64);
        Err(MapError::Length { what: "a tile", found, expected })
    }

    /// The side, which is that of the map's tiles.
    pub fn size(&self) -> TileSize {
        self.size
    }

    /// All bytes, three for each pixel, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// All bytes, to be changed.
    pub(crate) fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// The pixel in a column and row of the tile; none outside it.
    pub fn pixel(&self, (column, row): (usize, usize)) -> Option<Pixel> {
        let side = usize::from(self.size.side());
        let inside = column < side && row < side;
        inside.then(|| self.rgb.as_chunks().0[row * side + column])
    }

    /// Changes the pixel in a column and row of the tile, and tells whether there is one.
    pub fn set_pixel(&mut self, (column, row): (usize, usize), pixel: Pixel) -> bool {
        let side = usize::from(self.size.side());
        let inside = column < side && row < side;
        if inside {
            self.rgb.as_chunks_mut().0[row * side + column] = pixel;
        }
        inside
    }

    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.rgb).into()
    }
}

impl std::fmt::Debug for Tile {
    /// Thousands of bytes would tell nobody anything.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tile").field("side", &self.size.side()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_where_they_were_put() {
        let size = TileSize::new(8).unwrap();
        let mut tile = Tile::black(size);
        assert!(tile.set_pixel((7, 2), [1, 2, 3]));
        assert_eq!(tile.rgb()[3 * 23..][..3], [1, 2, 3]);
        assert_eq!(tile.pixel((7, 2)), Some([1, 2, 3]));
        assert_eq!(tile.pixel((8, 2)), None);
        assert!(!tile.set_pixel((0, 8), [9; 3]));
        assert_eq!(Tile::filled(size, [4; 3]).rgb(), [4; 192]);
        assert!(Tile::from_rgb(size, vec![0; 191]).is_err());
    }
}
