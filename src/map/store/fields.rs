//! Reading little-endian fields from bytes that may be anything.

use crate::map::MapError;

/// The bytes of an index or a directory that are still to be read.
pub(super) struct RecordFields<'a> {
    /// `index` or `directory`, for errors.
    pub(super) part: &'static str,
    bytes: &'a [u8],
    len: usize,
}

impl<'a> RecordFields<'a> {
    pub(super) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { part, bytes, len: bytes.len() }
    }

    pub(super) fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], MapError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            let found = format!("cut off after {} bytes", self.len);
            return Err(self.bad(field, found, "whole"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], MapError> {
        self.take(N, field).map(|taken| taken.try_into().expect("as many bytes were taken"))
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, MapError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, MapError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, MapError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, MapError> {
        self.array(field).map(i64::from_le_bytes)
    }

    /// Bytes that this version leaves zero.
    pub(super) fn reserved(&mut self, len: usize) -> Result<(), MapError> {
        let taken = self.take(len, "reserved")?;
        if taken.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(self.bad("reserved", crate::pxi::hex(taken), "zeros in version 1.0"))
    }

    pub(super) fn end(self) -> Result<(), MapError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(self.bad("length", self.len, self.len - self.bytes.len()))
    }

    /// Whether `count` records of at least `record_len` bytes can follow: asked before anything is
    /// allocated.
    pub(super) fn check_room(
        &self,
        count: u32,
        record_len: usize,
        field: &'static str,
    ) -> Result<(), MapError> {
        let room = self.bytes.len() / record_len;
        if count as usize <= room {
            return Ok(());
        }
        Err(self.bad(field, count, format!("at most {room}, for which there is room")))
    }

    pub(super) fn bad(
        &self,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> MapError {
        MapError::field(self.part, field, found, expected)
    }
}
