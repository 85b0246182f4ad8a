//! Activations in fixed point: what lets a single column be bound by memory, and what makes the
//! sums of a column the same whatever is computed beside it.
//!
//! An activation is rounded to 20 bits with one scale per 32 of them, which moves a sum by less
//! than its own rounding in `f32`. From there to the block's sum everything is exact integers, so
//! neither the processor's vectors nor the number of columns that are computed together can change
//! a bit. The 20 bits are three digits of 7 bits, each of which goes through the instruction for
//! products of bytes. Who asks for fewer bits gets fewer digits: two of 8 bits, or one.
//!
//! Weights whose scales have a scale themselves are multiplied with the inner ones as integers, so
//! that a sum stays exact over their whole block: 256 activations have one scale then, and 21 bits.

use super::unpack::{BLOCK, CHUNK, CHUNKS};

/// Bits that activations are rounded to before they are multiplied with quantised weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ActivationBits {
    /// One digit: a third of the products.
    Eight,
    /// Two digits.
    Sixteen,
    /// Three digits: what keeps the budget of a whole pass.
    #[default]
    Twenty,
}

impl ActivationBits {
    /// The number.
    pub fn count(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
            Self::Twenty => 20,
        }
    }
}

/// Bits of a digit, where there are so many.
#[inline(always)]
pub(crate) const fn digit_bits(digits: usize) -> u32 {
    if digits == 3 { 7 } else { 8 }
}

/// The largest rounded activation in so many digits. With bytes of 8 bits, 32 products fit 32 bits.
const fn largest(digits: usize) -> i32 {
    match digits {
        1 => 127,
        2 => 127 * 257,
        _ => (1 << 19) - 1,
    }
}

/// 32 activations of one column in fixed point, where no digit crosses a line of the cache.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
pub struct Rounded {
    /// Each digit of all activations, the lowest first: signed bytes, four to a word of weights.
    /// Digits that there are not are zero.
    pub digits: [[u32; CHUNK / 4]; 3],
    /// What the integers are multiplied with. Not a number where one of the activations is none, or
    /// infinite.
    pub scale: f32,
    /// Sum of the rounded activations of each half.
    pub sums: [f32; 2],
    /// Their sum.
    pub sum: f32,
    /// Sum of the integers.
    pub total: i32,
}

impl Rounded {
    /// Rounds 32 activations to `DIGITS` digits.
    #[inline(always)]
    pub fn new<const DIGITS: usize>(x: &[f32; CHUNK]) -> Self {
        let (most, nothing) = size(x);
        let scale = most / largest(DIGITS) as f32;
        // Of zeros or subnormals nothing is left; their products are zero either way.
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        let mut integers = [0i32; CHUNK];
        for (integer, x) in integers.iter_mut().zip(x) {
            *integer = to_integer(x * inverse);
        }
        let bits = digit_bits(DIGITS);
        let half = 1 << (bits - 1);
        // With half a digit added to each, digits are bits; then the half is taken away.
        let halves = (0..DIGITS as u32).map(|digit| half << (bits * digit)).sum::<i32>();
        let mut digits = [[0; CHUNK / 4]; 3];
        for (digit, words) in digits.iter_mut().enumerate().take(DIGITS) {
            let shift = bits * digit as u32;
            *words = words_of(&integers, |x| ((x + halves) >> shift & (2 * half - 1)) - half);
        }
        let (halves, _) = integers.as_chunks::<{ CHUNK / 2 }>();
        let mut totals = [0; 2];
        for (total, half) in totals.iter_mut().zip(halves) {
            // A loop of its own: the iterator's sum is a function apart.
            for integer in half {
                *total += integer;
            }
        }
        // Of the rounded activations, as products are; under 2^23, which `f32` has exactly.
        let sums = totals.map(|total| total as f32 * scale);
        let (sum, total) = (sums[0] + sums[1], totals[0] + totals[1]);
        // Integers cannot carry a NaN: the scale does, and so makes every sum of the block one.
        Self { digits, scale: scale + nothing, sums, sum, total }
    }

    /// Sum of the rounded activations that meet part `part` of a chunk, in parts of `WORDS` words.
    #[inline(always)]
    pub(crate) fn sum_of<const WORDS: usize>(&self, part: usize) -> f32 {
        if WORDS < CHUNK / 4 { self.sums[part] } else { self.sum }
    }

    /// The rounded activations of `DIGITS` digits that meet word `index` of weights.
    #[inline(always)]
    pub(crate) fn four<const DIGITS: usize>(&self, index: usize) -> [i32; 4] {
        let mut integers = [0; 4];
        for (digit, digits) in self.digits.iter().enumerate().take(DIGITS) {
            let shift = digit_bits(DIGITS) * digit as u32;
            for (integer, byte) in integers.iter_mut().zip(digits[index].to_le_bytes()) {
                *integer += i32::from(byte as i8) << shift;
            }
        }
        integers
    }
}

/// Digits of activations of a whole block.
pub(crate) const DIGITS: usize = 3;
/// Activations that a scale of a block's weights may be for alone.
const SIXTEEN: usize = 16;
/// What is added to a digit of 7 bits so that it is none below zero: digits are from -63 to 64.
const LOWEST: i32 = 63;

/// 256 activations of one column in fixed point with one scale, for blocks of weights that have
/// one too: 21 bits.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct RoundedBlock {
    /// Each digit of all activations, the lowest first: signed bytes of 7 bits, four to a word.
    pub digits: [[u32; BLOCK / 4]; DIGITS],
    /// Per digit, the sum of each sixteen.
    pub digit_sums: [[i16; BLOCK / SIXTEEN]; DIGITS],
    /// What the integers are multiplied with. Not a number where one of the activations is none, or
    /// infinite.
    pub scale: f32,
    /// Sum of the rounded activations of each chunk.
    pub sums: [f32; CHUNKS],
}

impl Default for RoundedBlock {
    fn default() -> Self {
        Self {
            digits: [[0; BLOCK / 4]; DIGITS],
            digit_sums: [[0; BLOCK / SIXTEEN]; DIGITS],
            scale: 0.0,
            sums: [0.0; CHUNKS],
        }
    }
}

impl RoundedBlock {
    /// Rounds the activations of a block's chunks.
    #[inline(always)]
    pub fn round(&mut self, x: [&[f32; CHUNK]; CHUNKS]) {
        let (mut most, mut nothing) = ([0f32; SIXTEEN], [0f32; SIXTEEN]);
        for x in x {
            for x in x.as_chunks::<SIXTEEN>().0 {
                for lane in 0..SIXTEEN {
                    let size = x[lane].abs();
                    most[lane] = if size > most[lane] { size } else { most[lane] };
                    // Zero, or not a number.
                    nothing[lane] += x[lane] * 0.0;
                }
            }
        }
        let most = most.iter().fold(0f32, |most, &size| if size > most { size } else { most });
        let lowest = (0..DIGITS as u32).map(|at| LOWEST << (digit_bits(DIGITS) * at)).sum::<i32>();
        let scale = most / lowest as f32;
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        for (chunk, x) in x.into_iter().enumerate() {
            let mut integers = [0i32; CHUNK];
            for lane in 0..CHUNK {
                integers[lane] = to_integer(x[lane] * inverse);
            }
            let mut total = 0;
            for integer in integers {
                total += integer;
            }
            self.sums[chunk] = total as f32 * scale;
            for digit in 0..DIGITS {
                self.set_digits(chunk, digit, &integers.map(|integer| integer + lowest));
            }
        }
        self.scale = scale + nothing.iter().sum::<f32>();
    }

    /// Takes a digit of a chunk's activations, to which the least of all digits was added.
    #[inline(always)]
    fn set_digits(&mut self, chunk: usize, digit: usize, integers: &[i32; CHUNK]) {
        let shift = digit_bits(DIGITS) * digit as u32;
        let mut bytes = [0u8; CHUNK];
        for lane in 0..CHUNK {
            bytes[lane] = (integers[lane] >> shift) as u8 & (2 * LOWEST + 1) as u8;
        }
        let mut signed = [0u8; CHUNK];
        for lane in 0..CHUNK {
            signed[lane] = bytes[lane].wrapping_sub(LOWEST as u8);
        }
        let words = &mut self.digits[digit][chunk * CHUNK / 4..][..CHUNK / 4];
        for (word, bytes) in words.iter_mut().zip(signed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        for (half, bytes) in bytes.as_chunks::<SIXTEEN>().0.iter().enumerate() {
            // Eight bytes at a time: two of them fit a byte, and so on.
            let [a, b] = [0, 1].map(|at| u64::from_le_bytes(bytes.as_chunks::<8>().0[at]));
            const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
            let twos = a + b;
            let fours = (twos & EVEN) + (twos >> 8 & EVEN);
            let sum = (fours.wrapping_mul(0x0001_0001_0001_0001) >> 48) as i16;
            self.digit_sums[digit][chunk * CHUNK / SIXTEEN + half] =
                sum - (LOWEST * SIXTEEN as i32) as i16;
        }
    }
}

/// Columns of a [`Tiled`].
pub(crate) const TILED: usize = 16;

/// The digits of a block of up to 16 columns as tiles read them: of each 64 activations the digits,
/// of each the columns. Where the lines of a tile lie apart, it takes a third longer to read.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Tiled(pub [[[[u32; 16]; TILED]; DIGITS]; BLOCK / 64]);

impl Tiled {
    /// Puts columns side by side.
    #[inline(always)]
    pub fn new(columns: &[RoundedBlock]) -> Self {
        let mut tiled = Self([[[[0; 16]; TILED]; DIGITS]; BLOCK / 64]);
        for (index, column) in columns.iter().enumerate() {
            for (digit, words) in column.digits.iter().enumerate() {
                for (step, words) in words.as_chunks::<16>().0.iter().enumerate() {
                    tiled.0[step][digit][index] = *words;
                }
            }
        }
        tiled
    }
}

/// The largest of some activations, and zero, or not a number where one of them is none or
/// infinite.
#[inline(always)]
fn size(x: &[f32; CHUNK]) -> (f32, f32) {
    let mut max_abs = [0f32; 8];
    let mut nothing = [0f32; 8];
    for x in x.as_chunks::<8>().0 {
        for lane in 0..8 {
            let size = x[lane].abs();
            // One vector instruction; `f32::max` would look for NaN besides.
            max_abs[lane] = if size > max_abs[lane] { size } else { max_abs[lane] };
            // Zero, or not a number.
            nothing[lane] += x[lane] * 0.0;
        }
    }
    let most = max_abs.iter().fold(0f32, |most, &size| if size > most { size } else { most });
    (most, nothing.iter().sum())
}

/// A byte of each integer, four to a word.
#[inline(always)]
fn words_of(integers: &[i32; CHUNK], byte: impl Fn(i32) -> i32) -> [u32; CHUNK / 4] {
    let mut bytes = [0; CHUNK];
    for (to, &integer) in bytes.iter_mut().zip(integers) {
        *to = byte(integer) as u8;
    }
    let (fours, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|word| u32::from_le_bytes(fours[word]))
}

/// The nearest integer to a number of at most 2^20; any such integer to what is not a number.
#[inline(always)]
fn to_integer(x: f32) -> i32 {
    // Added to 1.5 * 2^23, a number is rounded to an integer, which is then in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() << 11) as i32 >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_activations<const DIGITS: usize>() {
        for size in [1e-20f32, 0.37, 1e30] {
            let x: [f32; CHUNK] = std::array::from_fn(|i| (i as f32 - 11.0) * size);
            let rounded = Rounded::new::<DIGITS>(&x);
            assert!(rounded.scale * largest(DIGITS) as f32 <= x[31] * 1.000_001);
            for (at, x) in x.iter().enumerate() {
                let error = f64::from(rounded.four::<DIGITS>(at / 4)[at % 4])
                    * f64::from(rounded.scale)
                    - f64::from(*x);
                assert!(error.abs() <= f64::from(rounded.scale) * 0.6, "{x}: {error}");
            }
            let total = (0..CHUNK / 4).flat_map(|four| rounded.four::<DIGITS>(four)).sum::<i32>();
            assert_eq!(rounded.total, total);
        }
        let nothing = Rounded::new::<DIGITS>(&[0.0; CHUNK]);
        assert_eq!((nothing.scale, nothing.sums, nothing.digits), (0.0, [0.0; 2], [[0; 8]; 3]));
    }

    #[test]
    fn rounding_keeps_every_activation_within_half_a_step() {
        keeps_activations::<1>();
        keeps_activations::<2>();
        keeps_activations::<3>();
    }

    #[test]
    fn rounding_a_block_keeps_every_activation_within_half_a_step() {
        for size in [1e-20f32, 0.37, 1e30] {
            let x: [f32; BLOCK] = std::array::from_fn(|i| (i as f32 - 100.0) * size);
            let mut rounded = RoundedBlock::default();
            let (chunks, _) = x.as_chunks();
            rounded.round(std::array::from_fn(|chunk| &chunks[chunk]));
            let mut sums = [0; BLOCK / SIXTEEN];
            for (at, x) in x.iter().enumerate() {
                let digit = |digit: usize| {
                    i64::from(rounded.digits[digit][at / 4].to_le_bytes()[at % 4] as i8)
                };
                let integer = digit(0) + (digit(1) << 7) + (digit(2) << 14);
                sums[at / SIXTEEN] += digit(1);
                let error = integer as f64 * f64::from(rounded.scale) - f64::from(*x);
                assert!(error.abs() <= f64::from(rounded.scale) * 0.7, "{x}: {error}");
            }
            assert!(rounded.scale * 1_040_319.0 <= x[BLOCK - 1] * 1.000_001);
            assert_eq!(rounded.digit_sums[1].map(i64::from), sums);
        }
        let mut x = [[0.5; CHUNK]; CHUNKS];
        x[5][17] = f32::NAN;
        let mut rounded = RoundedBlock::default();
        rounded.round(x.each_ref());
        assert!(rounded.scale.is_nan());
        rounded.round([&[0.0; CHUNK]; CHUNKS]);
        assert_eq!((rounded.scale, rounded.sums, rounded.digits[2]), (0.0, [0.0; 8], [0; 64]));
    }

    #[test]
    fn what_is_not_a_number_is_not_passed_over() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5; CHUNK];
            x[17] = bad;
            assert!(Rounded::new::<3>(&x).scale.is_nan(), "{bad}");
            assert!(Rounded::new::<1>(&x).scale.is_nan(), "{bad}");
        }
    }
}
