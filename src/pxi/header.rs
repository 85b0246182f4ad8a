//! The 64 bytes at the start of a `.pxi` file: what they say, and what they promise about the
//! file's length.
//!
//! Spec: `specs/pxi.md`, "Header". Integers are big-endian.

use super::{PxiError, hex, lz4, run_length};
use std::{fmt, str::FromStr};

/// The first four bytes of every `.pxi` file.
pub const MAGIC: [u8; 4] = *b"PXIF";
/// The major and minor version that this code writes.
pub const VERSION: (u8, u8) = (1, 0);
/// The header's length in bytes.
pub const HEADER_LEN: usize = 64;
/// The width of a picture when none is asked for, in pixels.
pub const DEFAULT_WIDTH: u32 = 1024;
/// The widest picture that is written: a row of 3 MiB. Readers take any width, but padding the last
/// row of a small payload to a width of billions would fill a disk with zeros.
pub const MAX_WRITTEN_WIDTH: u32 = 1 << 20;

const BYTES_PER_PIXEL: u64 = 3;

/// How the payload is stored after the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As it is, the last row padded with zeros.
    #[default]
    None = 0,
    /// Pairs of a count and a byte.
    RunLength = 1,
    /// One LZ4 block of the whole payload.
    Lz4 = 2,
}

impl Compression {
    /// Every kind, in the order of its code.
    pub const ALL: [Self; 3] = [Self::None, Self::RunLength, Self::Lz4];

    /// The name that the command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RunLength => "rle",
            Self::Lz4 => "lz4",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Compression {
    type Err = PxiError;

    fn from_str(name: &str) -> Result<Self, PxiError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| PxiError::field("compression", format!("{name:?}"), "none, rle or lz4"))
    }
}

/// A header whose fields agree with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PxiHeader {
    minor: u8,
    original_size: u64,
    width: u32,
    height: u32,
    compression: Compression,
    checksum: [u8; 32],
    reserved: [u8; 9],
}

impl PxiHeader {
    /// The header of a payload of `original_size` bytes whose SHA-256 is `checksum`.
    pub fn new(
        original_size: u64,
        width: u32,
        compression: Compression,
        checksum: [u8; 32],
    ) -> Result<Self, PxiError> {
        check_written_width(width)?;
        let limit = max_payload_len(width);
        if original_size > limit {
            return Err(PxiError::TooLarge { what: "payload length", found: original_size, limit });
        }
        let height = u32::try_from(rows(original_size, width))
            .expect("a payload within the limit has at most u32::MAX rows");
        Ok(Self {
            minor: VERSION.1,
            original_size,
            width,
            height,
            compression,
            checksum,
            reserved: [0; 9],
        })
    }

    /// Reads the header at the start of `file`, and checks each field against the others.
    pub fn parse(file: &[u8]) -> Result<Self, PxiError> {
        let Some(bytes) = file.first_chunk::<HEADER_LEN>() else {
            return Err(PxiError::Length { found: file.len() as u64, expected: HEADER_LEN as u64 });
        };
        let magic: [u8; 4] = field(bytes, 0);
        if magic != MAGIC {
            return Err(PxiError::field("magic", hex(&magic), hex(&MAGIC)));
        }
        let [major, minor] = field(bytes, 4);
        if major != VERSION.0 {
            return Err(PxiError::field(
                "version",
                format!("{major}.{minor}"),
                format!("{}.x", VERSION.0),
            ));
        }
        let original_size = u64::from_be_bytes(field(bytes, 6));
        let width = u32::from_be_bytes(field(bytes, 14));
        if width == 0 {
            return Err(PxiError::field("width", 0, "1 or more"));
        }
        let height = u32::from_be_bytes(field(bytes, 18));
        let expected_height = rows(original_size, width);
        // In 64 bits: the rows of a made-up size need not fit 32, and must differ, not wrap.
        if u64::from(height) != expected_height {
            let expected = format!("{expected_height} for {original_size} bytes at width {width}");
            return Err(PxiError::field("height", height, expected));
        }
        let compression = match bytes[22] {
            0 => Compression::None,
            1 => Compression::RunLength,
            2 => Compression::Lz4,
            other => return Err(PxiError::field("compression", other, "0, 1 or 2")),
        };
        let header = Self {
            minor,
            original_size,
            width,
            height,
            compression,
            checksum: field(bytes, 23),
            reserved: field(bytes, 55),
        };
        // Refused here, so that `padded_len` cannot fail later.
        match header.checked_file_len() {
            Some(_) => Ok(header),
            None => Err(PxiError::field(
                "original_size",
                original_size,
                "a picture of less than 2^64 bytes",
            )),
        }
    }

    /// The 64 bytes of this header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&[VERSION.0, self.minor]);
        bytes[6..14].copy_from_slice(&self.original_size.to_be_bytes());
        bytes[14..18].copy_from_slice(&self.width.to_be_bytes());
        bytes[18..22].copy_from_slice(&self.height.to_be_bytes());
        bytes[22] = self.compression as u8;
        bytes[23..55].copy_from_slice(&self.checksum);
        bytes[55..64].copy_from_slice(&self.reserved);
        bytes
    }

    /// Refuses a file that is too short or too long for this header.
    ///
    /// An uncompressed file has exactly one length. The length of a compressed one bounds what it
    /// can decode to, so that a small file cannot ask for a large allocation.
    pub(crate) fn check_file_len(&self, found: u64) -> Result<(), PxiError> {
        let Some(stored_len) = found.checked_sub(HEADER_LEN as u64) else {
            return Err(PxiError::Length { found, expected: HEADER_LEN as u64 });
        };
        let possible = match self.compression {
            Compression::None => {
                let expected = HEADER_LEN as u64 + self.padded_len();
                return if found == expected {
                    Ok(())
                } else {
                    Err(PxiError::Length { found, expected })
                };
            }
            Compression::RunLength => run_length::decoded_len_range(stored_len),
            Compression::Lz4 => lz4::decoded_len_range(stored_len),
        };
        if possible.contains(&self.original_size) {
            return Ok(());
        }
        let expected = format!(
            "{} to {} for {stored_len} bytes of {}",
            possible.start(),
            possible.end(),
            self.compression
        );
        Err(PxiError::field("original_size", self.original_size, expected))
    }

    /// The format's minor version.
    pub(crate) fn minor(&self) -> u8 {
        self.minor
    }

    /// The payload's length in bytes, before padding and compression.
    pub fn original_size(&self) -> u64 {
        self.original_size
    }

    /// The picture's width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The picture's height in pixels; 0 for an empty payload.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// How the payload is stored.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The SHA-256 of the payload, before padding and compression.
    pub fn checksum(&self) -> &[u8; 32] {
        &self.checksum
    }

    /// The bytes that version 1.0 leaves zero.
    pub fn reserved(&self) -> &[u8; 9] {
        &self.reserved
    }

    /// The length of the picture in bytes: the payload and the zeros that fill its last row.
    pub(crate) fn padded_len(&self) -> u64 {
        self.checked_file_len().expect("a header is only made when its file length fits")
            - HEADER_LEN as u64
    }

    fn checked_file_len(&self) -> Option<u64> {
        row_len(self.width).checked_mul(u64::from(self.height))?.checked_add(HEADER_LEN as u64)
    }
}

/// Refuses a width that this writer does not write.
pub(super) fn check_written_width(width: u32) -> Result<(), PxiError> {
    if (1..=MAX_WRITTEN_WIDTH).contains(&width) {
        return Ok(());
    }
    Err(PxiError::field("width", width, format!("1 to {MAX_WRITTEN_WIDTH}")))
}

/// The most bytes that a picture of this width holds, its height being a u32.
pub(super) fn max_payload_len(width: u32) -> u64 {
    row_len(width).saturating_mul(u64::from(u32::MAX))
}

fn row_len(width: u32) -> u64 {
    u64::from(width) * BYTES_PER_PIXEL
}

fn rows(original_size: u64, width: u32) -> u64 {
    original_size.div_ceil(BYTES_PER_PIXEL).div_ceil(u64::from(width))
}

fn field<const N: usize>(bytes: &[u8; HEADER_LEN], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("every field lies within the 64 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_bytes(edit: impl FnOnce(&mut [u8; HEADER_LEN])) -> [u8; HEADER_LEN] {
        let mut bytes = PxiHeader::new(3600, 1024, Compression::None, [7; 32]).unwrap().encode();
        edit(&mut bytes);
        bytes
    }

    fn refused_field(edit: impl FnOnce(&mut [u8; HEADER_LEN])) -> &'static str {
        match PxiHeader::parse(&header_bytes(edit)) {
            Err(PxiError::Field { field, .. }) => field,
            other => panic!("expected a field to be refused, got {other:?}"),
        }
    }

    #[test]
    fn the_height_covers_the_payload_exactly() {
        let height =
            |size, width| PxiHeader::new(size, width, Compression::None, [0; 32]).unwrap().height();
        assert_eq!(height(0, 1024), 0);
        assert_eq!(height(1, 1024), 1);
        assert_eq!(height(3072, 1024), 1);
        assert_eq!(height(3073, 1024), 2);
        assert_eq!(height(4, 1), 2);
    }

    #[test]
    fn what_is_encoded_is_parsed() {
        for compression in Compression::ALL {
            let header = PxiHeader::new(123_456_789_012, 4096, compression, [0xAB; 32]).unwrap();
            assert_eq!(PxiHeader::parse(&header.encode()).unwrap(), header);
        }
    }

    #[test]
    fn a_minor_version_and_reserved_bytes_are_kept() {
        let bytes = header_bytes(|bytes| {
            bytes[5] = 3;
            bytes[63] = 9;
        });
        let header = PxiHeader::parse(&bytes).unwrap();
        assert_eq!((header.minor(), header.reserved()[8]), (3, 9));
        assert_eq!(header.encode(), bytes);
    }

    #[test]
    fn each_field_is_refused_by_name() {
        assert_eq!(refused_field(|bytes| bytes[0] = b'p'), "magic");
        assert_eq!(refused_field(|bytes| bytes[4] = 0), "version");
        assert_eq!(refused_field(|bytes| bytes[4] = 2), "version");
        assert_eq!(refused_field(|bytes| bytes[4..6].copy_from_slice(&[0, 1])), "version");
        assert_eq!(refused_field(|bytes| bytes[14..18].fill(0)), "width");
        assert_eq!(refused_field(|bytes| bytes[21] = 3), "height");
        assert_eq!(refused_field(|bytes| bytes[6] = 1), "height");
        assert_eq!(refused_field(|bytes| bytes[22] = 3), "compression");
    }

    #[test]
    fn a_picture_longer_than_a_u64_is_refused() {
        let bytes = header_bytes(|bytes| {
            bytes[6..14].fill(0xFF);
            bytes[14..18].fill(0xFF);
            let height = rows(u64::MAX, u32::MAX) as u32;
            bytes[18..22].copy_from_slice(&height.to_be_bytes());
        });
        assert!(matches!(
            PxiHeader::parse(&bytes),
            Err(PxiError::Field { field: "original_size", .. })
        ));
    }

    #[test]
    fn every_wrong_file_length_is_refused() {
        let header = PxiHeader::parse(&header_bytes(|_| ())).unwrap();
        for found in (0..6300).filter(|&length| length != 6208) {
            assert!(
                matches!(header.check_file_len(found), Err(PxiError::Length { .. })),
                "{found}"
            );
        }
        header.check_file_len(6208).unwrap();
    }

    #[test]
    fn a_small_compressed_file_cannot_claim_a_large_payload() {
        for compression in [Compression::RunLength, Compression::Lz4] {
            let claims =
                |size| PxiHeader::new(size, MAX_WRITTEN_WIDTH, compression, [0; 32]).unwrap();
            let refused = claims(1 << 50).check_file_len(80);
            assert!(
                matches!(refused, Err(PxiError::Field { field: "original_size", .. })),
                "{refused:?}"
            );
            claims(100).check_file_len(80).unwrap();
        }
    }

    #[test]
    fn widths_that_are_not_written_are_refused() {
        for width in [0, MAX_WRITTEN_WIDTH + 1, u32::MAX] {
            let refused = PxiHeader::new(1, width, Compression::None, [0; 32]);
            assert!(matches!(refused, Err(PxiError::Field { field: "width", .. })), "{refused:?}");
        }
    }
}
