//! What a tile looks like from afar: its statistics and an 8 x 8 grid of means and spreads
//! (specs/pxi_llm.md section 7).

use half::f16;

use super::header::COARSE_RECORD_BYTES;
use super::quant::{Encoding, dequantize};
use super::tiling::{Layout, TileShape, Tiling};

/// Grid points along each side.
pub(crate) const GRID: usize = 8;

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

/// A tile from afar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coarse {
    /// Over the whole tile.
    pub statistics: Statistics,
    /// Mean and spread per grid point, row-major.
    pub grid: [[[f16; 2]; GRID]; GRID],
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
        let mut grid = [[WeightSums::default(); GRID]; GRID];
        for row in 0..rows {
            let at = row as usize * stride + start;
            // A block that the vector's tile cuts in two is counted as far as whole blocks go.
            let whole =
                band.len().saturating_sub(at) / encoding.block_bytes() * encoding.block_len();
            let columns = columns.min(whole);
            let weights = &mut weights[..columns];
            dequantize(encoding, &band[at..at + bytes_of(encoding, columns)], weights);
            let i = range_of(row, rows);
            let mut squares = 0.0;
            for (j, sums) in grid[i].iter_mut().enumerate() {
                let part = WeightSums::of(&weights[j * columns / GRID..(j + 1) * columns / GRID]);
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
        grid.iter().flatten().for_each(|&sums| total.add(sums));
        let grid = grid.map(|row| {
            row.map(|sums| {
                let statistics = sums.statistics();
                [clamped(statistics.mean), clamped(statistics.spread)]
            })
        });
        Ok(Self { statistics: total.statistics(), grid })
    }

    /// The tile's record in the coarse table.
    pub(crate) fn grid_bytes(&self) -> [u8; COARSE_RECORD_BYTES as usize] {
        let mut bytes = [0; COARSE_RECORD_BYTES as usize];
        let values = self.grid.iter().flatten().flatten();
        for (place, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
        bytes
    }

    /// The grid from a record of the coarse table.
    pub(crate) fn parse_grid(
        bytes: &[u8; COARSE_RECORD_BYTES as usize],
    ) -> [[[f16; 2]; GRID]; GRID] {
        let value = |index: usize| f16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]);
        std::array::from_fn(|i| {
            std::array::from_fn(|j| std::array::from_fn(|k| value((i * GRID + j) * 2 + k)))
        })
    }
}

fn bytes_of(encoding: Encoding, columns: usize) -> usize {
    columns / encoding.block_len() * encoding.block_bytes()
}

/// The grid row whose range `[i * rows / 8, (i + 1) * rows / 8)` holds `row`.
fn range_of(row: u64, rows: u64) -> usize {
    (((row + 1) * GRID as u64).div_ceil(rows) - 1) as usize
}

fn clamped(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_rows_are_those_of_the_specification() {
        for rows in 1..200u64 {
            for row in 0..rows {
                let i = range_of(row, rows) as u64;
                assert!(
                    (i * rows / 8..(i + 1) * rows / 8).contains(&row),
                    "{row} of {rows} in {i}"
                );
            }
        }
    }

    #[test]
    fn a_checkerboard_of_known_values() {
        let tiling = Tiling::new(Encoding::F32, &[16, 64]).unwrap();
        let shape = tiling.tile(0);
        // Grid point (i, j) has 8 rows x 2 columns: values i + 1 and -(j + 1).
        let band: Vec<u8> = (0..64u32 * 16)
            .map(|at| {
                let (row, column) = (at / 16, at % 16);
                if column % 2 == 0 { (row / 8 + 1) as f32 } else { -((column / 2 + 1) as f32) }
            })
            .flat_map(f32::to_le_bytes)
            .collect();
        let coarse = Coarse::of(&tiling, &shape, &band).unwrap();
        let [mean, spread] = coarse.grid[3][5].map(f16::to_f32);
        assert_eq!((mean, spread), (-1.0, 5.0));
        assert_eq!((coarse.statistics.mean, coarse.statistics.peak), (0.0, 8.0));
        assert_eq!(Coarse::parse_grid(&coarse.grid_bytes()), coarse.grid);
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
