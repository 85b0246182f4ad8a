//! Products of quantised weights with activations in fixed point: what lets a single column be
//! bound by memory, and what makes the sums of a column the same whatever is computed beside it.
//!
//! An activation is rounded to 20 bits with one scale per 32 of them, which moves a sum by less
//! than its own rounding in `f32`. From there to the block's sum everything is exact integers, so
//! neither the processor's vectors nor the number of columns that are computed together can change
//! a bit. With bytes of at most 6 bits an activation is multiplied as three digits of 7 bits, in
//! the instruction for products of bytes, whose sums fit 16 bits. With signed bytes of 8 bits its
//! upper 16 bits go through the instruction for products of 16 bits, and its lower 4 through that
//! for bytes.

use super::lanes::{LANES, Words};
use super::unpack::CHUNK;

/// Bits of an activation that are multiplied as bytes: with them, 32 products with signed bytes fit
/// the 16 bits of their sum.
const LOW_BITS: u32 = 4;
/// The largest rounded activation. With bytes of 8 bits, 32 products fit 32 bits.
const LARGEST: f32 = ((1 << 19) - 1) as f32;

/// Bits of a digit.
const DIGIT_BITS: u32 = 7;
/// Half of a digit's range, which is signed.
const HALF_DIGIT: u32 = 1 << (DIGIT_BITS - 1);

/// Four activations, as they meet a word of four weights of a row. For signed weights: the upper 16
/// bits of the first and third, of the second and fourth, and the lower 4 of all, a byte each. For
/// others: the three digits of all, the lowest first, a byte each.
pub(crate) type Four = [u32; 3];

/// 32 activations of one column in fixed point.
#[derive(Debug, Clone, Default)]
pub struct Rounded {
    /// Four activations to a word of weights.
    pub fours: [Four; CHUNK / 4],
    /// What the integers are multiplied with. Not a number where one of the activations is none, or
    /// infinite.
    pub scale: f32,
    /// Sum of the rounded activations of each half.
    pub sums: [f32; 2],
}

impl Rounded {
    /// Rounds 32 activations, to be multiplied with signed bytes or with others.
    #[inline(always)]
    pub fn new<const SIGNED: bool>(x: &[f32; CHUNK]) -> Self {
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
        let fours = std::array::from_fn(|four| {
            let x = std::array::from_fn(|at| integers[four * 4 + at]);
            if SIGNED { parts(x) } else { digits(x) }
        });
        let (halves, _) = integers.as_chunks::<{ CHUNK / 2 }>();
        // Of the rounded activations, as products are; under 2^23, which `f32` has exactly.
        let sum = |half: usize| halves[half].iter().sum::<i32>() as f32 * scale;
        let sums = [sum(0), sum(1)];
        // Integers cannot carry a NaN: the scale does, and so makes every sum of the block one.
        Self { fours, scale: scale + nothing.iter().sum::<f32>(), sums }
    }
}

#[inline(always)]
fn parts(x: [i32; 4]) -> Four {
    let high = x.map(|x| (x >> LOW_BITS) as u32);
    let low = x.map(|x| x as u32 & ((1 << LOW_BITS) - 1));
    [high[0] & 0xffff | high[2] << 16, high[1] & 0xffff | high[3] << 16, bytes(low)]
}

#[inline(always)]
fn digits(x: [i32; 4]) -> Four {
    // With half a digit added to each, digits are bits; then the half is taken away.
    const HALVES: u32 = HALF_DIGIT * (1 + (1 << DIGIT_BITS) + (1 << (2 * DIGIT_BITS)));
    let raised = x.map(|x| (x as u32).wrapping_add(HALVES));
    std::array::from_fn(|digit| {
        let mask = 2 * HALF_DIGIT - 1;
        let digits = raised.map(|x| x >> (DIGIT_BITS * digit as u32) & mask);
        // Byte by byte: bit 6 is turned, and what was 0 there is negative.
        let turned = bytes(digits) ^ 0x4040_4040;
        turned | (turned & 0x4040_4040) << 1
    })
}

/// Four numbers below 256 in a word.
#[inline(always)]
fn bytes(x: [u32; 4]) -> u32 {
    x[0] | x[1] << 8 | x[2] << 16 | x[3] << 24
}

/// The four activations that were rounded.
#[inline(always)]
fn joined<const SIGNED: bool>([first, second, third]: Four) -> [i32; 4] {
    if SIGNED {
        let high = [first as i16, second as i16, (first >> 16) as i16, (second >> 16) as i16];
        let low = third.to_le_bytes();
        std::array::from_fn(|at| (i32::from(high[at]) << LOW_BITS) + i32::from(low[at]))
    } else {
        let digits = [first, second, third].map(u32::to_le_bytes);
        let digit = |digit: usize, at: usize| i32::from(digits[digit][at] as i8);
        std::array::from_fn(|at| {
            digit(0, at) + (digit(1, at) << DIGIT_BITS) + (digit(2, at) << (2 * DIGIT_BITS))
        })
    }
}

/// The nearest integer to a number of at most 2^20; any such integer to what is not a number.
#[inline(always)]
fn to_integer(x: f32) -> i32 {
    // Added to 1.5 * 2^23, a number is rounded to an integer, which is then in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() << 11) as i32 >> 11
}

/// A processor's way to multiply bytes with activations.
pub(crate) trait Products: Copy {
    /// Per column and row, the exact sum of `4 * WORDS` bytes times as many activations. Bytes that
    /// are not signed are below 64, or below 32 where there are eight words of them.
    fn products<const SIGNED: bool, const WORDS: usize, const COLUMNS: usize>(
        self,
        words: &[Words; WORDS],
        x: [&[Four; WORDS]; COLUMNS],
        out: &mut [[i32; LANES]; COLUMNS],
    );
}

/// Plain integers, for a processor with neither AVX2 nor AVX-512.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Products for Portable {
    #[inline(always)]
    fn products<const SIGNED: bool, const WORDS: usize, const COLUMNS: usize>(
        self,
        words: &[Words; WORDS],
        x: [&[Four; WORDS]; COLUMNS],
        out: &mut [[i32; LANES]; COLUMNS],
    ) {
        for (x, out) in x.iter().zip(out) {
            out.fill(0);
            for (word, four) in words.iter().zip(*x) {
                let x = joined::<SIGNED>(*four);
                for (out, word) in out.iter_mut().zip(word) {
                    let bytes = word
                        .to_le_bytes()
                        .map(|byte| if SIGNED { i32::from(byte as i8) } else { i32::from(byte) });
                    *out += bytes[0] * x[0] + bytes[1] * x[1] + bytes[2] * x[2] + bytes[3] * x[3];
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::{V3, V4};
    use pulp::{Simd, cast};

    use super::{DIGIT_BITS, Four, LANES, Products, Words};

    /// What the two widths of vectors have in common. Vectors are those of 32-bit words, whatever
    /// lies in them.
    trait Integers: Simd {
        /// Of every word the first and third signed byte, and the second and fourth, in 16 bits
        /// each.
        fn bytes(self, words: Self::u32s) -> [Self::u32s; 2];
        /// Sums of two products of signed 16 bits.
        fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// In each 16 bits, the sum of two products of an unsigned with a signed byte.
        fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s;
        /// Sums of 32 bits.
        fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// Sums of 16 bits.
        fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// The 32 bits moved up by the low bits of an activation, or by a digit.
        fn raise<const DIGIT: bool>(self, a: Self::u32s) -> Self::u32s;
    }

    /// The same instructions on vectors of another width: those of 16 bits are in `$short`, those
    /// of 32 bits in `$long`.
    macro_rules! integers {
        (
            $vectors:ty, $short:ident, $long:ident, $shift_right:ident, $shift_left:ident,
            $pairs:ident, $byte_pairs:ident, $add_short:ident, $add:ident, $raise:ident
        ) => {
            impl Integers for $vectors {
                #[inline(always)]
                fn bytes(self, words: Self::u32s) -> [Self::u32s; 2] {
                    let (words, all) = (cast(words), self.$short);
                    let even = all.$shift_right::<8>(all.$shift_left::<8>(words));
                    [cast(even), cast(all.$shift_right::<8>(words))]
                }

                #[inline(always)]
                fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                    cast(self.$short.$pairs(cast(a), cast(b)))
                }

                #[inline(always)]
                fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s {
                    cast(self.$short.$byte_pairs(cast(unsigned), cast(signed)))
                }

                #[inline(always)]
                fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                    cast(self.$long.$add(cast(a), cast(b)))
                }

                #[inline(always)]
                fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                    cast(self.$short.$add_short(cast(a), cast(b)))
                }

                #[inline(always)]
                fn raise<const DIGIT: bool>(self, a: Self::u32s) -> Self::u32s {
                    let (all, a) = (self.$long, cast(a));
                    cast(if DIGIT { all.$raise::<7>(a) } else { all.$raise::<4>(a) })
                }
            }
        };
    }

    integers!(
        V3,
        avx2,
        avx2,
        _mm256_srai_epi16,
        _mm256_slli_epi16,
        _mm256_madd_epi16,
        _mm256_maddubs_epi16,
        _mm256_add_epi16,
        _mm256_add_epi32,
        _mm256_slli_epi32
    );
    integers!(
        V4,
        avx512bw,
        avx512f,
        _mm512_srai_epi16,
        _mm512_slli_epi16,
        _mm512_madd_epi16,
        _mm512_maddubs_epi16,
        _mm512_add_epi16,
        _mm512_add_epi32,
        _mm512_slli_epi32
    );

    impl<S: Integers> Products for S {
        #[inline(always)]
        fn products<const SIGNED: bool, const WORDS: usize, const COLUMNS: usize>(
            self,
            words: &[Words; WORDS],
            x: [&[Four; WORDS]; COLUMNS],
            out: &mut [[i32; LANES]; COLUMNS],
        ) {
            // 64 rows are four vectors of AVX-512: no more can be taken at a time.
            match (SIGNED, COLUMNS) {
                (true, 1) => of_signed::<S, WORDS, COLUMNS, 4>(self, words, x, out),
                (true, 2) => of_signed::<S, WORDS, COLUMNS, 2>(self, words, x, out),
                (true, _) => of_signed::<S, WORDS, COLUMNS, 1>(self, words, x, out),
                (false, 1) => of_unsigned::<S, WORDS, COLUMNS, 4>(self, words, x, out),
                (false, 2) => of_unsigned::<S, WORDS, COLUMNS, 2>(self, words, x, out),
                (false, _) => of_unsigned::<S, WORDS, COLUMNS, 1>(self, words, x, out),
            }
        }
    }

    /// The products of all rows, `VECTORS` vectors of them at a time: the sums of these and the
    /// columns are in registers together.
    #[inline(always)]
    fn of_signed<S: Integers, const WORDS: usize, const COLUMNS: usize, const VECTORS: usize>(
        simd: S,
        words: &[Words; WORDS],
        x: [&[Four; WORDS]; COLUMNS],
        out: &mut [[i32; LANES]; COLUMNS],
    ) {
        let zero = simd.splat_u32s(0);
        let ones = simd.splat_u32s(0x0001_0001);
        for first in (0..LANES / S::U32_LANES).step_by(VECTORS) {
            let mut high = [[zero; VECTORS]; COLUMNS];
            let mut low = [[zero; VECTORS]; COLUMNS];
            for word in 0..WORDS {
                let rows = S::as_simd_u32s(&words[word]).0;
                for vector in 0..VECTORS {
                    let bytes = rows[first + vector];
                    let [even, odd] = simd.bytes(bytes);
                    for column in 0..COLUMNS {
                        let four = x[column][word].map(|x| simd.splat_u32s(x));
                        let [high, low] = [&mut high[column][vector], &mut low[column][vector]];
                        *high = simd.add(*high, simd.pairs(even, four[0]));
                        *high = simd.add(*high, simd.pairs(odd, four[1]));
                        // At most 15 * 128 * 2 * 8 = 30,720: nothing saturates.
                        *low = simd.add_short(*low, simd.byte_pairs(four[2], bytes));
                    }
                }
            }
            for column in 0..COLUMNS {
                let to = S::as_mut_simd_i32s(&mut out[column]).0;
                for vector in 0..VECTORS {
                    // Products of pairs with ones widen sums of 16 bits to 32.
                    let low = simd.pairs(low[column][vector], ones);
                    let high = simd.raise::<false>(high[column][vector]);
                    to[first + vector] = cast(simd.add(high, low));
                }
            }
        }
    }

    /// The same for bytes of few bits: the sums of each digit's products fit 16 bits.
    #[inline(always)]
    fn of_unsigned<S: Integers, const WORDS: usize, const COLUMNS: usize, const VECTORS: usize>(
        simd: S,
        words: &[Words; WORDS],
        x: [&[Four; WORDS]; COLUMNS],
        out: &mut [[i32; LANES]; COLUMNS],
    ) {
        let zero = simd.splat_u32s(0);
        let ones = simd.splat_u32s(0x0001_0001);
        let digits = simd.splat_u32s(0x0001_0001 << DIGIT_BITS);
        for first in (0..LANES / S::U32_LANES).step_by(VECTORS) {
            let mut sums = [[[zero; 3]; VECTORS]; COLUMNS];
            for word in 0..WORDS {
                let rows = S::as_simd_u32s(&words[word]).0;
                for column in 0..COLUMNS {
                    for (digit, &x) in x[column][word].iter().enumerate() {
                        let x = simd.splat_u32s(x);
                        for vector in 0..VECTORS {
                            // At most 64 * 31 * 2 * 8 = 31,744 with eight words and
                            // 64 * 63 * 2 * 4 = 32,256 with four: nothing saturates.
                            let sum = &mut sums[column][vector][digit];
                            *sum = simd.add_short(*sum, simd.byte_pairs(rows[first + vector], x));
                        }
                    }
                }
            }
            for column in 0..COLUMNS {
                let to = S::as_mut_simd_i32s(&mut out[column]).0;
                for vector in 0..VECTORS {
                    let [low, middle, high] = sums[column][vector];
                    // Widening multiplies by the digit's weight in the same instruction.
                    let high = simd.raise::<true>(simd.pairs(high, digits));
                    let low = simd.add(simd.pairs(low, ones), simd.pairs(middle, digits));
                    to[first + vector] = cast(simd.add(high, low));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOURS: usize = CHUNK / 4;

    /// The products of one column, which must be those that it has among others.
    fn products<const SIGNED: bool>(
        way: impl Products,
        words: &[Words; FOURS],
        x: &Rounded,
    ) -> [i32; LANES] {
        let other = Rounded::new::<SIGNED>(&std::array::from_fn(|i| i as f32));
        let mut one = [[0; LANES]];
        way.products::<SIGNED, FOURS, 1>(words, [&x.fours], &mut one);
        let mut two = [[0; LANES]; 2];
        way.products::<SIGNED, FOURS, 2>(words, [&other.fours, &x.fours], &mut two);
        let mut four = [[0; LANES]; 4];
        way.products::<SIGNED, FOURS, 4>(
            words,
            [&other.fours, &x.fours, &other.fours, &other.fours],
            &mut four,
        );
        assert!(one[0] == two[1] && one[0] == four[1]);
        let mut halves = [[[0; LANES]]; 2];
        for (half, out) in halves.iter_mut().enumerate() {
            let (words, fours) = (words.as_chunks::<4>().0, x.fours.as_chunks::<4>().0);
            way.products::<SIGNED, 4, 1>(&words[half], [&fours[half]], out);
        }
        assert!((0..LANES).all(|row| halves[0][0][row] + halves[1][0][row] == one[0][row]));
        one[0]
    }

    /// Holds the products of 32 activations with bytes of some bits to those of 64-bit integers.
    fn check<const SIGNED: bool>(x: &[f32; CHUNK], mask: u32) {
        let x = Rounded::new::<SIGNED>(x);
        let mut words: [Words; FOURS] = std::array::from_fn(|word| {
            std::array::from_fn(|row| ((word * 64 + row) as u32).wrapping_mul(0x9E37_79B9) & mask)
        });
        words.iter_mut().for_each(|words| {
            (words[0], words[1], words[2]) = (mask, 0x8080_8080 & mask, 0x7f7f_7f7f & mask);
        });
        let integers = x.fours.map(joined::<SIGNED>);
        let expected: [i64; LANES] = std::array::from_fn(|row| {
            let of = |at: usize| {
                let byte = words[at / 4][row].to_le_bytes()[at % 4];
                let weight = if SIGNED { i64::from(byte as i8) } else { i64::from(byte) };
                weight * i64::from(integers[at / 4][at % 4])
            };
            (0..CHUNK).map(of).sum()
        });
        assert_eq!(products::<SIGNED>(Portable, &words, &x).map(i64::from), expected);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V3::try_new() {
                assert_eq!(products::<SIGNED>(simd, &words, &x).map(i64::from), expected);
            }
            if let Some(simd) = pulp::x86::V4::try_new() {
                assert_eq!(products::<SIGNED>(simd, &words, &x).map(i64::from), expected);
            }
        }
    }

    #[test]
    fn every_processor_gives_the_same_exact_sums() {
        let some: [f32; CHUNK] =
            std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
        // The largest magnitudes that there are, and the most low bits.
        for x in [some, [1.0; CHUNK], [-1.0; CHUNK]] {
            check::<true>(&x, u32::MAX);
            check::<false>(&x, 0x1f1f_1f1f);
        }
    }

    #[test]
    fn half_a_chunk_of_six_bits_has_exact_sums() {
        let words = [[0x3f3f_3f3f; LANES]; 4];
        for x in [1.0, -1.0] {
            let x = Rounded::new::<false>(&[x; CHUNK]);
            let fours = &x.fours.as_chunks::<4>().0[0];
            let mut out = [[0; LANES]; 1];
            let expected = 63 * 16 * joined::<false>(fours[0])[0];
            Portable.products::<false, 4, 1>(&words, [fours], &mut out);
            assert_eq!(out[0], [expected; LANES]);
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = pulp::x86::V3::try_new() {
                simd.products::<false, 4, 1>(&words, [fours], &mut out);
                assert_eq!(out[0], [expected; LANES]);
            }
        }
    }

    #[test]
    fn rounding_keeps_every_activation_within_half_a_step() {
        for size in [1e-20f32, 0.37, 1e30] {
            let x: [f32; CHUNK] = std::array::from_fn(|i| (i as f32 - 11.0) * size);
            let rounded = Rounded::new::<false>(&x);
            let signed = Rounded::new::<true>(&x);
            assert_eq!(rounded.fours.map(joined::<false>), signed.fours.map(joined::<true>));
            assert!(rounded.scale * LARGEST <= x[31] * 1.000_001);
            for (at, x) in x.iter().enumerate() {
                let error = f64::from(joined::<false>(rounded.fours[at / 4])[at % 4])
                    * f64::from(rounded.scale)
                    - f64::from(*x);
                assert!(error.abs() <= f64::from(rounded.scale) * 0.6, "{x}: {error}");
            }
        }
        let nothing = Rounded::new::<true>(&[0.0; CHUNK]);
        assert_eq!((nothing.scale, nothing.sums, nothing.fours), (0.0, [0.0; 2], [[0; 3]; FOURS]));
    }

    #[test]
    fn what_is_not_a_number_is_not_passed_over() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5; CHUNK];
            x[17] = bad;
            assert!(Rounded::new::<true>(&x).scale.is_nan(), "{bad}");
        }
    }
}
