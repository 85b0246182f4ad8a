//! What processors do in their own ways: take texels apart, and multiply bytes with activations.
//!
//! In: lines of texels, bytes of 64 rows and rounded activations. Out: words by row, exact
//! integers. Everything else is plain loops over 64 lanes, which are compiled for each processor's
//! vectors: [`run`] finds the widest that there are, once, and what it calls is inlined there.

#[cfg(target_arch = "x86_64")]
mod amx;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use half::f16;
use pulp::Simd;

use super::fixed::{DIGITS, Rounded, RoundedBlock, Tiled};
use super::lanes::{LANES, LINE, Words, half};
use super::unpack::Quants;

/// A kind of processor.
pub(crate) trait Processor: Copy {
    /// Its vectors of floats.
    type Vectors: Simd;

    /// Its vectors of floats.
    fn vectors(self) -> Self::Vectors;

    /// The four words of every row's texel: `words[i][lane(row)]` is word `i` of the texel of
    /// `row`.
    fn split_texels(self, line: &[u8; LINE], words: &mut [Words; 4]);

    /// Where [`Processor::split_texels`] puts a row: in its own place among the 64, or where the
    /// fewest instructions leave it.
    fn lane(row: usize) -> usize;

    /// A vector of halves as floats; there are as many as it has lanes.
    #[inline(always)]
    fn widen(self, halves: &[f16]) -> <Self::Vectors as Simd>::f32s {
        let mut floats = [0.0; LANES];
        for (float, bits) in floats.iter_mut().zip(halves) {
            *float = half(u32::from(bits.to_bits()));
        }
        Self::Vectors::as_simd_f32s(&floats).0[0]
    }

    /// Per lane, the exact sum of `4 * WORDS` bytes times as many activations of `DIGITS` digits,
    /// those from word `part * WORDS` on. Signed bytes are any; the others are below 64, or below
    /// 32 where there are eight words of them.
    fn products<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    );

    /// Adds chunks times columns to their sums where several columns are faster together than one
    /// by one: the first columns, and tells how many they are. `x` has all columns' activations for
    /// each chunk. What is added to a sum is the same, in the same order.
    #[inline(always)]
    fn add_columns<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        _quants: &Quants,
        _x: &[&[Rounded]],
        _sums: &mut [[f32; LANES]],
    ) -> usize {
        0
    }

    /// Per lane and digit of activations, the exact sum over a block of
    /// `scale * (byte - ZERO) * digit`.
    fn block_products<K: Scaled>(
        self,
        quants: &Quants,
        x: &RoundedBlock,
        out: &mut [[i32; LANES]; DIGITS],
    );

    /// As [`Processor::add_columns`], a block at a time. What is added to a sum is what
    /// `multiply::add_products` adds.
    #[inline(always)]
    fn add_block_columns<K: Scaled>(
        self,
        _quants: &Quants,
        _x: (&[RoundedBlock], &[Tiled]),
        _sums: &mut [[f32; LANES]],
    ) -> usize {
        0
    }
}

/// How bytes and integer scales make the weights of an encoding with scales of scales:
/// `whole * scale * (byte - ZERO)`.
pub(crate) trait Scaled: Copy + std::fmt::Debug {
    /// Words of bytes whose sums with a digit of activations fit 16 bits: all or half of a chunk's.
    const WORDS: usize;
    /// The byte of a weight of zero.
    const ZERO: i32;
    /// A weight is two digits, the lower one of so many bits.
    const LOWER_BITS: u32;
    /// Whether the lower one is made from the lower bits of the scale, which no byte passes then.
    const IS_BY_SCALE: bool;
}

/// Nibbles with scales of 6 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaledNibbles;

impl Scaled for ScaledNibbles {
    const WORDS: usize = 8;
    const ZERO: i32 = 0;
    const LOWER_BITS: u32 = 3;
    const IS_BY_SCALE: bool = true;
}

/// Five bits with scales of 6 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaledFives;

impl Scaled for ScaledFives {
    const WORDS: usize = 4;
    const ZERO: i32 = 0;
    const LOWER_BITS: u32 = 3;
    const IS_BY_SCALE: bool = true;
}

/// Six bits from -32 with scales of 8 bits, signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaledSixes;

impl Scaled for ScaledSixes {
    const WORDS: usize = 4;
    const ZERO: i32 = 32;
    const LOWER_BITS: u32 = 7;
    const IS_BY_SCALE: bool = false;
}

/// What is to be done with a processor's vectors. `with` must be inlined, and all that it calls;
/// closures are not.
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    fn with<P: Processor>(self, processor: P) -> Self::Output;
}

/// Vectors that a processor may have, the widest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vectors {
    /// Whatever the compiler makes of plain loops.
    Portable,
    /// 256 bits.
    Avx2,
    /// 512 bits.
    Avx512,
    /// 512 bits, and sums of four products of bytes in one instruction.
    Avx512Vnni,
    /// These, and products of tiles of 16 columns by 16 rows.
    Amx,
}

impl Vectors {
    const ALL: [(&'static str, Self); 5] = [
        ("portable", Self::Portable),
        ("avx2", Self::Avx2),
        ("avx512", Self::Avx512),
        ("avx512-vnni", Self::Avx512Vnni),
        ("amx", Self::Amx),
    ];

    /// The widest that this processor has, or narrower ones that `PIXEL_LLM_VECTORS` names: so a
    /// wide processor tells what a narrow one would do.
    fn chosen() -> Self {
        static CHOSEN: OnceLock<Vectors> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let named = std::env::var("PIXEL_LLM_VECTORS").ok();
            let most = named.as_ref().map_or(Some(Self::Amx), |named| {
                Self::ALL.iter().find(|(name, _)| name == named).map(|&(_, vectors)| vectors)
            });
            let most = most.unwrap_or_else(|| {
                let names = Self::ALL.map(|(name, _)| name).join(", ");
                eprintln!("PIXEL_LLM_VECTORS is none of {names}: the widest vectors are used");
                Self::Amx
            });
            Self::ALL
                .into_iter()
                .map(|(_, vectors)| vectors)
                .rev()
                .find(|vectors| *vectors <= most && vectors.are_here())
                .unwrap_or(Self::Portable)
        })
    }

    /// Whether this processor has them.
    fn are_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Portable => true,
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            Self::Avx512Vnni => x86::Vnni::try_new().is_some(),
            Self::Amx => x86::Vnni::try_new().and_then(amx::Amx::try_new).is_some(),
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Portable;
    }
}

/// Columns below which tiles are not worth it.
pub(crate) const FEWEST_FOR_TILES: usize = 4;

/// Whether passes use tiles here.
pub(crate) fn has_tiles() -> bool {
    Vectors::chosen() == Vectors::Amx
}

/// The name of the vectors that passes use here, as `PIXEL_LLM_VECTORS` may name them.
pub fn vectors() -> &'static str {
    let chosen = Vectors::chosen();
    Vectors::ALL.into_iter().find(|(_, of)| *of == chosen).map_or("", |(name, _)| name)
}

/// Does a work with this processor's vectors.
#[inline(always)]
pub(crate) fn run<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    return x86::run(Vectors::chosen(), work);
    #[cfg(not(target_arch = "x86_64"))]
    return portable::run(work);
}

#[cfg(test)]
mod tests;
