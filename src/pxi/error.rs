//! What can be wrong with a `.pxi` file, or stop one from being written.

use super::Compression;
use std::{io, path::Path, path::PathBuf};

/// An error of PixelFS. Variants carry the field, what was found and what was expected; the path is
/// attached where a file is opened or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PxiError {
    /// A header field holds a value that it may not hold.
    #[error("header field `{field}` is {found}, expected {expected}")]
    Field {
        /// The field's name in `specs/pxi.md`.
        field: &'static str,
        /// The value in the file.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("file length is {found} bytes, expected {expected}")]
    Length {
        /// The length of the file.
        found: u64,
        /// The length that the header asks for, or the least length of any file.
        expected: u64,
    },
    /// The compressed bytes are no valid encoding of a payload of the size that the header states.
    #[error("{compression} encoding at stored byte {offset}: {problem}")]
    Encoding {
        /// How the payload is compressed.
        compression: Compression,
        /// Where, counted from the end of the header.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The payload is not the one that was written.
    #[error("header field `checksum` is {expected}, but the payload's SHA-256 is {found}")]
    Checksum {
        /// The digest of the payload as it is.
        found: String,
        /// The digest in the header.
        expected: String,
    },
    /// The rest of the last row holds something.
    #[error("tail byte {offset} of the last row is {found}, expected 0")]
    Tail {
        /// Where, counted from the start of the payload.
        offset: u64,
        /// The byte there, which is not 0.
        found: u8,
    },
    /// A slice that is not within the payload.
    #[error("range of {len} bytes at {offset} is not within the payload of {payload_len} bytes")]
    Range {
        /// Where the slice starts.
        offset: u64,
        /// How long it is.
        len: u64,
        /// How long the payload is.
        payload_len: u64,
    },
    /// A zero-copy view of a payload that is compressed.
    #[error("payload is compressed with {compression}, so it has no bytes to borrow")]
    Compressed {
        /// How the payload is compressed.
        compression: Compression,
    },
    /// More than the format or this writer takes.
    #[error("{what} is {found}, expected at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is, in the unit of `limit`.
        found: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// Memory for a decoded payload could not be had.
    #[error("no memory for {bytes} bytes of payload")]
    OutOfMemory {
        /// How much was asked for.
        bytes: u64,
    },
    /// An empty payload has no rows, and a picture needs one.
    #[error("an empty payload has no pixels to view")]
    NoPixels,
    /// A name that a store does not take.
    #[error("name {name:?} {problem}")]
    Name {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something else than a plain file is at the path.
    #[error("not a regular file")]
    NotRegular,
    /// A file is at the path that may not be replaced.
    #[error("exists already and is not replaced; give --force if it may be, or another name")]
    Exists,
    /// The program is being interrupted and starts no new files.
    #[error("interrupted")]
    Interrupted,
    /// The picture could not be encoded.
    #[error("cannot encode the picture: {source}")]
    Png {
        /// What the encoder said.
        source: png::EncodingError,
    },
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// An error with the file in which it happened.
    #[error("{}: {source}", path.display())]
    File {
        /// The file that was read or written.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<PxiError>,
    },
}

impl PxiError {
    /// Attaches the file's path, once.
    pub fn at(self, path: &Path) -> Self {
        match self {
            located @ Self::File { .. } => located,
            source => Self::File { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// The error without the path.
    pub fn inner(&self) -> &Self {
        match self {
            Self::File { source, .. } => source.inner(),
            plain => plain,
        }
    }

    /// Whether the file's bytes are at fault, rather than the request or the machine.
    pub fn is_damage(&self) -> bool {
        matches!(
            self.inner(),
            Self::Field { .. }
                | Self::Length { .. }
                | Self::Encoding { .. }
                | Self::Checksum { .. }
                | Self::Tail { .. }
        )
    }

    pub(super) fn field(
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Field { field, found: found.to_string(), expected: expected.to_string() }
    }

    pub(super) fn encoding(
        compression: Compression,
        offset: usize,
        problem: impl ToString,
    ) -> Self {
        Self::Encoding { compression, offset: offset as u64, problem: problem.to_string() }
    }

    /// For `map_err`: an I/O error with what was being done. An error of ours that travelled
    /// through an `io::Write` comes out as it went in.
    pub(super) fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Io { action, source },
        }
    }
}

impl From<PxiError> for io::Error {
    /// Lets an error pass through `io::Write` and `io::Read`.
    fn from(error: PxiError) -> Self {
        match error {
            // Where it comes out, `io` says what was being done.
            PxiError::Io { source, .. } => source,
            other => Self::other(other),
        }
    }
}
