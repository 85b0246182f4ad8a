//! Intel's tiles: products of up to 16 columns of activations with 16 rows of weights in one
//! instruction.
//!
//! A tile of weights is as they lie unpacked: a word of each of 16 rows to a line. A tile of
//! activations is a digit of as many columns. Rust has no stable functions for these instructions
//! yet, so they are written out.

mod blocks;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::offset_of;
use std::sync::OnceLock;

use half::f16;
use pulp::x86::V4;
use pulp::{Simd, cast};

use super::x86::{Vnni, joined};
use super::{FEWEST_FOR_TILES, Processor, Scaled};
use crate::forward::cpu::fixed::{self, Rounded, RoundedBlock, Tiled, digit_bits};
use crate::forward::cpu::lanes::{LANES, LINE, Words};
use crate::forward::cpu::unpack::{CHUNK, Quants};

/// Columns of activations to a tile, at most.
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
    /// Tiles 0 to 2: a digit of some columns' activations each; 3: weights, `words` words of 16
    /// rows; 4 to 6: sums of a digit each.
    fn new(words: usize, columns: usize) -> Self {
        let mut shapes = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_per_line: [0; 16],
            lines: [0; 16],
        };
        for tile in 0..7 {
            let (lines, words) = match tile {
                0..3 => (columns, words),
                3 => (words, ROWS),
                _ => (columns, ROWS),
            };
            (shapes.lines[tile], shapes.bytes_per_line[tile]) = (lines as u8, words as u16 * 4);
        }
        shapes
    }

    /// Tiles 0 to 5: sums; 6: weights; 7: a digit of some columns' activations.
    fn of_blocks(columns: usize) -> Self {
        let mut shapes = Self::new(ROWS, columns);
        for tile in 0..8 {
            // Weights are 16 words of 16 rows.
            let lines = if tile == 6 { ROWS } else { columns };
            (shapes.lines[tile], shapes.bytes_per_line[tile]) = (lines as u8, ROWS as u16 * 4);
        }
        shapes
    }
}

/// Words of 16 rows.
type WordVector = <V4 as Simd>::u32s;

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
    fn products<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        words: &[Words; WORDS],
        part: usize,
        x: &Rounded,
        out: &mut [i32; LANES],
    ) {
        self.0.products::<SIGNED, WORDS, DIGITS>(words, part, x, out);
    }

    #[inline(always)]
    fn add_columns<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        quants: &Quants,
        x: &[&[Rounded]],
        sums: &mut [[f32; LANES]],
    ) -> usize {
        let count = worth_tiles(sums.len());
        if count == 0 {
            return 0;
        }
        self.add_groups::<SIGNED, WORDS, DIGITS>(quants, x, &mut sums[..count]);
        count
    }

    #[inline(always)]
    fn block_products<K: Scaled>(
        self,
        quants: &Quants,
        x: &RoundedBlock,
        out: &mut [[i32; LANES]; fixed::DIGITS],
    ) {
        self.0.block_products::<K>(quants, x, out);
    }

    #[inline(always)]
    fn add_block_columns<K: Scaled>(
        self,
        quants: &Quants,
        (x, tiled): (&[RoundedBlock], &[Tiled]),
        sums: &mut [[f32; LANES]],
    ) -> usize {
        // Of an input that was made where there are none, there are no tiles.
        let count = if tiled.is_empty() { 0 } else { worth_tiles(sums.len()) };
        if count > 0 {
            blocks::add::<K>(self, quants, (&x[..count], tiled), &mut sums[..count]);
        }
        count
    }
}

/// Of so many columns, those that are worth tiles.
fn worth_tiles(columns: usize) -> usize {
    let rest = columns % COLUMNS;
    if rest < FEWEST_FOR_TILES { columns - rest } else { columns }
}

impl Amx {
    /// Adds the chunks to the sums of all columns, by 16.
    #[inline(always)]
    fn add_groups<const SIGNED: bool, const WORDS: usize, const DIGITS: usize>(
        self,
        quants: &Quants,
        x: &[&[Rounded]],
        sums: &mut [[f32; LANES]],
    ) {
        let mut configured = 0;
        let mut digits = [const { Digits([[[0; ROWS]; COLUMNS]; 3]) }; 2];
        let [now, before] = &mut digits;
        let (mut now, mut before) = (now, before);
        for (group, sums) in sums.chunks_mut(COLUMNS).enumerate() {
            let (first, count) = (group * COLUMNS, sums.len());
            if count != configured {
                let shapes = Shapes::new(WORDS, count);
                // SAFETY: there is an `Amx` only where the tiles are; the shapes are 64 bytes and
                // valid.
                unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
                configured = count;
            }
            let mut held = Sums([[0.0; LANES]; COLUMNS]);
            held.0[..count].copy_from_slice(sums);
            let mut pending: Option<(Products<'_, WORDS, DIGITS>, usize)> = None;
            for (chunk, x) in x.iter().enumerate() {
                let x = &x[first..][..count];
                for part in 0..CHUNK / 4 / WORDS {
                    let products = Products { quants, chunk, part, x };
                    products.load();
                    for panel in 0..PANELS {
                        // Tiles take their time: meanwhile vectors add up what the last one gave.
                        // Stored before that, they would hold it up.
                        products.multiply::<SIGNED>(panel);
                        if let Some((products, panel)) = pending {
                            products.add::<SIGNED>(self.vectors(), panel, before, &mut held);
                        }
                        products.store(now);
                        pending = Some((products, panel));
                        std::mem::swap(&mut now, &mut before);
                    }
                }
            }
            if let Some((products, panel)) = pending {
                products.add::<SIGNED>(self.vectors(), panel, before, &mut held);
            }
            sums.copy_from_slice(&held.0[..count]);
        }
        // SAFETY: there is an `Amx` only where the tiles are.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// A chunk, or a part of it, times up to 16 columns.
#[derive(Clone, Copy)]
struct Products<'a, const WORDS: usize, const DIGITS: usize> {
    quants: &'a Quants,
    chunk: usize,
    part: usize,
    x: &'a [Rounded],
}

impl<const WORDS: usize, const DIGITS: usize> Products<'_, WORDS, DIGITS> {
    /// Brings the activations into tiles 0 to `DIGITS - 1`.
    #[inline(always)]
    fn load(&self) {
        let first = self.x.as_ptr().cast::<u8>().wrapping_add(offset_of!(Rounded, digits));
        let first = first.wrapping_add(self.part * WORDS * size_of::<u32>());
        let digits =
            [0, 1, 2].map(|digit| first.wrapping_add(digit * size_of::<[u32; CHUNK / 4]>()));
        macro_rules! load {
            ($index:literal, $tile:literal) => {
                if DIGITS > $index {
                    // SAFETY: the tiles have the shapes of `Shapes::new`. Read are as many words
                    // of a digit of each column, which lie a `Rounded` apart.
                    unsafe {
                        asm!(
                            concat!("tileloadd ", $tile, ", [{first} + {apart}]"),
                            first = in(reg) digits[$index],
                            apart = in(reg) size_of::<Rounded>(),
                            options(nostack, readonly),
                        );
                    }
                }
            };
        }
        load!(0, "tmm0");
        load!(1, "tmm1");
        load!(2, "tmm2");
    }

    /// The sums of products with 16 rows, in tiles 4 and those after it.
    #[inline(always)]
    fn multiply<const SIGNED: bool>(&self, panel: usize) {
        let words = &self.quants.bytes[self.chunk][self.part * WORDS..][..WORDS];
        let rows = words.as_flattened()[panel * ROWS..].as_ptr();
        // SAFETY: the tiles have the shapes of `Shapes::new`. Read are 16 words of each line of
        // weights, as many as `words` has, which lie 64 words apart.
        unsafe {
            asm!(
                "tileloadd tmm3, [{rows} + {apart}]",
                rows = in(reg) rows,
                apart = in(reg) size_of::<Words>(),
                options(nostack, readonly),
            );
        }
        macro_rules! multiply {
            ($index:literal, $product:literal, $sums:literal, $x:literal) => {
                if DIGITS > $index {
                    // SAFETY: between tiles that were configured.
                    unsafe {
                        asm!(
                            concat!("tilezero ", $sums),
                            concat!($product, " ", $sums, ", ", $x, ", tmm3"),
                            options(nostack, nomem),
                        );
                    }
                }
            };
        }
        if SIGNED {
            multiply!(0, "tdpbssd", "tmm4", "tmm0");
            multiply!(1, "tdpbssd", "tmm5", "tmm1");
            multiply!(2, "tdpbssd", "tmm6", "tmm2");
        } else {
            multiply!(0, "tdpbsud", "tmm4", "tmm0");
            multiply!(1, "tdpbsud", "tmm5", "tmm1");
            multiply!(2, "tdpbsud", "tmm6", "tmm2");
        }
    }

    /// Writes them.
    #[inline(always)]
    fn store(&self, to: &mut Digits) {
        macro_rules! store {
            ($index:literal, $tile:literal) => {
                if DIGITS > $index {
                    // SAFETY: a tile of sums has at most 16 lines of 16 words, as the arrays.
                    unsafe {
                        asm!(
                            concat!("tilestored [{to} + {line}], ", $tile),
                            to = in(reg) to.0[$index].as_mut_ptr(),
                            line = in(reg) size_of::<[i32; ROWS]>(),
                            options(nostack),
                        );
                    }
                }
            };
        }
        store!(0, "tmm4");
        store!(1, "tmm5");
        store!(2, "tmm6");
    }

    /// Adds them, scaled, to the columns' sums.
    #[inline(always)]
    fn add<const SIGNED: bool>(&self, simd: V4, panel: usize, digits: &Digits, sums: &mut Sums) {
        // A loop of known length where there are all columns.
        if let Some(x) = self.x.first_chunk::<COLUMNS>() {
            for (column, x) in x.iter().enumerate() {
                self.add_column::<SIGNED>(simd, panel, digits, (column, x), &mut sums.0[column]);
            }
        } else {
            for ((column, x), sums) in self.x.iter().enumerate().zip(&mut sums.0) {
                self.add_column::<SIGNED>(simd, panel, digits, (column, x), sums);
            }
        }
    }

    #[inline(always)]
    fn add_column<const SIGNED: bool>(
        &self,
        simd: V4,
        panel: usize,
        digits: &Digits,
        (column, x): (usize, &Rounded),
        sums: &mut [f32; LANES],
    ) {
        let of = |floats: &[[f32; LANES]; 2]| V4::as_simd_f32s(&floats[self.part]).0[panel];
        let of_digit = |digit: usize| cast(V4::as_simd_i32s(&digits.0[digit][column]).0[0]);
        let integers =
            joined(simd, std::array::from_fn::<_, DIGITS, _>(of_digit), digit_bits(DIGITS));
        let integers = cast(simd.avx512f._mm512_cvtepi32_ps(cast(integers)));
        let sum = &mut V4::as_mut_simd_f32s(sums).0[panel];
        // As for a column alone: the offset first.
        if !SIGNED {
            let total = simd.splat_f32s(x.sum_of::<WORDS>(self.part));
            *sum = simd.mul_add_e_f32s(of(&self.quants.offset[self.chunk]), total, *sum);
        }
        let scale = simd.mul_f32s(of(&self.quants.scale[self.chunk]), simd.splat_f32s(x.scale));
        *sum = simd.mul_add_e_f32s(scale, integers, *sum);
    }
}
