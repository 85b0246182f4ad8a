//! Drafts from the text itself: what followed the last time the same tokens came.
//!
//! In: the tokens of one sequence as they grow. Out: the tokens that followed the longest end of
//! the sequence which it had before. Summaries, edits and quotations say much of their prompt
//! again; a story does so now and then, by a name or a turn of phrase.

use std::collections::HashMap;

/// Tokens that must have come before in the same order. With one of them nearly every token would
/// have a draft, and nearly every draft would be wrong.
const GRAM: usize = 2;

/// Places that are looked at for the longest match, the latest first: common pairs of tokens come
/// in every line, and what comes near is likelier to come again.
const MOST_PLACES: usize = 64;

/// The longest match that is told apart from a longer one.
const LONGEST_MATCH: usize = 16;

/// Stands for no earlier place.
const NONE: u32 = u32::MAX;

/// Where in a sequence each pair of tokens came, as a chain of places for each pair.
#[derive(Debug, Default)]
pub(crate) struct NgramIndex {
    latest: HashMap<[u32; GRAM], u32>,
    /// For each place, the one before it that comes after the same pair.
    earlier: Vec<u32>,
}

/// Tokens that may come next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many tokens before them are the same as those at the end of the sequence.
    pub matched: usize,
    /// The place of the first of them in the sequence.
    pub place: usize,
}

impl NgramIndex {
    /// Takes in what is new of a sequence, and finds what came after its end before.
    pub fn find(&mut self, tokens: &[u32]) -> Option<Found> {
        self.extend(tokens);
        let end: [u32; GRAM] = tokens.last_chunk().copied()?;
        let mut place = self.latest.get(&end).copied().unwrap_or(NONE);
        let mut best: Option<Found> = None;
        for _ in 0..MOST_PLACES {
            if place == NONE {
                break;
            }
            let at = place as usize;
            let matched = matched(&tokens[..at], tokens);
            if best.as_ref().is_none_or(|best| matched > best.matched) {
                best = Some(Found { matched, place: at });
            }
            if matched >= LONGEST_MATCH {
                break;
            }
            place = self.earlier[at];
        }
        best
    }

    /// Notes every place but the end, which would be found as its own past.
    fn extend(&mut self, tokens: &[u32]) {
        for place in self.earlier.len()..tokens.len() {
            let pair = tokens[..place].last_chunk::<GRAM>();
            let before = pair.and_then(|pair| self.latest.insert(*pair, place as u32));
            self.earlier.push(before.unwrap_or(NONE));
        }
    }
}

/// The token that a draft has at `index`. A draft that runs into the end of the sequence goes on
/// with itself, so that what repeats is foreseen as often as it may come.
pub(crate) fn drafted(tokens: &[u32], found: &Found, index: usize) -> u32 {
    let period = tokens.len() - found.place;
    tokens[found.place + index % period]
}

/// How many tokens two lists have in common at their ends, up to [`LONGEST_MATCH`].
fn matched(a: &[u32], b: &[u32]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take(LONGEST_MATCH).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_match_is_found_and_repeats_go_on() {
        let mut index = NgramIndex::default();
        let tokens = [1, 2, 3, 9, 2, 3, 7, 1, 2, 3];
        assert_eq!(index.find(&tokens), Some(Found { matched: 3, place: 3 }));
        let mut index = NgramIndex::default();
        let loops = [5, 6, 7, 5, 6, 7, 5, 6];
        let found = index.find(&loops).unwrap();
        assert_eq!((0..5).map(|i| drafted(&loops, &found, i)).collect::<Vec<_>>(), [7, 5, 6, 7, 5]);
        assert_eq!(NgramIndex::default().find(&[1]), None);
        assert_eq!(NgramIndex::default().find(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_found_came_after_the_same_tokens(
            tokens in prop::collection::vec(0u32..4, 0..200),
            cuts in prop::collection::vec(0usize..200, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(tokens.len())).collect();
            cuts.push(tokens.len());
            cuts.sort_unstable();
            let mut index = NgramIndex::default();
            for cut in cuts {
                let known = &tokens[..cut];
                let found = index.find(known);
                // By its definition, over all earlier places.
                let longest = (GRAM..known.len()).map(|at| matched(&known[..at], known)).max();
                let longest = longest.filter(|&longest| longest >= GRAM);
                prop_assert_eq!(found.is_some(), longest.is_some());
                if let Some(found) = found {
                    prop_assert!(found.matched >= GRAM && found.place < known.len());
                    prop_assert_eq!(matched(&known[..found.place], known), found.matched);
                    if known.len() <= MOST_PLACES {
                        prop_assert_eq!(Some(found.matched), longest);
                    }
                }
            }
        }
    }
}
