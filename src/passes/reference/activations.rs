//! Activations: what flows between kernels, padded so that a matrix can read it in chunks and write it in row groups.
//!
//! **Panels** are what matrices write: features in groups of 64, `data[(feature / 64 * columns + column) * 64 + feature % 64]`, so that each
//! row group of a matrix writes one contiguous piece for all columns, and rayon can hand the pieces out. **Rows** are what attention
//! writes: all features of a column side by side. A matrix reads either through [`Input`].

use super::lanes::LANES;
use super::pairs::{Rounded, Terms};
use super::unpack::CHUNK;

/// Activations by panel. Features past the last are zero.
#[derive(Debug, Default, Clone)]
pub struct Panels {
    data: Vec<f32>,
    features: usize,
    columns: usize,
}

impl Panels {
    /// Makes room for `columns` of `features`; what was there is lost. Allocates only when it never was this large.
    pub fn resize(&mut self, features: usize, columns: usize) {
        if (self.features, self.columns) != (features, columns) {
            // Zeros where the features end have moved.
            self.data.clear();
            self.data.resize(features.next_multiple_of(LANES) * columns, 0.0);
            (self.features, self.columns) = (features, columns);
        }
    }

    /// Features of a column.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The whole array, one panel after another.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The whole array, one panel after another.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The features of a column in runs of at most 64.
    pub fn column(&self, column: usize) -> impl Iterator<Item = &[f32]> {
        let features = self.features;
        self.data
            .chunks_exact(LANES * self.columns)
            .enumerate()
            .map(move |(panel, values)| &values[column * LANES..][..LANES.min(features - panel * LANES)])
    }

    /// The features of a column in runs of at most 64.
    pub fn column_mut(&mut self, column: usize) -> impl Iterator<Item = &mut [f32]> {
        let features = self.features;
        self.data
            .chunks_exact_mut(LANES * self.columns)
            .enumerate()
            .map(move |(panel, values)| &mut values[column * LANES..][..LANES.min(features - panel * LANES)])
    }

    /// What a matrix reads.
    pub fn input(&self) -> Input<'_> {
        Input::new(&self.data, self.columns, LANES * self.columns, LANES)
    }
}

/// Copies a column's runs into one slice.
pub fn copy_runs<'a>(runs: impl Iterator<Item = &'a [f32]>, mut to: &mut [f32]) {
    for run in runs {
        let (head, tail) = to.split_at_mut(run.len());
        head.copy_from_slice(run);
        to = tail;
    }
}

/// What a matrix reads: feature `f` of column `c` at `f / 64 * panel_stride + c * column_stride + f % 64`. A single column is also there
/// in 16 bits, rounded once for all row groups.
#[derive(Debug)]
pub struct Input<'a> {
    data: &'a [f32],
    columns: usize,
    panel_stride: usize,
    column_stride: usize,
    rounded: Vec<Terms>,
}

impl<'a> Input<'a> {
    fn new(data: &'a [f32], columns: usize, panel_stride: usize, column_stride: usize) -> Self {
        // The strides of a single column make its features lie side by side.
        let rounded =
            if columns == 1 { data.as_chunks().0.iter().map(Rounded::terms).collect() } else { Vec::new() };
        Self { data, columns, panel_stride, column_stride, rounded }
    }

    /// Columns that lie one after another, each `stride` long: a multiple of 64, zero where the features end.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Self::new(data, data.len() / stride, LANES, stride)
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The 32 features from `first`, a multiple of 32.
    #[inline(always)]
    pub fn chunk(&self, column: usize, first: usize) -> &'a [f32; CHUNK] {
        let start = first / LANES * self.panel_stride + column * self.column_stride + first % LANES;
        self.data[start..].first_chunk().expect("activations are padded to whole chunks")
    }

    /// The 32 features from `first` of the only column, in 16 bits; `None` where there are more columns.
    #[inline(always)]
    pub fn rounded(&self, first: usize) -> Option<&[Rounded]> {
        self.rounded.get(first / CHUNK).map(Terms::as_slice)
    }
}
