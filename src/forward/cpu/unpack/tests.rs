//! Every encoding against the reference decoder, through the tiles that a converter writes.

use proptest::prelude::*;

use super::*;
use crate::forward::cpu::lanes::Lines;
use crate::forward::cpu::processor::{Work, run};
use crate::model::planes::plane_lines;
use crate::model::quant::dequantize;
use crate::model::rearrange::scatter;
use crate::model::tiling::Tiling;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_tile_unpacks_to_what_its_gguf_bytes_mean(
        encoding in prop::sample::select(Encoding::ALL.to_vec()),
        blocks in 1usize..12, rows in 1usize..=64, seed: u64,
    ) {
        let columns = match encoding.block_len() {
            1 => blocks * 11,
            len => blocks.min(4) * len,
        };
        let row_bytes = encoding.row_bytes(columns as u64).unwrap() as usize;
        let mut state = seed | 1;
        let mut band: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        }).take(row_bytes * rows).collect();
        make_finite(encoding, &mut band);

        let tiling = Tiling::new(encoding, &[columns as u64, rows as u64]).unwrap();
        prop_assume!(tiling.tile_count() == 1);
        let shape = tiling.tile(0);
        let mut tile = vec![0; shape.size_in_bytes() as usize];
        scatter(&tiling, &shape, &band, &mut tile);
        let mut rest = tile.as_slice();
        let mut of_tile: Planes<'_> = Default::default();
        for (slot, plane) in of_tile.iter_mut().zip(encoding.planes()) {
            let lines = plane_lines(encoding, plane, columns as u64) as usize;
            let (bytes, after) = rest.split_at(lines * 1024);
            *slot = Lines::new(bytes, tile.len());
            rest = after;
        }

        let mut expected = vec![0.0; rows * columns];
        dequantize(encoding, &band, &mut expected);
        run(Check { encoding, planes: &of_tile, rows, columns, expected: &expected })?;
    }
}

/// Holds what is unpacked to the weights of the reference decoder.
struct Check<'a> {
    encoding: Encoding,
    planes: &'a Planes<'a>,
    rows: usize,
    columns: usize,
    expected: &'a [f32],
}

impl Work for Check<'_> {
    type Output = Result<(), TestCaseError>;

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> Self::Output {
        let Self { encoding, planes, rows, columns, expected } = self;
        let expected = |row: usize, column: usize| {
            let inside = row < rows && column < columns;
            if inside { expected[row * columns + column] } else { 0.0 }
        };
        let mut result = Ok(());
        each_chunk(processor, encoding, planes, columns.div_ceil(CHUNK), |chunk, found| {
            for row in 0..LANES {
                let of_row = |at: usize| expected(row, chunk * CHUNK + at);
                // Offsets are folded into one number per block, so a weight may differ by a
                // rounding of the largest term: up to 64 steps, of which a row may have few.
                let size = (0..CHUNK).map(|at| of_row(at).abs()).fold(0.0, f32::max);
                let size = if encoding.is_quantised() { size * 100.0 } else { 0.0 };
                for at in 0..CHUNK {
                    let (weight, expected) = (found.0[at][P::lane(row)], of_row(at));
                    if (weight - expected).abs() > size.max(expected.abs()) * 1e-6 {
                        result = Err(TestCaseError::fail(format!(
                            "{encoding} row {row}, chunk {chunk} at {at}: {weight} for {expected}"
                        )));
                    }
                }
            }
        });
        result
    }
}

/// Clears one exponent bit of every half and float that could be infinite or NaN.
fn make_finite(encoding: Encoding, band: &mut [u8]) {
    let mut offsets: Vec<usize> = encoding.half_floats().iter().map(|at| at + 1).collect();
    if offsets.is_empty() {
        offsets.push(encoding.block_bytes() - 1);
    }
    for block in band.chunks_exact_mut(encoding.block_bytes()) {
        offsets.iter().for_each(|&offset| block[offset] &= 0xbf);
    }
}
