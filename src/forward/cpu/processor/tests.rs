//! Every kind of processor gives the same integers and finds every texel.

use super::*;
use crate::forward::cpu::unpack::{BLOCK, CHUNK, CHUNKS};

const WORDS: usize = CHUNK / 4;

/// What a processor makes of 32 activations times bytes, for rows in their order.
struct Products<'a, const SIGNED: bool, const DIGITS: usize> {
    words: &'a [Words; WORDS],
    x: &'a Rounded,
}

impl<const SIGNED: bool, const DIGITS: usize> Work for Products<'_, SIGNED, DIGITS> {
    type Output = [i32; LANES];

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> [i32; LANES] {
        let mut whole = [0; LANES];
        processor.products::<SIGNED, WORDS, DIGITS>(self.words, 0, self.x, &mut whole);
        if !SIGNED {
            let mut halves = [[0; LANES]; 2];
            for (part, out) in halves.iter_mut().enumerate() {
                let words = &self.words.as_chunks::<4>().0[part];
                processor.products::<false, 4, DIGITS>(words, part, self.x, out);
            }
            assert!((0..LANES).all(|lane| halves[0][lane] + halves[1][lane] == whole[lane]));
        }
        whole
    }
}

/// All the vectors of this processor.
fn each(mut see: impl FnMut(Vectors)) {
    Vectors::ALL.into_iter().filter(|(_, of)| of.are_here()).for_each(|(_, of)| see(of));
}

/// Does a work with the vectors named.
fn with<W: Work>(_vectors: Vectors, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    return x86::run(_vectors, work);
    #[cfg(not(target_arch = "x86_64"))]
    return portable::run(work);
}

/// Holds the products of 32 activations with bytes of some bits to those of 64-bit integers.
fn check<const SIGNED: bool, const DIGITS: usize>(x: &[f32; CHUNK], mask: u32) {
    let x = Rounded::new::<DIGITS>(x);
    let mut words: [Words; WORDS] = std::array::from_fn(|word| {
        std::array::from_fn(|lane| ((word * 64 + lane) as u32).wrapping_mul(0x9E37_79B9) & mask)
    });
    words.iter_mut().for_each(|words| {
        (words[0], words[1], words[2]) = (mask, 0x8080_8080 & mask, 0x7f7f_7f7f & mask);
    });
    let expected: [i64; LANES] = std::array::from_fn(|lane| {
        let of = |at: usize| {
            let byte = words[at / 4][lane].to_le_bytes()[at % 4];
            let weight = if SIGNED { i64::from(byte as i8) } else { i64::from(byte) };
            weight * i64::from(x.four::<DIGITS>(at / 4)[at % 4])
        };
        (0..CHUNK).map(of).sum()
    });
    each(|vectors| {
        let found = with(vectors, Products::<SIGNED, DIGITS> { words: &words, x: &x });
        assert_eq!(found.map(i64::from), expected, "{vectors:?}, {DIGITS} digits");
    });
}

#[test]
fn every_processor_gives_the_same_exact_sums() {
    let some: [f32; CHUNK] =
        std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
    // The largest magnitudes that there are, and of a lower digit too: -128.5 of 127 * 257.
    let low = std::array::from_fn(|i| if i == 0 { 127.0 * 257.0 } else { 127.0 * 256.0 - 128.0 });
    for x in [some, [1.0; CHUNK], [-1.0; CHUNK], low, low.map(|x: f32| -x)] {
        check::<true, 3>(&x, u32::MAX);
        check::<false, 3>(&x, 0x1f1f_1f1f);
        check::<true, 2>(&x, u32::MAX);
        check::<false, 2>(&x, 0x1f1f_1f1f);
        check::<true, 1>(&x, u32::MAX);
        check::<false, 1>(&x, 0x1f1f_1f1f);
    }
}

#[test]
fn half_a_chunk_of_six_bits_has_exact_sums() {
    struct Half<'a, const DIGITS: usize>(&'a Rounded);

    impl<const DIGITS: usize> Work for Half<'_, DIGITS> {
        type Output = [i32; LANES];

        #[inline(always)]
        fn with<P: Processor>(self, processor: P) -> [i32; LANES] {
            let mut out = [0; LANES];
            let words = [[0x3f3f_3f3f; LANES]; 4];
            processor.products::<false, 4, DIGITS>(&words, 1, self.0, &mut out);
            out
        }
    }

    fn check<const DIGITS: usize>() {
        for x in [1.0, -1.0] {
            let x = Rounded::new::<DIGITS>(&[x; CHUNK]);
            let expected = 63 * 16 * x.four::<DIGITS>(0)[0];
            each(|vectors| {
                let found = with(vectors, Half::<DIGITS>(&x));
                assert_eq!(found, [expected; LANES], "{vectors:?}, {DIGITS} digits");
            });
        }
    }
    check::<1>();
    check::<2>();
    check::<3>();
}

#[test]
fn texels_are_split_into_lanes_of_their_own() {
    struct Split<'a>(&'a [u8; LINE]);

    impl Work for Split<'_> {
        type Output = [[u32; 4]; LANES];

        #[inline(always)]
        fn with<P: Processor>(self, processor: P) -> Self::Output {
            let mut words = [[0; LANES]; 4];
            processor.split_texels(self.0, &mut words);
            std::array::from_fn(|row| words.map(|words| words[P::lane(row)]))
        }
    }

    let line: [u8; LINE] = std::array::from_fn(|byte| (byte / 16 + byte % 16 * 3) as u8);
    each(|vectors| {
        for (row, words) in with(vectors, Split(&line)).iter().enumerate() {
            let bytes = words.map(u32::to_le_bytes);
            assert_eq!(bytes.as_flattened(), &line[row * 16..][..16], "{vectors:?}, row {row}");
        }
    });
}

#[test]
fn the_vectors_chosen_are_here() {
    assert!(Vectors::chosen().are_here());
    assert_eq!(Vectors::ALL.iter().filter(|(name, _)| *name == vectors()).count(), 1);
}

/// What a processor makes of 256 activations times scaled bytes.
struct BlockProducts<'a, K>(K, &'a Quants, &'a RoundedBlock);

impl<K: Scaled> Work for BlockProducts<'_, K> {
    type Output = [[i32; LANES]; DIGITS];

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> Self::Output {
        let mut out = [[1; LANES]; DIGITS];
        processor.block_products::<K>(self.1, self.2, &mut out);
        out
    }
}

/// Holds the products of a block with bytes and scales of some bits to those of 64-bit integers:
/// of any bytes in most lanes, of the least and the largest in the first.
fn check_block<K: Scaled>(kind: K, x: &[f32; CHUNK], bytes: u32, scales: [i32; 2]) {
    let mut rounded = RoundedBlock::default();
    rounded.round([x; CHUNKS]);
    let mut quants = Box::<Quants>::default();
    let mix = |at: usize| (at as u32).wrapping_mul(0x9E37_79B9);
    for (at, words) in quants.bytes.as_flattened_mut().iter_mut().enumerate() {
        *words = std::array::from_fn(|lane| mix(at * LANES + lane) & bytes);
        (words[0], words[1], words[2], words[3]) = (bytes, 0, bytes, 0);
    }
    for (at, steps) in quants.steps.as_flattened_mut().iter_mut().enumerate() {
        let [least, most] = scales;
        // Two neighbours have one scale but for those of six bits.
        let at = if K::ZERO == 0 { at / 2 } else { at };
        let of = |lane| least + (mix(at * LANES + lane + 7) >> 8) as i32 % (most - least + 1);
        *steps = std::array::from_fn(|lane| of(lane) as u32 & 0xffff);
        [steps[0], steps[1]] = [most as u32 & 0xffff; 2];
        [steps[2], steps[3]] = [least as u32 & 0xffff; 2];
    }
    let expected: [[i64; LANES]; DIGITS] = std::array::from_fn(|digit| {
        std::array::from_fn(|lane| {
            let of = |at: usize| {
                let byte = quants.bytes.as_flattened()[at / 4][lane].to_le_bytes()[at % 4];
                let x = rounded.digits[digit][at / 4].to_le_bytes()[at % 4] as i8;
                let step = quants.steps.as_flattened()[at / 16][lane] as i16;
                i64::from(step) * (i64::from(byte) - i64::from(K::ZERO)) * i64::from(x)
            };
            (0..BLOCK).map(of).sum()
        })
    });
    each(|vectors| {
        let found = with(vectors, BlockProducts(kind, &quants, &rounded));
        assert_eq!(found.map(|of| of.map(i64::from)), expected, "{vectors:?}, {kind:?}");
    });
}

#[test]
fn every_processor_gives_the_same_exact_sums_of_blocks() {
    let some = std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
    // All of a digit at its least or its largest.
    let low = std::array::from_fn(|i| if i == 0 { 1_040_319.0 } else { 64.0 * 129.0 });
    for x in [some, [1.0; CHUNK], [-1.0; CHUNK], low, low.map(|x: f32| -x)] {
        check_block(ScaledNibbles, &x, 0x0f0f_0f0f, [0, 63]);
        check_block(ScaledFives, &x, 0x1f1f_1f1f, [0, 63]);
        check_block(ScaledSixes, &x, 0x3f3f_3f3f, [-128, 127]);
    }
}
