//! Products of quantised weights with activations in fixed point: what lets a single column be bound by memory, and what makes the sums of
//! a column the same whatever is computed beside it.
//!
//! An activation is rounded to 20 bits with one scale per 32 of them, which moves a sum by less than its own rounding in `f32`. From
//! there to the block's sum everything is exact integers, so neither the processor's vectors nor the number of columns that are computed
//! together can change a bit. The upper 16 bits go through the instruction for two products of 16 bits and their sum, the lower 4 through
//! the one for two products of bytes.

use super::lanes::{LANES, Words};
use super::unpack::CHUNK;

/// Bits of an activation that are multiplied as bytes: with them, 32 products with signed bytes fit the 16 bits of their sum.
const LOW_BITS: u32 = 4;
/// The largest rounded activation. With bytes of 8 bits, 32 products fit 32 bits.
const LARGEST: f32 = ((1 << 19) - 1) as f32;

/// Four activations, as they meet a word of four weights of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Four {
    /// Upper 16 bits of the first and third, signed.
    pub even: u32,
    /// Upper 16 bits of the second and fourth, signed.
    pub odd: u32,
    /// The low bits of all four, a byte each.
    pub low: u32,
}

/// 32 activations of one column in fixed point.
#[derive(Debug, Clone, Default)]
pub struct Rounded {
    /// Four by four.
    pub fours: [Four; CHUNK / 4],
    /// What the integers are multiplied with. Not a number where one of the activations is none, or infinite.
    pub scale: f32,
    /// Sum of the rounded activations of each half.
    pub sums: [f32; 2],
}

impl Rounded {
    /// Rounds 32 activations.
    #[inline(always)]
    pub fn new(x: &[f32; CHUNK]) -> Self {
        let mut peaks = [0f32; 8];
        let mut nothing = [0f32; 8];
        for x in x.as_chunks::<8>().0 {
            for lane in 0..8 {
                let size = x[lane].abs();
                peaks[lane] = if size > peaks[lane] { size } else { peaks[lane] };
                // Zero, or not a number.
                nothing[lane] += x[lane] * 0.0;
            }
        }
        let peak = peaks.iter().fold(0f32, |most, &peak| if peak > most { peak } else { most });
        let scale = peak / LARGEST;
        // Of zeros or subnormals nothing is left; their products are zero either way.
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        let mut integers = [0i32; CHUNK];
        for (integer, x) in integers.iter_mut().zip(x) {
            *integer = to_integer(x * inverse);
        }
        let fours = std::array::from_fn(|four| {
            let high: [u32; 4] = std::array::from_fn(|at| (integers[four * 4 + at] >> LOW_BITS) as u32);
            let low: [u32; 4] = std::array::from_fn(|at| integers[four * 4 + at] as u32 & 15);
            Four {
                even: high[0] & 0xffff | high[2] << 16,
                odd: high[1] & 0xffff | high[3] << 16,
                low: low[0] | low[1] << 8 | low[2] << 16 | low[3] << 24,
            }
        });
        let (halves, _) = integers.as_chunks::<{ CHUNK / 2 }>();
        let sum = |half: usize| halves[half].iter().sum::<i32>() as f32 * scale;
        let sums = [sum(0), sum(1)];
        Self { fours, scale: scale + nothing.iter().sum::<f32>(), sums }
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
pub trait Products: Copy {
    /// Per column and row, the exact sum of `4 * WORDS` bytes times as many activations. Bytes are signed, or below 128.
    fn products<const SIGNED: bool, const WORDS: usize, const COLUMNS: usize>(
        self,
        words: &[Words; WORDS],
        x: [&[Four; WORDS]; COLUMNS],
        out: &mut [[i32; LANES]; COLUMNS],
    );
}

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

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
                let high = [four.even as i16, four.odd as i16, (four.even >> 16) as i16, (four.odd >> 16) as i16];
                let low = four.low.to_le_bytes();
                let x: [i32; 4] =
                    std::array::from_fn(|at| (i32::from(high[at]) << LOW_BITS) + i32::from(low[at]));
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

    use super::{Four, LANES, Products, Words};

    /// What the two widths of vectors have in common. Vectors are those of 32-bit words, whatever lies in them.
    trait Integers: Simd {
        /// Of every word the first and third byte, and the second and fourth, in 16 bits each.
        fn bytes<const SIGNED: bool>(self, words: Self::u32s) -> [Self::u32s; 2];
        /// Sums of two products of signed 16 bits.
        fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// In each 16 bits, the sum of two products of an unsigned with a signed byte.
        fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s;
        /// Sums of 32 bits.
        fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// Sums of 16 bits.
        fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
        /// The 32 bits moved up by the low bits of an activation.
        fn raise(self, a: Self::u32s) -> Self::u32s;
    }

    impl Integers for V3 {
        #[inline(always)]
        fn bytes<const SIGNED: bool>(self, words: Self::u32s) -> [Self::u32s; 2] {
            let (words, all) = (cast(words), self.avx2);
            let [even, odd] = if SIGNED {
                let even = all._mm256_srai_epi16::<8>(all._mm256_slli_epi16::<8>(words));
                [even, all._mm256_srai_epi16::<8>(words)]
            } else {
                let mask = cast(self.splat_u32s(0x00ff_00ff));
                [all._mm256_and_si256(words, mask), all._mm256_srli_epi16::<8>(words)]
            };
            [cast(even), cast(odd)]
        }

        #[inline(always)]
        fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx2._mm256_madd_epi16(cast(a), cast(b)))
        }

        #[inline(always)]
        fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s {
            cast(self.avx2._mm256_maddubs_epi16(cast(unsigned), cast(signed)))
        }

        #[inline(always)]
        fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx2._mm256_add_epi32(cast(a), cast(b)))
        }

        #[inline(always)]
        fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx2._mm256_add_epi16(cast(a), cast(b)))
        }

        #[inline(always)]
        fn raise(self, a: Self::u32s) -> Self::u32s {
            cast(self.avx2._mm256_slli_epi32::<4>(cast(a)))
        }
    }

    impl Integers for V4 {
        #[inline(always)]
        fn bytes<const SIGNED: bool>(self, words: Self::u32s) -> [Self::u32s; 2] {
            let (words, all, wide) = (cast(words), self.avx512f, self.avx512bw);
            let [even, odd] = if SIGNED {
                let even = wide._mm512_srai_epi16::<8>(wide._mm512_slli_epi16::<8>(words));
                [even, wide._mm512_srai_epi16::<8>(words)]
            } else {
                let mask = cast(self.splat_u32s(0x00ff_00ff));
                [all._mm512_and_si512(words, mask), wide._mm512_srli_epi16::<8>(words)]
            };
            [cast(even), cast(odd)]
        }

        #[inline(always)]
        fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx512bw._mm512_madd_epi16(cast(a), cast(b)))
        }

        #[inline(always)]
        fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s {
            cast(self.avx512bw._mm512_maddubs_epi16(cast(unsigned), cast(signed)))
        }

        #[inline(always)]
        fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx512f._mm512_add_epi32(cast(a), cast(b)))
        }

        #[inline(always)]
        fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
            cast(self.avx512bw._mm512_add_epi16(cast(a), cast(b)))
        }

        #[inline(always)]
        fn raise(self, a: Self::u32s) -> Self::u32s {
            cast(self.avx512f._mm512_slli_epi32::<4>(cast(a)))
        }
    }

    impl<S: Integers> Products for S {
        #[inline(always)]
        fn products<const SIGNED: bool, const WORDS: usize, const COLUMNS: usize>(
            self,
            words: &[Words; WORDS],
            x: [&[Four; WORDS]; COLUMNS],
            out: &mut [[i32; LANES]; COLUMNS],
        ) {
            match COLUMNS {
                1 => tiles::<S, SIGNED, WORDS, COLUMNS, 4>(self, words, x, out),
                2 => tiles::<S, SIGNED, WORDS, COLUMNS, 2>(self, words, x, out),
                _ => tiles::<S, SIGNED, WORDS, COLUMNS, 1>(self, words, x, out),
            }
        }
    }

    /// The products of all rows, `VECTORS` vectors of them at a time: the sums of these and the columns are in registers together.
    #[inline(always)]
    fn tiles<
        S: Integers,
        const SIGNED: bool,
        const WORDS: usize,
        const COLUMNS: usize,
        const VECTORS: usize,
    >(
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
                    let [even, odd] = simd.bytes::<SIGNED>(bytes);
                    for column in 0..COLUMNS {
                        let four = &x[column][word];
                        let [high, low] = [&mut high[column][vector], &mut low[column][vector]];
                        *high = simd.add(*high, simd.pairs(even, simd.splat_u32s(four.even)));
                        *high = simd.add(*high, simd.pairs(odd, simd.splat_u32s(four.odd)));
                        *low = simd.add_short(*low, simd.byte_pairs(simd.splat_u32s(four.low), bytes));
                    }
                }
            }
            for column in 0..COLUMNS {
                let to = S::as_mut_simd_i32s(&mut out[column]).0;
                for vector in 0..VECTORS {
                    let low = simd.pairs(low[column][vector], ones);
                    to[first + vector] = cast(simd.add(simd.raise(high[column][vector]), low));
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
    fn products<const SIGNED: bool>(way: impl Products, words: &[Words; FOURS], x: &Rounded) -> [i32; LANES] {
        let other = Rounded::new(&std::array::from_fn(|i| i as f32));
        let mut one = [[0; LANES]];
        way.products::<SIGNED, FOURS, 1>(words, [&x.fours], &mut one);
        let mut two = [[0; LANES]; 2];
        way.products::<SIGNED, FOURS, 2>(words, [&other.fours, &x.fours], &mut two);
        let mut four = [[0; LANES]; 4];
        way.products::<SIGNED, FOURS, 4>(words, [&other.fours, &x.fours, &other.fours, &other.fours], &mut four);
        assert!(one[0] == two[1] && one[0] == four[1]);
        let mut halves = [[[0; LANES]]; 2];
        for (half, out) in halves.iter_mut().enumerate() {
            let (words, fours) = (words.as_chunks::<4>().0, x.fours.as_chunks::<4>().0);
            way.products::<SIGNED, 4, 1>(&words[half], [&fours[half]], out);
        }
        assert!((0..LANES).all(|row| halves[0][0][row] + halves[1][0][row] == one[0][row]));
        one[0]
    }

    /// The integer that an activation was rounded to.
    fn integer(x: &Rounded, at: usize) -> i32 {
        let four = x.fours[at / 4];
        let pair = if at % 2 == 0 { four.even } else { four.odd };
        let high = (pair >> (at % 4 / 2 * 16)) as i16;
        (i32::from(high) << LOW_BITS) + i32::from(four.low.to_le_bytes()[at % 4])
    }

    #[test]
    fn every_processor_gives_the_same_exact_sums() {
        let some: [f32; CHUNK] =
            std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
        // The largest magnitudes that there are, and the most low bits.
        for x in [some, [1.0; CHUNK], [-1.0; CHUNK]].map(|x| Rounded::new(&x)) {
            for mask in [u32::MAX, 0x3f3f_3f3f] {
                let mut words: [Words; FOURS] = std::array::from_fn(|word| {
                    std::array::from_fn(|row| ((word * 64 + row) as u32).wrapping_mul(0x9E37_79B9) & mask)
                });
                words.iter_mut().for_each(|words| {
                    (words[0], words[1], words[2]) = (u32::MAX & mask, 0x8080_8080 & mask, 0x7f7f_7f7f & mask);
                });
                let signed = mask == u32::MAX;
                let of = |row: usize| -> i64 {
                    let byte = |at: usize| words[at / 4][row].to_le_bytes()[at % 4];
                    let weight = |at| if signed { i64::from(byte(at) as i8) } else { i64::from(byte(at)) };
                    (0..CHUNK).map(|at| weight(at) * i64::from(integer(&x, at))).sum()
                };
                let expected: Vec<i64> = (0..LANES).map(of).collect();
                let check = |found: [i32; LANES]| assert_eq!(found.map(i64::from).as_slice(), expected);
                match signed {
                    true => check(products::<true>(Portable, &words, &x)),
                    false => check(products::<false>(Portable, &words, &x)),
                }
                #[cfg(target_arch = "x86_64")]
                {
                    if let Some(simd) = pulp::x86::V3::try_new() {
                        match signed {
                            true => check(products::<true>(simd, &words, &x)),
                            false => check(products::<false>(simd, &words, &x)),
                        }
                    }
                    if let Some(simd) = pulp::x86::V4::try_new() {
                        match signed {
                            true => check(products::<true>(simd, &words, &x)),
                            false => check(products::<false>(simd, &words, &x)),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rounding_keeps_every_activation_within_half_a_step() {
        for size in [1e-20f32, 0.37, 1e30] {
            let x: [f32; CHUNK] = std::array::from_fn(|i| (i as f32 - 11.0) * size);
            let rounded = Rounded::new(&x);
            assert!(rounded.scale * LARGEST <= x[31] * 1.000_001);
            for (at, x) in x.iter().enumerate() {
                let error = f64::from(integer(&rounded, at)) * f64::from(rounded.scale) - f64::from(*x);
                assert!(error.abs() <= f64::from(rounded.scale) * 0.6, "{x}: {error}");
            }
        }
        let nothing = Rounded::new(&[0.0; CHUNK]);
        assert_eq!((nothing.scale, nothing.sums, nothing.fours), (0.0, [0.0; 2], [Four::default(); FOURS]));
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
