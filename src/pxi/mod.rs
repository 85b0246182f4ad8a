//! PixelFS: bytes as RGB pixels in a `.pxi` file.
//!
//! Comes in: bytes. Goes out: a file of 64 header bytes and then rows of RGB pixels, and the same
//! bytes back. The format is fixed and stated byte by byte in `specs/pxi.md`.
//!
//! Read in this order: [`PxiHeader`] (the 64 bytes and what they promise), [`parse`] and
//! [`PxiContents`] (a whole file in memory, checked), [`PxiFile`] (the same over a memory-mapped
//! file), [`PxiWriter`] and [`PayloadFile`] (streams and parallel pieces, both atomic through
//! [`AtomicFile`]), [`PxiStore`] (names in a folder), and [`view`] (the payload as a picture).
//!
//! Nothing here knows what the bytes mean, and nothing here knows Bevy.

mod atomic;
mod contents;
pub mod demo;
mod error;
mod header;
mod locked_file;
mod lz4;
mod map;
mod payload_file;
pub(crate) mod positioned;
mod reader;
mod run_length;
mod store;
pub mod view;
mod writer;

pub use atomic::{AtomicFile, Target, abandon_all};
pub(crate) use atomic::{followed, names_folder};
pub use contents::PxiContents;
pub use error::PxiError;
pub use header::{
    Compression, DEFAULT_WIDTH, HEADER_LEN, MAGIC, MAX_WRITTEN_WIDTH, PxiHeader, VERSION,
};
pub use locked_file::{DocumentError, LockedFile, damaged};
pub use lz4::MAX_PAYLOAD_LEN as MAX_LZ4_PAYLOAD_LEN;
pub use payload_file::PayloadFile;
pub use reader::PxiFile;
pub use store::{PxiEntry, PxiStore};
pub use writer::{PxiWriter, WriteOptions};

/// The size of the pieces in which payloads are hashed, copied and reported: large enough that a
/// call costs nothing, small enough that a progress bar moves.
pub(crate) const PIECE_LEN: usize = 1 << 20;

/// Checks the header of a whole file in memory against the file's length, and gives its contents.
///
/// Nothing is allocated and the payload is not looked at: [`PxiContents::verify`] does that.
pub fn parse(file: &[u8]) -> Result<PxiContents<'_>, PxiError> {
    let header = PxiHeader::parse(file)?;
    header.check_file_len(file.len() as u64)?;
    let (_, stored) = file.split_at(HEADER_LEN);
    Ok(PxiContents::new(header, stored))
}

/// Lowercase hexadecimal, as checksums are shown.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
