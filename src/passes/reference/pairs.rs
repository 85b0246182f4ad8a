//! Products of quantised weights with 16-bit activations, two to a lane: what lets a single column be bound by memory.
//!
//! An activation is rounded to 16 bits with one scale per 32 of them, which moves a sum by about a hundred-thousandth of itself; where one of the 32 towers
//! over the others, what was rounded away is rounded and multiplied too. From there to the block's sum everything is exact integers, so every
//! processor computes the same numbers. x86 has an instruction for two products and their sum.

use super::lanes::{LANES, Words};
use super::unpack::CHUNK;

/// Columns in half a chunk: what shares a scale in every encoding.
const HALF: usize = CHUNK / 2;

/// An activation this many times the mean of its 32 would leave too few bits to the others.
const TOWERING: f32 = 6.0;

/// 32 activations of one column in 16 bits.
#[derive(Debug, Clone, Default)]
pub struct Rounded {
    /// Per half and word of four columns: the first and third, in the low and high 16 bits.
    pub even: [[u32; 4]; 2],
    /// The second and fourth.
    pub odd: [[u32; 4]; 2],
    /// What the integers are multiplied with.
    pub scale: f32,
    /// Sum of the rounded activations of each half.
    pub sums: [f32; 2],
}

impl Rounded {
    /// Rounds 32 activations; the sum of what is returned, one or two terms, is close to each of them.
    pub fn terms(x: &[f32; CHUNK]) -> Terms {
        let (first, rest) = Self::new(x);
        let total: f32 = x.iter().map(|x| x.abs()).sum();
        let peak = first.scale * f32::from(i16::MAX);
        if peak * CHUNK as f32 > total * TOWERING {
            Terms { terms: [first, Self::new(&rest).0], count: 2 }
        } else {
            Terms { terms: [first, Self::default()], count: 1 }
        }
    }

    /// Rounds 32 activations and returns what is left of them.
    fn new(x: &[f32; CHUNK]) -> (Self, [f32; CHUNK]) {
        let peak = x.iter().fold(0f32, |peak, x| peak.max(x.abs()));
        let scale = peak / f32::from(i16::MAX);
        // Of zeros or subnormals nothing is left; their products are zero either way.
        let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        let integers = x.map(|x| (x * inverse + 0.5f32.copysign(x)) as i16);
        let pair = |low: i16, high: i16| u32::from(low as u16) | u32::from(high as u16) << 16;
        let words = |first: usize| {
            std::array::from_fn(|half| {
                std::array::from_fn(|word| {
                    let at = half * HALF + word * 4 + first;
                    pair(integers[at], integers[at + 2])
                })
            })
        };
        let (halves, _) = integers.as_chunks::<HALF>();
        let sum = |half: usize| halves[half].iter().map(|&x| i32::from(x)).sum::<i32>() as f32 * scale;
        let rest = std::array::from_fn(|at| x[at] - f32::from(integers[at]) * scale);
        (Self { even: words(0), odd: words(1), scale, sums: [sum(0), sum(1)] }, rest)
    }
}

/// The terms whose sum is 32 activations.
#[derive(Debug, Clone)]
pub struct Terms {
    terms: [Rounded; 2],
    count: usize,
}

impl Terms {
    /// One or two.
    #[inline(always)]
    pub fn as_slice(&self) -> &[Rounded] {
        &self.terms[..self.count]
    }
}

/// A processor's way to multiply pairs.
pub trait Pairs: Copy {
    /// Per row, the sum of 16 bytes times 16 activations. Bytes are signed or not; no sum of these can overflow 32 bits.
    fn products<const SIGNED: bool>(
        self,
        words: &[Words; 4],
        even: &[u32; 4],
        odd: &[u32; 4],
        out: &mut [i32; LANES],
    );
}

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

impl Pairs for Portable {
    #[inline(always)]
    fn products<const SIGNED: bool>(
        self,
        words: &[Words; 4],
        even: &[u32; 4],
        odd: &[u32; 4],
        out: &mut [i32; LANES],
    ) {
        out.fill(0);
        for ((words, even), odd) in words.iter().zip(even).zip(odd) {
            let x = [*even as i16, *odd as i16, (even >> 16) as i16, (odd >> 16) as i16].map(i32::from);
            for (out, word) in out.iter_mut().zip(words) {
                let bytes = word
                    .to_le_bytes()
                    .map(|byte| if SIGNED { i32::from(byte as i8) } else { i32::from(byte) });
                *out += bytes[0] * x[0] + bytes[1] * x[1] + bytes[2] * x[2] + bytes[3] * x[3];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::{V3, V4};
    use pulp::{Simd, cast, i32x8, i32x16};

    use super::{LANES, Pairs, Words};

    impl Pairs for V4 {
        #[inline(always)]
        fn products<const SIGNED: bool>(
            self,
            words: &[Words; 4],
            even: &[u32; 4],
            odd: &[u32; 4],
            out: &mut [i32; LANES],
        ) {
            let words = words.each_ref().map(|words| Self::as_simd_u32s(words).0);
            let (even, odd) = (even.map(|x| cast(self.splat_u32s(x))), odd.map(|x| cast(self.splat_u32s(x))));
            let (all, wide) = (self.avx512f, self.avx512bw);
            for (vector, out) in Self::as_mut_simd_i32s(out).0.iter_mut().enumerate() {
                let mut sums = cast(self.splat_u32s(0));
                for word in 0..4 {
                    let bytes = cast(words[word][vector]);
                    let [low, high] = if SIGNED {
                        [
                            wide._mm512_srai_epi16::<8>(wide._mm512_slli_epi16::<8>(bytes)),
                            wide._mm512_srai_epi16::<8>(bytes),
                        ]
                    } else {
                        let mask = cast(self.splat_u32s(0x00ff_00ff));
                        [all._mm512_and_si512(bytes, mask), wide._mm512_srli_epi16::<8>(bytes)]
                    };
                    sums = all._mm512_add_epi32(sums, wide._mm512_madd_epi16(low, even[word]));
                    sums = all._mm512_add_epi32(sums, wide._mm512_madd_epi16(high, odd[word]));
                }
                *out = cast::<_, i32x16>(sums);
            }
        }
    }

    impl Pairs for V3 {
        #[inline(always)]
        fn products<const SIGNED: bool>(
            self,
            words: &[Words; 4],
            even: &[u32; 4],
            odd: &[u32; 4],
            out: &mut [i32; LANES],
        ) {
            let words = words.each_ref().map(|words| Self::as_simd_u32s(words).0);
            let (even, odd) = (even.map(|x| cast(self.splat_u32s(x))), odd.map(|x| cast(self.splat_u32s(x))));
            let all = self.avx2;
            for (vector, out) in Self::as_mut_simd_i32s(out).0.iter_mut().enumerate() {
                let mut sums = cast(self.splat_u32s(0));
                for word in 0..4 {
                    let bytes = cast(words[word][vector]);
                    let [low, high] = if SIGNED {
                        [
                            all._mm256_srai_epi16::<8>(all._mm256_slli_epi16::<8>(bytes)),
                            all._mm256_srai_epi16::<8>(bytes),
                        ]
                    } else {
                        let mask = cast(self.splat_u32s(0x00ff_00ff));
                        [all._mm256_and_si256(bytes, mask), all._mm256_srli_epi16::<8>(bytes)]
                    };
                    sums = all._mm256_add_epi32(sums, all._mm256_madd_epi16(low, even[word]));
                    sums = all._mm256_add_epi32(sums, all._mm256_madd_epi16(high, odd[word]));
                }
                *out = cast::<_, i32x8>(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products<const SIGNED: bool>(pairs: impl Pairs, words: &[Words; 4], x: &Rounded) -> [i32; LANES] {
        let mut out = [0; LANES];
        pairs.products::<SIGNED>(words, &x.even[1], &x.odd[1], &mut out);
        out
    }

    #[test]
    fn every_processor_gives_the_same_sums() {
        let x: [f32; CHUNK] =
            std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
        let (x, _) = Rounded::new(&x);
        let mut words: [Words; 4] = std::array::from_fn(|word| {
            std::array::from_fn(|row| ((word * 64 + row) as u32).wrapping_mul(0x9E37_79B9))
        });
        // The largest magnitudes that there are.
        words.iter_mut().for_each(|words| (words[0], words[1]) = (u32::MAX, 0x8080_8080));
        let (unsigned, signed) =
            (products::<false>(Portable, &words, &x), products::<true>(Portable, &words, &x));
        let integers: i32 = (x.sums[1] / x.scale).round() as i32;
        assert_eq!((unsigned[0], signed[0], signed[1]), (255 * integers, -integers, -128 * integers));
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V3::try_new() {
                assert_eq!(
                    [products::<false>(simd, &words, &x), products::<true>(simd, &words, &x)],
                    [unsigned, signed]
                );
            }
            if let Some(simd) = pulp::x86::V4::try_new() {
                assert_eq!(
                    [products::<false>(simd, &words, &x), products::<true>(simd, &words, &x)],
                    [unsigned, signed]
                );
            }
        }
    }

    #[test]
    fn rounding_keeps_every_activation_within_half_a_step() {
        let x: [f32; CHUNK] = std::array::from_fn(|i| (i as f32 - 11.0) * 0.37);
        let (rounded, rest) = Rounded::new(&x);
        for (at, x) in x.iter().enumerate() {
            let (half, word, byte) = (at / 16, at % 16 / 4, at % 4);
            let pair = if byte % 2 == 0 { rounded.even[half][word] } else { rounded.odd[half][word] };
            let integer = (pair >> (byte / 2 * 16)) as i16;
            assert!((f32::from(integer) * rounded.scale - x).abs() <= rounded.scale * 0.501);
        }
        assert!(rest.iter().all(|rest| rest.abs() <= rounded.scale * 0.501));
        let (nothing, _) = Rounded::new(&[0.0; CHUNK]);
        assert_eq!((nothing.scale, nothing.sums, nothing.even), (0.0, [0.0; 2], [[0; 4]; 2]));
    }

    #[test]
    fn a_towering_activation_does_not_cost_the_others_their_bits() {
        let x: [f32; CHUNK] = std::array::from_fn(|i| if i == 7 { 4321.0 } else { (i as f32 * 0.7).sin() });
        let terms = Rounded::terms(&x);
        assert_eq!(terms.as_slice().len(), 2);
        let sum: f32 = terms.as_slice().iter().map(|term| term.sums[1]).sum();
        assert!((sum - x[16..].iter().sum::<f32>()).abs() < 1e-4);
        assert_eq!(Rounded::terms(&x.map(f32::signum)).as_slice().len(), 1);
    }
}
