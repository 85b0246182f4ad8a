//! `embed`: token ids to rows of the residual stream.

use pulp::{Arch, Simd, WithSimd};

use super::Column;
use super::activations::Panels;
use super::lanes::LANES;
use super::matrix::Matrix;
use super::unpack::{CHUNK, Quants, Values, values};
use crate::forward::params::EmbedParams;

/// Writes the embedding of each column's token to `residual`.
pub fn embed(params: &EmbedParams, embedding: &[u8], columns: &[Column], residual: &mut Panels) {
    let matrix = Matrix::new(&params.matrix, embedding);
    residual.resize(matrix.columns(), columns.len());
    for (index, column) in columns.iter().enumerate() {
        Arch::new().dispatch(EmbedRow {
            matrix: &matrix,
            token: column.token as usize,
            column: index,
            residual,
        });
    }
}

struct EmbedRow<'a> {
    matrix: &'a Matrix<'a>,
    token: usize,
    column: usize,
    residual: &'a mut Panels,
}

impl WithSimd for EmbedRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { matrix, token, column, residual } = self;
        let (mut scratch, mut unpacked) = (Quants::default(), Values::default());
        let stride = residual.columns() * LANES;
        for segment in matrix.segments(token / LANES) {
            for chunk in 0..segment.chunks {
                // 64 rows are unpacked for one: a line has a texel of each.
                values(matrix.encoding(), &segment.planes, chunk, &mut scratch, &mut unpacked);
                let first = segment.first_column + chunk * CHUNK;
                let start = first / LANES * stride + column * LANES + first % LANES;
                // Features past the last come from texels past the row, which are zero.
                for (out, weights) in
                    residual.as_mut_slice()[start..start + CHUNK].iter_mut().zip(&unpacked.0)
                {
                    *out = weights[token % LANES];
                }
            }
        }
    }
}
