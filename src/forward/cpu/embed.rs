//! `embed`: token ids to rows of the residual stream.

use super::Column;
use super::activations::Panels;
use super::lanes::LANES;
use super::matrix::Matrix;
use super::processor::{Processor, Work, run};
use super::unpack::{CHUNK, each_chunk};
use crate::forward::params::EmbedParams;

/// Writes the embedding of each column's token to `residual`.
pub fn embed(params: &EmbedParams, embedding: &[u8], columns: &[Column], residual: &mut Panels) {
    let matrix = Matrix::new(&params.matrix, embedding);
    residual.resize(matrix.columns(), columns.len());
    for (index, column) in columns.iter().enumerate() {
        run(EmbedRow { matrix: &matrix, token: column.token as usize, column: index, residual });
    }
}

struct EmbedRow<'a> {
    matrix: &'a Matrix<'a>,
    token: usize,
    column: usize,
    residual: &'a mut Panels,
}

impl Work for EmbedRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { matrix, token, column, residual } = self;
        let stride = residual.columns() * LANES;
        let (group, lane) = (token / LANES, P::lane(token % LANES));
        for segment in matrix.segments(group) {
            // 64 rows are unpacked for one: a line has a texel of each.
            let (encoding, planes) = (matrix.encoding(), &segment.planes);
            each_chunk(processor, encoding, planes, segment.chunks, |chunk, values| {
                let first = segment.first_column + chunk * CHUNK;
                let start = first / LANES * stride + column * LANES + first % LANES;
                // Features past the last come from texels past the row, which are zero.
                let out = &mut residual.as_mut_slice()[start..start + CHUNK];
                for (out, weights) in out.iter_mut().zip(&values.0) {
                    *out = weights[lane];
                }
            });
        }
    }
}
