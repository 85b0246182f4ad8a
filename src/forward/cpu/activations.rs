//! Activations: what flows between kernels, padded so that a matrix can read it in chunks and write
//! it in row groups.
//!
//! **Panels** are what matrices write: features in groups of 64,
//! `data[(feature / 64 * columns + column) * 64 + feature % 64]`, so that each row group of a
//! matrix writes one contiguous piece for all columns, and rayon can hand the pieces out. **Rows**
//! are what attention writes: all features of a column side by side. A matrix reads either through
//! [`Input`].

use rayon::prelude::*;

use super::fixed::{ActivationBits, Rounded, RoundedBlock, TILED, Tiled};
use super::lanes::LANES;
use super::matrix::Matrix;
use super::processor::{FEWEST_FOR_TILES, Processor, Work, has_tiles, run};
use super::unpack::{BLOCK, CHUNK, CHUNKS};
use crate::model::Encoding;

/// Chunks below which one thread has rounded them before another would have woken.
const WORTH_SHARING: usize = 256;

/// Activations by panel. Features past the last are zero.
#[derive(Debug, Default, Clone)]
pub struct Panels {
    data: Vec<f32>,
    features: usize,
    columns: usize,
}

impl Panels {
    /// Makes room for `columns` of `features`; what was there is lost. Allocates only when it never
    /// was this large.
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

    /// Columns that are computed together.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The whole array, one panel after another.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The whole array, one panel after another.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The features of a column in runs of at most 64.
    pub fn column(&self, column: usize) -> impl Iterator<Item = &[f32]> {
        let features = self.features;
        self.data.chunks_exact(LANES * self.columns).enumerate().map(move |(panel, values)| {
            &values[column * LANES..][..LANES.min(features - panel * LANES)]
        })
    }

    /// The features of a column in runs of at most 64.
    pub(crate) fn column_mut(&mut self, column: usize) -> impl Iterator<Item = &mut [f32]> {
        let features = self.features;
        self.data.chunks_exact_mut(LANES * self.columns).enumerate().map(move |(panel, values)| {
            &mut values[column * LANES..][..LANES.min(features - panel * LANES)]
        })
    }

    /// What some matrices read.
    pub fn input(&self, matrices: &[&Matrix<'_>]) -> Input<'_> {
        self.input_in_bits(ActivationBits::default(), matrices)
    }

    /// The same, rounded to some bits for those of quantised weights.
    pub fn input_in_bits(&self, bits: ActivationBits, matrices: &[&Matrix<'_>]) -> Input<'_> {
        let strides = (LANES * self.columns, LANES);
        Input::new(&self.data, self.columns, strides, bits, matrices)
    }
}

/// Copies a column's runs into one slice.
pub(crate) fn copy_runs<'a>(runs: impl Iterator<Item = &'a [f32]>, mut to: &mut [f32]) {
    for run in runs {
        let (head, tail) = to.split_at_mut(run.len());
        head.copy_from_slice(run);
        to = tail;
    }
}

/// What a matrix reads: feature `f` of column `c` at `f / 64 * panel_stride + c * column_stride + f
/// % 64`. For matrices of quantised weights it is there in fixed point too, rounded once for all
/// row groups.
#[derive(Debug)]
pub struct Input<'a> {
    data: &'a [f32],
    columns: usize,
    panel_stride: usize,
    column_stride: usize,
    /// Bits that they are rounded to.
    bits: ActivationBits,
    /// Empty where no matrix has quantised weights that are multiplied by chunks.
    rounded: Vec<Rounded>,
    /// Empty where no matrix has quantised weights that are multiplied by blocks.
    blocks: Vec<RoundedBlock>,
    /// The same by sixteen columns, where there are tiles and columns enough for them.
    tiled: Vec<Tiled>,
}

impl<'a> Input<'a> {
    fn new(
        data: &'a [f32],
        columns: usize,
        (panel_stride, column_stride): (usize, usize),
        bits: ActivationBits,
        matrices: &[&Matrix<'_>],
    ) -> Self {
        let mut input = Self {
            data,
            columns,
            panel_stride,
            column_stride,
            bits,
            rounded: Vec::new(),
            blocks: Vec::new(),
            tiled: Vec::new(),
        };
        // For one column as for many: a request's bits must not hang on what runs beside it.
        let [mut by_block, mut by_chunk] = [false; 2];
        for matrix in matrices.iter().filter(|matrix| matrix.encoding().is_quantised()) {
            let is_by_block = input.goes_by_blocks(matrix.encoding());
            by_block |= is_by_block;
            by_chunk |= !is_by_block;
        }
        if by_chunk {
            input.rounded = input.round::<Rounded>(CHUNK);
        }
        if by_block {
            input.blocks = input.round::<RoundedBlock>(BLOCK);
            if has_tiles() && columns >= FEWEST_FOR_TILES {
                input.tiled = tiled(&input.blocks, columns);
            }
        }
        input
    }

    /// Columns that lie one after another, each `stride` long: a multiple of 64, zero where the
    /// features end.
    pub fn rows(data: &'a [f32], stride: usize, matrices: &[&Matrix<'_>]) -> Self {
        Self::rows_in_bits(data, stride, ActivationBits::default(), matrices)
    }

    /// The same, rounded to some bits for matrices of quantised weights.
    pub fn rows_in_bits(
        data: &'a [f32],
        stride: usize,
        bits: ActivationBits,
        matrices: &[&Matrix<'_>],
    ) -> Self {
        Self::new(data, data.len() / stride, (LANES, stride), bits, matrices)
    }

    /// Whether weights of an encoding meet activations that are rounded with one scale for a whole
    /// block of them.
    #[inline(always)]
    pub(crate) fn goes_by_blocks(&self, encoding: Encoding) -> bool {
        self.bits == ActivationBits::Twenty && encoding.block_len() == BLOCK
    }

    /// Rounds all activations by pieces of `size` features, the columns of a piece one after
    /// another.
    fn round<R: RoundedPiece>(&self, size: usize) -> Vec<R> {
        let features = self.data.len() / self.columns.max(1);
        let count = features.div_ceil(size) * self.columns;
        let mut rounded = vec![R::default(); count];
        // Half of what is worth sharing: the least that is shared has a piece for each of two
        // threads.
        let worth_sharing = WORTH_SHARING * CHUNK / size;
        let piece = if count < worth_sharing { count } else { worth_sharing / 2 };
        let round = |(index, out): (usize, &mut [R])| {
            run(Round { input: self, first: index * piece, out });
        };
        match count {
            _ if count < worth_sharing => round((0, &mut rounded)),
            _ => rounded.par_chunks_mut(piece).enumerate().for_each(round),
        }
        rounded
    }

    /// Bits that activations are rounded to for quantised weights.
    pub(crate) fn activation_bits(&self) -> ActivationBits {
        self.bits
    }

    /// Columns that it was made for.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The 32 features from `first`, a multiple of 32.
    #[inline(always)]
    pub(crate) fn chunk(&self, column: usize, first: usize) -> &'a [f32; CHUNK] {
        let start = first / LANES * self.panel_stride + column * self.column_stride + first % LANES;
        self.data[start..].first_chunk().expect("activations are padded to whole chunks")
    }

    /// The 16 features from `first`, a multiple of 16.
    #[inline(always)]
    pub(super) fn sixteen(&self, column: usize, first: usize) -> &'a [f32; 16] {
        let start = first / LANES * self.panel_stride + column * self.column_stride + first % LANES;
        self.data[start..].first_chunk().expect("activations are padded to whole panels")
    }

    /// The 32 features from `first` of every column in fixed point.
    ///
    /// # Panics
    /// When the input was made for plain floats alone.
    #[inline(always)]
    pub fn rounded(&self, first: usize) -> &[Rounded] {
        &self.rounded[first / CHUNK * self.columns..][..self.columns]
    }

    /// The 256 features from `first` of every column in fixed point.
    ///
    /// # Panics
    /// When the input was made for no matrix whose weights are multiplied by blocks.
    #[inline(always)]
    pub(crate) fn rounded_block(&self, first: usize) -> &[RoundedBlock] {
        &self.blocks[first / BLOCK * self.columns..][..self.columns]
    }

    /// The same by sixteen columns; nothing where there are no tiles, or too few columns.
    #[inline(always)]
    pub(crate) fn tiled_block(&self, first: usize) -> &[Tiled] {
        let groups = self.columns.div_ceil(TILED);
        self.tiled.get(first / BLOCK * groups..).map_or(&[], |of| &of[..groups.min(of.len())])
    }
}

/// Blocks of `columns` columns each as tiles read them, by sixteen.
fn tiled(blocks: &[RoundedBlock], columns: usize) -> Vec<Tiled> {
    let groups = columns.div_ceil(TILED);
    let of = |index: usize| {
        let block = &blocks[index / groups * columns..][..columns];
        let first = index % groups * TILED;
        run(Tile(&block[first..columns.min(first + TILED)]))
    };
    (0..blocks.len() / columns * groups).into_par_iter().with_min_len(16).map(of).collect()
}

/// Puts columns side by side.
struct Tile<'a>(&'a [RoundedBlock]);

impl Work for Tile<'_> {
    type Output = Tiled;

    #[inline(always)]
    fn with<P: Processor>(self, _: P) -> Tiled {
        Tiled::new(self.0)
    }
}

/// Activations that are rounded together.
trait RoundedPiece: Default + Clone + Send {
    /// Rounds those of piece `index`.
    fn round(&mut self, input: &Input<'_>, index: usize);
}

impl RoundedPiece for Rounded {
    #[inline(always)]
    fn round(&mut self, input: &Input<'_>, index: usize) {
        let x = input.chunk(index % input.columns, index / input.columns * CHUNK);
        *self = match input.bits {
            ActivationBits::Eight => Self::new::<1>(x),
            ActivationBits::Sixteen => Self::new::<2>(x),
            ActivationBits::Twenty => Self::new::<3>(x),
        };
    }
}

impl RoundedPiece for RoundedBlock {
    #[inline(always)]
    fn round(&mut self, input: &Input<'_>, index: usize) {
        let (column, first) = (index % input.columns, index / input.columns * BLOCK);
        let x: [_; CHUNKS] =
            std::array::from_fn(|chunk| input.chunk(column, first + chunk * CHUNK));
        self.round(x);
    }
}

/// Rounds pieces from the `first`.
struct Round<'a, R> {
    input: &'a Input<'a>,
    first: usize,
    out: &'a mut [R],
}

impl<R: RoundedPiece> Work for Round<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        for (index, out) in (self.first..).zip(self.out) {
            RoundedPiece::round(out, self.input, index);
        }
    }
}
