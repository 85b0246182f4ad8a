//! Intel's tiles: products of 16 columns of activations with 16 rows of weights in one instruction.
//!
//! A tile of weights is as they lie unpacked: a word of each of 16 rows to a line. A tile of
//! activations is a digit of 16 columns. Rust has no stable functions for these instructions yet,
//! so they are written out.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::offset_of;
use std::sync::OnceLock;

use half::f16;
use pulp::x86::V4;
use pulp::{Simd, cast};

use super::Processor;
use super::x86::{Vnni, joined};
use crate::forward::cpu::fixed::Rounded;
use crate::forward::cpu::lanes::{LANES, LINE, Words};
use crate::forward::cpu::unpack::{CHUNK, Quants};

/// Columns of activations to a tile.
const COLUMNS: usize = 16;
/// Rows of weights to a tile, as many as there are words in a line of it.
const ROWS: usize = 16;

/// Tiles, beside VNNI for single columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amx(Vnni);

impl Amx {
    /// The tiles, if this processor has them and the kernel lends them.
    pub(super) fn try_new(vnni: Vnni) -> Option<Self> {
        static ARE_HERE: OnceLock<bool> = OnceLock::new();
        let are_here = *ARE_HERE.get_or_init(|| are_known() && are_lent());
        are_here.then_some(Self(vnni))
    }
}

/// Whether the processor says that it has tiles and products of bytes in them.
fn are_known() -> bool {
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & (TILE | INT8) == TILE | INT8
}

/// Asks the kernel for the tiles, which it saves for a process only if it was asked.
#[cfg(target_os = "linux")]
fn are_lent() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let answer: i64;
    // SAFETY: a call that changes nothing but which registers the kernel saves; it overwrites the
    // registers that are named here.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
fn are_lent() -> bool {
    false
}

/// The sizes of the tiles as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Of tile `i`.
    bytes_per_line: [u16; 16],
    lines: [u8; 16],
}

impl Shapes {
    /// Tiles 0 to 2: a digit of the activations each; 3: weights; 4 to 6: sums of a digit each.
    fn new(words: usize) -> Self {
        let mut shapes = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_per_line: [0; 16],
            lines: [0; 16],
        };
        for tile in 0..7 {
            let (lines, words) = match tile {
                0..3 => (COLUMNS, words),
                3 => (words, ROWS),
                _ => (COLUMNS, ROWS),
            };
            (shapes.lines[tile], shapes.bytes_per_line[tile]) = (lines as u8, words as u16 * 4);
        }
        shapes
    }
}

/// Tiles of weights to a row group.
const PANELS: usize = LANES / ROWS;

/// Sums of a digit's products: of 16 columns with 16 rows.
type DigitSums = [[i32; ROWS]; COLUMNS];

/// Sums of 64 bytes' alignment, so that no line of a tile crosses one of the cache.
#[repr(align(64))]
struct Digits([DigitSums; 3]);

/// The sums of 16 columns, as aligned.
#[repr(align(64))]
struct Sums([[f32; LANES]; COLUMNS]);

impl Processor for Amx {
    type Vectors = <Vnni as Processor>::Vectors;

    #[inline(always)]
    fn vectors(self) -> Self::Vectors {
        self.0.vectors()
    }

    #[inline(always)]
    fn split_texels(self, line: &[u8; LINE], words: &mut [Words; 4]) {
        self.0.split_texels(line, words);
    }

    #[inline(always)]
    fn lane(row: usize) -> usize {
        Vnni::lane(row)
    }

    #[inline(always)]
    fn widen(self, halves: &[f16]) -> <Self::Vectors as Simd>::f32s {
        self.0.widen(halves)
    }

    #[inline(always)]
    fn products<const SIGNED: bool, const WORDS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    ) {
        self.0.products::<SIGNED, WORDS>(words, part, x, out);
    }

    #[inline(always)]
    fn add_columns<const SIGNED: bool, const WORDS: usize>(
        self,
        quants: &Quants,
        x: &[&[Rounded]],
        sums: &mut [[f32; LANES]],
    ) -> usize {
        let (sums, _) = sums.as_chunks_mut::<COLUMNS>();
        let columns = sums.len() * COLUMNS;
        if columns == 0 {
            return 0;
        }
        let shapes = Shapes::new(WORDS);
        // SAFETY: there is an `Amx` only where the tiles are; the shapes are 64 bytes and valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        let mut digits = [const { Digits([[[0; ROWS]; COLUMNS]; 3]) }; 2];
        let [now, before] = &mut digits;
        let (mut now, mut before) = (now, before);
        for (group, sums) in sums.iter_mut().enumerate() {
            let mut held = Sums(*sums);
            let mut pending: Option<(Products<'_, WORDS>, usize)> = None;
            for (chunk, x) in x.iter().enumerate() {
                let x = &x.as_chunks::<COLUMNS>().0[group];
                for part in 0..CHUNK / 4 / WORDS {
                    let products = Products { quants, chunk, part, x };
                    products.load();
                    // Tiles take their time: meanwhile vectors add up what the last one gave.
                    for panel in 0..PANELS {
                        products.multiply::<SIGNED>(panel, now);
                        if let Some((products, panel)) = pending {
                            products.add(self.vectors(), panel, before, &mut held);
                        }
                        pending = Some((products, panel));
                        std::mem::swap(&mut now, &mut before);
                    }
                }
            }
            if let Some((products, panel)) = pending {
                products.add(self.vectors(), panel, before, &mut held);
            }
            *sums = held.0;
        }
        // SAFETY: there is an `Amx` only where the tiles are.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
        columns
    }
}

/// A chunk, or a part of it, times 16 columns.
#[derive(Clone, Copy)]
struct Products<'a, const WORDS: usize> {
    quants: &'a Quants,
    chunk: usize,
    part: usize,
    x: &'a [Rounded; COLUMNS],
}

impl<const WORDS: usize> Products<'_, WORDS> {
    /// Brings the activations into tiles 0 to 2.
    #[inline(always)]
    fn load(&self) {
        let columns = self.x.as_ptr().cast::<u8>();
        let first = offset_of!(Rounded, digits) + self.part * WORDS * size_of::<u32>();
        let digits = [0, 1, 2]
            .map(|digit| columns.wrapping_add(first + digit * size_of::<[u32; CHUNK / 4]>()));
        // SAFETY: the tiles have the shapes of `Shapes::new(WORDS)`. Read are `WORDS` words of a
        // digit of each of 16 columns, which lie a `Rounded` apart.
        unsafe {
            asm!(
                "tileloadd tmm0, [{low} + {stride}]",
                "tileloadd tmm1, [{middle} + {stride}]",
                "tileloadd tmm2, [{high} + {stride}]",
                low = in(reg) digits[0],
                middle = in(reg) digits[1],
                high = in(reg) digits[2],
                stride = in(reg) size_of::<Rounded>(),
                options(nostack, readonly),
            );
        }
    }

    /// The sums of products with 16 rows, by digit.
    #[inline(always)]
    fn multiply<const SIGNED: bool>(&self, panel: usize, to: &mut Digits) {
        let words = &self.quants.bytes[self.chunk][self.part * WORDS..][..WORDS];
        let rows = words.as_flattened()[panel * ROWS..].as_ptr();
        let to = to.0.as_mut_ptr();
        macro_rules! multiply {
            ($product:literal) => {
                // SAFETY: the tiles have the shapes of `Shapes::new(WORDS)`. Read are 16 words of
                // each of `WORDS` lines of weights, which lie 64 words apart; written are the three
                // arrays of sums.
                unsafe {
                    asm!(
                        "tileloadd tmm3, [{rows} + {apart}]",
                        "tilezero tmm4",
                        "tilezero tmm5",
                        "tilezero tmm6",
                        concat!($product, " tmm4, tmm0, tmm3"),
                        concat!($product, " tmm5, tmm1, tmm3"),
                        concat!($product, " tmm6, tmm2, tmm3"),
                        "tilestored [{to} + {line}], tmm4",
                        "tilestored [{to} + {line} + 1024], tmm5",
                        "tilestored [{to} + {line} + 2048], tmm6",
                        rows = in(reg) rows,
                        apart = in(reg) size_of::<Words>(),
                        to = in(reg) to,
                        line = in(reg) size_of::<[i32; ROWS]>(),
                        options(nostack),
                    );
                }
            };
        }
        if SIGNED {
            multiply!("tdpbssd");
        } else {
            multiply!("tdpbsud");
        }
    }

    /// Adds them, scaled, to the columns' sums.
    #[inline(always)]
    fn add(&self, simd: V4, panel: usize, digits: &Digits, sums: &mut Sums) {
        let of = |floats: &[[f32; LANES]; 2]| V4::as_simd_f32s(&floats[self.part]).0[panel];
        let (scale, offset) =
            (of(&self.quants.scale[self.chunk]), of(&self.quants.offset[self.chunk]));
        for column in 0..COLUMNS {
            let x = &self.x[column];
            let sums_of = |digit: usize| cast(V4::as_simd_i32s(&digits.0[digit][column]).0[0]);
            let integers = joined(simd, [sums_of(0), sums_of(1), sums_of(2)]);
            let total = x.sum_of::<WORDS>(self.part);
            let sum = &mut V4::as_mut_simd_f32s(&mut sums.0[column]).0[panel];
            // As for a column alone: the offset first.
            let with_offset = simd.mul_add_e_f32s(offset, simd.splat_f32s(total), *sum);
            let scale = simd.mul_f32s(scale, simd.splat_f32s(x.scale));
            *sum = simd.mul_add_e_f32s(
                scale,
                cast(simd.avx512f._mm512_cvtepi32_ps(cast(integers))),
                with_offset,
            );
        }
    }
}
