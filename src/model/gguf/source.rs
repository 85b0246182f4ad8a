//! A reader that knows how many bytes remain, and reads nothing before it has compared with them.

use std::io::Read;

use super::error::GgufError;
use super::{GgufString, Result};

/// A reader with its position and its length.
pub(super) struct GgufSource<R> {
    reader: R,
    offset: u64,
    length: u64,
}

impl<R: Read> GgufSource<R> {
    pub(super) fn new(reader: R, length: u64) -> Self {
        Self { reader, offset: 0, length }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn remaining(&self) -> u64 {
        self.length - self.offset
    }

    /// Refuses where fewer than `needed` bytes remain; all reads pass through here.
    fn take(&mut self, field: &'static str, needed: u64) -> Result<()> {
        let remaining = self.remaining();
        if needed > remaining {
            return Err(GgufError::Truncated { field, offset: self.offset, needed, remaining });
        }
        self.offset += needed;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes).map_err(GgufError::io("read the header"))
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        self.take(field, N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.bytes(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.bytes(field).map(u64::from_le_bytes)
    }

    /// A number of things that each take `smallest` bytes or more, of which there may be `cap`.
    pub(super) fn count(&mut self, field: &'static str, smallest: u64, cap: u64) -> Result<u64> {
        let found = self.u64(field)?;
        self.check_count(field, found, smallest, cap)?;
        Ok(found)
    }

    /// Refuses a number of things that cannot be in the bytes that remain.
    pub(super) fn check_count(
        &self,
        field: &'static str,
        found: u64,
        smallest: u64,
        cap: u64,
    ) -> Result<()> {
        let limit = cap.min(self.remaining() / smallest);
        if found > limit { Err(GgufError::TooMany { field, found, limit }) } else { Ok(()) }
    }

    /// A length and as many bytes.
    pub(super) fn string(&mut self, field: &'static str) -> Result<GgufString> {
        let length = self.u64(field)?;
        let mut bytes = Vec::new();
        self.append(field, length, &mut bytes)?;
        Ok(bytes.into())
    }

    /// A length and as many bytes of text, from 1 to `limit`.
    pub(super) fn name(&mut self, field: &'static str, limit: u64) -> Result<String> {
        let found = self.u64(field)?;
        if found == 0 {
            return Err(GgufError::Empty { field });
        }
        if found > limit {
            return Err(GgufError::TooLong { field, found, limit });
        }
        let mut bytes = Vec::new();
        self.append(field, found, &mut bytes)?;
        String::from_utf8(bytes).map_err(|error| {
            let found = String::from_utf8_lossy(error.as_bytes()).into_owned();
            GgufError::NotUtf8 { field, found }
        })
    }

    /// Appends the next `length` bytes, once it is known that they are there.
    pub(super) fn append(
        &mut self,
        field: &'static str,
        length: u64,
        to: &mut Vec<u8>,
    ) -> Result<()> {
        self.take(field, length)?;
        let too_large = |_| GgufError::TooLong { field, found: length, limit: usize::MAX as u64 };
        let start = to.len();
        // Grows by what `take` found in the file, so a false length allocates nothing.
        to.resize(start + usize::try_from(length).map_err(too_large)?, 0);
        self.fill(&mut to[start..])
    }

    /// `count` elements of `N` bytes each; the memory is that of as many bytes of the file.
    pub(super) fn elements<T, const N: usize>(
        &mut self,
        field: &'static str,
        count: u64,
        decode: impl Fn([u8; N]) -> Result<T>,
    ) -> Result<Vec<T>> {
        // The count was compared with the bytes that remain at one byte each, so the product needs
        // its own check.
        self.check_count(field, count, N as u64, u64::MAX)?;
        let mut elements =
            Vec::with_capacity(usize::try_from(count).map_err(|_| GgufError::TooMany {
                field,
                found: count,
                limit: usize::MAX as u64,
            })?);
        for _ in 0..count {
            elements.push(decode(self.bytes(field)?)?);
        }
        Ok(elements)
    }
}
