//! The random numbers of sampling: a function of (key, token index, token id) and nothing else.
//!
//! There is no state that advances, so a request draws the same tokens whatever else runs beside
//! it, in whatever order, on whatever device. This file is the shared definition; the WGSL twin
//! repeats it word by word. All integer arithmetic is on `u32` and wraps.
//!
//! 1. `pcg4d` hashes four words to four words (Jarzynski and Olano, "Hash Functions for GPU
//!    Rendering", 2020).
//! 2. The key of a request is the first two words of
//!    `pcg4d(seed_low, seed_high, stream_low, stream_high)`.
//! 3. The noise of token `t` at index `i` (0 for the first token after the prompt) is word `t % 4`
//!    of `pcg4d(key_0, key_1, i, t / 4)`: one hash serves four neighbouring tokens.
//! 4. [`gumbel`] turns a word into Gumbel noise. The sampled token is the one with the largest
//!    `logit / temperature + gumbel`, ties to the lowest id. That is a draw from the softmax, and
//!    it needs neither a sorted list nor a running sum, so the order of a parallel reduction cannot
//!    change it.

/// Hashes four words to four words, each of which depends on all four.
pub(crate) const fn pcg4d([x, y, z, w]: [u32; 4]) -> [u32; 4] {
    const fn spread(word: u32) -> u32 {
        word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
    }
    const fn stir([x, y, z, w]: [u32; 4]) -> [u32; 4] {
        let x = x.wrapping_add(y.wrapping_mul(w));
        let y = y.wrapping_add(z.wrapping_mul(x));
        let z = z.wrapping_add(x.wrapping_mul(y));
        let w = w.wrapping_add(y.wrapping_mul(z));
        [x, y, z, w]
    }
    let [x, y, z, w] = stir([spread(x), spread(y), spread(z), spread(w)]);
    stir([x ^ (x >> 16), y ^ (y >> 16), z ^ (z >> 16), w ^ (w >> 16)])
}

/// What makes one request's draws its own: a hash of its seed and its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

impl Key {
    /// The key of a seed and a stream. Requests that share a seed and differ in their stream draw
    /// independently of each other.
    pub const fn new(seed: u64, stream: u64) -> Self {
        let [x, y, _, _] =
            pcg4d([seed as u32, (seed >> 32) as u32, stream as u32, (stream >> 32) as u32]);
        Self([x, y])
    }

    /// The noise of the four tokens `4 * group` to `4 * group + 3` at `index`.
    pub const fn noise(self, index: u32, group: u32) -> [u32; 4] {
        pcg4d([self.0[0], self.0[1], index, group])
    }
}

/// Below this, `-ln(1 - w)` is taken from its series: `ln` near 1 is only precise to 2^-21 in WGSL.
const SERIES_BELOW: f32 = 1.0 / 64.0;

/// The largest `f32` below 1, so that `1 - w` is never 0.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// Gumbel noise of a uniform word: `-ln(e)` of an exponential variable `e = -ln(1 - w)`, with `w`
/// the word as a fraction of 2^32. Small words give large noise; the largest is 22.9, of word 0.
pub(crate) fn gumbel(word: u32) -> f32 {
    // Half a step up, or word 0 would have infinite noise; words near 2^32 round up to it as `f32`.
    let w = ((word as f32 + 0.5) * 2.0_f32.powi(-32)).min(BELOW_ONE);
    let exponential = if w < SERIES_BELOW {
        // Four terms: the next is w^4 / 5 of the sum, under 2^-26 here.
        w * (1.0 + w * (0.5 + w * (1.0 / 3.0 + w * 0.25)))
    } else {
        -(1.0 - w).ln()
    };
    -exponential.ln()
}

/// An upper bound of [`gumbel`] from the word's leading zeros, with room for rounding. It lets a
/// sampler pass over the tokens that cannot win without taking a logarithm.
pub(super) fn gumbel_bound(word: u32) -> f32 {
    // e >= w >= 2^-(zeros + 1), except for word 0, whose w is half of 2^-32.
    (word.leading_zeros() + 1) as f32 * std::f32::consts::LN_2 + 1e-3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Figures for the WGSL twin to reproduce. They were computed once with Python's integers.
    #[test]
    fn hash_gives_the_published_words() {
        assert_eq!(pcg4d([0, 0, 0, 0]), PUBLISHED_ZERO);
        assert_eq!(pcg4d([1, 2, 3, 4]), PUBLISHED_COUNT);
    }

    const PUBLISHED_ZERO: [u32; 4] = [0x0f02_f829, 0x2d56_8769, 0x32b0_c43b, 0xd325_48ea];
    const PUBLISHED_COUNT: [u32; 4] = [0x3622_cd16, 0xf114_71d8, 0xe110_9b3f, 0x02b9_4c2f];

    #[test]
    fn gumbel_ends_are_finite() {
        assert!((gumbel(0) - 22.873_857).abs() < 1e-4, "{}", gumbel(0));
        assert!(gumbel(u32::MAX).is_finite() && gumbel(u32::MAX) < -2.0);
    }

    #[test]
    fn gumbel_has_the_mean_of_a_gumbel_variable() {
        let key = Key::new(7, 0);
        let count = 40_000;
        let sum: f64 = (0..count)
            .flat_map(|group| key.noise(3, group))
            .map(|word| f64::from(gumbel(word)))
            .sum();
        let mean = sum / f64::from(4 * count);
        // Euler's constant; the standard error of the mean is 1.28 / sqrt(160000) = 0.0032.
        assert!((mean - 0.577_216).abs() < 0.013, "{mean}");
    }

    proptest! {
        #[test]
        fn gumbel_falls_as_the_word_grows(a: u32, b: u32) {
            let (low, high) = (a.min(b), a.max(b));
            // The two branches meet within the precision of ln.
            prop_assert!(gumbel(low) >= gumbel(high) - 1e-5);
        }

        #[test]
        fn gumbel_stays_under_its_bound(word: u32, shift in 0u32..32) {
            let word = word >> shift;
            prop_assert!(gumbel(word) <= gumbel_bound(word));
        }

        #[test]
        fn keys_differ_by_seed_and_by_stream(seed: u64, stream: u64) {
            prop_assert_ne!(Key::new(seed, stream), Key::new(seed ^ 1, stream));
            prop_assert_ne!(Key::new(seed, stream), Key::new(seed, stream ^ (1 << 40)));
        }
    }
}
