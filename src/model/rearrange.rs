//! Moves blocks between GGUF order and tile order, byte for byte (specs/pxi_llm.md sections 5 and
//! 6).
//!
//! A *band* is the GGUF bytes of the rows of one tile, all columns: what is read or written in one
//! piece.

use super::planes::{LINE_BYTES, LINE_TEXELS, TEXEL_BYTES, plane_lines, row_group_lines};
use super::tiling::{Layout, TileShape, Tiling};

/// Fills `tile` (the tile's whole bytes) from `band`, the GGUF bytes of the tile's rows, or of the
/// whole vector's lines for a vector. Bytes that no block reaches become zero.
pub(crate) fn scatter(tiling: &Tiling, shape: &TileShape, band: &[u8], tile: &mut [u8]) {
    // The buffer has another tile's bytes, and the digest covers the padding.
    tile.fill(0);
    if tiling.layout == Layout::Vector {
        tile[..band.len()].copy_from_slice(band);
        return;
    }
    for_each_run(tiling, shape, |in_band, in_tile, len| match len {
        // The sizes that occur, spelt out so that each copy is one load and one store.
        16 => tile[in_tile..in_tile + 16].copy_from_slice(&band[in_band..in_band + 16]),
        4 => tile[in_tile..in_tile + 4].copy_from_slice(&band[in_band..in_band + 4]),
        2 => tile[in_tile..in_tile + 2].copy_from_slice(&band[in_band..in_band + 2]),
        _ => tile[in_tile..in_tile + len].copy_from_slice(&band[in_band..in_band + len]),
    });
}

/// The way back: fills the tile's part of `band` from `tile`.
pub(crate) fn gather(tiling: &Tiling, shape: &TileShape, tile: &[u8], band: &mut [u8]) {
    if tiling.layout == Layout::Vector {
        let len = band.len();
        band.copy_from_slice(&tile[..len]);
        return;
    }
    for_each_run(tiling, shape, |in_band, in_tile, len| {
        band[in_band..in_band + len].copy_from_slice(&tile[in_tile..in_tile + len]);
    });
}

/// Calls `copy(offset in band, offset in tile, length)` for every run of bytes that stays together:
/// at most a texel.
fn for_each_run(tiling: &Tiling, shape: &TileShape, mut copy: impl FnMut(usize, usize, usize)) {
    let encoding = tiling.encoding;
    let (block_len, block_bytes) = (encoding.block_len() as u64, encoding.block_bytes());
    let row_bytes = (tiling.columns / block_len) as usize * block_bytes;
    let first_block = (shape.columns.start / block_len) as usize;
    let columns = shape.columns.end - shape.columns.start;
    let blocks = (columns / block_len) as usize;
    let group_bytes = (row_group_lines(encoding, columns) * LINE_BYTES) as usize;
    let (texel, line) = (TEXEL_BYTES as usize, LINE_BYTES as usize);
    for row in 0..(shape.rows.end - shape.rows.start) as usize {
        let (group, lane) = (row / LINE_TEXELS as usize, row % LINE_TEXELS as usize);
        let mut plane_start = group * group_bytes + lane * texel;
        for plane in encoding.planes() {
            let size = plane.bytes_per_block();
            let source = row * row_bytes + first_block * block_bytes + plane.source.start;
            if encoding.block_len() == 1 {
                // Plain values lie side by side in the row as they do in texels.
                let bytes = blocks * size;
                for start in (0..bytes).step_by(texel) {
                    copy(
                        source + start,
                        plane_start + start / texel * line,
                        texel.min(bytes - start),
                    );
                }
            } else if size >= texel {
                let texels = size / texel;
                for block in 0..blocks {
                    for part in 0..texels {
                        let destination = plane_start + (block * texels + part) * line;
                        copy(source + block * block_bytes + part * texel, destination, texel);
                    }
                }
            } else {
                for block in 0..blocks {
                    let byte = block * size;
                    copy(
                        source + block * block_bytes,
                        plane_start + byte / texel * line + byte % texel,
                        size,
                    );
                }
            }
            plane_start += plane_lines(encoding, plane, columns) as usize * line;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Encoding;

    /// Where byte `byte` of block `block` of `row` must lie, straight from the words of the
    /// specification.
    fn place(tiling: &Tiling, row: u64, block: u64, byte: usize) -> (u64, usize) {
        let encoding = tiling.encoding;
        let index = tiling.tile_of(row, block * encoding.block_len() as u64);
        let shape = tiling.tile(index);
        let columns = shape.columns.end - shape.columns.start;
        let block = block - shape.columns.start / encoding.block_len() as u64;
        let row = row - shape.rows.start;
        let mut line = row / 64 * row_group_lines(encoding, columns);
        for plane in encoding.planes() {
            if plane.source.contains(&byte) {
                let at =
                    block * plane.bytes_per_block() as u64 + (byte - plane.source.start) as u64;
                return (index, ((line + at / 16) * 1024 + row % 64 * 16 + at % 16) as usize);
            }
            line += plane_lines(encoding, plane, columns);
        }
        unreachable!("planes cover the block")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_byte_lands_where_the_specification_says_and_comes_back(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            blocks in 1u64..24, wide: bool, rows in 1u64..140, seed: u64,
        ) {
            let columns = match encoding.block_len() as u64 {
                1 => blocks * 31,
                len => blocks * len,
            };
            let columns = if wide { columns.next_multiple_of(256) + 1024 } else { columns };
            let tiling = Tiling::new(encoding, &[columns, rows]).unwrap();
            let row_bytes = encoding.row_bytes(columns).unwrap() as usize;
            let mut state = seed | 1;
            let data: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            }).take(row_bytes * rows as usize).collect();

            let mut tiles = Vec::new();
            let mut back = vec![0; data.len()];
            for shape in tiling.tiles() {
                let rows = shape.rows.start as usize..shape.rows.end as usize;
                let band = rows.start * row_bytes..rows.end * row_bytes;
                let mut tile = vec![0xAA; shape.size_in_bytes() as usize];
                scatter(&tiling, &shape, &data[band.clone()], &mut tile);
                gather(&tiling, &shape, &tile, &mut back[band]);
                tiles.push(tile);
            }
            prop_assert!(back == data, "gather(scatter(x)) differs");
            let mut rest: u64 = tiles.iter().flatten().map(|&byte| u64::from(byte)).sum();
            for row in 0..rows {
                for block in 0..columns / encoding.block_len() as u64 {
                    for byte in 0..encoding.block_bytes() {
                        let source = data[row as usize * row_bytes
                            + block as usize * encoding.block_bytes() + byte];
                        let (index, at) = place(&tiling, row, block, byte);
                        prop_assert_eq!(tiles[index as usize][at], source);
                        rest -= u64::from(source);
                    }
                }
            }
            prop_assert_eq!(rest, 0, "padding is zero");
        }
    }
}
