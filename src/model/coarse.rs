//! What a tile looks like from afar: its statistics, and for each of its blocks how large the
//! weights are, how large the largest is, and to which side they lean (specs/pxi_llm.md section 7).

use half::f16;

use super::quant::{Encoding, dequantize};
use super::tiling::{Layout, TileShape, Tiling};

/// Blocks of a tile.
pub(crate) const BLOCKS: usize = 256;
/// Bytes of a tile's record: two halves for each block.
pub(crate) const RECORD_BYTES: usize = 4 * BLOCKS;
/// Bytes of the record in files of version 1.0: mean and spread on a grid of 8 x 8.
pub(crate) const RECORD_BYTES_1_0: usize = 256;
/// Blocks along each side of that grid.
const SIDE_1_0: u64 = 8;

/// What a tile's weights are like, padding not counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Statistics {
    /// Mean of the weights.
    pub mean: f32,
    /// Standard deviation around the mean.
    pub spread: f32,
    /// Largest absolute value of a weight.
    pub peak: f32,
}

/// How the blocks of a tile lie: [`BLOCKS`] of them, rows first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockGrid {
    /// Rows and columns of the tile.
    cells: [u64; 2],
    /// Rows and columns of blocks: powers of two.
    pub blocks: [u64; 2],
}

impl BlockGrid {
    /// The grid of a tile: that whose blocks are nearest to squares of cells, and of two that are
    /// as near the one with fewer columns.
    pub fn of(shape: &TileShape) -> Self {
        let cells = [shape.rows.end - shape.rows.start, shape.columns.end - shape.columns.start];
        let all = BLOCKS as u64;
        // How many times longer than wide a block is, or wider than long.
        let off = |columns: u64| {
            let sides = (cells[0] * columns, cells[1] * (all / columns));
            sides.0.max(sides.1) as f64 / sides.0.min(sides.1).max(1) as f64
        };
        let columns = (0..=all.ilog2()).map(|power| 1 << power);
        let best = columns.min_by(|&a, &b| off(a).total_cmp(&off(b))).unwrap_or(1);
        Self { cells, blocks: [all / best, best] }
    }

    /// The block that holds a cell of the tile.
    pub fn block_of(&self, row: u64, column: u64) -> usize {
        let [i, j] = [(row, 0), (column, 1)]
            .map(|(cell, along)| part_of(cell, self.cells[along], self.blocks[along]));
        (i * self.blocks[1] + j) as usize
    }

    /// Rows and columns of a block, counted in the tile; either may be empty.
    fn cells_of(&self, block: usize) -> [std::ops::Range<u64>; 2] {
        let place = [block as u64 / self.blocks[1], block as u64 % self.blocks[1]];
        std::array::from_fn(|along| {
            let start = |at: u64| at * self.cells[along] / self.blocks[along];
            start(place[along])..start(place[along] + 1)
        })
    }

    /// Whether a block has cells: of a tile with fewer rows than blocks, some have none.
    pub fn has_cells(&self, block: usize) -> bool {
        self.cells_of(block).iter().all(|range| !range.is_empty())
    }
}

/// The part `[i * cells / parts, (i + 1) * cells / parts)` that holds a cell.
fn part_of(cell: u64, cells: u64, parts: u64) -> u64 {
    ((cell + 1) * parts).div_ceil(cells.max(1)) - 1
}

/// A block of a tile from afar.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Block {
    /// Root mean square of the weights; negative where their sum is.
    signed_rms: f16,
    /// Largest absolute value of a weight.
    peak: f16,
}

impl Block {
    /// Root mean square of the weights.
    pub fn rms(&self) -> f32 {
        self.signed_rms.to_f32().abs()
    }

    /// Largest absolute value of a weight. Files of version 1.0 do not have it: the root mean
    /// square then, below which it cannot be.
    pub fn peak(&self) -> f32 {
        self.peak.to_f32()
    }
}

/// A tile from afar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coarse {
    /// Over the whole tile.
    pub statistics: Statistics,
    /// In the order of [`BlockGrid`].
    pub blocks: [Block; BLOCKS],
}

/// Sums over some weights.
#[derive(Debug, Clone, Copy, Default)]
struct WeightSums {
    count: u64,
    sum: f64,
    squares: f64,
    peak: f32,
}

impl WeightSums {
    fn of(weights: &[f32]) -> Self {
        // Eight lanes each, so that the loop becomes vector code; f32 is enough for the few hundred
        // weights of a run.
        let (mut sum, mut squares, mut peak) = ([0f32; 8], [0f32; 8], [0f32; 8]);
        let (lanes, rest) = weights.as_chunks::<8>();
        for chunk in lanes {
            for lane in 0..8 {
                sum[lane] += chunk[lane];
                squares[lane] += chunk[lane] * chunk[lane];
                peak[lane] =
                    if chunk[lane].abs() > peak[lane] { chunk[lane].abs() } else { peak[lane] };
            }
        }
        let mut sums = Self {
            count: weights.len() as u64,
            sum: sum.iter().map(|&x| f64::from(x)).sum(),
            squares: squares.iter().map(|&x| f64::from(x)).sum(),
            peak: peak.iter().copied().fold(0.0, f32::max),
        };
        for &weight in rest {
            sums.sum += f64::from(weight);
            sums.squares += f64::from(weight) * f64::from(weight);
            sums.peak = sums.peak.max(weight.abs());
        }
        sums
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.peak = self.peak.max(other.peak);
    }

    fn statistics(&self) -> Statistics {
        if self.count == 0 {
            return Statistics::default();
        }
        let mean = self.sum / self.count as f64;
        // Rounding may bring it below zero, and the root of that is no number.
        let variance = (self.squares / self.count as f64 - mean * mean).max(0.0);
        Statistics { mean: mean as f32, spread: variance.sqrt() as f32, peak: self.peak }
    }

    fn block(&self) -> Block {
        let rms = (self.squares / self.count.max(1) as f64).sqrt() as f32;
        Block {
            signed_rms: clamped(if self.sum < 0.0 { -rms } else { rms }),
            peak: clamped(self.peak),
        }
    }
}

/// A row (counted in the tile) in which a weight is NaN or infinite.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFinite {
    /// Row of the tile.
    pub row: u64,
}

impl Coarse {
    /// Computes it from `band`, the GGUF bytes of the tile's rows as in [`super::rearrange`].
    ///
    /// # Errors
    /// A weight is NaN or infinite.
    pub fn of(tiling: &Tiling, shape: &TileShape, band: &[u8]) -> Result<Self, NotFinite> {
        let encoding = tiling.encoding;
        let columns = (shape.columns.end - shape.columns.start) as usize;
        let rows = shape.rows.end - shape.rows.start;
        let (stride, start) = match tiling.layout {
            Layout::Matrix => (
                bytes_of(encoding, tiling.columns as usize),
                bytes_of(encoding, shape.columns.start as usize),
            ),
            // The band of a vector's tile begins with the tile's first line, and so may the rest of
            // a block.
            Layout::Vector => {
                let first = bytes_of(encoding, shape.columns.start as usize);
                (0, first - shape.lines.start as usize * super::planes::LINE_BYTES as usize)
            }
        };
        let mut weights = vec![0.0; columns];
        let grid = BlockGrid::of(shape);
        let across = grid.blocks[1] as usize;
        let parts: Vec<_> = (0..across).map(|j| grid.cells_of(j)[1].clone()).collect();
        let mut sums = [WeightSums::default(); BLOCKS];
        for row in 0..rows {
            let at = row as usize * stride + start;
            // A block that the vector's tile cuts in two is counted as far as whole blocks go.
            let whole =
                band.len().saturating_sub(at) / encoding.block_bytes() * encoding.block_len();
            let weights = &mut weights[..columns.min(whole)];
            dequantize(encoding, &band[at..at + bytes_of(encoding, weights.len())], weights);
            let first = grid.block_of(row, 0) / across * across;
            let mut squares = 0.0;
            for (sums, range) in sums[first..first + across].iter_mut().zip(&parts) {
                let end = weights.len().min(range.end as usize);
                let part = WeightSums::of(&weights[end.min(range.start as usize)..end]);
                squares += part.squares;
                sums.add(part);
            }
            // Squares of finite f32 weights of real models never overflow; where they do, look at
            // each weight.
            if !squares.is_finite() && weights.iter().any(|weight| !weight.is_finite()) {
                return Err(NotFinite { row });
            }
        }
        let mut total = WeightSums::default();
        sums.iter().for_each(|&sums| total.add(sums));
        Ok(Self { statistics: total.statistics(), blocks: sums.map(|sums| sums.block()) })
    }

    /// The tile's record in the coarse table.
    pub(crate) fn record(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let values = self.blocks.iter().flat_map(|block| [block.signed_rms, block.peak]);
        for (place, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
        bytes
    }
}

/// The blocks of a record of the coarse table.
pub(crate) fn parse_record(bytes: &[u8; RECORD_BYTES]) -> [Block; BLOCKS] {
    let (halves, _) = bytes.as_chunks::<2>();
    let value = |at: usize| f16::from_le_bytes(halves[at]);
    std::array::from_fn(|at| Block { signed_rms: value(2 * at), peak: value(2 * at + 1) })
}

/// The blocks that a record of version 1.0 tells of: each as the point of its grid that holds the
/// block's middle.
pub(crate) fn parse_record_1_0(
    bytes: &[u8; RECORD_BYTES_1_0],
    shape: &TileShape,
) -> [Block; BLOCKS] {
    let (halves, _) = bytes.as_chunks::<2>();
    let value = |at: u64| f16::from_le_bytes(halves[at as usize]).to_f32();
    let grid = BlockGrid::of(shape);
    std::array::from_fn(|block| {
        let ranges = grid.cells_of(block);
        let [i, j] = std::array::from_fn(|along| {
            let cells = grid.cells[along];
            let middle = ((ranges[along].start + ranges[along].end) / 2).min(cells.max(1) - 1);
            part_of(middle, cells, SIDE_1_0)
        });
        let point = 2 * (i * SIDE_1_0 + j);
        let (mean, spread) = (value(point), value(point + 1));
        let rms = clamped(mean.hypot(spread));
        Block { signed_rms: if mean < 0.0 { -rms } else { rms }, peak: rms }
    })
}

fn bytes_of(encoding: Encoding, columns: usize) -> usize {
    columns / encoding.block_len() * encoding.block_bytes()
}

fn clamped(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_the_block_that_the_specification_names() {
        for (rows, columns) in [(1, 1), (1, 3000), (3, 64), (64, 64), (64, 1792), (128, 576)] {
            let shape = TileShape { rows: 5..5 + rows, columns: 7..7 + columns, lines: 0..1 };
            let grid = BlockGrid::of(&shape);
            assert_eq!(grid.blocks[0] * grid.blocks[1], BLOCKS as u64);
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |at| (row, at))) {
                let block = grid.block_of(row, column);
                let [rows, columns] = grid.cells_of(block);
                assert!(rows.contains(&row) && columns.contains(&column), "{row}, {column}");
                assert!(grid.has_cells(block));
            }
        }
        let blocks = |rows, columns| {
            BlockGrid::of(&TileShape { rows: 0..rows, columns: 0..columns, lines: 0..1 }).blocks
        };
        assert_eq!(
            [blocks(64, 64), blocks(128, 576), blocks(1, 4096)],
            [[16, 16], [8, 32], [1, 256]]
        );
    }

    /// 64 rows of 16 columns, thus 32 x 8 blocks of 2 rows and 2 columns.
    fn tile() -> (Tiling, Vec<u8>) {
        let tiling = Tiling::new(Encoding::F32, &[16, 64]).unwrap();
        let weight = |at: u32| {
            let (row, column) = (at / 16, at % 16);
            if column % 2 == 0 { (row / 2 + 1) as f32 } else { -((column / 2 + 1) as f32) }
        };
        (tiling, (0..64 * 16).map(weight).flat_map(f32::to_le_bytes).collect())
    }

    #[test]
    fn a_checkerboard_of_known_values() {
        let (tiling, band) = tile();
        let shape = tiling.tile(0);
        let coarse = Coarse::of(&tiling, &shape, &band).unwrap();
        assert_eq!(BlockGrid::of(&shape).blocks, [32, 8]);
        let block = |i: usize, j: usize| coarse.blocks[i * 8 + j];
        // Weights 1 and -7, and 31 and -17.
        assert_eq!((block(0, 6).rms(), block(0, 6).peak()), (5.0, 7.0));
        assert!(block(0, 6).signed_rms < f16::ZERO && block(30, 6).signed_rms > f16::ZERO);
        assert_eq!(block(30, 6).peak(), 31.0);
        assert_eq!(coarse.statistics.peak, 32.0);
        assert_eq!(parse_record(&coarse.record()), coarse.blocks);
    }

    #[test]
    fn a_record_of_the_first_version_tells_of_all_but_the_peaks() {
        let shape = tile().0.tile(0);
        let mut bytes = [0; RECORD_BYTES_1_0];
        // Row 3 and column 5 of 8 x 8: mean -3, spread 4.
        let values = [-3.0, 4.0].map(f16::from_f32).map(f16::to_le_bytes);
        bytes[(3 * 8 + 5) * 4..][..4].copy_from_slice(values.as_flattened());
        let blocks = parse_record_1_0(&bytes, &shape);
        let told = (0..BLOCKS).filter(|&at| blocks[at].rms() > 0.0).collect::<Vec<_>>();
        assert_eq!(told, [12, 13, 14, 15].map(|row| row * 8 + 5));
        assert_eq!((blocks[told[0]].signed_rms.to_f32(), blocks[told[0]].peak()), (-5.0, 5.0));
    }

    #[test]
    fn a_weight_that_is_no_number_is_told_with_its_row() {
        let tiling = Tiling::new(Encoding::F32, &[16, 64]).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut band = vec![0; 16 * 64 * 4];
            band[(41 * 16 + 7) * 4..][..4].copy_from_slice(&bad.to_le_bytes());
            assert_eq!(Coarse::of(&tiling, &tiling.tile(0), &band), Err(NotFinite { row: 41 }));
        }
    }
}
