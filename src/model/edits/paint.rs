//! A brush on the weights of one tile.

use std::ops::Range;

use super::{Brush, Painted};
use crate::model::planes::LINE_BYTES;
use crate::model::quant::{dequantize, set_nearest};
use crate::model::rearrange::{gather, scatter};
use crate::model::tiling::{Layout, TileShape, Tiling};

impl Brush {
    /// What a weight is to become.
    fn wanted(self, old: f32, row: u64, column: u64) -> f32 {
        let wanted = match self {
            Self::Set(value) => value,
            Self::Scale(factor) => old * factor,
            Self::Zero => 0.0,
            Self::Noise { spread, seed } => old + spread * normal(seed, row, column),
        };
        // A product may leave the numbers that there are.
        if wanted.is_nan() { old } else { wanted.clamp(f32::MIN, f32::MAX) }
    }
}

/// A number of mean 0 and variance 1, nearly normal: twelve even ones added, the same on every
/// machine.
fn normal(seed: u64, row: u64, column: u64) -> f32 {
    let mut state = seed ^ row.wrapping_mul(0xD134_2543_DE82_EF95) ^ column.rotate_left(32);
    let mut even = || {
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // 24 bits are what a float holds exactly.
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    (0..12).map(|_| even()).sum::<f32>() - 6.0
}

/// Paints rows and columns of a tensor that lie in one tile, and adds to what became of it.
pub(super) fn edit_tile(
    tiling: &Tiling,
    shape: &TileShape,
    mut tile: Vec<u8>,
    (rows, columns): (Range<u64>, Range<u64>),
    brush: Brush,
    painted: &mut Painted,
) -> Vec<u8> {
    let encoding = tiling.encoding;
    let (block_len, block_bytes) = (encoding.block_len() as u64, encoding.block_bytes());
    let stride = (tiling.columns / block_len) as usize * block_bytes;
    let mut row_of_blocks = |row: u64, bytes: &mut [u8], first_block: u64| {
        let mut values = vec![0.0; encoding.block_len()];
        let mut column = columns.start;
        while column < columns.end {
            let block = column / block_len;
            let at = (block - first_block) as usize * block_bytes;
            let end = columns.end.min((block + 1) * block_len);
            // Of a vector's block that the end of the tile cuts in two, nothing is painted.
            if let Some(bytes) = bytes.get_mut(at..at + block_bytes) {
                paint_block(encoding, bytes, &mut values, (row, column..end), brush, painted);
            }
            column = end;
        }
    };
    match tiling.layout {
        Layout::Matrix => {
            let mut band = vec![0; (shape.rows.end - shape.rows.start) as usize * stride];
            gather(tiling, shape, &tile, &mut band);
            for row in rows {
                let start = (row - shape.rows.start) as usize * stride;
                row_of_blocks(row, &mut band[start..start + stride], 0);
            }
            scatter(tiling, shape, &band, &mut tile);
        }
        Layout::Vector => {
            let first = shape.columns.start / block_len;
            let start = first as usize * block_bytes - (shape.lines.start * LINE_BYTES) as usize;
            row_of_blocks(0, &mut tile[start..], first);
        }
    }
    tile
}

fn paint_block(
    encoding: crate::model::Encoding,
    bytes: &mut [u8],
    values: &mut [f32],
    (row, columns): (u64, Range<u64>),
    brush: Brush,
    painted: &mut Painted,
) {
    dequantize(encoding, bytes, values);
    let block_len = encoding.block_len() as u64;
    let wanted: Vec<(usize, f32, f32)> = columns
        .map(|column| {
            let index = (column % block_len) as usize;
            (index, values[index], brush.wanted(values[index], row, column))
        })
        .collect();
    for &(index, _, wanted) in &wanted {
        set_nearest(encoding, bytes, index, wanted);
    }
    dequantize(encoding, bytes, values);
    for (index, old, wanted) in wanted {
        let is = values[index];
        painted.first.get_or_insert([old, wanted, is]);
        painted.changed += u64::from(is.to_bits() != old.to_bits());
        painted.largest_miss = painted.largest_miss.max((is - wanted).abs());
    }
}
