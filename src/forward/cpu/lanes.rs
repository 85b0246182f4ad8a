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

/// Line `index` of a plane.
#[inline(always)]
pub fn line(plane: &[u8], index: usize) -> &[u8; LINE] {
    plane[index * LINE..]
        .first_chunk()
        .expect("a plane is a whole number of lines, and the walk stays within them")
}

/// The half float in the low 16 bits of a word. Exact for every finite value; a converter refuses
/// the others.
#[inline(always)]
pub fn half(word: u32) -> f32 {
    // The exponent's bias differs by 112, and multiplying by 2^112 also gives subnormal halves
    // their value.
    const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = f32::from_bits((word & 0x7fff) << 13) * REBIAS;
    f32::from_bits(magnitude.to_bits() | (word & 0x8000) << 16)
}

/// `a * b + c`: fused where the processor does that in one instruction, in two steps where it would
/// be a function call.
#[inline(always)]
pub(crate) fn multiply_add<S: pulp::Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
