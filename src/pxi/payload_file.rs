//! Writing a payload of known length in pieces, at any place, from many threads.

use super::{
    AtomicFile, Compression, HEADER_LEN, PIECE_LEN, PxiError, PxiHeader, Target,
    contents::HashWriter, positioned,
};
use std::io::Write;

/// An uncompressed payload being filled in. What is not written stays zero. The file appears when
/// [`Self::finish`] succeeds; dropped before that, it leaves nothing, and an old file stands.
#[derive(Debug)]
pub struct PayloadFile {
    file: AtomicFile,
    /// Complete but for its checksum.
    draft: PxiHeader,
}

impl PayloadFile {
    /// Starts a file of `payload_len` zeros that will be at `path`.
    pub fn create(
        target: impl Into<Target>,
        width: u32,
        payload_len: u64,
    ) -> Result<Self, PxiError> {
        let target = target.into();
        let path = target.path().to_owned();
        let draft = PxiHeader::new(payload_len, width, Compression::None, [0; 32])
            .map_err(|error| error.at(&path))?;
        let file = AtomicFile::create(target)?;
        // Makes zeros, so that the tail of the picture is never written by hand.
        file.file()
            .set_len(HEADER_LEN as u64 + draft.padded_len())
            .map_err(|error| PxiError::io("set the length")(error).at(&path))?;
        Ok(Self { file, draft })
    }

    /// The payload's length in bytes.
    pub fn payload_len(&self) -> u64 {
        self.draft.original_size()
    }

    /// Writes a piece of the payload. Threads may write different pieces at the same time.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), PxiError> {
        let (len, payload_len) = (bytes.len() as u64, self.payload_len());
        let written = match offset.checked_add(len) {
            Some(end) if end <= payload_len => {
                positioned::write_all_at(self.file.file(), bytes, HEADER_LEN as u64 + offset)
                    .map_err(PxiError::io("write"))
            }
            _ => Err(PxiError::Range { offset, len, payload_len }),
        };
        written.map_err(|error| error.at(self.file.target()))
    }

    /// Reads the payload back to hash it, reporting how many bytes have been hashed, writes the
    /// header, and puts the file in its place.
    pub fn finish(self, progress: &dyn Fn(u64)) -> Result<PxiHeader, PxiError> {
        let target = self.file.target().to_owned();
        self.finish_unlocated(progress).map_err(|error| error.at(&target))
    }

    fn finish_unlocated(self, progress: &dyn Fn(u64)) -> Result<PxiHeader, PxiError> {
        // The disk takes the pixels while they are hashed. An error of this sync must be told: the
        // one of the commit would not hear of it again.
        let checksum = std::thread::scope(|scope| {
            let synced = scope.spawn(|| self.file.file().sync_data());
            let checksum = self.hash(progress)?;
            let synced = synced.join().expect("a sync does not panic");
            synced.map_err(PxiError::io("sync"))?;
            Ok(checksum)
        })?;
        let header =
            PxiHeader::new(self.payload_len(), self.draft.width(), Compression::None, checksum)?;
        // Last: until now the file begins with zeros, which no reader takes for a magic.
        positioned::write_all_at(self.file.file(), &header.encode(), 0)
            .map_err(PxiError::io("write the header"))?;
        self.file.commit()?;
        Ok(header)
    }

    fn hash(&self, progress: &dyn Fn(u64)) -> Result<[u8; 32], PxiError> {
        // Read back in order: pieces have come in any, and SHA-256 takes bytes in theirs.
        let mut hash = HashWriter::new(progress);
        let mut piece = vec![0; PIECE_LEN];
        let mut offset = 0;
        while offset < self.payload_len() {
            let len = (self.payload_len() - offset).min(PIECE_LEN as u64);
            let piece = &mut piece[..len as usize];
            positioned::read_exact_at(self.file.file(), piece, HEADER_LEN as u64 + offset)
                .and_then(|()| hash.write_all(piece))
                .map_err(PxiError::io("read the payload back"))?;
            offset += len;
        }
        Ok(hash.finish())
    }
}
