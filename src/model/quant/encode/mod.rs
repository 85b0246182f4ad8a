//! Weights to blocks, where there is no block yet: the encoders of `refit`.
//!
//! In: a row of weights and, if it is known, how much each of its columns matters. Out: the row's
//! blocks as they lie in GGUF. Without importance they are byte for byte those of llama.cpp's
//! reference (tests/vectors/make_encoded.py); with it, scales and minima are searched for the least
//! square error weighted by it. Deterministic: the same row gives the same bytes everywhere, since
//! every sum is taken in its order.

mod groups;
mod search;
mod small;

use half::{bf16, f16};

use super::Encoding;
use super::code::put_code;

/// Why a row cannot be encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BlockError {
    /// A weight is no number, or infinite.
    #[error("weight {column} is {weight}, which no encoding can hold")]
    NotFinite {
        /// Its place in the row.
        column: usize,
        /// What it is.
        weight: f32,
    },
    /// The scale of a block does not fit a half float.
    #[error("weights near column {column} are too large for {encoding}")]
    TooLarge {
        /// The first column of the block.
        column: usize,
        /// The encoding.
        encoding: Encoding,
    },
    /// The row is no whole number of blocks, or importance has another length.
    #[error("a row of {columns} weights is no whole number of {encoding}'s blocks of {block}")]
    Length {
        /// Weights in the row.
        columns: usize,
        /// The encoding.
        encoding: Encoding,
        /// Weights in a block.
        block: usize,
    },
}

/// More than the most that a block of any encoding with scales can hold: a half float times 128
/// times 32. The searches multiply weights by each other, and beyond it their sums overflow.
const MOST: f32 = 65_504.0 * 128.0 * 32.0;

/// Encodes a row of weights. `importance` has a number of at least 0 for each column, such as the
/// mean square of what the column is multiplied with.
///
/// # Errors
/// A weight is not finite or too large, or the row is no whole number of blocks.
///
/// # Panics
/// `importance` has not the length of the row.
pub fn encode(
    encoding: Encoding,
    row: &[f32],
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, BlockError> {
    let (block, columns) = (encoding.block_len(), row.len());
    if !columns.is_multiple_of(block) {
        return Err(BlockError::Length { columns, encoding, block });
    }
    assert!(importance.is_none_or(|importance| importance.len() == columns));
    if let Some(column) = row.iter().position(|weight| !weight.is_finite()) {
        return Err(BlockError::NotFinite { column, weight: row[column] });
    }
    let is_too_large = |weight: &f32| encoding.is_quantised() && weight.abs() > MOST;
    if let Some(column) = row.iter().position(is_too_large) {
        return Err(BlockError::TooLarge { column, encoding });
    }
    let mut bytes = vec![0; columns / block * encoding.block_bytes()];
    let spread = mean_square(row);
    let blocks = bytes.chunks_exact_mut(encoding.block_bytes());
    for (at, (bytes, weights)) in blocks.zip(row.chunks_exact(block)).enumerate() {
        let column = at * block;
        let importance = importance.map(|all| &all[column..column + block]);
        encode_block(encoding, bytes, weights, importance, spread);
        let is_finite = |&at: &usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).is_finite();
        if !encoding.half_floats().iter().all(is_finite) {
            return Err(BlockError::TooLarge { column, encoding });
        }
    }
    Ok(bytes)
}

fn encode_block(
    encoding: Encoding,
    bytes: &mut [u8],
    weights: &[f32],
    importance: Option<&[f32]>,
    spread: f32,
) {
    match encoding {
        Encoding::F32 => bytes.copy_from_slice(&weights[0].to_le_bytes()),
        Encoding::F16 => bytes.copy_from_slice(&f16::from_f32(weights[0]).to_le_bytes()),
        Encoding::BF16 => bytes.copy_from_slice(&bf16::from_f32(weights[0]).to_le_bytes()),
        Encoding::Q8_0 => small::bytes(bytes, weights),
        Encoding::Q4_0 => small::symmetric(encoding, bytes, weights, importance, spread, 8),
        Encoding::Q5_0 => small::symmetric(encoding, bytes, weights, importance, spread, 16),
        Encoding::Q4_1 => small::affine(encoding, bytes, weights, importance, spread, 15),
        Encoding::Q5_1 => small::affine(encoding, bytes, weights, importance, spread, 31),
        Encoding::Q4_K => groups::affine(encoding, bytes, weights, importance, 15),
        Encoding::Q5_K => groups::affine(encoding, bytes, weights, importance, 31),
        Encoding::Q6_K => groups::symmetric(bytes, weights, importance),
    }
}

fn mean_square(weights: &[f32]) -> f32 {
    weights.iter().map(|weight| weight * weight).sum::<f32>() / weights.len().max(1) as f32
}

/// How much an error of each weight matters: its column's importance, more where it is large.
fn weigh(weights: &[f32], importance: &[f32], spread: f32) -> Vec<f32> {
    let weigh = |(weight, importance): (&f32, &f32)| importance * (spread + weight * weight).sqrt();
    weights.iter().zip(importance).map(weigh).collect()
}

fn put_half(bytes: &mut [u8], at: usize, value: f32) -> f32 {
    let half = f16::from_f32(value);
    bytes[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.to_f32()
}

fn put_codes(encoding: Encoding, bytes: &mut [u8], codes: &[u8]) {
    for (index, code) in codes.iter().enumerate() {
        put_code(encoding, bytes, index, u32::from(*code));
    }
}

#[cfg(test)]
mod tests {
    use super::super::dequantize;
    use super::*;

    /// Numbers around zero, a few of them ten times as large.
    fn row(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|at| next() * next() * if at % 97 == 5 { 10.0 } else { 1.0 }).collect()
    }

    fn error(encoding: Encoding, row: &[f32], bytes: &[u8], importance: &[f32]) -> f64 {
        let mut found = vec![0.0; row.len()];
        dequantize(encoding, bytes, &mut found);
        let all = row.iter().zip(&found).zip(importance);
        all.map(|((a, b), w)| f64::from(*w) * f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn more_bits_are_nearer_and_importance_makes_what_matters_nearer() {
        let row = row(3, 2048);
        let importance: Vec<f32> =
            (0..row.len()).map(|at| if at % 7 == 0 { 50.0 } else { 0.2 }).collect();
        let ones = vec![1.0; row.len()];
        let size: f64 = row.iter().map(|weight| f64::from(*weight).powi(2)).sum();
        for encoding in Encoding::ALL {
            let plain = encode(encoding, &row, None).unwrap();
            let plain_error = error(encoding, &row, &plain, &ones);
            let bits = encoding.block_bytes() as f64 * 8.0 / encoding.block_len() as f64;
            let allowed = size * 0.6 * 4f64.powf(3.0 - bits.min(9.0));
            assert!(plain_error < allowed, "{encoding}: {plain_error} of {allowed}");
            let weighed = encode(encoding, &row, Some(&importance)).unwrap();
            let [before, after] =
                [&plain, &weighed].map(|bytes| error(encoding, &row, bytes, &importance));
            let has_choice = encoding.is_quantised() && encoding != Encoding::Q8_0;
            assert!(after <= before, "{encoding}: {before} {after}");
            assert!(after < before * 0.95 || !has_choice, "{encoding}: {before} {after}");
        }
    }

    #[test]
    fn what_is_encoded_already_comes_back() {
        let row = row(5, 512);
        for encoding in [Encoding::F32, Encoding::Q8_0, Encoding::Q4_0, Encoding::Q5_0] {
            let once = encode(encoding, &row, None).unwrap();
            let mut values = vec![0.0; row.len()];
            dequantize(encoding, &once, &mut values);
            let again = encode(encoding, &values, None).unwrap();
            let mut second = vec![0.0; row.len()];
            dequantize(encoding, &again, &mut second);
            let far = values.iter().zip(&second).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            // A scale that was rounded to a half float may be found rounded once more.
            assert!(far <= 2e-3, "{encoding}: {far}");
        }
    }

    #[test]
    fn what_no_block_can_hold_is_refused() {
        for encoding in Encoding::ALL {
            let mut row = vec![0.5; 256];
            row[37] = f32::NAN;
            let refused = encode(encoding, &row, None);
            assert!(matches!(refused, Err(BlockError::NotFinite { column: 37, .. })));
            row[37] = 1e38;
            let is_wide = matches!(encoding, Encoding::F32 | Encoding::BF16);
            assert_eq!(encode(encoding, &row, None).is_ok(), is_wide, "{encoding}");
            let odd = vec![0.5; encoding.block_len() + 1];
            assert_eq!(encode(encoding, &odd, None).is_ok(), !encoding.is_quantised());
        }
    }
}
