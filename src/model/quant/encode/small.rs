//! Blocks of 32 weights: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.

use super::search::{self, Tries};
use super::{Encoding, put_codes, put_half, weigh};

/// Steps of the scale from 0.9 below the usual to 0.9 above it.
pub(super) const WIDE: Tries = Tries { first: -0.9, step: 0.05, last: 36 };

/// As the reference casts: what is beyond 32 bits, or no number, is 0.
fn cast(value: f32) -> u8 {
    if value.abs() < 2_147_483_648.0 { value as i32 as u8 } else { 0 }
}

/// One over a scale; 0 where there is none.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Q8_0. A byte is fine enough: importance changes nothing.
pub(super) fn bytes(bytes: &mut [u8], weights: &[f32]) {
    let largest = weights.iter().fold(0f32, |most, weight| most.max(weight.abs()));
    let scale = largest / 127.0;
    put_half(bytes, 0, scale);
    let inverse = inverse(scale);
    for (to, weight) in bytes[2..].iter_mut().zip(weights) {
        *to = cast((weight * inverse).round());
    }
}

/// Q4_0 and Q5_0, whose codes count from `-half`.
pub(super) fn symmetric(
    encoding: Encoding,
    bytes: &mut [u8],
    weights: &[f32],
    importance: Option<&[f32]>,
    spread: f32,
    half: i32,
) {
    let mut codes = [0; 32];
    let scale = match importance {
        Some(importance) => {
            let importance = weigh(weights, importance, spread);
            search::symmetric(weights, Some(&importance), half, &mut codes)
        }
        None => {
            let mut largest = 0f32;
            for &weight in weights {
                if largest.abs() < weight.abs() {
                    largest = weight;
                }
            }
            let scale = largest / -(half as f32);
            let (inverse, middle) = (inverse(scale), half as f32 + 0.5);
            for (to, weight) in codes.iter_mut().zip(weights) {
                *to = least(cast(weight * inverse + middle), 2 * half - 1);
            }
            scale
        }
    };
    put_half(bytes, 0, scale);
    put_codes(encoding, bytes, &codes);
}

/// Of a signed byte and the greatest code.
fn least(code: u8, most: i32) -> u8 {
    i32::from(code.cast_signed()).min(most) as u8
}

/// Q4_1 and Q5_1, whose codes count from a minimum.
pub(super) fn affine(
    encoding: Encoding,
    bytes: &mut [u8],
    weights: &[f32],
    importance: Option<&[f32]>,
    spread: f32,
    most: i32,
) {
    let mut codes = [0; 32];
    let (scale, minimum) = match importance {
        Some(importance) => {
            let importance = weigh(weights, importance, spread);
            let (scale, minimum) = search::affine(weights, &importance, most, WIDE, &mut codes);
            (scale, -minimum)
        }
        None => {
            let minimum = weights.iter().copied().fold(f32::MAX, |a, b| if b < a { b } else { a });
            let greatest = weights.iter().copied().fold(f32::MIN, |a, b| if b > a { b } else { a });
            let scale = (greatest - minimum) / most as f32;
            let inverse = inverse(scale);
            for (to, weight) in codes.iter_mut().zip(weights) {
                *to = least(cast((weight - minimum) * inverse + 0.5), most);
            }
            (scale, minimum)
        }
    };
    put_half(bytes, 0, scale);
    put_half(bytes, 2, minimum);
    put_codes(encoding, bytes, &codes);
}
