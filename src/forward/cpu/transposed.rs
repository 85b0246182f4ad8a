//! A matrix read the other way: what its outputs' gradients say of its inputs, `dX = dY W`, from
//! the same tiles as the forward product.
//!
//! In: gradients of the outputs by panel. Out: gradients of the inputs by panel, added. A chunk of
//! 64 rows by 64 inputs is unpacked once for all columns and turned, so that rows are what is
//! summed over; then it is the product of plain floats. Inputs by 256 and rows by slices are
//! shared among threads; slices are added in their order, so a sum does not hang on the number of
//! threads.

use rayon::prelude::*;

use super::activations::{Input, Panels};
use super::lanes::LANES;
use super::matrix::Matrix;
use super::multiply::multiply_values;
use super::processor::{Processor, Work, run};
use super::unpack::{CHUNK, CHUNKS, Quants, Values, weights_of_block};

/// Inputs of one unit: a block of all encodings.
const INPUTS: usize = CHUNK * CHUNKS;
/// Panels of one unit.
const PANELS: usize = INPUTS / LANES;
/// Units that there are at least where rows allow it: enough for a few threads to end together.
const UNITS: usize = 16;

/// Adds `gradient * matrix` to `out`: `gradient` has the matrix's rows as features, `out` its
/// columns.
///
/// # Panics
/// The shapes do not fit.
pub(crate) fn multiply_transposed(matrix: &Matrix<'_>, gradient: &Panels, out: &mut Panels) {
    assert_eq!(
        (gradient.features(), out.features(), out.columns()),
        (matrix.rows(), matrix.columns(), gradient.columns()),
        "gradients of a product"
    );
    let blocks = matrix.columns().div_ceil(INPUTS);
    let groups = matrix.row_groups();
    let slices = UNITS.div_ceil(blocks).min(groups);
    let per_slice = groups.div_ceil(slices);
    let input = gradient.input(&[]);
    let size = PANELS * LANES * gradient.columns();
    let unit = |index: usize| {
        let (block, slice) = (index / slices, index % slices);
        let groups = slice * per_slice..groups.min((slice + 1) * per_slice);
        let mut sums = vec![0.0; size];
        run(Transposed { matrix, block, groups, input: &input, out: &mut sums });
        sums
    };
    let sums: Vec<Vec<f32>> = (0..blocks * slices).into_par_iter().map(unit).collect();
    let panel = LANES * gradient.columns();
    out.as_mut_slice().par_chunks_mut(panel).enumerate().for_each(|(at, out)| {
        let (block, within) = (at / PANELS, at % PANELS * panel);
        for sums in &sums[block * slices..][..slices] {
            let add = |(out, sum): (&mut f32, &f32)| *out += sum;
            out.iter_mut().zip(&sums[within..]).for_each(add);
        }
    });
}

struct Transposed<'a> {
    matrix: &'a Matrix<'a>,
    /// Which 256 inputs.
    block: usize,
    groups: std::ops::Range<usize>,
    input: &'a Input<'a>,
    /// `[PANELS, columns, 64]`
    out: &'a mut [f32],
}

impl Work for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { matrix, block, groups, input, out } = self;
        let encoding = matrix.encoding();
        let mut packed = Box::<Quants>::default();
        let mut unpacked: Vec<Values> = (0..CHUNKS).map(|_| Values::default()).collect();
        let mut turned = Values::default();
        for group in groups {
            let (segment, within) = matrix.segment_of(group, block);
            // What was in the chunks past the last is zero, as they were made.
            let chunks = CHUNKS.min(segment.chunks - within * CHUNKS);
            let values = &mut unpacked[..chunks];
            weights_of_block(processor, encoding, &segment.planes, within, &mut packed, values);
            let panels = out.chunks_exact_mut(LANES * input.columns());
            let pairs = unpacked.chunks_exact(2).zip(panels).take(chunks.div_ceil(2));
            for (pair, out) in pairs {
                let out = out.as_chunks_mut::<LANES>().0;
                for half in 0..LANES / CHUNK {
                    let first = half * CHUNK;
                    for (row, to) in (first..).zip(&mut turned.0) {
                        let lane = P::lane(row);
                        for (input, to) in to.iter_mut().enumerate() {
                            *to = pair[input / CHUNK].0[input % CHUNK][lane];
                        }
                    }
                    let first = group * LANES + first;
                    multiply_values(processor.vectors(), &turned, input, first, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::cpu::multiply::tests::{numbers, random};
    use crate::forward::params::MatrixParams;
    use crate::model::Encoding;
    use crate::model::quant::dequantize;

    /// One row may span several tiles, inputs need not fill a block, rows need not fill a group.
    #[test]
    fn transposed_products_are_those_of_the_decoded_weights() {
        for encoding in Encoding::ALL {
            for (columns, rows, count) in [(256, 64, 1), (768, 150, 7), (1792, 70, 3)] {
                let columns = match encoding.block_len() {
                    1 => columns + 13,
                    32 => columns + 32,
                    _ => columns,
                };
                let (data, bytes, tensors) = random(encoding, columns, rows, columns as u64);
                let mut weights = vec![0.0; rows * columns];
                dequantize(encoding, &data, &mut weights);
                let params = MatrixParams::new(&tensors[0]).unwrap();
                let matrix = Matrix::new(&params, &bytes);
                let mut next = numbers(7);
                let mut gradient = Panels::default();
                gradient.resize(rows, count);
                for column in 0..count {
                    for run in gradient.column_mut(column) {
                        run.fill_with(|| next() as f32 / (1 << 23) as f32 - 1.0);
                    }
                }
                let mut out = Panels::default();
                out.resize(columns, count);
                out.column_mut(0).for_each(|run| run.fill(0.5));
                multiply_transposed(&matrix, &gradient, &mut out);
                for column in 0..count {
                    let dy: Vec<f32> = gradient.column(column).flatten().copied().collect();
                    let found: Vec<f32> = out.column(column).flatten().copied().collect();
                    for (input, &found) in found.iter().enumerate() {
                        let of = |row: usize| f64::from(weights[row * columns + input]);
                        let products =
                            || dy.iter().enumerate().map(|(row, &dy)| of(row) * f64::from(dy));
                        let start = if column == 0 { 0.5 } else { 0.0 };
                        let expected = start + products().sum::<f64>();
                        let size = 1.0 + products().map(f64::abs).sum::<f64>();
                        let error = (f64::from(found) - expected).abs();
                        assert!(error < size * 1e-6, "{encoding} {columns}: {found} {expected}");
                    }
                }
            }
        }
    }
}
