//! `logits`: the final norm and the output matrix, for the columns that want it.

use rayon::prelude::*;

use super::Column;
use super::activations::{Panels, copy_runs};
use super::fixed::ActivationBits;
use super::hooks::Tap;
use super::lanes::LANES;
use super::matrix::{Edited, Matrix};
use super::multiply::multiply_row_group;
use super::norm::normalise;
use crate::forward::HookPoint;
use crate::forward::params::LogitsParams;

/// The logits of the columns that wanted them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logits {
    values: Vec<f32>,
    vocab_size: usize,
    columns: Vec<usize>,
}

impl Logits {
    /// Logits over `vocab_size` tokens.
    pub(super) fn new(vocab_size: usize) -> Self {
        Self { vocab_size, ..Self::default() }
    }

    /// The logits of a column, by its index in the pass; `None` where it did not want them.
    pub fn column(&self, column: usize) -> Option<&[f32]> {
        // Sorted, since batches and the columns in them come in order.
        let index = self.columns.binary_search(&column).ok()?;
        Some(&self.values[index * self.vocab_size..][..self.vocab_size])
    }

    /// Columns that wanted logits, with theirs.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.columns.iter().copied().zip(self.values.chunks_exact(self.vocab_size))
    }

    /// The logits of the last column that wanted them.
    pub fn last(&self) -> Option<&[f32]> {
        self.values.rchunks_exact(self.vocab_size).next()
    }
}

/// Appends the logits of the `wanted` columns of a batch whose first column is column `first` of
/// the pass. The panels are scratch.
pub(super) fn logits(
    params: &LogitsParams,
    (weights, edited, norm): (&[u8], &Edited<'_>, &[f32]),
    (columns, first, bits): (&[Column], usize, ActivationBits),
    residual: &Panels,
    [chosen, normed, output]: [&mut Panels; 3],
    out: &mut Logits,
    tap: &mut Tap<'_>,
) {
    let wanted: Vec<usize> =
        (0..columns.len()).filter(|&index| columns[index].wants_logits).collect();
    // Most batches of a prompt: only its last token wants logits.
    if wanted.is_empty() {
        return;
    }
    // Side by side, so that the norm and the output matrix cost nothing for the others.
    chosen.resize(residual.features(), wanted.len());
    for (to, &from) in wanted.iter().enumerate() {
        chosen
            .column_mut(to)
            .zip(residual.column(from))
            .for_each(|(to, from)| to.copy_from_slice(from));
    }
    let columns: Vec<Column> = wanted.iter().map(|&index| columns[index]).collect();
    normalise(params.norm_epsilon, norm, chosen, normed);
    tap.panels(HookPoint::FinalNorm, &columns, normed);

    let matrix = Matrix::new(&params.matrix, weights).edited(edited);
    output.resize(matrix.rows(), wanted.len());
    let input = normed.input_in_bits(bits, &[&matrix]);
    output.as_mut_slice().par_chunks_mut(LANES * wanted.len()).enumerate().for_each(
        |(group, out)| {
            multiply_row_group(&matrix, group, &input, out);
        },
    );
    tap.panels(HookPoint::Logits, &columns, output);

    let start = out.values.len();
    out.values.resize(start + wanted.len() * out.vocab_size, 0.0);
    for (index, row) in out.values[start..].chunks_exact_mut(out.vocab_size).enumerate() {
        copy_runs(output.column(index), row);
    }
    out.columns.extend(wanted.iter().map(|index| first + index));
}
