//! Strings as files hold them: bytes that should be UTF-8, kept as they are.

use std::fmt;

/// A string of a GGUF file. It should be UTF-8 and nearly always is; odd vocabularies hold other
/// bytes, which are kept so that the way back is exact.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GgufString(Vec<u8>);

impl GgufString {
    /// The bytes as they are in the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, or `None` where the bytes are not UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for GgufString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for GgufString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for GgufString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

/// An array of strings, flat: all bytes in one buffer, and where each string ends. A vocabulary of
/// 150,000 tokens is two allocations, and takes no more memory than it took in the file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    /// No strings, with room for `count` of them; the caller has compared `count` with what can be
    /// there.
    pub(super) fn with_room(count: usize) -> Self {
        Self { bytes: Vec::new(), ends: Vec::with_capacity(count) }
    }

    /// Adds a string at the end; its bytes need not be UTF-8.
    pub fn push(&mut self, string: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(string.as_ref());
        self.ends.push(self.bytes.len());
    }

    /// Adds the string that `fill` appends to the bytes.
    pub(super) fn push_with<E>(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        fill(&mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True where there are no strings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of string `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }

    /// The bytes of every string, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).expect("the index is below the length"))
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut all = Self::default();
        strings.into_iter().for_each(|string| all.push(string));
        all
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_flat_and_in_order() {
        let strings: Strings = ["", "a", "", "bcd"].into_iter().collect();
        assert_eq!(strings.len(), 4);
        assert_eq!(strings.iter().collect::<Vec<_>>(), [&b""[..], b"a", b"", b"bcd"]);
        assert_eq!(strings.get(3), Some(&b"bcd"[..]));
        assert_eq!(strings.get(4), None);
        assert_ne!(strings, ["", "ab", "", "cd"].into_iter().collect());
    }

    #[test]
    fn other_bytes_than_utf8_are_kept() {
        let odd = GgufString::from(vec![0xff, b'a']);
        assert_eq!(odd.as_bytes(), [0xff, b'a']);
        assert_eq!(odd.to_str(), None);
        assert_eq!(GgufString::from("a").to_str(), Some("a"));
    }
}
