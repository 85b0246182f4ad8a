//! What can be said of a tile that was wanted.

/// Where a tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileState {
    /// It is being read from the file, or waits for its turn to be uploaded.
    Loading,
    /// It can be drawn.
    Resident,
    /// Its bytes do not match its checksum: it is drawn as such, and not asked for again.
    Bad,
}
