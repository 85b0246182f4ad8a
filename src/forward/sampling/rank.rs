//! The one order of tokens that every filter and every tie uses: the larger logit first, then the
//! lower id.

/// A token and its logit as one integer whose ascending order is the order of this module.
///
/// The two zeros are one value, and a NaN ranks with minus infinity.
pub(super) fn rank(logit: f32, token: u32) -> u64 {
    // -0 + 0 is 0: the zeros differ in their bits, by which ranks are ordered.
    let logit = if logit.is_nan() { f32::NEG_INFINITY } else { logit + 0.0 };
    let bits = logit.to_bits();
    // Flipping the sign bit of positive numbers and every bit of negative ones orders floats as
    // integers.
    let ascending = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(!ascending) << 32 | u64::from(token)
}

/// The token of a rank.
pub(super) fn token_of(rank: u64) -> u32 {
    rank as u32
}

/// The most probable token, or `None` where no logit is a number above minus infinity.
pub(super) fn best(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(f32, u32)> = None;
    for (token, &logit) in (0..).zip(logits) {
        // Of equal logits the first stays, whose id is lower; a NaN is never larger.
        if logit > best.map_or(f32::NEG_INFINITY, |(logit, _)| logit) {
            best = Some((logit, token));
        }
    }
    best.map(|(_, token)| token)
}

/// Moves the `count` first of `ranks` to its front, in order. `sorted` of them are there already.
pub(super) fn sort_front(ranks: &mut [u64], sorted: usize, count: usize) {
    let rest = &mut ranks[sorted..];
    let wanted = count - sorted;
    // Linear in what is left, where sorting it is not; `select_nth_unstable` panics at the length.
    if wanted < rest.len() {
        rest.select_nth_unstable(wanted);
    }
    // No two ranks are equal, since each has its token: an unstable sort has one outcome.
    rest[..wanted].sort_unstable();
}

/// The `count` most probable tokens in order.
pub(super) fn top(logits: &[f32], count: usize, scratch: &mut Vec<u64>) -> Vec<u32> {
    scratch.clear();
    scratch.extend((0..).zip(logits).map(|(token, &logit)| rank(logit, token)));
    let count = count.min(scratch.len());
    sort_front(scratch, 0, count);
    scratch[..count].iter().map(|&rank| token_of(rank)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_are_one_value_and_nan_is_last() {
        let mut scratch = Vec::new();
        assert_eq!(
            top(&[0.0, -0.0, f32::NAN, -1.0, f32::NEG_INFINITY], 5, &mut scratch),
            [0, 1, 3, 2, 4]
        );
        assert_eq!(best(&[f32::NAN, -3.0, -3.0]), Some(1));
        assert_eq!(best(&[f32::NAN, f32::NEG_INFINITY]), None);
    }

    proptest! {
        #[test]
        fn ranks_order_as_floats_do(a in -1e30f32..1e30, b in -1e30f32..1e30) {
            prop_assert_eq!(rank(a, 0).cmp(&rank(b, 0)), b.partial_cmp(&a).unwrap());
            prop_assert_eq!(token_of(rank(a, 77)), 77);
        }

        #[test]
        fn a_front_sorted_in_pieces_is_the_sorted_front(
            mut ranks in prop::collection::vec(any::<u64>(), 1..200),
            cuts in prop::collection::vec(0usize..200, 3),
        ) {
            let mut expected = ranks.clone();
            expected.sort_unstable();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(ranks.len())).collect();
            cuts.sort_unstable();
            let mut sorted = 0;
            for cut in cuts {
                sort_front(&mut ranks, sorted, cut);
                sorted = cut;
            }
            prop_assert_eq!(&ranks[..sorted], &expected[..sorted]);
        }
    }
}
