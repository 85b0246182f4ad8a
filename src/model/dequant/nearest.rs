//! The way back for one weight: the code that comes nearest to a value, while the scales of its
//! block stay as they are.
//!
//! In: a block as it lies in GGUF, the weight's place in it and the value that is wanted. Out: the
//! same block with at most that weight's code changed. Where every code means the same, because a
//! scale is zero, the code stays.

use half::{bf16, f16};

use super::code::{bits, flip, meaning};
use crate::model::encoding::Encoding;

/// Writes the code of weight `index` of a block that comes nearest to `wanted`, a number that is
/// finite.
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
    match encoding {
        Encoding::F32 => block.copy_from_slice(&wanted.to_le_bytes()),
        Encoding::F16 => {
            let half = f16::from_f32(wanted.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
            block.copy_from_slice(&half.to_le_bytes());
        }
        Encoding::BF16 => {
            let half = bf16::from_f32(wanted.clamp(bf16::MIN.to_f32(), bf16::MAX.to_f32()));
            block.copy_from_slice(&half.to_le_bytes());
        }
        _ => {
            let (scale, base) = meaning(encoding, block, index);
            if scale == 0.0 {
                return;
            }
            let bits = bits(encoding, index);
            let most = (1u32 << bits.iter().map(|bits| bits.width).sum::<usize>()) - 1;
            let code = ((f64::from(wanted) - f64::from(base)) / f64::from(scale)).round();
            let code = (code.clamp(0.0, f64::from(most)) as u32) ^ flip(encoding);
            for bits in bits {
                let part = (code >> bits.at) as u8 & bits.mask();
                let byte = &mut block[bits.byte];
                *byte = *byte & !(bits.mask() << bits.shift) | part << bits.shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dequantize;
    use super::*;

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
        let places: &[usize] = match encoding {
            Encoding::Q6_K => &[208],
            Encoding::Q4_1 | Encoding::Q5_1 | Encoding::Q4_K | Encoding::Q5_K => &[0, 2],
            Encoding::F32 => return 0.25f32.to_le_bytes().to_vec(),
            _ => &[0],
        };
        places.iter().for_each(|&at| block[at..at + 2].copy_from_slice(&scale));
        block
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
            for code in 0..1u32 << bits(encoding, index).iter().map(|bits| bits.width).sum::<usize>() {
                let mut other = before.clone();
                for bits in bits(encoding, index).into_iter().filter(|bits| bits.width > 0) {
                    let part = (code >> bits.at) as u8 & bits.mask();
                    other[bits.byte] = other[bits.byte] & !(bits.mask() << bits.shift) | part << bits.shift;
                }
                best = best.min((values(encoding, &other)[index] - wanted).abs());
            }
            match encoding {
                Encoding::F32 => prop_assert_eq!(miss, 0.0),
                Encoding::F16 | Encoding::BF16 => prop_assert!(miss <= wanted.abs() / 256.0 + 1e-7),
                _ => prop_assert!(miss <= best * 1.000_01 + 1e-6, "{}: {} for {}", encoding, miss, best),
            }
        }

        #[test]
        fn the_value_that_is_there_leaves_the_bytes_as_they_are(
            encoding in prop::sample::select(Encoding::ALL.to_vec()), seed: u64, part in 0.0..1.0f64,
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
