//! A row group of a matrix times every column: the one place where weights meet activations.
//!
//! In: a matrix in its tiles and the columns' activations. Out: 64 sums per column. Bytes are read
//! once, in the order of the file, and a chunk of 64 rows by 32 columns is unpacked once for all
//! columns. Quantised weights stay integers, and the block's scale is applied to the exact sum of
//! the products; plain floats are multiplied as they are. Either way the additions to a column's
//! sum and their order are the same for one column as for many: what is computed beside a column
//! does not change a bit of it.

use std::cell::Cell;

use pulp::Simd;

use super::activations::Input;
use super::fixed::{ActivationBits, DIGITS, Rounded, RoundedBlock, digit_bits};
use super::lanes::{LANES, multiply_add};
use super::matrix::{Matrix, Segment};
use super::processor::{Processor, Scaled, ScaledFives, ScaledNibbles, ScaledSixes, Work, run};
use super::unpack::{
    BLOCK, CHUNK, CHUNKS, Quants, Values, is_signed, plain, quants, scales_differ,
};
use crate::model::Encoding;

/// Columns of floats whose sums are held in registers together: with two vectors of rows each,
/// twelve of the sixteen registers of AVX2.
const TOGETHER: usize = 6;

/// Writes row group `group` of `matrix * input` to `out`: 64 sums per column, the rows past the
/// matrix zero.
pub(crate) fn multiply_row_group(
    matrix: &Matrix<'_>,
    group: usize,
    input: &Input<'_>,
    out: &mut [f32],
) {
    run(Multiply { matrix, group, input, out });
}

thread_local! {
    /// Room for what is unpacked: to clear 24 KiB took as long as a tenth of a row group.
    static QUANTS: Cell<Option<Box<Quants>>> = const { Cell::new(None) };
}

struct Multiply<'a> {
    matrix: &'a Matrix<'a>,
    group: usize,
    input: &'a Input<'a>,
    out: &'a mut [f32],
}

impl Work for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { matrix, group, input, out } = self;
        let (out, _) = out.as_chunks_mut::<LANES>();
        out.as_flattened_mut().fill(0.0);
        let encoding = matrix.encoding();
        if encoding.is_quantised() {
            let mut packed = QUANTS.take().unwrap_or_default();
            for segment in matrix.segments(group) {
                let to = (&mut *packed, &mut *out);
                if input.goes_by_blocks(encoding) {
                    let segment = (encoding, &segment);
                    match encoding {
                        Encoding::Q4_K => blocks::<P, ScaledNibbles>(processor, segment, input, to),
                        Encoding::Q5_K => blocks::<P, ScaledFives>(processor, segment, input, to),
                        _ => blocks::<P, ScaledSixes>(processor, segment, input, to),
                    }
                    continue;
                }
                match (is_signed(encoding), scales_differ(encoding)) {
                    (true, _) => {
                        quants_of_segment::<P, true, 8>(processor, encoding, &segment, input, to)
                    }
                    (false, false) => {
                        quants_of_segment::<P, false, 8>(processor, encoding, &segment, input, to)
                    }
                    (false, true) => {
                        quants_of_segment::<P, false, 4>(processor, encoding, &segment, input, to)
                    }
                }
            }
            QUANTS.set(Some(packed));
        } else {
            let mut unpacked = Values::default();
            for segment in matrix.segments(group) {
                for chunk in 0..segment.chunks {
                    let first = segment.first_column + chunk * CHUNK;
                    plain(processor, encoding, &segment.planes, chunk, &mut unpacked);
                    multiply_values(processor.vectors(), &unpacked, input, first, out);
                }
            }
        }
        for sums in out {
            let by_lane = *sums;
            *sums = std::array::from_fn(|row| by_lane[P::lane(row)]);
        }
    }
}

/// Adds a segment times every column to the sums; `WORDS` words of a row, all or half of a chunk's,
/// share a scale.
#[inline(always)]
fn quants_of_segment<P: Processor, const SIGNED: bool, const WORDS: usize>(
    processor: P,
    encoding: Encoding,
    segment: &Segment<'_>,
    input: &Input<'_>,
    (packed, out): (&mut Quants, &mut [[f32; LANES]]),
) {
    for block in 0..segment.chunks.div_ceil(CHUNKS) {
        let chunks = CHUNKS.min(segment.chunks - block * CHUNKS);
        quants(processor, encoding, &segment.planes, (block, chunks), packed);
        let first = segment.first_column + block * CHUNKS * CHUNK;
        let mut x: [&[Rounded]; CHUNKS] = [&[]; CHUNKS];
        let x = &mut x[..chunks];
        for (chunk, x) in x.iter_mut().enumerate() {
            *x = input.rounded(first + chunk * CHUNK);
        }
        match input.activation_bits() {
            ActivationBits::Eight => add_block::<P, SIGNED, WORDS, 1>(processor, packed, x, out),
            ActivationBits::Sixteen => add_block::<P, SIGNED, WORDS, 2>(processor, packed, x, out),
            ActivationBits::Twenty => add_block::<P, SIGNED, WORDS, 3>(processor, packed, x, out),
        }
    }
}

/// Adds a segment of an encoding with scales of scales times every column to the sums.
#[inline(always)]
fn blocks<P: Processor, K: Scaled>(
    processor: P,
    (encoding, segment): (Encoding, &Segment<'_>),
    input: &Input<'_>,
    (packed, out): (&mut Quants, &mut [[f32; LANES]]),
) {
    for block in 0..segment.chunks / CHUNKS {
        quants(processor, encoding, &segment.planes, (block, CHUNKS), packed);
        let first = segment.first_column + block * BLOCK;
        let (x, tiled) = (input.rounded_block(first), input.tiled_block(first));
        let done = processor.add_block_columns::<K>(packed, (x, tiled), out);
        for (x, sums) in x.iter().zip(out.iter_mut()).skip(done) {
            let mut held = Sums(*sums);
            let mut products = [[0; LANES]; DIGITS];
            processor.block_products::<K>(packed, x, &mut products);
            add_products::<P, K>(packed, x, &products, &mut held.0);
            *sums = held.0;
        }
    }
}

/// Adds the products of a block with a column's digits to its sums.
#[inline(always)]
fn add_products<P: Processor, K: Scaled>(
    quants: &Quants,
    x: &RoundedBlock,
    [low, middle, high]: &[[i32; LANES]; DIGITS],
    sums: &mut [f32; LANES],
) {
    const DIGIT: f32 = (1 << digit_bits(DIGITS)) as f32;
    if K::ZERO == 0 {
        for (offset, total) in quants.offset.iter().zip(x.sums) {
            for lane in 0..LANES {
                sums[lane] = multiply_add::<P::Vectors>(offset[0][lane], total, sums[lane]);
            }
        }
    }
    for lane in 0..LANES {
        let sum = multiply_add::<P::Vectors>(middle[lane] as f32, DIGIT, low[lane] as f32);
        let sum = multiply_add::<P::Vectors>(high[lane] as f32, DIGIT * DIGIT, sum);
        sums[lane] = multiply_add::<P::Vectors>(quants.whole[lane] * x.scale, sum, sums[lane]);
    }
}

/// Adds the chunks of a block times every column to the sums.
#[inline(always)]
fn add_block<P: Processor, const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
    processor: P,
    quants: &Quants,
    x: &[&[Rounded]],
    out: &mut [[f32; LANES]],
) {
    let done = processor.add_columns::<SIGNED, WORDS, DIGITS>(quants, x, out);
    // Column by column, whose sums stay at hand over the chunks.
    for (column, sums) in out.iter_mut().enumerate().skip(done) {
        let mut held = Sums(*sums);
        for (chunk, x) in x.iter().enumerate() {
            let x = &x[column];
            add_chunk::<P, SIGNED, WORDS, DIGITS>(processor, quants, chunk, x, &mut held.0);
        }
        *sums = held.0;
    }
}

/// Sums where no vector of them crosses a line of the cache.
#[repr(align(64))]
struct Sums([f32; LANES]);

/// Adds a chunk times a column to its sums.
#[inline(always)]
fn add_chunk<P: Processor, const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
    processor: P,
    quants: &Quants,
    chunk: usize,
    x: &Rounded,
    sums: &mut [f32; LANES],
) {
    let (words, _) = quants.bytes[chunk].as_chunks::<WORDS>();
    for (part, words) in words.iter().enumerate() {
        let mut integers = [0; LANES];
        processor.products::<SIGNED, WORDS, DIGITS>(words, part, x, &mut integers);
        let (scale, offset) = (&quants.scale[chunk][part], &quants.offset[chunk][part]);
        let total = x.sum_of::<WORDS>(part);
        // The integers are exact, so this conversion is their only rounding. The offset goes first
        // for every column: another order would be other bits.
        for lane in 0..LANES {
            // Signed bytes have no offset.
            let sum = match SIGNED {
                true => sums[lane],
                false => multiply_add::<P::Vectors>(offset[lane], total, sums[lane]),
            };
            let scale = scale[lane] * x.scale;
            sums[lane] = multiply_add::<P::Vectors>(scale, integers[lane] as f32, sum);
        }
    }
}

/// Adds a chunk times every column to the sums.
#[inline(always)]
pub(crate) fn multiply_values<S: Simd>(
    simd: S,
    values: &Values,
    input: &Input<'_>,
    first: usize,
    out: &mut [[f32; LANES]],
) {
    let (blocks, rest) = out.as_chunks_mut::<TOGETHER>();
    let mut column = 0;
    for block in blocks {
        multiply_block(simd, values, input, first, column, block);
        column += TOGETHER;
    }
    let (pairs, rest) = rest.as_chunks_mut::<2>();
    for pair in pairs {
        multiply_block(simd, values, input, first, column, pair);
        column += 2;
    }
    for one in rest.as_chunks_mut::<1>().0 {
        multiply_block(simd, values, input, first, column, one);
    }
}

/// Adds a chunk times `COLUMNS` columns from `column` to their sums.
#[inline(always)]
fn multiply_block<S: Simd, const COLUMNS: usize>(
    simd: S,
    values: &Values,
    input: &Input<'_>,
    first: usize,
    column: usize,
    out: &mut [[f32; LANES]; COLUMNS],
) {
    let x: [&[f32; CHUNK]; COLUMNS] =
        std::array::from_fn(|index| input.chunk(column + index, first));
    let pairs = LANES / (2 * S::F32_LANES);
    for pair in 0..pairs {
        let mut sums = [[simd.splat_f32s(0.0); 2]; COLUMNS];
        for (sums, out) in sums.iter_mut().zip(out.iter()) {
            let vectors = S::as_simd_f32s(out).0;
            *sums = [vectors[2 * pair], vectors[2 * pair + 1]];
        }
        for (k, rows) in values.0.iter().enumerate() {
            let vectors = S::as_simd_f32s(rows).0;
            let (low, high) = (vectors[2 * pair], vectors[2 * pair + 1]);
            for index in 0..COLUMNS {
                let x = simd.splat_f32s(x[index][k]);
                sums[index][0] = simd.mul_add_e_f32s(low, x, sums[index][0]);
                sums[index][1] = simd.mul_add_e_f32s(high, x, sums[index][1]);
            }
        }
        for (sums, out) in sums.iter().zip(out.iter_mut()) {
            let vectors = S::as_mut_simd_f32s(out).0;
            (vectors[2 * pair], vectors[2 * pair + 1]) = (sums[0], sums[1]);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forward::params::MatrixParams;
    use crate::model::quant::dequantize;
    use crate::model::rearrange::scatter;
    use crate::model::tensors::{Tensor, lay_out};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(120))]
        /// One row may span several tiles, rows need not fill a group, columns need not fill a
        /// block: the sums are those of the reference decoder's weights in f64, within the rounding
        /// of a sum of that many products.
        #[test]
        fn products_are_those_of_the_decoded_weights(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            blocks in 1usize..9, rows in 1usize..150, wide: bool, count in 1usize..15, seed: u64,
        ) {
            let columns = match (encoding.block_len(), wide) {
                (1, false) => blocks * 13,
                (1, true) => 700 + blocks * 13,
                (32, true) => 1600 + blocks * 32,
                (len, _) => blocks * len,
            };
            let mut next = numbers(seed);
            let (data, bytes, tensors) = random(encoding, columns, rows, seed);
            let stride = columns.next_multiple_of(LANES);
            let mut x = vec![0.0; stride * count];
            for x in x.chunks_exact_mut(stride) {
                x[..columns].iter_mut().for_each(|x| *x = next() as f32 / (1 << 23) as f32 - 1.0);
            }
            let mut weights = vec![0.0; rows * columns];
            dequantize(encoding, &data, &mut weights);

            let params = MatrixParams::new(&tensors[0]).unwrap();
            let matrix = Matrix::new(&params, &bytes);
            for group in 0..matrix.row_groups() {
                let mut out = vec![f32::NAN; LANES * count];
                let input = Input::rows(&x, stride, &[&matrix]);
                multiply_row_group(&matrix, group, &input, &mut out);
                for (column, out) in out.chunks_exact(LANES).enumerate() {
                    for (lane, &found) in out.iter().enumerate() {
                        let row = group * LANES + lane;
                        let of_row = weights.chunks_exact(columns).nth(row).unwrap_or(&[]);
                        let (mut sum, mut size) = (0.0, 0.0);
                        for (&weight, &x) in of_row.iter().zip(&x[column * stride..]) {
                            let product = f64::from(weight) * f64::from(x);
                            sum += product;
                            size += product.abs();
                        }
                        let error = (f64::from(found) - sum).abs();
                        prop_assert!(
                            error <= size * 3e-6 + 1e-9,
                            "{encoding} {columns} row {row}: {found} for {sum}"
                        );
                    }
                }
            }
        }
    }

    /// Columns may be computed by sixteen: their sums are those of each alone, bit for bit.
    #[test]
    fn a_column_has_the_same_bits_among_many() {
        for (encoding, bits) in each_encoding_and_bits() {
            let (columns, rows, count) = (768, 100, 37);
            let (_, bytes, tensors) = random(encoding, columns, rows, 5);
            let params = MatrixParams::new(&tensors[0]).unwrap();
            let matrix = Matrix::new(&params, &bytes);
            let x: Vec<f32> =
                (0..columns * count).map(|at| (at * at % 1009) as f32 - 500.0).collect();
            for group in 0..matrix.row_groups() {
                let mut together = vec![0.0; LANES * count];
                let input = Input::rows_in_bits(&x, columns, bits, &[&matrix]);
                multiply_row_group(&matrix, group, &input, &mut together);
                for (x, together) in x.chunks_exact(columns).zip(together.chunks_exact(LANES)) {
                    let mut alone = [0.0; LANES];
                    let input = Input::rows_in_bits(x, columns, bits, &[&matrix]);
                    multiply_row_group(&matrix, group, &input, &mut alone);
                    let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                    assert!(alone.iter().zip(together).all(is_same), "{encoding}, {bits:?}");
                }
            }
        }
    }

    /// Fewer bits move a sum by what rounding each activation to them may move it.
    #[test]
    fn fewer_bits_are_within_their_rounding() {
        for (encoding, bits) in each_encoding_and_bits() {
            let (columns, rows) = (512, 64);
            let (data, bytes, tensors) = random(encoding, columns, rows, 11);
            let mut weights = vec![0.0; rows * columns];
            dequantize(encoding, &data, &mut weights);
            let x: Vec<f32> = (0..columns).map(|at| (at * at % 211) as f32 - 105.0).collect();
            let params = MatrixParams::new(&tensors[0]).unwrap();
            let matrix = Matrix::new(&params, &bytes);
            let mut out = [0.0; LANES];
            multiply_row_group(
                &matrix,
                0,
                &Input::rows_in_bits(&x, columns, bits, &[&matrix]),
                &mut out,
            );
            // Half a step of an activation is that of the largest of 32, at most 105.
            let step = 105.0 / (2f64.powi(bits.count() as i32) - 2.0);
            for (found, of_row) in out.iter().zip(weights.chunks_exact(columns)) {
                let (mut sum, mut most) = (0.0, 0.0);
                for (&weight, &x) in of_row.iter().zip(&x) {
                    sum += f64::from(weight) * f64::from(x);
                    most += f64::from(weight).abs() * (step * 1.01 + f64::from(x).abs() * 3e-6);
                }
                let error = (f64::from(*found) - sum).abs();
                assert!(error <= most, "{encoding}, {bits:?}: {found} for {sum}");
            }
        }
    }

    fn each_encoding_and_bits() -> impl Iterator<Item = (Encoding, ActivationBits)> {
        use ActivationBits::*;
        Encoding::ALL.into_iter().flat_map(|encoding| {
            [Eight, Sixteen, Twenty].into_iter().map(move |bits| (encoding, bits))
        })
    }

    /// Numbers of 24 bits.
    pub fn numbers(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed | 1;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 40
        }
    }

    /// A matrix of random weights: its bytes as a GGUF file has them, as tiles have them, and what
    /// it is.
    pub fn random(
        encoding: Encoding,
        columns: usize,
        rows: usize,
        seed: u64,
    ) -> (Vec<u8>, Vec<u8>, Vec<Tensor>) {
        let row_bytes = encoding.row_bytes(columns as u64).unwrap() as usize;
        let mut next = numbers(seed);
        let mut data: Vec<u8> = (0..row_bytes * rows).map(|_| next() as u8).collect();
        tame(encoding, &mut data);
        let shape = ("m".into(), vec![columns as u64, rows as u64], encoding);
        let tensors = lay_out(vec![shape]).unwrap();
        let tiling = tensors[0].tiling;
        let mut bytes = vec![0; (tiling.line_count() * 1024) as usize];
        for shape in tiling.tiles() {
            let rows = shape.rows.start as usize..shape.rows.end as usize;
            let band = &data[rows.start * row_bytes..rows.end * row_bytes];
            let lines = shape.lines.start as usize * 1024..shape.lines.end as usize * 1024;
            scatter(&tiling, &shape, band, &mut bytes[lines]);
        }
        (data, bytes, tensors)
    }

    /// Makes every scale a half between 2^-7 and 2^-3, positive or negative, so that no block
    /// drowns another.
    fn tame(encoding: Encoding, data: &mut [u8]) {
        for block in data.chunks_exact_mut(encoding.block_bytes()) {
            for high in encoding.half_floats().iter().map(|at| at + 1) {
                block[high] = block[high] & 0x8f | 0x20;
            }
            match encoding {
                Encoding::F32 => block[3] = block[3] & 0x80 | 0x3c,
                Encoding::BF16 => block[1] = block[1] & 0x80 | 0x3c,
                _ => {}
            }
        }
    }
}
