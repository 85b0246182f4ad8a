//! A line of texels as lanes: 64 rows side by side, one lane each, so that every loop over rows
//! becomes vector code.
//!
//! In: lines of 1 KiB from a tile. Out: arrays of 64 words, one per row. The loops have constant
//! lengths and no branches, and everything here is inlined into a caller that was compiled for the
//! processor's widest vectors.

use crate::model::planes::{LINE_BYTES, LINE_TEXELS};

/// Rows of a row group, which is also the number of lanes.
pub(crate) const LANES: usize = LINE_TEXELS as usize;
/// One word per row.
pub(crate) type Words = [u32; LANES];
/// One number per row.
pub(crate) type Floats = [f32; LANES];
const LINE: usize = LINE_BYTES as usize;

/// Line `index` of a plane.
#[inline(always)]
pub fn line(plane: &[u8], index: usize) -> &[u8; LINE] {
    plane[index * LINE..]
        .first_chunk()
        .expect("a plane is a whole number of lines, and the walk stays within them")
}

/// The four words of every row's texel: `words[i][row]` is word `i` of the texel of `row`.
#[inline(always)]
pub(crate) fn split_texels(line: &[u8; LINE], words: &mut [Words; 4]) {
    let (texels, _) = line.as_chunks::<16>();
    let [first, second, third, fourth] = words;
    for row in 0..LANES {
        let texel = &texels[row];
        first[row] = u32::from_le_bytes([texel[0], texel[1], texel[2], texel[3]]);
        second[row] = u32::from_le_bytes([texel[4], texel[5], texel[6], texel[7]]);
        third[row] = u32::from_le_bytes([texel[8], texel[9], texel[10], texel[11]]);
        fourth[row] = u32::from_le_bytes([texel[12], texel[13], texel[14], texel[15]]);
    }
}

/// Word `index` of every row's texel.
#[inline(always)]
pub(crate) fn texel_word(line: &[u8; LINE], index: usize, words: &mut Words) {
    let (texels, _) = line.as_chunks::<16>();
    for (word, texel) in words.iter_mut().zip(texels) {
        let (parts, _) = texel.as_chunks::<4>();
        *word = u32::from_le_bytes(parts[index]);
    }
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

    #[test]
    fn texels_split_into_rows() {
        let line: [u8; LINE] = std::array::from_fn(|byte| (byte / 16 + byte % 16 * 3) as u8);
        let mut words = [[0; LANES]; 4];
        split_texels(&line, &mut words);
        for (index, of_row) in words.iter().enumerate() {
            let mut alone = [0; LANES];
            texel_word(&line, index, &mut alone);
            assert_eq!(&alone, of_row);
            for (row, word) in of_row.iter().enumerate() {
                let at = row * 16 + index * 4;
                assert_eq!(word.to_le_bytes(), line[at..at + 4]);
            }
        }
    }
}
