//! What a quantised weight is made of: its code, and the scale and base of its block that give the
//! code a meaning.
//!
//! In: a block as it lies in GGUF and the weight's place in it. Out: a [`Code`]; or, for a value
//! that is wanted, the same block with at most that weight's code changed, while the scales stay as
//! they are. [`dequantize`](super::dequantize) decodes whole blocks and faster; this is for looking
//! at one weight and for changing it.

use super::Encoding;
use super::format::{Bits, Weight};

/// A quantised weight: its value is `scale * code + base`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// The code, from 0 to `most`.
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
    let Weight::Code { bits, meaning, flip } = encoding.format().weight else { return None };
    let (scale, base) = meaning(block, index);
    let bits = bits(index);
    let part = |bits: Bits| u32::from(block[bits.byte] >> bits.shift & bits.mask()) << bits.at;
    let code = bits.into_iter().map(part).sum::<u32>() ^ flip;
    Some(Code { code, most: greatest(&bits), scale, base })
}

/// Writes the code of weight `index` of a block that comes nearest to `wanted`, a number that is
/// finite. Where every code means the same, because a scale is zero, the code stays.
///
/// # Panics
/// When `block` is no block of the encoding, or has no weight of that index.
pub fn set_nearest(encoding: Encoding, block: &mut [u8], index: usize, wanted: f32) {
    let (bytes, len) = (encoding.block_bytes(), encoding.block_len());
    assert!(
        block.len() == bytes && index < len,
        "weight {index} of {} bytes is none of {encoding}",
        block.len()
    );
    match encoding.format().weight {
        Weight::Float { write } => write(wanted, block),
        Weight::Code { bits, meaning, flip } => {
            let (scale, base) = meaning(block, index);
            if scale == 0.0 {
                return;
            }
            let bits = bits(index);
            // In 64 bits: in 32 the difference could round to the other side of a half.
            let code = ((f64::from(wanted) - f64::from(base)) / f64::from(scale)).round();
            // Clamped before the cast, so that it loses nothing.
            put(&bits, (code.clamp(0.0, f64::from(greatest(&bits))) as u32) ^ flip, block);
        }
    }
}

/// Writes the code of weight `index` of a block, from 0 to the greatest of the encoding.
pub(super) fn put_code(encoding: Encoding, block: &mut [u8], index: usize, code: u32) {
    if let Weight::Code { bits, flip, .. } = encoding.format().weight {
        put(&bits(index), code ^ flip, block);
    }
}

/// The greatest code that some bits can hold.
fn greatest(bits: &[Bits; 2]) -> u32 {
    (1 << bits.iter().map(|bits| bits.width).sum::<usize>()) - 1
}

/// Writes a code as it is stored.
fn put(bits: &[Bits; 2], code: u32, block: &mut [u8]) {
    for bits in bits {
        let part = (code >> bits.at) as u8 & bits.mask();
        let byte = &mut block[bits.byte];
        *byte = *byte & !(bits.mask() << bits.shift) | part << bits.shift;
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
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
            for (&place, scale) in encoding.half_floats().iter().zip(scales) {
                block[place..place + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            }
            let mut values = vec![0.0; encoding.block_len()];
            dequantize(encoding, &block, &mut values);
            for (index, &value) in values.iter().enumerate() {
                let Code { code, most, scale, base } = code_of(encoding, &block, index).unwrap();
                prop_assert!(code <= most);
                let made = scale * code as f32 + base;
                let size = (scale * most as f32).abs() + base.abs();
                let miss = (made - value).abs();
                prop_assert!(miss <= 1e-6 * size, "{} {}: {} {}", encoding, index, made, value);
            }
        }
    }

    fn values(encoding: Encoding, block: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; encoding.block_len()];
        dequantize(encoding, block, &mut values);
        values
    }

    /// A block of random bytes whose scales are numbers of a usual size.
    fn block(encoding: Encoding, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let mut block: Vec<u8> = (0..encoding.block_bytes()).map(|_| next()).collect();
        let scale = f16::from_f32((f32::from(next()) - 127.5) / 500.0).to_le_bytes();
        for &at in encoding.half_floats() {
            block[at..at + 2].copy_from_slice(&scale);
        }
        match encoding {
            Encoding::F32 => 0.25f32.to_le_bytes().to_vec(),
            Encoding::BF16 => scale.to_vec(),
            _ => block,
        }
    }

    proptest! {
        #[test]
        fn no_code_comes_nearer_and_no_other_weight_moves(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            seed: u64, part in 0.0..1.0f64, wanted in -3.0..3.0f32,
        ) {
            let before = block(encoding, seed);
            let index = (part * encoding.block_len() as f64) as usize;
            let old = values(encoding, &before);
            let mut after = before.clone();
            set_nearest(encoding, &mut after, index, wanted);
            let new = values(encoding, &after);
            for at in (0..old.len()).filter(|&at| at != index) {
                prop_assert_eq!(old[at].to_bits(), new[at].to_bits(), "{} weight {}", encoding, at);
            }
            let miss = (new[index] - wanted).abs();
            // Every code that the weight's bits can hold, as the decoder reads it.
            let mut best = f32::INFINITY;
            if let Weight::Code { bits, .. } = encoding.format().weight {
                for code in 0..=greatest(&bits(index)) {
                    let mut other = before.clone();
                    put(&bits(index), code, &mut other);
                    best = best.min((values(encoding, &other)[index] - wanted).abs());
                }
            }
            match encoding {
                Encoding::F32 => prop_assert_eq!(miss, 0.0),
                Encoding::F16 | Encoding::BF16 => prop_assert!(miss <= wanted.abs() / 256.0 + 1e-7),
                _ => prop_assert!(
                    miss <= best * 1.000_01 + 1e-6,
                    "{}: {} for {}", encoding, miss, best
                ),
            }
        }

        #[test]
        fn the_value_that_is_there_leaves_the_bytes_as_they_are(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            seed: u64, part in 0.0..1.0f64,
        ) {
            let before = block(encoding, seed);
            let index = (part * encoding.block_len() as f64) as usize;
            let mut after = before.clone();
            set_nearest(encoding, &mut after, index, values(encoding, &before)[index]);
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn a_scale_of_zero_keeps_its_codes() {
        let before: Vec<u8> = std::iter::repeat_n(0, 2).chain(1..=16).collect();
        let mut after = before.clone();
        set_nearest(Encoding::Q4_0, &mut after, 3, 1.0);
        assert_eq!(before, after);
    }

    #[test]
    fn what_a_half_float_cannot_hold_becomes_its_largest() {
        let mut block = [0; 2];
        set_nearest(Encoding::F16, &mut block, 0, 1e9);
        assert_eq!(f16::from_le_bytes(block), f16::MAX);
        set_nearest(Encoding::BF16, &mut block, 0, f32::MAX);
        assert_eq!(bf16::from_le_bytes(block), bf16::MAX);
    }
}
