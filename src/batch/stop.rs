//! Where an answer ends within its text, and what of it may be shown meanwhile.
//!
//! Comes in: bytes as tokens bring them. Goes out: text that no later byte can take back.
//!
//! The definition: an answer is cut at the first byte where a stop string is complete; of the stop
//! strings that end there the one that starts first is cut off with all that follows. What is left
//! is decoded as UTF-8, with U+FFFD for what is not. The same bytes give the same text however they
//! are split.

/// The text of one answer as it grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopMatcher {
    /// Stop strings; none is empty.
    stops: Vec<Vec<u8>>,
    /// Bytes that are not text yet: they may begin a stop string, or end within a character.
    held: Vec<u8>,
    /// How many bytes were released before the held ones.
    released: usize,
    stopped: bool,
    /// Whether the stop string that ends the answer stays in its text.
    keeps_stop: bool,
}

impl StopMatcher {
    /// A matcher of the stop strings; an empty one is left out.
    pub fn new<'a>(stops: impl IntoIterator<Item = &'a str>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty());
        Self { stops: stops.map(|stop| stop.as_bytes().to_vec()).collect(), ..Self::default() }
    }

    /// A matcher that leaves the stop string in the text and cuts behind it.
    pub(crate) fn keeping_stop(self, keeps_stop: bool) -> Self {
        Self { keeps_stop, ..self }
    }

    /// Takes bytes in which no stop string is looked for, nor one that begins there.
    pub(crate) fn push_unchecked(&mut self, bytes: &[u8], text: &mut String) {
        self.held.extend_from_slice(bytes);
        self.release(self.held.len(), text);
    }

    /// Takes the next bytes and adds to `text` what is certain to belong to it. True when a stop
    /// string was met; then nothing more comes.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        self.held.extend_from_slice(bytes);
        if let Some(cut) = self.first_stop() {
            self.held.truncate(cut);
            self.stopped = true;
            self.release_all(text);
            return true;
        }
        let certain = self.held.len() - self.longest_beginning();
        self.release(certain, text);
        false
    }

    /// Adds the whole characters of the first `certain` held bytes.
    fn release(&mut self, certain: usize, text: &mut String) {
        let certain = whole_characters(&self.held[..certain]);
        text.push_str(&String::from_utf8_lossy(&self.held[..certain]));
        self.held.drain(..certain);
        self.released += certain;
    }

    /// Adds what was held back, at the end of an answer that no stop string ended.
    pub fn finish(&mut self, text: &mut String) {
        self.release_all(text);
    }

    /// Whether a stop string has ended the answer.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// How many bytes of the answer have become text.
    pub(crate) fn text_len_in_bytes(&self) -> usize {
        self.released
    }

    fn release_all(&mut self, text: &mut String) {
        text.push_str(&String::from_utf8_lossy(&self.held));
        self.released += self.held.len();
        self.held.clear();
    }

    /// Where the answer is cut: at the stop string that is complete first. Any that is complete
    /// lies in the held bytes, since its beginning was held back.
    fn first_stop(&self) -> Option<usize> {
        let place = |stop: &Vec<u8>| {
            let start =
                self.held.windows(stop.len()).position(|window| window == stop.as_slice())?;
            Some((start + stop.len(), start))
        };
        // The least end is the first to be complete; of equal ends the least start counts.
        let first = self.stops.iter().filter_map(place).min();
        first.map(|(end, start)| if self.keeps_stop { end } else { start })
    }

    /// The length of the longest end of the held bytes that begins a stop string.
    fn longest_beginning(&self) -> usize {
        let of = |stop: &Vec<u8>| {
            // A whole one was looked for before, and none is empty.
            let most = (stop.len() - 1).min(self.held.len());
            (1..=most).rev().find(|&len| self.held.ends_with(&stop[..len])).unwrap_or(0)
        };
        self.stops.iter().map(of).max().unwrap_or(0)
    }
}

/// The length of `bytes` without a character that is incomplete at its end.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let rest = last.map_or(&[][..], |chunk| chunk.invalid());
    // An invalid sequence can only be the beginning of a character where nothing follows it.
    match std::str::from_utf8(rest) {
        Err(error) if error.error_len().is_none() => bytes.len() - rest.len(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word for word, on the whole answer.
    fn naive(stops: &[String], bytes: &[u8]) -> (String, bool) {
        for end in 1..=bytes.len() {
            let starts = stops
                .iter()
                .filter(|stop| !stop.is_empty() && bytes[..end].ends_with(stop.as_bytes()));
            if let Some(start) = starts.map(|stop| end - stop.len()).min() {
                return (String::from_utf8_lossy(&bytes[..start]).into_owned(), true);
            }
        }
        (String::from_utf8_lossy(bytes).into_owned(), false)
    }

    fn feed(stops: &[String], pieces: &[&[u8]]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(String::as_str));
        let (mut text, mut stopped) = (String::new(), false);
        for piece in pieces {
            stopped = matcher.push(piece, &mut text);
            if stopped {
                break;
            }
        }
        if !stopped {
            matcher.finish(&mut text);
        }
        (text, stopped)
    }

    #[test]
    fn a_beginning_is_held_until_it_is_decided() {
        let mut matcher = StopMatcher::new(["END", "\n\n"]);
        let mut text = String::new();
        assert!(!matcher.push(b"an EN", &mut text));
        assert_eq!(text, "an ");
        assert!(!matcher.push(b"TRY\n", &mut text));
        assert_eq!(text, "an ENTRY");
        assert!(matcher.push(b"\nrest", &mut text));
        assert_eq!((text.as_str(), matcher.text_len_in_bytes()), ("an ENTRY", 8));
    }

    #[test]
    fn half_a_character_waits_for_its_other_half() {
        let mut matcher = StopMatcher::new([]);
        let mut text = String::new();
        matcher.push(&"é".as_bytes()[..1], &mut text);
        assert_eq!(text, "");
        matcher.push(&"é".as_bytes()[1..], &mut text);
        assert_eq!(text, "é");
        matcher.push(&"€".as_bytes()[..2], &mut text);
        matcher.finish(&mut text);
        assert_eq!(text, "é\u{fffd}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_split_gives_what_the_definition_gives(
            stops in prop::collection::vec("[ab€é]{1,4}", 0..4),
            bytes in prop::collection::vec(
                prop::sample::select(b"ab\xe2\x82\xac\xc3\xa9\xff".to_vec()),
                0..24,
            ),
            cuts in prop::collection::vec(0usize..24, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(feed(&stops, &pieces), naive(&stops, &bytes));
        }

        #[test]
        fn whole_characters_of_text_are_not_held(text in "[a-zé€𝄞]{0,12}", extra in 1usize..4) {
            prop_assert_eq!(whole_characters(text.as_bytes()), text.len());
            let clef = "𝄞".as_bytes();
            let longer = [text.as_bytes(), &clef[..extra]].concat();
            prop_assert_eq!(whole_characters(&longer), text.len());
        }
    }
}
