//! What a quantised weight is made of: its code, and the scale and base of its block that give the
//! code a meaning.
//!
//! In: a block as it lies in GGUF and the weight's place in it. Out: a [`Code`].
//! [`dequantize`](super::dequantize) decodes whole blocks and faster; this is for looking at one
//! weight and for changing it.

use super::half_at;
use super::k_quants::scaled_groups;
use crate::model::encoding::Encoding;

/// A quantised weight: its value is `scale * code + base`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// From 0 on.
    pub code: u32,
    /// The greatest code of the encoding.
    pub most: u32,
    /// What one more of the code adds.
    pub scale: f32,
    /// What code 0 stands for.
    pub base: f32,
}

/// What weight `index` of a block is made of; `None` where weights are floats.
///
/// # Panics
/// When `block` is no block of the encoding, or has no weight of that index.
pub fn code_of(encoding: Encoding, block: &[u8], index: usize) -> Option<Code> {
    if encoding.block_len() == 1 {
        return None;
    }
    let (scale, base) = meaning(encoding, block, index);
    let bits = bits(encoding, index);
    let part = |bits: Bits| u32::from(block[bits.byte] >> bits.shift & bits.mask()) << bits.at;
    let code = bits.into_iter().map(part).sum::<u32>() ^ flip(encoding);
    let most = (1 << bits.iter().map(|bits| bits.width).sum::<usize>()) - 1;
    Some(Code { code, most, scale, base })
}

/// Codes are counted from 0 here; the bytes of Q8_0 are signed.
pub(super) fn flip(encoding: Encoding) -> u32 {
    if encoding == Encoding::Q8_0 { 0x80 } else { 0 }
}

/// Some bits of a weight's code: where in the block they lie, and where in the code they belong.
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    pub byte: usize,
    pub shift: usize,
    pub width: usize,
    pub at: usize,
}

impl Bits {
    pub fn mask(self) -> u8 {
        ((1u16 << self.width) - 1) as u8
    }
}

/// Where the code of a weight lies: its low bits, then those above them, if any.
pub(super) fn bits(encoding: Encoding, index: usize) -> [Bits; 2] {
    let (group, i) = (index / 32, index % 32);
    let low = |byte, shift| Bits { byte, shift, width: 4, at: 0 };
    // Byte i of 16 holds weight i in its low half and weight i + 16 in its high half.
    let halves = |first: usize| low(first + i % 16, 4 * (i / 16));
    let fifth = |byte, shift| Bits { byte, shift, width: 1, at: 4 };
    let none = Bits::default();
    match encoding {
        Encoding::Q4_0 => [halves(2), none],
        Encoding::Q4_1 => [halves(4), none],
        Encoding::Q5_0 => [halves(6), fifth(2 + i / 8, i % 8)],
        Encoding::Q5_1 => [halves(8), fifth(4 + i / 8, i % 8)],
        Encoding::Q8_0 => [Bits { byte: 2 + i, shift: 0, width: 8, at: 0 }, none],
        Encoding::Q4_K => [low(16 + 32 * (group / 2) + i, 4 * (group % 2)), none],
        Encoding::Q5_K => [low(48 + 32 * (group / 2) + i, 4 * (group % 2)), fifth(16 + i, group)],
        Encoding::Q6_K => {
            let (half, group) = (group / 4, group % 4);
            let high = Bits { byte: 128 + 32 * half + i, shift: 2 * group, width: 2, at: 4 };
            [low(32 * (2 * half + group % 2) + i, 4 * (group / 2)), high]
        }
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => [none, none],
    }
}

/// Scale and base of a weight: its value is `scale * code + base`, with codes from 0.
pub(super) fn meaning(encoding: Encoding, block: &[u8], index: usize) -> (f32, f32) {
    let around = |scale: f32, zero: f32| (scale, -zero * scale);
    match encoding {
        Encoding::Q4_0 => around(half_at(block, 0), 8.0),
        Encoding::Q5_0 => around(half_at(block, 0), 16.0),
        Encoding::Q8_0 => around(half_at(block, 0), 128.0),
        Encoding::Q4_1 | Encoding::Q5_1 => (half_at(block, 0), half_at(block, 2)),
        Encoding::Q4_K | Encoding::Q5_K => {
            let head = block.first_chunk().expect("these blocks begin with 16 bytes of scales");
            let (scale, minimum) = scaled_groups(head)[index / 32];
            (scale, -minimum)
        }
        Encoding::Q6_K => {
            around(half_at(block, 208) * f32::from(block[192 + index / 16].cast_signed()), 32.0)
        }
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => (1.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::super::dequantize;
    use super::*;

    proptest! {
        #[test]
        fn scale_and_code_and_base_make_the_weight(
            at in 0..Encoding::ALL.len(),
            bytes in prop::collection::vec(any::<u8>(), 256),
            scales in prop::array::uniform2(-2.0..2.0f32),
        ) {
            let encoding = Encoding::ALL[at];
            let mut block = bytes[..encoding.block_bytes()].to_vec();
            if encoding.block_len() == 1 {
                prop_assert_eq!(code_of(encoding, &block, 0), None);
                return Ok(());
            }
            // Scales that are numbers.
            let first = if encoding == Encoding::Q6_K { 208 } else { 0 };
            for (place, scale) in (first..).step_by(2).zip(scales) {
                if place + 2 <= block.len() {
                    block[place..place + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
                }
            }
            let mut values = vec![0.0; encoding.block_len()];
            dequantize(encoding, &block, &mut values);
            for (index, &value) in values.iter().enumerate() {
                let Code { code, most, scale, base } = code_of(encoding, &block, index).unwrap();
                prop_assert!(code <= most);
                let made = scale * code as f32 + base;
                let size = (scale * most as f32).abs() + base.abs();
                prop_assert!((made - value).abs() <= 1e-6 * size, "{} {}: {} {}", encoding, index, made, value);
            }
        }
    }
}
