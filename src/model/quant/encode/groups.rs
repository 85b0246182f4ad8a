//! Blocks of 256 weights in groups that have small integers for scales: Q4_K, Q5_K and Q6_K.

use super::search::{self, Tries, ZERO, nearest};
use super::small::WIDE;
use super::{Encoding, mean_square, put_codes, put_half, weigh};
use crate::model::quant::k_scales;

/// Groups of Q4_K and Q5_K.
const GROUPS: usize = 8;

/// The greatest scale of a group.
const MOST_SCALE: i32 = 63;

/// Q4_K and Q5_K, whose codes count from a minimum.
pub(super) fn affine(
    encoding: Encoding,
    bytes: &mut [u8],
    weights: &[f32],
    importance: Option<&[f32]>,
    most: i32,
) {
    let mut codes = [0; 256];
    let (mut scales, mut minima, mut counts) = ([0f32; GROUPS], [0f32; GROUPS], [0f32; GROUPS]);
    let (groups, _) = weights.as_chunks::<32>();
    let spread = 2.0 * mean_square(weights);
    for (at, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<32>().0).enumerate() {
        let counted: Vec<f32> = match importance {
            Some(importance) => weigh(group, &importance[32 * at..][..32], spread),
            None => {
                let mean = (group.iter().map(|weight| weight * weight).sum::<f32>() / 32.0).sqrt();
                group.iter().map(|weight| mean + weight.abs()).collect()
            }
        };
        counts[at] = counted.iter().sum();
        let tries = if importance.is_some() { WIDE } else { tries(most) };
        (scales[at], minima[at]) = search::affine(group, &counted, most, tries, codes);
    }
    let (mut of_scales, mut of_minima) = ([0; GROUPS], [0; GROUPS]);
    let (scale, minimum) = if importance.is_some() {
        (
            search::positive(&scales, &counts, MOST_SCALE, &mut of_scales),
            search::positive(&minima, &counts, MOST_SCALE, &mut of_minima),
        )
    } else {
        (by_greatest(&scales, &mut of_scales), by_greatest(&minima, &mut of_minima))
    };
    let (scale, minimum) = (put_half(bytes, 0, scale), put_half(bytes, 2, minimum));
    k_scales::pack(&of_scales, &of_minima, &mut bytes[4..16]);
    for (at, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<32>().0).enumerate() {
        let scale = scale * f32::from(of_scales[at]);
        if scale == 0.0 {
            continue;
        }
        let minimum = minimum * f32::from(of_minima[at]);
        for (to, weight) in codes.iter_mut().zip(group) {
            *to = nearest((weight + minimum) / scale).clamp(0, most) as u8;
        }
    }
    put_codes(encoding, bytes, &codes);
}

/// What the reference tries without importance.
fn tries(most: i32) -> Tries {
    if most == 15 {
        Tries { first: -1.0, step: 0.1, last: 20 }
    } else {
        Tries { first: -0.5, step: 0.1, last: 15 }
    }
}

/// Codes of scales by the greatest of them. Gives what one stands for.
fn by_greatest(values: &[f32; GROUPS], codes: &mut [u8; GROUPS]) -> f32 {
    let greatest = values.iter().copied().fold(0f32, |a, b| if b > a { b } else { a });
    let inverse = if greatest > 0.0 { MOST_SCALE as f32 / greatest } else { 0.0 };
    for (to, value) in codes.iter_mut().zip(values) {
        *to = (nearest(inverse * value) as u8).min(MOST_SCALE as u8);
    }
    greatest / MOST_SCALE as f32
}

/// Q6_K, whose codes count from -32 in groups of 16.
pub(super) fn symmetric(bytes: &mut [u8], weights: &[f32], importance: Option<&[f32]>) {
    let mut codes = [0; 256];
    let mut scales = [0f32; 16];
    let (groups, _) = weights.as_chunks::<16>();
    let mut greatest = 0f32;
    for (at, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<16>().0).enumerate() {
        let importance = importance.map(|importance| &importance[16 * at..][..16]);
        scales[at] = search::symmetric(group, importance, 32, codes);
        if scales[at].abs() > greatest.abs() {
            greatest = scales[at];
        }
    }
    bytes.fill(0);
    if greatest.abs() < ZERO {
        return;
    }
    let inverse = -128.0 / greatest;
    let scale = put_half(bytes, 208, 1.0 / inverse);
    for (at, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<16>().0).enumerate() {
        let of_group = nearest(inverse * scales[at]).min(127) as i8;
        bytes[192 + at] = of_group.cast_unsigned();
        let scale = scale * f32::from(of_group);
        if scale == 0.0 {
            continue;
        }
        for (to, weight) in codes.iter_mut().zip(group) {
            *to = (nearest(weight / scale).clamp(-32, 31) + 32) as u8;
        }
    }
    put_codes(Encoding::Q6_K, bytes, &codes);
}
