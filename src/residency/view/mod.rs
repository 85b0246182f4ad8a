//! The view set: which tiles a camera wants, which it has, and which make room.
//!
//! In: a [`View`] and the tiles near it, each frame. Out: what to read, what to give up and what to
//! draw. Pure: no file, no device and no world; the plugin of [`crate::residency`] carries it out.

mod cache;
mod index;
mod rank;
mod state;

pub use cache::{Budgets, Changes, ViewCache};
pub use index::TileIndex;
pub use rank::{Candidate, View, Wanted, rank};
pub use state::TileState;
