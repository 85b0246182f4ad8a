//! 5  Residency: which tiles are in memory, and which should be.
//!
//! Two sets. The *compute* set is what a forward pass reads: where a model's tiles do not fit the memory that they may take, its layers go through a pool of
//! slots ahead of the passes, in the order in which the layers run. The *view* set is what a camera sees: ranked, within a budget of bytes and of
//! uploads per frame. In: a [`PixelModel`](crate::model::PixelModel) and budgets. Out: tiles on the device, verified, or named as bad. Neither set ever changes
//! an answer. Specified in `specs/residency.md`.

#[cfg(feature = "world")]
pub mod compute;
mod figures;
mod size;

pub use figures::{Counters, Figures};
pub use size::{MemorySize, NoMemorySize};
