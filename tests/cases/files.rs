//! No file is lost.
