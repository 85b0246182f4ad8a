//! The way back for whole blocks whose weights have changed a little: codes nearest to what is
//! wanted, and scales fitted to it.
//!
//! In: a block as it was, and what its weights are to be. Out: the block anew. Scales of groups
//! within a block of 256 stay as they are; the half floats of the block are fitted by least
//! squares, after which the codes are chosen again, and what came nearest is kept. So the result is
//! never further from what is wanted than the nearest codes of the block as it was.

use half::f16;

use super::code::set_nearest;
use super::format::half_at;
use super::{Encoding, dequantize};

/// How often scales are fitted and codes chosen.
const ROUNDS: usize = 2;
/// The change of the largest weight from which scales are stretched first: below it, fitting alone
/// finds them.
const STRETCHED: f32 = 1.02;

/// Writes a block of weights that are finite, `block` being as they were before.
///
/// # Panics
/// When `block` is no block of the encoding, or `wanted` not its weights.
pub(crate) fn fit(encoding: Encoding, block: &mut [u8], wanted: &[f32]) {
    if !encoding.is_quantised() {
        return set_nearest(encoding, block, 0, wanted[0]);
    }
    let mut weights = vec![0.0; encoding.block_len()];
    dequantize(encoding, block, &mut weights);
    let largest = |weights: &[f32]| weights.iter().fold(0f32, |most, w| most.max(w.abs()));
    let stretch = largest(wanted) / largest(&weights);
    let mut best = (f64::INFINITY, block.to_vec());
    let mut starts = vec![block.to_vec()];
    if stretch.is_finite() && !(1.0 / STRETCHED..STRETCHED).contains(&stretch) {
        let mut start = block.to_vec();
        set_halves(encoding, &mut start, &halves(encoding, block).map(|half| half * stretch));
        starts.push(start);
    } else if stretch.is_infinite() {
        starts.push(of_range(encoding, block, wanted));
    }
    for mut start in starts {
        for round in 0..=ROUNDS {
            if round > 0 {
                fit_halves(encoding, &mut start, wanted);
            }
            for (index, wanted) in wanted.iter().enumerate() {
                set_nearest(encoding, &mut start, index, *wanted);
            }
            dequantize(encoding, &start, &mut weights);
            let error = squares(weights.iter().zip(wanted).map(|(is, to_be)| is - to_be));
            if error < best.0 {
                best = (error, start.clone());
            }
        }
    }
    block.copy_from_slice(&best.1);
}

/// The half floats of a block; the second is 0 where there is none.
fn halves(encoding: Encoding, block: &[u8]) -> [f32; 2] {
    let at = |index: usize| encoding.half_floats().get(index).map_or(0.0, |&at| half_at(block, at));
    [at(0), at(1)]
}

/// Writes the half floats of a block, if they are such.
fn set_halves(encoding: Encoding, block: &mut [u8], halves: &[f32; 2]) {
    let halves = halves.map(f16::from_f32);
    if halves.iter().all(|half| half.is_finite()) {
        for (&at, half) in encoding.half_floats().iter().zip(halves) {
            block[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
    }
}

/// A block of zeros with scales that reach as far as what is wanted.
fn of_range(encoding: Encoding, block: &[u8], wanted: &[f32]) -> Vec<u8> {
    let mut block = block.to_vec();
    let least = wanted.iter().copied().fold(f32::INFINITY, f32::min);
    let most = wanted.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let steps = super::code_of(encoding, &block, 0).map_or(1, |code| code.most) as f32;
    let halves = match encoding.half_floats().len() {
        1 => [least.abs().max(most.abs()) * 2.0 / steps, 0.0],
        _ => [(most - least) / steps, least],
    };
    set_halves(encoding, &mut block, &halves);
    block
}

/// Fits the half floats of a block to what is wanted, its codes as they are.
fn fit_halves(encoding: Encoding, block: &mut [u8], wanted: &[f32]) {
    // What each of them is multiplied with: a weight is a sum of such products.
    let factor = |index: usize| {
        let (mut one, mut factors) = (block.to_vec(), vec![0.0; wanted.len()]);
        set_halves(encoding, &mut one, &std::array::from_fn(|at| f32::from(at == index)));
        dequantize(encoding, &one, &mut factors);
        factors
    };
    let product = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let a = factor(0);
    let (aa, at) = (product(&a, &a), product(&a, wanted));
    if encoding.half_floats().len() == 1 {
        if aa > 0.0 {
            set_halves(encoding, block, &[(at / aa) as f32, 0.0]);
        }
        return;
    }
    let b = factor(1);
    let (ab, bb, bt) = (product(&a, &b), product(&b, &b), product(&b, wanted));
    let determinant = aa * bb - ab * ab;
    if determinant > 1e-9 * aa * bb {
        let fitted = [(at * bb - bt * ab) / determinant, (bt * aa - at * ab) / determinant];
        set_halves(encoding, block, &fitted.map(|half| half as f32));
    }
}

fn squares(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.map(|number| f64::from(number).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of 24 bits around zero.
    fn numbers(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed | 1;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        }
    }

    fn error(encoding: Encoding, block: &[u8], wanted: &[f32]) -> f64 {
        let mut weights = vec![0.0; wanted.len()];
        dequantize(encoding, block, &mut weights);
        squares(weights.iter().zip(wanted).map(|(is, to_be)| is - to_be))
    }

    #[test]
    fn blocks_are_never_worse_than_the_nearest_codes_and_stay_where_nothing_changes() {
        for encoding in Encoding::ALL {
            let mut next = numbers(7);
            for size in [0.0, 0.01, 0.5, 3.0] {
                let mut block: Vec<u8> =
                    (0..encoding.block_bytes()).map(|_| (next() * 128.0) as i8 as u8).collect();
                let halves = encoding.half_floats();
                halves.iter().for_each(|at| block[at + 1] = block[at + 1] & 0x83 | 0x20);
                match encoding {
                    Encoding::F32 => block[3] = 0x3c,
                    Encoding::BF16 => block[1] = 0x3c,
                    _ => {}
                }
                let mut wanted = vec![0.0; encoding.block_len()];
                dequantize(encoding, &block, &mut wanted);
                let spread = (squares(wanted.iter().copied()) / wanted.len() as f64).sqrt() as f32;
                wanted.iter_mut().for_each(|weight| *weight += size * spread * next());
                let mut nearest = block.clone();
                for (index, wanted) in wanted.iter().enumerate() {
                    set_nearest(encoding, &mut nearest, index, *wanted);
                }
                let mut fitted = block.clone();
                fit(encoding, &mut fitted, &wanted);
                let (fitted, nearest) =
                    (error(encoding, &fitted, &wanted), error(encoding, &nearest, &wanted));
                assert!(fitted <= nearest, "{encoding} {size}: {fitted} and {nearest}");
                assert!(size > 0.0 || fitted == 0.0, "{encoding}: {fitted}");
            }
        }
    }

    #[test]
    fn a_block_of_zeros_becomes_what_is_wanted() {
        let wanted: Vec<f32> = (0..32).map(|at| at as f32 - 15.0).collect();
        for encoding in [Encoding::Q4_0, Encoding::Q4_1, Encoding::Q5_1, Encoding::Q8_0] {
            let mut block = vec![0; encoding.block_bytes()];
            fit(encoding, &mut block, &wanted);
            let share = error(encoding, &block, &wanted) / squares(wanted.iter().copied());
            assert!(share < 0.01, "{encoding}: {share}");
        }
    }
}
