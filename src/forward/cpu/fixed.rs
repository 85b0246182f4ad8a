//! Activations in fixed point: what lets a single column be bound by memory, and what makes the
//! sums of a column the same whatever is computed beside it.
//!
//! An activation is rounded to 20 bits with one scale per 32 of them, which moves a sum by less
//! than its own rounding in `f32`. From there to the block's sum everything is exact integers, so
//! neither the processor's vectors nor the number of columns that are computed together can change
//! a bit. The 20 bits are three digits of 7 bits, each of which goes through the instruction for
//! products of bytes.

use super::unpack::CHUNK;

/// The largest rounded activation. With bytes of 8 bits, 32 products fit 32 bits.
const LARGEST: f32 = ((1 << 19) - 1) as f32;

/// Bits of a digit.
pub(crate) const DIGIT_BITS: u32 = 7;
/// Half of a digit's range, which is signed.
const HALF_DIGIT: u32 = 1 << (DIGIT_BITS - 1);

/// 32 activations of one column in fixed point, where no digit crosses a line of the cache.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
pub struct Rounded {
    /// Each digit of all activations, the lowest first: signed bytes, four to a word of weights.
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
    /// Rounds 32 activations.
    #[inline(always)]
    pub fn new(x: &[f32; CHUNK]) -> Self {
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
        let largest =
            max_abs.iter().fold(0f32, |most, &size| if size > most { size } else { most });
        let scale = largest / LARGEST;
        // Of zeros or subnormals nothing is left; their products are zero either way.
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        let mut integers = [0i32; CHUNK];
        for (integer, x) in integers.iter_mut().zip(x) {
            *integer = to_integer(x * inverse);
        }
        // With half a digit added to each, digits are bits; then the half is taken away.
        const HALVES: u32 = HALF_DIGIT * (1 + (1 << DIGIT_BITS) + (1 << (2 * DIGIT_BITS)));
        let raised = integers.map(|x| (x as u32).wrapping_add(HALVES));
        let digits = std::array::from_fn(|digit| {
            let byte = |x: u32| {
                (x >> (DIGIT_BITS * digit as u32) & (2 * HALF_DIGIT - 1)).wrapping_sub(HALF_DIGIT)
            };
            std::array::from_fn(|four| bytes(std::array::from_fn(|at| byte(raised[four * 4 + at]))))
        });
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
        let sum = sums[0] + sums[1];
        // Integers cannot carry a NaN: the scale does, and so makes every sum of the block one.
        let total = totals[0] + totals[1];
        Self { digits, scale: scale + nothing.iter().sum::<f32>(), sums, sum, total }
    }

    /// Sum of the rounded activations that meet part `part` of a chunk, in parts of `WORDS` words.
    #[inline(always)]
    pub(crate) fn sum_of<const WORDS: usize>(&self, part: usize) -> f32 {
        if WORDS < CHUNK / 4 { self.sums[part] } else { self.sum }
    }

    /// The rounded activations that meet word `index` of weights.
    #[inline(always)]
    pub(crate) fn four(&self, index: usize) -> [i32; 4] {
        let digits = self.digits.map(|digits| digits[index].to_le_bytes());
        std::array::from_fn(|at| {
            let digit =
                |digit: usize| i32::from(digits[digit][at] as i8) << (DIGIT_BITS * digit as u32);
            digit(0) + digit(1) + digit(2)
        })
    }
}

/// The low bytes of four numbers in a word.
#[inline(always)]
fn bytes(x: [u32; 4]) -> u32 {
    x[0] & 0xff | (x[1] & 0xff) << 8 | (x[2] & 0xff) << 16 | x[3] << 24
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

    #[test]
    fn rounding_keeps_every_activation_within_half_a_step() {
        for size in [1e-20f32, 0.37, 1e30] {
            let x: [f32; CHUNK] = std::array::from_fn(|i| (i as f32 - 11.0) * size);
            let rounded = Rounded::new(&x);
            assert!(rounded.scale * LARGEST <= x[31] * 1.000_001);
            for (at, x) in x.iter().enumerate() {
                let error = f64::from(rounded.four(at / 4)[at % 4]) * f64::from(rounded.scale)
                    - f64::from(*x);
                assert!(error.abs() <= f64::from(rounded.scale) * 0.6, "{x}: {error}");
            }
            let total = (0..CHUNK / 4).flat_map(|four| rounded.four(four)).sum::<i32>();
            assert_eq!(rounded.total, total);
        }
        let nothing = Rounded::new(&[0.0; CHUNK]);
        assert_eq!((nothing.scale, nothing.sums, nothing.digits), (0.0, [0.0; 2], [[0; 8]; 3]));
    }

    #[test]
    fn what_is_not_a_number_is_not_passed_over() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5; CHUNK];
            x[17] = bad;
            assert!(Rounded::new(&x).scale.is_nan(), "{bad}");
        }
    }
}
