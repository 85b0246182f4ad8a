//! Residency: which tiles are in memory, and which should be.
//!
//! Two sets. The *compute* set is what a forward pass reads: where a model's tiles do not fit the
//! memory that they may take, its layers go through a pool of slots ahead of the passes, in the
//! order in which the layers run. The *view* set is what a camera sees: ranked, within a budget of
//! bytes and of uploads per frame. In: a [`PixelModel`](crate::model::PixelModel) and budgets. Out:
//! tiles on the device, verified, or named as bad. Neither set ever changes an answer. Specified in
//! `specs/residency.md`.

#[cfg(feature = "world")]
pub mod compute;
mod metrics;
#[cfg(feature = "world")]
mod plugin;
pub mod regions;
#[cfg(feature = "world")]
mod stream;
#[cfg(feature = "world")]
mod upload;
pub mod view;

pub use metrics::{Counters, ResidencyMetrics};
#[cfg(feature = "world")]
pub use plugin::{
    BadTile, PoolRoom, ResidencyBudgets, ResidencyFigures, ResidencyPlugin, ResidencySystems,
    SLOT_BYTES, ViewTiles, WantedView,
};
#[cfg(feature = "world")]
pub use upload::{ABSENT, DAMAGED, SLOT_LINES, ViewAtlas};
