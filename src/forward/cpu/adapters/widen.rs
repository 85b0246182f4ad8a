//! `B h`, added to the sums of a row group.

use pulp::Simd;

use crate::forward::cpu::lanes::LANES;
use crate::forward::cpu::processor::{Processor, Work, run};

/// Columns whose sums are held in registers together, two vectors of each.
const COLUMNS: usize = 4;

/// B as this product reads it: `[row group][rank][64]`.
#[derive(Debug, Default)]
pub(crate) struct WidenLayout {
    numbers: Vec<f32>,
    rank: usize,
}

impl WidenLayout {
    /// From numbers in any order: `at` gives that of a row and a rank.
    pub fn new(rows: usize, rank: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut numbers = vec![0.0; rows.next_multiple_of(LANES) * rank];
        for row in 0..rows {
            for of in 0..rank {
                numbers[(row / LANES * rank + of) * LANES + row % LANES] = at(row, of);
            }
        }
        Self { numbers, rank }
    }

    /// The rank; 0 where there is nothing to add.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Numbers, with those that are padding.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Adds B times `h` of some columns to their sums of a row group. `h` lies `ranks` apart for
    /// each of these columns, the sums are `[column][64]` of all.
    pub fn add(
        &self,
        group: usize,
        (narrow, ranks): (&[f32], usize),
        columns: &[usize],
        out: &mut [f32],
    ) {
        let len = self.rank * LANES;
        let b = self.numbers[group * len..][..len].as_chunks::<LANES>().0;
        run(Widen { b, narrow, ranks, columns, out: out.as_chunks_mut::<LANES>().0 });
    }
}

struct Widen<'a> {
    /// `[rank][64]`.
    b: &'a [[f32; LANES]],
    narrow: &'a [f32],
    ranks: usize,
    columns: &'a [usize],
    out: &'a mut [[f32; LANES]],
}

impl Work for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { b, narrow, ranks, columns, out } = self;
        let (blocks, rest) = columns.as_chunks::<COLUMNS>();
        let mut h = narrow.chunks(ranks);
        let mut take = |_| &h.next().expect("there is an h for every column")[..b.len()];
        let vectors = processor.vectors();
        for columns in blocks {
            widen_columns(vectors, b, &columns.map(&mut take), columns, out);
        }
        for column in rest {
            widen_columns(vectors, b, &[take(0)], &[*column], out);
        }
    }
}

#[inline(always)]
fn widen_columns<S: Simd, const C: usize>(
    simd: S,
    b: &[[f32; LANES]],
    h: &[&[f32]; C],
    columns: &[usize; C],
    out: &mut [[f32; LANES]],
) {
    for pair in 0..LANES / (2 * S::F32_LANES) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; C];
        for (sums, &column) in sums.iter_mut().zip(columns) {
            let vectors = S::as_simd_f32s(&out[column]).0;
            *sums = [vectors[2 * pair], vectors[2 * pair + 1]];
        }
        for (rank, rows) in b.iter().enumerate() {
            let vectors = S::as_simd_f32s(rows).0;
            let (low, high) = (vectors[2 * pair], vectors[2 * pair + 1]);
            for (sums, h) in sums.iter_mut().zip(h) {
                let h = simd.splat_f32s(h[rank]);
                sums[0] = simd.mul_add_e_f32s(low, h, sums[0]);
                sums[1] = simd.mul_add_e_f32s(high, h, sums[1]);
            }
        }
        for (sums, &column) in sums.iter().zip(columns) {
            let vectors = S::as_mut_simd_f32s(&mut out[column]).0;
            (vectors[2 * pair], vectors[2 * pair + 1]) = (sums[0], sums[1]);
        }
    }
}
