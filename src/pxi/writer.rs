//! Writing a payload as a stream: it is hashed and encoded as it comes, and may be larger than
//! memory.
//!
//! The header's place is kept free until [`PxiWriter::finish`], when the payload's length and
//! checksum are known.

use super::{
    AtomicFile, Compression, DEFAULT_WIDTH, HEADER_LEN, PIECE_LEN, PxiError, PxiHeader, Target,
    header::{check_written_width, max_payload_len},
    lz4, run_length,
};
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// The picture's width in pixels, 1 to [`super::MAX_WRITTEN_WIDTH`].
    pub width: u32,
    /// How the payload is stored.
    pub compression: Compression,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { width: DEFAULT_WIDTH, compression: Compression::None }
    }
}

/// Takes a payload through [`Write`]; the file appears when [`Self::finish`] succeeds. Dropped
/// before that, it leaves nothing, and an old file stands.
pub struct PxiWriter {
    out: BufWriter<AtomicFile>,
    options: WriteOptions,
    encoder: PayloadEncoder,
    hash: Sha256,
    written_len: u64,
    max_len: u64,
}

enum PayloadEncoder {
    None,
    RunLength(run_length::RunLengthEncoder),
    /// The block is made of the whole payload, so the payload waits here.
    Lz4(Vec<u8>),
}

impl PxiWriter {
    /// Starts a file that will be at `path`.
    pub fn create(target: impl Into<Target>, options: WriteOptions) -> Result<Self, PxiError> {
        let target = target.into();
        let path = target.path().to_owned();
        check_written_width(options.width).map_err(|error| error.at(&path))?;
        let mut out = BufWriter::with_capacity(PIECE_LEN / 4, AtomicFile::create(target)?);
        out.write_all(&[0; HEADER_LEN]).map_err(|error| PxiError::io("write")(error).at(&path))?;
        let widest = max_payload_len(options.width);
        let (encoder, max_len) = match options.compression {
            Compression::None => (PayloadEncoder::None, widest),
            Compression::RunLength => {
                (PayloadEncoder::RunLength(run_length::RunLengthEncoder::default()), widest)
            }
            Compression::Lz4 => (PayloadEncoder::Lz4(Vec::new()), widest.min(lz4::MAX_PAYLOAD_LEN)),
        };
        Ok(Self { out, options, encoder, hash: Sha256::new(), written_len: 0, max_len })
    }

    /// How many bytes of payload have been written.
    pub fn written_len(&self) -> u64 {
        self.written_len
    }

    /// Pads the last row, writes the header, and puts the file in its place.
    pub fn finish(self) -> Result<PxiHeader, PxiError> {
        let target = self.out.get_ref().target().to_owned();
        self.finish_unlocated().map_err(|error| error.at(&target))
    }

    fn finish_unlocated(self) -> Result<PxiHeader, PxiError> {
        let Self { mut out, options, encoder, hash, written_len, .. } = self;
        let header = PxiHeader::new(
            written_len,
            options.width,
            options.compression,
            hash.finalize().into(),
        )?;
        let stored = match encoder {
            PayloadEncoder::None => write_zeros(&mut out, header.padded_len() - written_len),
            PayloadEncoder::RunLength(encoder) => encoder.finish(&mut out),
            PayloadEncoder::Lz4(payload) => out.write_all(&lz4::compress(&payload)),
        };
        stored.map_err(PxiError::io("write"))?;
        let mut file =
            out.into_inner().map_err(|error| PxiError::io("write")(error.into_error()))?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header.encode()))
            .map_err(PxiError::io("write the header"))?;
        file.commit()?;
        Ok(header)
    }
}

impl Write for PxiWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written_len = self.written_len.saturating_add(bytes.len() as u64);
        // Here and not in `finish` alone, so that an endless stream does not fill the disk first.
        if written_len > self.max_len {
            let what = match self.options.compression {
                Compression::Lz4 => "length of a payload compressed with lz4",
                Compression::None | Compression::RunLength => "payload length",
            };
            return Err(PxiError::TooLarge { what, found: written_len, limit: self.max_len }.into());
        }
        // All or an error, so that the hash and the file never disagree about what was taken.
        match &mut self.encoder {
            PayloadEncoder::None => self.out.write_all(bytes)?,
            PayloadEncoder::RunLength(encoder) => encoder.encode(bytes, &mut self.out)?,
            PayloadEncoder::Lz4(payload) => {
                // Memory that is not to be had is an error of this file, not the end of the
                // program.
                payload
                    .try_reserve(bytes.len())
                    .map_err(|_| PxiError::OutOfMemory { bytes: written_len })?;
                payload.extend_from_slice(bytes);
            }
        }
        self.hash.update(bytes);
        self.written_len = written_len;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_zeros(out: &mut impl Write, len: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), len), out).map(|_| ())
}
