//! A `.pxi` file on disk, memory-mapped: opening it costs the header, and reading a slice costs the
//! slice.

use super::{HEADER_LEN, PxiContents, PxiError, PxiHeader, map::MappedFile, parse};
use crate::files::{NotRegular, open_regular};
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// An open `.pxi` file. It can be shared between threads.
#[derive(Debug)]
pub struct PxiFile {
    path: PathBuf,
    map: MappedFile,
    header: PxiHeader,
}

impl PxiFile {
    /// Opens a file and checks its header against its length, before anything is allocated.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PxiError> {
        let path = path.as_ref();
        Self::open_unlocated(path).map_err(|error| error.at(path))
    }

    fn open_unlocated(path: &Path) -> Result<Self, PxiError> {
        let file = open_regular(path).map_err(|error| match NotRegular::is_in(&error) {
            true => PxiError::NotRegular,
            false => PxiError::io("open")(error),
        })?;
        let len = file.metadata().map_err(PxiError::io("read the length"))?.len();
        if len < HEADER_LEN as u64 {
            return Err(PxiError::Length { found: len, expected: HEADER_LEN as u64 });
        }
        let map = MappedFile::new(&file).map_err(PxiError::io("map"))?;
        let header = *parse(&map)?.header();
        Ok(Self { path: path.to_owned(), map, header })
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header, as it was when the file was opened.
    pub fn header(&self) -> &PxiHeader {
        &self.header
    }

    /// The file's length in bytes.
    pub fn file_len(&self) -> u64 {
        self.map.len() as u64
    }

    /// The contents, borrowed from the map.
    pub fn contents(&self) -> PxiContents<'_> {
        PxiContents::new(self.header, &self.map[HEADER_LEN..])
    }

    /// The payload of an uncompressed file, without a copy. See [`PxiContents::payload`].
    pub fn payload(&self) -> Result<&[u8], PxiError> {
        self.contents().payload().map_err(|error| error.at(&self.path))
    }

    /// Asks the system to read a range of the stored payload ahead of its use.
    pub(crate) fn will_need(&self, range: std::ops::Range<usize>) {
        self.map.will_need(HEADER_LEN + range.start, range.len());
    }

    /// Lets the system take back the memory of a range of the stored payload. It can be read again.
    pub fn release(&self, range: std::ops::Range<usize>) {
        self.map.release(HEADER_LEN + range.start, range.len());
    }

    /// The whole payload, decoded. See [`PxiContents::read_all`].
    pub fn read_all(&self) -> Result<Vec<u8>, PxiError> {
        self.contents().read_all().map_err(|error| error.at(&self.path))
    }

    /// A slice of the payload. See [`PxiContents::read_range`].
    pub fn read_range(&self, offset: u64, len: u64) -> Result<Vec<u8>, PxiError> {
        self.contents().read_range(offset, len).map_err(|error| error.at(&self.path))
    }

    /// Writes a slice of the payload to `out`. See [`PxiContents::copy_range`].
    pub fn copy_range(&self, offset: u64, len: u64, out: &mut dyn Write) -> Result<(), PxiError> {
        self.contents().copy_range(offset, len, out).map_err(|error| error.at(&self.path))
    }

    /// Checks the whole file. See [`PxiContents::verify`].
    pub fn verify(&self) -> Result<(), PxiError> {
        self.verify_with(&|_| ())
    }

    /// [`Self::verify`], reporting how many bytes of the payload have been hashed.
    pub fn verify_with(&self, progress: &dyn Fn(u64)) -> Result<(), PxiError> {
        self.contents().verify_with(progress).map_err(|error| error.at(&self.path))
    }
}
