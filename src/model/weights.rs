//! A tile's weights as numbers.

use super::quant::{Code, code_of, dequantize};
use super::rearrange::gather;
use super::tiling::{Layout, TileShape, Tiling};

/// What a tile's weights are made of, in the order of [`tile_weights`]; nothing where they are
/// floats.
pub(crate) fn tile_codes(tiling: &Tiling, shape: &TileShape, tile: &[u8]) -> Vec<Code> {
    let encoding = tiling.encoding;
    let (len, bytes) = (encoding.block_len() as u64, encoding.block_bytes());
    // The vectors of real models are F32; of others a tile may begin within a block.
    if len == 1 || tiling.layout == Layout::Vector {
        return Vec::new();
    }
    let (rows, stride) =
        (shape.rows.end - shape.rows.start, (tiling.columns / len) as usize * bytes);
    let mut band = vec![0; rows as usize * stride];
    gather(tiling, shape, tile, &mut band);
    let code = |row: &[u8], column: u64| {
        let block = (column / len) as usize * bytes;
        code_of(encoding, &row[block..block + bytes], (column % len) as usize)
    };
    band.chunks_exact(stride)
        .flat_map(|row| shape.columns.clone().filter_map(move |at| code(row, at)))
        .collect()
}

/// Decodes a tile: its rows one after another, each with the tile's columns.
pub fn tile_weights(tiling: &Tiling, shape: &TileShape, tile: &[u8]) -> Vec<f32> {
    let encoding = tiling.encoding;
    let bytes_of = |columns: u64| columns as usize / encoding.block_len() * encoding.block_bytes();
    let columns = (shape.columns.end - shape.columns.start) as usize;
    let rows = (shape.rows.end - shape.rows.start) as usize;
    let mut weights = vec![0.0; rows * columns];
    match tiling.layout {
        Layout::Matrix => {
            let (stride, start) = (bytes_of(tiling.columns), bytes_of(shape.columns.start));
            let mut band = vec![0; rows * stride];
            gather(tiling, shape, tile, &mut band);
            for (row, weights) in weights.chunks_exact_mut(columns.max(1)).enumerate() {
                let bytes = &band[row * stride + start..][..bytes_of(columns as u64)];
                dequantize(encoding, bytes, weights);
            }
        }
        Layout::Vector => {
            let start = bytes_of(shape.columns.start)
                - (shape.lines.start * super::planes::LINE_BYTES) as usize;
            // A block cut in two by the tile's end is left zero; real vectors are F32, whose blocks
            // are never cut.
            let whole =
                ((tile.len() - start) / encoding.block_bytes() * encoding.block_len()).min(columns);
            dequantize(
                encoding,
                &tile[start..start + bytes_of(whole as u64)],
                &mut weights[..whole],
            );
        }
    }
    weights
}
