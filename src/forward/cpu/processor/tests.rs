//! Every kind of processor gives the same integers and finds every texel.

use super::*;
use crate::forward::cpu::unpack::CHUNK;

const WORDS: usize = CHUNK / 4;

/// What a processor makes of 32 activations times bytes, for rows in their order.
struct Products<'a, const SIGNED: bool> {
    words: &'a [Words; WORDS],
    x: &'a Rounded,
}

impl<const SIGNED: bool> Work for Products<'_, SIGNED> {
    type Output = [i32; LANES];

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) -> [i32; LANES] {
        let mut whole = [0; LANES];
        processor.products::<SIGNED, WORDS>(self.words, 0, self.x, &mut whole);
        if !SIGNED {
            let mut halves = [[0; LANES]; 2];
            for (part, out) in halves.iter_mut().enumerate() {
                let words = &self.words.as_chunks::<4>().0[part];
                processor.products::<false, 4>(words, part, self.x, out);
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
fn check<const SIGNED: bool>(x: &[f32; CHUNK], mask: u32) {
    let x = Rounded::new(x);
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
            weight * i64::from(x.four(at / 4)[at % 4])
        };
        (0..CHUNK).map(of).sum()
    });
    each(|vectors| {
        let found = with(vectors, Products::<SIGNED> { words: &words, x: &x });
        assert_eq!(found.map(i64::from), expected, "{vectors:?}");
    });
}

#[test]
fn every_processor_gives_the_same_exact_sums() {
    let some: [f32; CHUNK] =
        std::array::from_fn(|i| if i == 20 { -9.0 } else { (i * i % 37) as f32 - 18.0 });
    // The largest magnitudes that there are.
    for x in [some, [1.0; CHUNK], [-1.0; CHUNK]] {
        check::<true>(&x, u32::MAX);
        check::<false>(&x, 0x1f1f_1f1f);
    }
}

#[test]
fn half_a_chunk_of_six_bits_has_exact_sums() {
    struct Half<'a>(&'a Rounded);

    impl Work for Half<'_> {
        type Output = [i32; LANES];

        #[inline(always)]
        fn with<P: Processor>(self, processor: P) -> [i32; LANES] {
            let mut out = [0; LANES];
            processor.products::<false, 4>(&[[0x3f3f_3f3f; LANES]; 4], 1, self.0, &mut out);
            out
        }
    }

    for x in [1.0, -1.0] {
        let x = Rounded::new(&[x; CHUNK]);
        let expected = 63 * 16 * x.four(0)[0];
        each(|vectors| assert_eq!(with(vectors, Half(&x)), [expected; LANES], "{vectors:?}"));
    }
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
