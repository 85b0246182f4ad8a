//! A line of texels as lanes: 64 rows side by side, one lane each, so that every loop over rows
//! becomes vector code.
//!
//! In: lines of 1 KiB from a tile. Out: arrays of 64 words, one per lane. The loops have constant
//! lengths and no branches, and everything here is inlined into a caller that was compiled for the
//! processor's widest vectors.

use crate::model::planes::{LINE_BYTES, LINE_TEXELS};

/// Rows of a row group, which is also the number of lanes.
pub(crate) const LANES: usize = LINE_TEXELS as usize;
/// One word per row.
pub(crate) type Words = [u32; LANES];
/// One number per row.
pub(crate) type Floats = [f32; LANES];
/// Bytes of a line.
pub(crate) const LINE: usize = LINE_BYTES as usize;

/// How far ahead bytes are asked for, all planes together. The processor's own guesses end at each
/// page of memory: with them alone two threads read half of what they can.
const AHEAD: usize = 24 * LINE;

/// A plane of a row group within one tile: whole lines. All planes of a row group are read at the
/// same pace, so what comes next lies in as many places as there are planes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes from a line to the one that is asked for meanwhile.
    ahead: usize,
    /// Bytes from the plane's end to where the same plane of the next part begins: another tile of
    /// the row group, or another row group.
    to_next: usize,
}

impl<'a> Lines<'a> {
    /// A plane, of a part of a row group that has `size` bytes with all its planes.
    pub(crate) fn new(bytes: &'a [u8], size: usize) -> Self {
        let ahead = (AHEAD * bytes.len()).div_ceil(size.max(1)).next_multiple_of(LINE);
        Self { bytes, ahead: ahead.min(bytes.len()), to_next: size - bytes.len() }
    }

    /// Lines that there are.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / LINE
    }
}

/// Line `index` of a plane. What is read later is asked for.
#[inline(always)]
pub(crate) fn line(plane: Lines<'_>, index: usize) -> &[u8; LINE] {
    let Lines { bytes, ahead, to_next } = plane;
    let line: &[u8; LINE] = bytes[index * LINE..]
        .first_chunk()
        .expect("a plane is a whole number of lines, and the walk stays within them");
    let is_past = index * LINE + ahead >= bytes.len();
    let ahead = if is_past { ahead + to_next } else { ahead };
    for part in (0..LINE).step_by(64) {
        prefetch(line.as_ptr().wrapping_add(ahead + part));
    }
    line
}

/// Asks for the 64 bytes at an address, which may be any: into the second cache, since the first is
/// full of what is being multiplied.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every such processor has the instruction, to which any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The half float in the low 16 bits of a word. Exact for every finite value; a converter refuses
/// the others.
#[inline(always)]
pub fn half(word: u32) -> f32 {
    // The exponent's bias differs by 112. Subnormal halves, which scales of scales often are, get
    // one more and lose it as a number: multiplied by 2^112 they would be subnormal floats before,
    // each of which holds a processor up for a hundred cycles.
    const REBIAS: u32 = 112 << 23;
    const LEAST: u32 = 113 << 23;
    let bits = (word & 0x7fff) << 13;
    let subnormal = f32::from_bits(bits + LEAST) - f32::from_bits(LEAST);
    let magnitude = if bits < 1 << 23 { subnormal.to_bits() } else { bits + REBIAS };
    f32::from_bits(magnitude | (word & 0x8000) << 16)
}

/// `a * b + c`: fused where the processor does that in one instruction, in two steps where it would
/// be a function call.
#[inline(always)]
pub(crate) fn multiply_add<S: pulp::Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// `e` to the power of `x`, within 2e-7 of it; 0 below -87, where the result would be subnormal.
/// Plain operations, so that a loop over it becomes vector code: the library's takes 8 ns a number.
#[inline(always)]
pub(crate) fn exp<S: pulp::Simd>(x: f32) -> f32 {
    // Added to 1.5 * 2^23, a number is rounded to an integer, which is then in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    // Where the exponent of the result is still one of a normal number.
    const LEAST: f32 = -87.0;
    const MOST: f32 = 88.3;
    // Comparisons that keep what is not a number.
    let bounded = if x < LEAST { LEAST } else { x };
    let bounded = if bounded > MOST { MOST } else { bounded };
    let shifted = multiply_add::<S>(bounded, std::f32::consts::LOG2_E, SHIFT);
    let power = shifted - SHIFT;
    // ln 2 in two parts, the first of few bits: its product with the integer is exact.
    let rest = multiply_add::<S>(power, -0.693_359_4, bounded);
    let rest = multiply_add::<S>(power, 2.121_944_4e-4, rest);
    // 1 + r + r^2 p(r) on |r| <= ln 2 / 2: the polynomial of Cephes' expf.
    let coefficients = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5f32];
    let mut sum = 1.987_569_1e-4;
    for coefficient in coefficients {
        sum = multiply_add::<S>(sum, rest, coefficient);
    }
    let result = multiply_add::<S>(sum, rest * rest, rest) + 1.0;
    let two_to_power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LEAST { 0.0 } else { result * two_to_power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_e_are_within_two_steps_of_the_librarys() {
        for step in -900_000..885_000 {
            let x = step as f32 * 1e-4;
            let (found, expected) = (exp::<pulp::Scalar>(x), f64::from(x).exp());
            if x >= -87.0 {
                let error = (f64::from(found) - expected).abs() / expected;
                // Beyond the last one that is normal, it stays there.
                assert!(error < 2e-7 || x > 88.3, "{x}: {found} for {expected}");
            } else {
                assert_eq!(found, 0.0);
            }
        }
        assert_eq!(exp::<pulp::Scalar>(0.0), 1.0);
        assert_eq!(exp::<pulp::Scalar>(f32::NEG_INFINITY), 0.0);
        assert!(exp::<pulp::Scalar>(f32::NAN).is_nan());
    }

    #[test]
    fn every_finite_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            if expected.is_finite() {
                assert_eq!(
                    half(u32::from(bits) | 0xABCD_0000).to_bits(),
                    expected.to_bits(),
                    "{bits:#06x}"
                );
            }
        }
    }
}
