//! Dequantisation against the vectors of the reference (tests/vectors/make_vectors.py), bit for
//! bit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use half::f16;
use pixel_llm::model::Encoding;
use pixel_llm::model::quant::{dequantize, encode};

fn vectors(encoding: Encoding) -> (Vec<u8>, Vec<f32>) {
    let name = format!("tests/vectors/{}.bin", encoding.name().to_lowercase());
    let file = std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&name)).expect(&name);
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(Encoding::from_ggml(word(0)), Some(encoding), "{name}");
    let (blocks, values) = file[8..].split_at(word(4) as usize * encoding.block_bytes());
    let values: Vec<f32> =
        values.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(values.len(), word(4) as usize * encoding.block_len(), "{name}");
    (blocks.to_vec(), values)
}

/// Equal bits, or both not a number: which NaN an operation gives is the processor's choice.
fn assert_same(encoding: Encoding, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
            "{encoding} weight {i}: {found:?} ({:08x}) is not {expected:?} ({:08x})",
            found.to_bits(),
            expected.to_bits()
        );
    }
}

#[test]
fn every_encoding_gives_the_bits_of_the_reference() {
    for encoding in Encoding::ALL {
        let (blocks, expected) = vectors(encoding);
        let mut found = vec![0.0; expected.len()];
        dequantize(encoding, &blocks, &mut found);
        assert_same(encoding, &found, &expected);
        assert!(
            expected.iter().any(|value| value.is_nan()),
            "{encoding}: the vectors hold extremes"
        );
        assert!(expected.iter().any(|value| value.is_finite() && *value != 0.0), "{encoding}");
    }
}

#[test]
fn bytes_may_lie_at_any_address() {
    for encoding in Encoding::ALL {
        let (blocks, expected) = vectors(encoding);
        for shift in 1..4 {
            let mut moved = vec![0; shift];
            moved.extend_from_slice(&blocks);
            let mut found = vec![0.0; expected.len()];
            dequantize(encoding, &moved[shift..], &mut found);
            assert_same(encoding, &found, &expected);
        }
    }
}

#[test]
fn a_block_does_not_depend_on_its_neighbours() {
    for encoding in Encoding::ALL {
        let (blocks, expected) = vectors(encoding);
        for (block, expected) in blocks
            .chunks(encoding.block_bytes())
            .zip(expected.chunks(encoding.block_len()))
            .take(64)
        {
            let mut found = vec![0.0; encoding.block_len()];
            dequantize(encoding, block, &mut found);
            assert_same(encoding, &found, expected);
        }
    }
}

#[test]
fn every_half_float_has_the_value_its_bits_define() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let mut found = vec![0.0; bits.len()];
    dequantize(Encoding::F16, &bytes, &mut found);
    for (bits, found) in bits.into_iter().zip(found) {
        let sign = if bits >> 15 == 0 { 1.0 } else { -1.0_f64 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let expected = match exponent {
            0 => sign * fraction * 2.0_f64.powi(-24),
            31 if fraction == 0.0 => sign * f64::INFINITY,
            31 => f64::NAN,
            _ => sign * (1024.0 + fraction) * 2.0_f64.powi(exponent - 25),
        } as f32;
        assert!(
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
            "{bits:04x}: {found} is not {expected}"
        );
    }
}

#[test]
fn no_weights_are_no_work() {
    for encoding in Encoding::ALL {
        dequantize(encoding, &[], &mut []);
    }
}

#[test]
#[should_panic(expected = "19 bytes of Q4_0 are not 32 weights")]
fn a_part_block_is_the_callers_mistake() {
    dequantize(Encoding::Q4_0, &[0; 19], &mut [0.0; 32]);
}

#[test]
#[should_panic(expected = "not 31 weights")]
fn a_part_row_is_the_callers_mistake() {
    dequantize(Encoding::Q4_0, &f16::ONE.to_le_bytes(), &mut [0.0; 31]);
}

#[test]
fn encoders_give_the_bytes_of_the_reference() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/encoded.bin");
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let rows = word(0) as usize;
    let (weights, mut rest) = file[4..].split_at(rows * 256 * 4);
    let weights: Vec<f32> =
        weights.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut encodings = Vec::new();
    while !rest.is_empty() {
        let number = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let encoding = Encoding::from_ggml(number).unwrap();
        let size = encoding.row_bytes(256).unwrap() as usize;
        let (blocks, after) = rest[4..].split_at(rows * size);
        for (row, (weights, expected)) in
            weights.chunks_exact(256).zip(blocks.chunks_exact(size)).enumerate()
        {
            let found = encode(encoding, weights, None).unwrap();
            assert_eq!(found, expected, "{encoding}, row {row}");
        }
        encodings.push(encoding);
        rest = after;
    }
    let all = Encoding::ALL.into_iter().filter(|encoding| encoding.is_quantised());
    assert!(all.eq(encodings), "every one of them");
}
