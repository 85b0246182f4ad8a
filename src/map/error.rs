//! What can be wrong with a map, or stop one from being read or written.

use super::geometry::{TilePos, TileSize};
use crate::pxi::PxiError;
use std::{
    io,
    path::{Path, PathBuf},
};

/// An error of the infinite map. Variants carry what was found and what was expected; the file is
/// attached where one is read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// A field of an index or a directory holds a value that it may not hold.
    #[error("{part} field `{field}` is {found}, expected {expected}")]
    Field {
        /// The kind of file: `index` or `directory`.
        part: &'static str,
        /// The field's name in `specs/map.md`.
        field: &'static str,
        /// The value in the file.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A file belongs to another map.
    #[error("is foreign: it belongs to map {found}, not to map {expected}")]
    Foreign {
        /// The map that the file names.
        found: String,
        /// The map that was opened.
        expected: String,
    },
    /// A map of another tile size than the one asked for.
    #[error("the map has tiles of {found} x {found} pixels, not of {expected} x {expected}")]
    TileSize {
        /// The map's own tile size.
        found: TileSize,
        /// The tile size that was asked for.
        expected: TileSize,
    },
    /// A tile size that no map can have.
    #[error(
        "tile size is {found}, expected a power of two from {} to {}",
        TileSize::MIN,
        TileSize::MAX
    )]
    NoTileSize {
        /// The size that was asked for.
        found: u64,
    },
    /// A stored tile that cannot be had.
    #[error("tile ({}, {}): {source}", tile.x, tile.y)]
    Tile {
        /// Its column and row among the tiles.
        tile: TilePos,
        /// What is wrong with it.
        source: Box<MapError>,
    },
    /// A tile's pixels are not the ones that were written.
    #[error("SHA-256 is {found}, expected {expected}")]
    Checksum {
        /// The digest of the pixels as they are.
        found: String,
        /// The digest in the directory.
        expected: String,
    },
    /// A file without which a tile cannot be read; it was named when the map was opened.
    #[error("cannot be read: {problem}")]
    Unreadable {
        /// What was found when the map was opened.
        problem: String,
    },
    /// A rectangle, tile or position that leaves the plane of 64-bit coordinates.
    #[error("{what} leaves the plane, whose coordinates are 64-bit")]
    OutsidePlane {
        /// What leaves it, with its numbers.
        what: String,
    },
    /// A rectangle without pixels.
    #[error("a rectangle of {width} x {height} pixels is empty")]
    EmptyRect {
        /// Its width in pixels.
        width: u64,
        /// Its height in pixels.
        height: u64,
    },
    /// A ray that points nowhere, or whose direction is too long to be exact.
    #[error(
        "a ray cannot have the direction ({dx}, {dy}): expected (0, 0) not, and no part beyond 2^62"
    )]
    Direction {
        /// Its part along x.
        dx: i64,
        /// Its part along y.
        dy: i64,
    },
    /// More than the format or this code takes.
    #[error("{what} is {found}, expected at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is, in the unit of `limit`.
        found: u128,
        /// The largest value allowed.
        limit: u128,
    },
    /// A buffer that does not fit what it stands for.
    #[error("{found} bytes were given for {what}, expected {expected}")]
    Length {
        /// What the bytes are for.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
    /// Bytes were asked for where nothing was ever written.
    #[error("nothing was ever written at ({x}, {y})")]
    Unallocated {
        /// The first pixel without a tile.
        x: i64,
        /// The row of that pixel.
        y: i64,
    },
    /// A region would share tiles with another one.
    #[error("region {name:?} would overlap region {other:?}")]
    Overlap {
        /// The region that was asked for.
        name: String,
        /// The one that is there.
        other: String,
    },
    /// A region name that is in use.
    #[error("there is a region {name:?} already")]
    RegionExists {
        /// The name that was asked for, which another region has.
        name: String,
    },
    /// A region name that is not in use.
    #[error("there is no region {name:?}")]
    NoRegion {
        /// The name that was asked for.
        name: String,
    },
    /// A name that a region cannot have.
    #[error("region name {name:?} {problem}")]
    RegionName {
        /// The name as it was given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A folder without a map.
    #[error("no map is here: the folder has no index.pxi")]
    NoMap,
    /// Neither the index nor its copy can be read.
    #[error("{index}; and its copy is no help: {copy}")]
    NoIndex {
        /// What is wrong with the index.
        index: Box<MapError>,
        /// What is wrong with its copy.
        copy: Box<MapError>,
    },
    /// A folder that cannot become a map.
    #[error("no map can be made here: {problem}")]
    Occupied {
        /// What is there: a map, or a file that is no part of one.
        problem: String,
    },
    /// Another process writes to the map.
    #[error("another process is writing to the map; reading is possible")]
    Locked,
    /// A change to a map that was opened for reading.
    #[error("the map was opened for reading only")]
    ReadOnly,
    /// A `.pxi` file is at fault.
    #[error(transparent)]
    Pxi(#[from] PxiError),
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
        source: Box<MapError>,
    },
}

impl MapError {
    /// Attaches the file's path, once. PixelFS names its files itself.
    pub fn at(self, path: &Path) -> Self {
        match self {
            located @ (Self::File { .. } | Self::Pxi(PxiError::File { .. })) => located,
            source => Self::File { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// The error without file and tile.
    pub fn inner(&self) -> &Self {
        match self {
            Self::File { source, .. } | Self::Tile { source, .. } => source.inner(),
            plain => plain,
        }
    }

    /// Whether the bytes of the map are at fault, rather than the request or the machine.
    pub fn is_damage(&self) -> bool {
        match self.inner() {
            Self::Field { .. }
            | Self::Foreign { .. }
            | Self::Checksum { .. }
            | Self::Unreadable { .. } => true,
            Self::Pxi(error) => error.is_damage(),
            Self::NoIndex { index, copy } => index.is_damage() || copy.is_damage(),
            _ => false,
        }
    }

    pub(crate) fn field(
        part: &'static str,
        field: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Field { part, field, found: found.to_string(), expected: expected.to_string() }
    }

    /// For `map_err`: an I/O error with what was being done.
    pub(crate) fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}
