//! Tiles over whole blocks of 256 inputs: weights are multiplied with their integer scales before,
//! so that sums stay in the tiles over the block.
//!
//! A weight is then two bytes, an activation three, and the tiles hold a sum for each pair of them.
//! Sums of one digit of activations are joined when they leave the tiles: they are the integers of
//! [`Processor::block_products`].

use std::arch::asm;
use std::cell::Cell;

use bytemuck::{cast_mut, cast_ref};
use pulp::x86::V4;
use pulp::{Simd, cast};

use super::{Amx, COLUMNS, PANELS, ROWS, Shapes, WordVector};
use crate::forward::cpu::fixed::{DIGITS, RoundedBlock, Tiled, digit_bits};
use crate::forward::cpu::lanes::LANES;
use crate::forward::cpu::processor::x86::Integers;
use crate::forward::cpu::processor::{Processor, Scaled};
use crate::forward::cpu::unpack::{BLOCK, CHUNK, CHUNKS, Quants};

/// Words of inputs to a tile.
const WORDS: usize = 16;
/// Tiles of inputs to a block.
const STEPS: usize = BLOCK / 4 / WORDS;
/// Tiles of sums: digits of weights, the upper one first, by digits of activations, the highest
/// first.
const PAIRS: usize = 2 * DIGITS;

/// A digit of 64 rows' weights as tiles read them: of each 16 rows, one word after another. Where
/// the lines of a tile lie apart, it takes a third longer to read.
type Digit = [[[u32; ROWS]; BLOCK / 4]; PANELS];

/// The upper and the lower digit of 64 rows' weights.
#[repr(align(64))]
struct BlockWeights([Digit; 2]);

/// Sums of products of digits, 16 columns by 16 rows, of 64 bytes' alignment.
#[repr(align(64))]
struct BlockSums([[[i32; ROWS]; COLUMNS]; PAIRS]);

thread_local! {
    /// Room for the digits of weights.
    static WEIGHTS: Cell<Option<Box<BlockWeights>>> = const { Cell::new(None) };
}

/// Sixteen bits of each of 16 words.
type Halves = [u16; 2 * ROWS];

/// Makes two digits of every weight.
#[inline(always)]
fn split<K: Scaled>(quants: &Quants, weights: &mut BlockWeights) {
    let [upper, lower] = &mut weights.0;
    for (at, words) in quants.bytes.as_flattened().iter().enumerate() {
        let steps = &quants.steps[at / (CHUNK / 4)][at % (CHUNK / 4) / 4];
        let rows = words.as_chunks::<ROWS>().0.iter().zip(steps.as_chunks::<ROWS>().0);
        for ((words, steps), (upper, lower)) in rows.zip(upper.iter_mut().zip(&mut *lower)) {
            let steps = steps.map(|step| step | step << 16);
            let (words, steps): (&Halves, &Halves) = (cast_ref(words), cast_ref(&steps));
            let (upper, lower) = (cast_mut(&mut upper[at]), cast_mut(&mut lower[at]));
            split_words::<K>(words, steps, upper, lower);
        }
    }
}

#[inline(always)]
fn split_words<K: Scaled>(words: &Halves, steps: &Halves, upper: &mut Halves, lower: &mut Halves) {
    for lane in 0..2 * ROWS {
        let (two, step) = (words[lane], steps[lane]);
        if K::IS_BY_SCALE {
            // At most 31 * 7: no product passes its byte.
            upper[lane] = two.wrapping_mul(step >> K::LOWER_BITS);
            lower[lane] = two.wrapping_mul(step & ((1 << K::LOWER_BITS) - 1));
        } else {
            let of = |byte: u16| (byte as i16 - K::ZERO as i16).wrapping_mul(step as i16);
            let half = 1 << (K::LOWER_BITS - 1);
            let [even, odd] = [of(two & 0xff), of(two >> 8)];
            let [even_upper, odd_upper] = [even, odd].map(|of| (of + half) >> K::LOWER_BITS);
            let even_lower = even - (even_upper << K::LOWER_BITS);
            let odd_lower = odd - (odd_upper << K::LOWER_BITS);
            upper[lane] = even_upper as u16 & 0xff | (odd_upper as u16) << 8;
            lower[lane] = even_lower as u16 & 0xff | (odd_lower as u16) << 8;
        }
    }
}

/// Adds a block times some columns to their sums.
#[inline(always)]
pub(super) fn add<K: Scaled>(
    processor: Amx,
    quants: &Quants,
    (x, tiled): (&[RoundedBlock], &[Tiled]),
    sums: &mut [[f32; LANES]],
) {
    let mut weights = WEIGHTS
        .take()
        .unwrap_or_else(|| Box::new(BlockWeights([[[[0; ROWS]; BLOCK / 4]; PANELS]; 2])));
    split::<K>(quants, &mut weights);
    let simd = processor.vectors();
    let rest = sums.len() % COLUMNS;
    let (sums, sums_of_rest) = sums.split_at_mut(sums.len() - rest);
    let (x, x_of_rest) = x.split_at(sums.len());
    let (tiled, tiled_of_rest) = tiled.split_at(sums.len() / COLUMNS);
    add_groups::<K>(simd, (quants, &weights), (x, tiled, COLUMNS), sums);
    add_groups::<K>(simd, (quants, &weights), (x_of_rest, tiled_of_rest, rest), sums_of_rest);
    // SAFETY: there is an `Amx` only where the tiles are.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
    WEIGHTS.set(Some(weights));
}

/// The same for groups of `count` columns each.
#[inline(always)]
fn add_groups<K: Scaled>(
    simd: V4,
    (quants, weights): (&Quants, &BlockWeights),
    (x, tiled, count): (&[RoundedBlock], &[Tiled], usize),
    sums: &mut [[f32; LANES]],
) {
    if count == 0 || sums.is_empty() {
        return;
    }
    let shapes = Shapes::of_blocks(count);
    // SAFETY: there is an `Amx` only where the tiles are; the shapes are 64 bytes and valid.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
    let mut tiles = BlockSums([[[0; ROWS]; COLUMNS]; PAIRS]);
    let groups = sums.len() / count;
    // All columns for a panel of rows, whose weights stay in the first cache.
    for at in 0..=PANELS * groups {
        let (panel, group) = (at / groups, at % groups);
        // Tiles take their time: meanwhile vectors add up what the last ones gave.
        clear();
        for step in 0..STEPS {
            if at < PANELS * groups {
                multiply::<K>(weights, panel, &tiled[group], step);
            }
            if at > 0 {
                let (panel, group) = ((at - 1) / groups, (at - 1) % groups);
                let (x, sums) = (&x[group * count..], &mut sums[group * count..]);
                for column in step * COLUMNS / STEPS..count.min((step + 1) * COLUMNS / STEPS) {
                    let of_tiles = tiles.0.each_ref().map(|tile| &tile[column]);
                    finish::<K>(simd, quants, panel, &x[column], of_tiles, &mut sums[column]);
                }
            }
        }
        if at < PANELS * groups {
            store(&mut tiles);
        }
    }
}

/// Sets the tiles of sums to zero.
#[inline(always)]
fn clear() {
    // SAFETY: the tiles were configured.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            options(nostack, nomem),
        );
    }
}

/// Multiplies 64 inputs of some columns with 16 rows.
#[inline(always)]
fn multiply<K: Scaled>(weights: &BlockWeights, panel: usize, x: &Tiled, step: usize) {
    let [upper, lower] = weights.0.each_ref().map(|digit| digit[panel][step * WORDS..].as_ptr());
    let [low, middle, high] = x.0[step].each_ref().map(|digit| digit.as_ptr());
    macro_rules! multiply {
        ($product:literal) => {
            // SAFETY: the tiles have the shapes of `Shapes::of_blocks`. Read are 16 words of 16
            // rows of weights, and 16 words of a digit of each column.
            unsafe {
                asm!(
                    "tileloadd tmm6, [{upper} + {line}]",
                    "tileloadd tmm7, [{high} + {line}]",
                    concat!($product, " tmm0, tmm7, tmm6"),
                    "tileloadd tmm7, [{middle} + {line}]",
                    concat!($product, " tmm1, tmm7, tmm6"),
                    "tileloadd tmm7, [{low} + {line}]",
                    concat!($product, " tmm2, tmm7, tmm6"),
                    "tileloadd tmm6, [{lower} + {line}]",
                    concat!($product, " tmm5, tmm7, tmm6"),
                    "tileloadd tmm7, [{middle} + {line}]",
                    concat!($product, " tmm4, tmm7, tmm6"),
                    "tileloadd tmm7, [{high} + {line}]",
                    concat!($product, " tmm3, tmm7, tmm6"),
                    upper = in(reg) upper,
                    lower = in(reg) lower,
                    line = in(reg) size_of::<[u32; ROWS]>(),
                    low = in(reg) low,
                    middle = in(reg) middle,
                    high = in(reg) high,
                    options(nostack, readonly),
                );
            }
        };
    }
    if K::IS_BY_SCALE {
        multiply!("tdpbsud");
    } else {
        multiply!("tdpbssd");
    }
}

/// Writes the sums.
#[inline(always)]
fn store(to: &mut BlockSums) {
    let [a, b, c, d, e, f] = to.0.each_mut().map(|tile| tile.as_mut_ptr());
    // SAFETY: a tile has at most 16 lines of 16 words, as the arrays.
    unsafe {
        asm!(
            "tilestored [{a} + {line}], tmm0",
            "tilestored [{b} + {line}], tmm1",
            "tilestored [{c} + {line}], tmm2",
            "tilestored [{d} + {line}], tmm3",
            "tilestored [{e} + {line}], tmm4",
            "tilestored [{f} + {line}], tmm5",
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            e = in(reg) e,
            f = in(reg) f,
            line = in(reg) size_of::<[i32; ROWS]>(),
            options(nostack),
        );
    }
}

/// Joins the sums of a column and adds them, scaled, to its own: as `multiply::add_products` does
/// for a column alone.
#[inline(always)]
fn finish<K: Scaled>(
    simd: V4,
    quants: &Quants,
    panel: usize,
    x: &RoundedBlock,
    of_tiles: [&[i32; ROWS]; PAIRS],
    sums: &mut [f32; LANES],
) {
    let of = |floats: &[f32; LANES]| V4::as_simd_f32s(floats).0[panel];
    let mut sum = of(sums);
    if K::ZERO == 0 {
        for chunk in 0..CHUNKS {
            let total = simd.splat_f32s(x.sums[chunk]);
            sum = simd.mul_add_e_f32s(of(&quants.offset[chunk][0]), total, sum);
        }
    }
    let shift = simd.splat_u32s(K::LOWER_BITS);
    let tile = |tile: usize| -> WordVector { cast(V4::as_simd_i32s(of_tiles[tile]).0[0]) };
    let upper = [tile(0), tile(1), tile(2)];
    let lower = [tile(3), tile(4), tile(5)];
    let mut floats = [simd.splat_f32s(0.0); DIGITS];
    for digit in 0..DIGITS {
        let upper = simd.wrapping_dyn_shl_u32s(upper[digit], shift);
        let joined = simd.add(upper, lower[digit]);
        floats[digit] = cast(simd.avx512f._mm512_cvtepi32_ps(cast(joined)));
    }
    let [high, middle, low] = floats;
    const DIGIT: f32 = (1 << digit_bits(DIGITS)) as f32;
    let products = simd.mul_add_e_f32s(middle, simd.splat_f32s(DIGIT), low);
    let products = simd.mul_add_e_f32s(high, simd.splat_f32s(DIGIT * DIGIT), products);
    let scale = simd.mul_f32s(of(&quants.whole), simd.splat_f32s(x.scale));
    V4::as_mut_simd_f32s(sums).0[panel] = simd.mul_add_e_f32s(scale, products, sum);
}
