//! The contents of a `.pxi` file whose header has been checked: borrowed, decoded, sliced and
//! verified.
//!
//! This is the format without files: [`super::PxiFile`] gives it the bytes of a memory-mapped one.

use super::{
    Compression, HEADER_LEN, PIECE_LEN, PxiError, PxiHeader, VERSION, hex, lz4, run_length,
};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// A checked header and the stored bytes after it.
#[derive(Clone, Copy, Debug)]
pub struct PxiContents<'a> {
    header: PxiHeader,
    stored: &'a [u8],
}

impl<'a> PxiContents<'a> {
    /// `stored` is everything after the header, and its length has been checked against it.
    pub(super) fn new(header: PxiHeader, stored: &'a [u8]) -> Self {
        Self { header, stored }
    }

    /// The header, which agrees with the file's length.
    pub fn header(&self) -> &PxiHeader {
        &self.header
    }

    /// The bytes after the header as they are stored: padded, or compressed.
    pub fn stored(&self) -> &'a [u8] {
        self.stored
    }

    /// The payload itself, without a copy; only an uncompressed file has it.
    pub fn payload(&self) -> Result<&'a [u8], PxiError> {
        match self.header.compression() {
            // The length check made sure that the stored bytes hold the payload, so its length is a
            // usize.
            Compression::None => Ok(&self.stored[..self.header.original_size() as usize]),
            compression => Err(PxiError::Compressed { compression }),
        }
    }

    /// The whole payload, decoded.
    pub fn read_all(&self) -> Result<Vec<u8>, PxiError> {
        self.read_range(0, self.header.original_size())
    }

    /// A slice of the payload. In an uncompressed file this touches nothing else; a compressed one
    /// is decoded up to the end of the slice.
    pub fn read_range(&self, offset: u64, len: u64) -> Result<Vec<u8>, PxiError> {
        self.check_range(offset, len)?;
        // A match may reach back 64 KiB from anywhere, so a block is decoded from its beginning.
        if self.header.compression() == Compression::Lz4 {
            let mut payload = lz4::decompress(self.stored, self.header.original_size())?;
            // The range lies within the payload, whose length is a usize.
            payload.truncate((offset + len) as usize);
            payload.drain(..offset as usize);
            return Ok(payload);
        }
        self.check_encoding()?;
        // The check has shown that the stored bytes decode to as much, so this asks for no more
        // than they hold.
        let mut slice = Vec::new();
        let reserved = usize::try_from(len).map(|len| slice.try_reserve_exact(len));
        if !matches!(reserved, Ok(Ok(()))) {
            return Err(PxiError::OutOfMemory { bytes: len });
        }
        self.copy_decoded(offset, len, &mut slice)?;
        Ok(slice)
    }

    /// Writes a slice of the payload to `out` in pieces, so that a payload larger than memory can
    /// be read. (LZ4 is the exception: its one block is decoded whole.)
    pub fn copy_range(&self, offset: u64, len: u64, out: &mut dyn Write) -> Result<(), PxiError> {
        self.check_range(offset, len)?;
        self.check_encoding()?;
        self.copy_decoded(offset, len, out)
    }

    /// Checks everything that can be checked: the version's reserved bytes, the encoding, the tail
    /// of the last row, and the payload's SHA-256.
    pub fn verify(&self) -> Result<(), PxiError> {
        self.verify_with(&|_| ())
    }

    /// [`Self::verify`], reporting how many bytes of the payload have been hashed.
    pub fn verify_with(&self, progress: &dyn Fn(u64)) -> Result<(), PxiError> {
        let header = &self.header;
        // A reader takes any minor version; nobody can vouch for bytes whose meaning it does not
        // know.
        if header.minor() != VERSION.1 {
            let found = format!("{}.{}", VERSION.0, header.minor());
            return Err(PxiError::field(
                "version",
                found,
                "1.0, the only one that can be vouched for",
            ));
        }
        if header.reserved() != &[0; 9] {
            return Err(PxiError::field(
                "reserved",
                hex(header.reserved()),
                "zeros in version 1.0",
            ));
        }
        if header.compression() == Compression::None {
            let (payload, tail) = self.stored.split_at(header.original_size() as usize);
            if let Some(index) = tail.iter().position(|&byte| byte != 0) {
                return Err(PxiError::Tail {
                    offset: (payload.len() + index) as u64,
                    found: tail[index],
                });
            }
        }
        let mut hash = HashWriter::new(progress);
        self.copy_range(0, header.original_size(), &mut hash)?;
        let found = hash.finish();
        if &found != header.checksum() {
            return Err(PxiError::Checksum {
                found: hex(&found),
                expected: hex(header.checksum()),
            });
        }
        Ok(())
    }

    /// The whole file in memory again, for tests and for sending it elsewhere.
    pub fn to_file_bytes(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEADER_LEN + self.stored.len());
        file.extend_from_slice(&self.header.encode());
        file.extend_from_slice(self.stored);
        file
    }

    fn check_range(&self, offset: u64, len: u64) -> Result<(), PxiError> {
        let payload_len = self.header.original_size();
        match offset.checked_add(len) {
            Some(end) if end <= payload_len => Ok(()),
            _ => Err(PxiError::Range { offset, len, payload_len }),
        }
    }

    fn check_encoding(&self) -> Result<(), PxiError> {
        match self.header.compression() {
            Compression::RunLength => run_length::check(self.stored, self.header.original_size()),
            // An LZ4 block is checked where it is decoded, and plain bytes need no check.
            Compression::None | Compression::Lz4 => Ok(()),
        }
    }

    /// The range and the encoding have been checked.
    fn copy_decoded(&self, offset: u64, len: u64, out: &mut dyn Write) -> Result<(), PxiError> {
        let copied = match self.header.compression() {
            Compression::None => {
                let (start, end) = (offset as usize, (offset + len) as usize);
                // In pieces, so that who hashes them can tell how far it is.
                self.stored[start..end].chunks(PIECE_LEN).try_for_each(|piece| out.write_all(piece))
            }
            Compression::RunLength => run_length::copy_range(self.stored, offset, len, out),
            Compression::Lz4 => {
                let payload = lz4::decompress(self.stored, self.header.original_size())?;
                let (start, end) = (offset as usize, (offset + len) as usize);
                payload[start..end].chunks(PIECE_LEN).try_for_each(|piece| out.write_all(piece))
            }
        };
        copied.map_err(PxiError::io("copy the payload"))
    }
}

/// Hashes what is written to it, and reports how much that was.
pub(super) struct HashWriter<'a> {
    hash: Sha256,
    hashed_len: u64,
    progress: &'a dyn Fn(u64),
}

impl<'a> HashWriter<'a> {
    pub(super) fn new(progress: &'a dyn Fn(u64)) -> Self {
        Self { hash: Sha256::new(), hashed_len: 0, progress }
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.hashed_len += bytes.len() as u64;
        (self.progress)(self.hashed_len);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
