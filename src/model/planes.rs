//! The geometry of tiles, for every encoding: texels, lines, and the planes into which a GGUF block
//! splits (specs/pxi_llm.md section 5).
//!
//! A plane holds a fixed run of bytes of every block. Its texels for one row are successive blocks'
//! runs, so a GPU lane that owns a row reads its quants with aligned 16-byte loads and finds the
//! scales of several blocks in one.

use std::ops::Range;

use super::quant::Encoding;

/// Bytes in a texel: one `Rgba32Uint` value.
pub(crate) const TEXEL_BYTES: u64 = 16;
/// Texels in a line, which is also the rows of a row group.
pub(crate) const LINE_TEXELS: u64 = 64;
/// Bytes in a line: 64 texels.
pub const LINE_BYTES: u64 = LINE_TEXELS * TEXEL_BYTES;
/// The side of a tile in texels, and so the most lines that a tile may have.
pub(crate) const TILE_SIZE: u64 = 64;
/// Matrices too wide for one tile are cut at multiples of this many columns: the largest block of
/// any encoding.
pub(crate) const SPLIT_COLUMNS: u64 = 256;

/// One plane: the bytes of a GGUF block that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Byte range within the GGUF block.
    pub source: Range<usize>,
}

impl Plane {
    /// Bytes of each block that lie in this plane.
    pub(crate) fn bytes_per_block(&self) -> usize {
        self.source.len()
    }
}

/// Lines that one plane takes for `columns` weights of a row.
pub(crate) fn plane_lines(encoding: Encoding, plane: &Plane, columns: u64) -> u64 {
    (columns / encoding.block_len() as u64 * plane.bytes_per_block() as u64).div_ceil(TEXEL_BYTES)
}

/// Lines that a row group takes for `columns` weights of each row: all planes together.
pub(crate) fn row_group_lines(encoding: Encoding, columns: u64) -> u64 {
    encoding.planes().iter().map(|plane| plane_lines(encoding, plane, columns)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_cover_each_block_exactly_once() {
        for encoding in Encoding::ALL {
            let mut covered = vec![0; encoding.block_bytes()];
            for plane in encoding.planes() {
                covered[plane.source.clone()].iter_mut().for_each(|count| *count += 1);
            }
            assert!(covered.iter().all(|&count| count == 1), "{encoding}: {covered:?}");
        }
    }

    #[test]
    fn a_plane_fits_texels_evenly() {
        for encoding in Encoding::ALL {
            for plane in encoding.planes() {
                let bytes = plane.bytes_per_block() as u64;
                assert!(
                    bytes.is_multiple_of(TEXEL_BYTES) || TEXEL_BYTES.is_multiple_of(bytes),
                    "{encoding}: {plane:?}"
                );
            }
        }
    }

    #[test]
    fn the_split_unit_holds_whole_blocks_and_fits_a_tile() {
        for encoding in Encoding::ALL {
            assert_eq!(SPLIT_COLUMNS % encoding.block_len() as u64, 0, "{encoding}");
            assert!(row_group_lines(encoding, SPLIT_COLUMNS) <= TILE_SIZE, "{encoding}");
        }
    }

    #[test]
    fn padding_stays_small_for_the_sizes_of_real_models() {
        for encoding in Encoding::ALL {
            for columns in [576u64, 1536, 896, 4864, 2048, 4096, 14336] {
                if columns % encoding.block_len() as u64 == 0 {
                    let bytes =
                        columns / encoding.block_len() as u64 * encoding.block_bytes() as u64;
                    let stored = row_group_lines(encoding, columns) * TEXEL_BYTES;
                    assert!(
                        stored * 100 <= bytes * 106,
                        "{encoding} {columns}: {stored} for {bytes}"
                    );
                }
            }
        }
    }
}
