//! AVX2, AVX-512, and AVX-512 with VNNI.

use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_dpwssd_epi32};

use half::f16;
use pulp::core_arch::x86::Avx512vnni;
use pulp::x86::{V3, V4};
use pulp::{Simd, WithSimd, cast};

use super::amx::Amx;
use super::{Processor, Scaled, Vectors, Work, portable};
use crate::forward::cpu::fixed::{DIGITS, Rounded, RoundedBlock, digit_bits};
use crate::forward::cpu::lanes::{LANES, LINE, Words};
use crate::forward::cpu::unpack::{CHUNK, CHUNKS, Quants};

/// What makes a signed byte an unsigned one that is 128 more.
const SIGNS: u32 = 0x8080_8080;

/// Does a work with vectors that this processor has.
#[inline(always)]
pub(super) fn run<W: Work>(vectors: Vectors, work: W) -> W::Output {
    if let Some(vnni) = Vnni::try_new().filter(|_| vectors >= Vectors::Avx512Vnni) {
        return match Amx::try_new(vnni) {
            Some(amx) if vectors >= Vectors::Amx => vnni.run(amx, work),
            _ => vnni.run(vnni, work),
        };
    }
    if vectors >= Vectors::Avx512
        && let Some(simd) = V4::try_new()
    {
        return Simd::vectorize(simd, With(simd, work));
    }
    match V3::try_new() {
        Some(simd) if vectors >= Vectors::Avx2 => Simd::vectorize(simd, With(simd, work)),
        _ => portable::run(work),
    }
}

/// A work and who does it.
struct With<P, W>(P, W);

impl<P: Processor, W: Work> WithSimd for With<P, W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        self.1.with(self.0)
    }
}

/// What the two widths of vectors have in common. Vectors are those of 32-bit words, whatever lies
/// in them.
pub(super) trait Integers: Simd {
    /// Of each 128 bits, the lower two words of both, alternating.
    fn low_words(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// The upper two words.
    fn high_words(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// Of each 128 bits, the lower two words of one and then of the other.
    fn low_halves(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// The upper two words.
    fn high_halves(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// Sums of two products of signed 16 bits.
    fn pairs(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// In each 16 bits, the sum of two products of an unsigned with a signed byte.
    fn byte_pairs(self, unsigned: Self::u32s, signed: Self::u32s) -> Self::u32s;
    /// Sums of 32 bits.
    fn add(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
    /// Sums of 16 bits.
    fn add_short(self, a: Self::u32s, b: Self::u32s) -> Self::u32s;
}

/// The same instructions on vectors of another width: those of 16 bits are in `$short`, those of 32
/// bits in `$long`.
macro_rules! integers {
    (
        $vectors:ty, $short:ident, $long:ident, $low_words:ident, $high_words:ident,
        $low_halves:ident, $high_halves:ident, $pairs:ident, $byte_pairs:ident, $add_short:ident,
        $add:ident
    ) => {
        impl Integers for $vectors {
            #[inline(always)]
            fn low_words(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                cast(self.$long.$low_words(cast(a), cast(b)))
            }

            #[inline(always)]
            fn high_words(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                cast(self.$long.$high_words(cast(a), cast(b)))
            }

            #[inline(always)]
            fn low_halves(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                cast(self.$long.$low_halves(cast(a), cast(b)))
            }

            #[inline(always)]
            fn high_halves(self, a: Self::u32s, b: Self::u32s) -> Self::u32s {
                cast(self.$long.$high_halves(cast(a), cast(b)))
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
        }
    };
}

integers!(
    V3,
    avx2,
    avx2,
    _mm256_unpacklo_epi32,
    _mm256_unpackhi_epi32,
    _mm256_unpacklo_epi64,
    _mm256_unpackhi_epi64,
    _mm256_madd_epi16,
    _mm256_maddubs_epi16,
    _mm256_add_epi16,
    _mm256_add_epi32
);
integers!(
    V4,
    avx512bw,
    avx512f,
    _mm512_unpacklo_epi32,
    _mm512_unpackhi_epi32,
    _mm512_unpacklo_epi64,
    _mm512_unpackhi_epi64,
    _mm512_madd_epi16,
    _mm512_maddubs_epi16,
    _mm512_add_epi16,
    _mm512_add_epi32
);

impl<S: Integers> Processor for S {
    type Vectors = S;

    #[inline(always)]
    fn vectors(self) -> S {
        self
    }

    #[inline(always)]
    fn split_texels(self, line: &[u8; LINE], words: &mut [Words; 4]) {
        split(self, line, words);
    }

    #[inline(always)]
    fn lane(row: usize) -> usize {
        lane::<S>(row)
    }

    #[inline(always)]
    fn products<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    ) {
        match (SIGNED, DIGITS) {
            (true, 3) => of_signed(self, words, part, x, out),
            (true, _) => of_signed_halves::<_, WORDS, DIGITS>(self, words, part, x, out),
            (false, _) => of_unsigned::<_, WORDS, DIGITS>(self, words, part, x, out),
        }
    }

    #[inline(always)]
    fn block_products<K: Scaled>(
        self,
        quants: &Quants,
        x: &RoundedBlock,
        out: &mut [[i32; LANES]; DIGITS],
    ) {
        of_block::<_, K>(self, quants, x, out);
    }
}

/// Four vectors have the texels of as many rows as a vector has words: each 128 bits of them are
/// turned by themselves.
#[inline(always)]
fn split<S: Integers>(simd: S, line: &[u8; LINE], words: &mut [Words; 4]) {
    let (texels, _) = line.as_chunks::<4>();
    let texels: [u32; LINE / 4] = std::array::from_fn(|word| u32::from_le_bytes(texels[word]));
    let (texels, _) = S::as_simd_u32s(&texels);
    for (group, texels) in texels.as_chunks::<4>().0.iter().enumerate() {
        let [a, b, c, d] = *texels;
        let low = [simd.low_words(a, b), simd.low_words(c, d)];
        let high = [simd.high_words(a, b), simd.high_words(c, d)];
        let turned = [
            simd.low_halves(low[0], low[1]),
            simd.high_halves(low[0], low[1]),
            simd.low_halves(high[0], high[1]),
            simd.high_halves(high[0], high[1]),
        ];
        for (words, turned) in words.iter_mut().zip(turned) {
            S::as_mut_simd_u32s(words).0[group] = turned;
        }
    }
}

/// Row `4 * part` and those after it, as many as a vector has 128 bits, come from one vector, and
/// go to the same word of each 128 bits.
#[inline(always)]
fn lane<S: Simd>(row: usize) -> usize {
    let (rows, parts) = (S::U32_LANES, S::U32_LANES / 4);
    let (group, in_group) = (row / rows * rows, row % rows);
    group + in_group % parts * 4 + in_group / parts
}

/// What the sums of each digit count, for each 16 bits.
#[inline(always)]
fn digit_weights<S: Integers, const DIGITS: usize>(simd: S) -> [S::u32s; DIGITS] {
    std::array::from_fn(|digit| simd.splat_u32s(0x0001_0001 << (digit_bits(DIGITS) * digit as u32)))
}

/// Sums of 32 bits of each digit of some bits, the lowest first, as one. They may pass 32 bits on
/// their way, not at its end.
#[inline(always)]
pub(super) fn joined<S: Integers, const DIGITS: usize>(
    simd: S,
    sums: [S::u32s; DIGITS],
    bits: u32,
) -> S::u32s {
    let mut joined = sums[DIGITS - 1];
    for sum in sums.into_iter().rev().skip(1) {
        joined = simd.add(simd.wrapping_dyn_shl_u32s(joined, simd.splat_u32s(bits)), sum);
    }
    joined
}

/// The products of all rows with signed bytes, which are taken as unsigned and 128 more, and three
/// digits of 7 bits.
#[inline(always)]
fn of_signed<S: Integers, const WORDS: usize>(
    simd: S,
    words: &[Words; WORDS],
    part: usize,
    x: &Rounded,
    out: &mut [i32; LANES],
) {
    let signs = simd.splat_u32s(SIGNS);
    let weights = digit_weights::<_, 3>(simd);
    let start = simd.splat_u32s(x.total.wrapping_mul(-128) as u32);
    let (out, _) = S::as_mut_simd_i32s(out);
    for (first, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut sums = [start; 4];
        for (index, words) in words.iter().enumerate() {
            let rows = &S::as_simd_u32s(words).0.as_chunks::<4>().0[first];
            for (sum, row) in sums.iter_mut().zip(rows) {
                let bytes = simd.xor_u32s(*row, signs);
                for (digit, weight) in weights.iter().enumerate() {
                    let x = simd.splat_u32s(x.digits[digit][part * WORDS + index]);
                    // At most 255 * 64 * 2 = 32,640: nothing saturates. The sum may pass 32 bits on
                    // its way, not at its end.
                    let products = simd.pairs(simd.byte_pairs(bytes, x), *weight);
                    *sum = simd.add(*sum, products);
                }
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = cast(sum));
    }
}

/// The same for digits of 8 bits, of which two products with bytes may pass 16 bits: upper and
/// lower four bits of a byte are multiplied by themselves.
#[inline(always)]
fn of_signed_halves<S: Integers, const WORDS: usize, const DIGITS: usize>(
    simd: S,
    words: &[Words; WORDS],
    part: usize,
    x: &Rounded,
    out: &mut [i32; LANES],
) {
    let signs = simd.splat_u32s(SIGNS);
    let low_bits = simd.splat_u32s(0x0f0f_0f0f);
    let weights = digit_weights::<_, DIGITS>(simd);
    let upper_weights =
        weights.map(|weight| simd.wrapping_dyn_shl_u32s(weight, simd.splat_u32s(4)));
    let start = simd.splat_u32s(x.total.wrapping_mul(-128) as u32);
    for (vector, out) in S::as_mut_simd_i32s(out).0.iter_mut().enumerate() {
        let mut sums = [[simd.splat_u32s(0); 2]; DIGITS];
        for (index, words) in words.iter().enumerate() {
            let bytes = simd.xor_u32s(S::as_simd_u32s(words).0[vector], signs);
            let lower = simd.and_u32s(bytes, low_bits);
            let upper = simd.wrapping_dyn_shr_u32s(bytes, simd.splat_u32s(4));
            let upper = simd.and_u32s(upper, low_bits);
            for (digit, [of_lower, of_upper]) in sums.iter_mut().enumerate() {
                let x = simd.splat_u32s(x.digits[digit][part * WORDS + index]);
                // At most 15 * 128 * 2 * 8 = 30,720: nothing saturates.
                *of_lower = simd.add_short(*of_lower, simd.byte_pairs(lower, x));
                *of_upper = simd.add_short(*of_upper, simd.byte_pairs(upper, x));
            }
        }
        let mut sum = start;
        for (digit, [lower, upper]) in sums.into_iter().enumerate() {
            sum = simd.add(sum, simd.pairs(lower, weights[digit]));
            sum = simd.add(sum, simd.pairs(upper, upper_weights[digit]));
        }
        *out = cast(sum);
    }
}

/// The same for bytes of few bits: the sums of some of each digit's products fit 16 bits.
#[inline(always)]
fn of_unsigned<S: Integers, const WORDS: usize, const DIGITS: usize>(
    simd: S,
    words: &[Words; WORDS],
    part: usize,
    x: &Rounded,
    out: &mut [i32; LANES],
) {
    let weights = digit_weights::<_, DIGITS>(simd);
    let (out, _) = S::as_mut_simd_i32s(out);
    // Of digits of 7 bits all words; of 8 bits half of them.
    let together = if DIGITS == 3 { WORDS } else { WORDS / 2 };
    // Sums of three digits for four vectors of rows are twelve of the sixteen registers of AVX2.
    for (first, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let mut total = [simd.splat_u32s(0); 4];
        for from in (0..WORDS).step_by(together) {
            let mut sums = [[simd.splat_u32s(0); 4]; DIGITS];
            for (index, words) in (from..).zip(&words[from..from + together]) {
                let rows = &S::as_simd_u32s(words).0.as_chunks::<4>().0[first];
                for (digit, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat_u32s(x.digits[digit][part * WORDS + index]);
                    for (sum, &row) in sums.iter_mut().zip(rows) {
                        // At most 64 * 31 * 2 * 8 = 31,744 with eight words and 64 * 63 * 2 * 4 =
                        // 32,256 with four, and with digits of twice the size the same: nothing
                        // saturates.
                        *sum = simd.add_short(*sum, simd.byte_pairs(row, x));
                    }
                }
            }
            for (vector, total) in total.iter_mut().enumerate() {
                // Widening multiplies by the digit's weight in the same instruction.
                for (sums, &weight) in sums.iter().zip(&weights) {
                    *total = simd.add(*total, simd.pairs(sums[vector], weight));
                }
            }
        }
        out.iter_mut().zip(total).for_each(|(out, total)| *out = cast(total));
    }
}

/// The products of all rows with a block: sums of 16 bits, times the scale where they are widened.
#[inline(always)]
fn of_block<S: Integers, K: Scaled>(
    simd: S,
    quants: &Quants,
    x: &RoundedBlock,
    out: &mut [[i32; LANES]; DIGITS],
) {
    for first in 0..LANES / S::U32_LANES / 4 {
        let fours = |words: &Words| S::as_simd_u32s(words).0.as_chunks::<4>().0[first];
        let mut totals = [[simd.splat_u32s(0); 4]; DIGITS];
        for (part, words) in quants.bytes.as_flattened().chunks_exact(K::WORDS).enumerate() {
            let (word, half) = (part * K::WORDS, part * K::WORDS / 4);
            let mut sums = [[simd.splat_u32s(0); 4]; DIGITS];
            if K::ZERO != 0 {
                // Half of what is to be taken away to each of the two sums of 16 bits of a lane.
                // A sum of eight bytes from -16 times digits, and eight digits times 16 from the
                // other half: at most 47 * 64 * 8 + 16 * 64 * 8 = 32,256.
                for (digit, sums) in sums.iter_mut().enumerate() {
                    let start = -K::ZERO / 2 * i32::from(x.digit_sums[digit][half]);
                    *sums = [simd.splat_u32s(u32::from(start as u16) * 0x0001_0001); 4];
                }
            }
            for (index, words) in (word..).zip(words) {
                let rows = fours(words);
                for (digit, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat_u32s(x.digits[digit][index]);
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        *sum = simd.add_short(*sum, simd.byte_pairs(row, x));
                    }
                }
            }
            let steps = fours(&quants.steps[half / 2][half % 2]);
            for (vector, steps) in steps.into_iter().enumerate() {
                let twice = simd.wrapping_dyn_shl_u32s(steps, simd.splat_u32s(16));
                let twice = simd.or_u32s(steps, twice);
                for (digit, totals) in totals.iter_mut().enumerate() {
                    let products = simd.pairs(sums[digit][vector], twice);
                    totals[vector] = simd.add(totals[vector], products);
                }
            }
        }
        for (out, totals) in out.iter_mut().zip(totals) {
            let out = &mut S::as_mut_simd_i32s(out).0.as_chunks_mut::<4>().0[first];
            out.iter_mut().zip(totals).for_each(|(out, total)| *out = cast(total));
        }
    }
}

/// AVX-512 with VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vnni(V4);

impl Vnni {
    /// The vectors, if this processor has them.
    pub(super) fn try_new() -> Option<Self> {
        V4::try_new().filter(|_| Avx512vnni::is_available()).map(Self)
    }

    /// Does a work with functions compiled for these vectors.
    #[inline(always)]
    fn run<P: Processor, W: Work>(self, processor: P, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn with<P: Processor, W: Work>(processor: P, work: W) -> W::Output {
            work.with(processor)
        }
        // SAFETY: there is a `Vnni` only where `try_new` found all of these.
        unsafe { with(processor, work) }
    }

    /// Adds to each sum four products of an unsigned with a signed byte.
    #[inline(always)]
    fn add_fours(self, sum: Word16, unsigned: Word16, signed: Word16) -> Word16 {
        // SAFETY: there is a `Vnni` only where `try_new` found the instruction.
        cast(unsafe { _mm512_dpbusd_epi32(cast(sum), cast(unsigned), cast(signed)) })
    }

    /// Adds to each sum two products of 16 bits.
    #[inline(always)]
    fn add_pairs(self, sum: Word16, a: Word16, b: Word16) -> Word16 {
        // SAFETY: as above.
        cast(unsafe { _mm512_dpwssd_epi32(cast(sum), cast(a), cast(b)) })
    }
}

type Word16 = <V4 as Simd>::u32s;

impl Processor for Vnni {
    type Vectors = V4;

    #[inline(always)]
    fn vectors(self) -> V4 {
        self.0
    }

    #[inline(always)]
    fn split_texels(self, line: &[u8; LINE], words: &mut [Words; 4]) {
        split(self.0, line, words);
    }

    #[inline(always)]
    fn lane(row: usize) -> usize {
        lane::<V4>(row)
    }

    #[inline(always)]
    fn widen(self, halves: &[f16]) -> <V4 as Simd>::f32s {
        let halves: &[f16; 16] = halves.first_chunk().expect("a vector has sixteen lanes");
        // A loop of its own: the array's `map` may become a function apart, five times slower, and
        // its result was then read by vectors from where it was not aligned for them.
        let mut bits = [0; 16];
        for (bits, half) in bits.iter_mut().zip(halves) {
            *bits = half.to_bits();
        }
        cast(self.0.avx512f._mm512_cvtph_ps(cast(bits)))
    }

    #[inline(always)]
    fn products<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    ) {
        let simd = self.0;
        let signs = simd.splat_u32s(SIGNS);
        let start = if SIGNED { x.total.wrapping_mul(-128) as u32 } else { 0 };
        // A sum for each digit: with one for all, four sums would wait for each other's five
        // cycles.
        let mut sums = [[simd.splat_u32s(0); 4]; DIGITS];
        sums[0] = [simd.splat_u32s(start); 4];
        for (index, words) in words.iter().enumerate() {
            let (rows, _) = V4::as_simd_u32s(words);
            for (digit, sums) in sums.iter_mut().enumerate() {
                let x = simd.splat_u32s(x.digits[digit][part * WORDS + index]);
                for (sum, &row) in sums.iter_mut().zip(rows) {
                    let row = if SIGNED { simd.xor_u32s(row, signs) } else { row };
                    *sum = self.add_fours(*sum, row, x);
                }
            }
        }
        let (out, _) = V4::as_mut_simd_i32s(out);
        for (vector, out) in out.iter_mut().enumerate() {
            let of_vector = std::array::from_fn::<_, DIGITS, _>(|digit| sums[digit][vector]);
            *out = cast(joined(simd, of_vector, digit_bits(DIGITS)));
        }
    }

    #[inline(always)]
    fn block_products<K: Scaled>(
        self,
        quants: &Quants,
        x: &RoundedBlock,
        out: &mut [[i32; LANES]; DIGITS],
    ) {
        let simd = self.0;
        let mut totals = [[simd.splat_u32s(0); 4]; DIGITS];
        for chunk in 0..CHUNKS {
            for part in 0..CHUNK / 4 / K::WORDS {
                let mut sums = [[simd.splat_u32s(0); 4]; DIGITS];
                if K::ZERO != 0 {
                    for (digit, sums) in sums.iter_mut().enumerate() {
                        let of_digit = i32::from(x.digit_sums[digit][chunk * 2 + part]);
                        *sums = [simd.splat_u32s((-K::ZERO * of_digit) as u32); 4];
                    }
                }
                for word in part * K::WORDS..(part + 1) * K::WORDS {
                    let (rows, _) = V4::as_simd_u32s(&quants.bytes[chunk][word]);
                    for (digit, sums) in sums.iter_mut().enumerate() {
                        let x = simd.splat_u32s(x.digits[digit][chunk * (CHUNK / 4) + word]);
                        for (sum, &row) in sums.iter_mut().zip(rows) {
                            *sum = self.add_fours(*sum, row, x);
                        }
                    }
                }
                // A sum fits 16 bits; the upper half of a scale's word is zero.
                let (steps, _) = V4::as_simd_u32s(&quants.steps[chunk][part]);
                for (vector, &steps) in steps.iter().enumerate() {
                    for (digit, totals) in totals.iter_mut().enumerate() {
                        totals[vector] = self.add_pairs(totals[vector], sums[digit][vector], steps);
                    }
                }
            }
        }
        for (out, totals) in out.iter_mut().zip(totals) {
            let (out, _) = V4::as_mut_simd_i32s(out);
            out.iter_mut().zip(totals).for_each(|(out, total)| *out = cast(total));
        }
    }
}
