//! 6  The forward pass: from token ids to logits, through kernels that read weights from tiles as they lie in the file.
//!
//! In: the tiles of a model, columns (a token at a position of a sequence) and a cache of keys and values. Out: logits.
//! A kernel is one name everywhere: its parameters in [`params`], its CPU twin in [`mod@reference`], its shader in `shaders/`.
//! In the world, the schedule of one forward step runs in Bevy's render graph, before the cameras.

#[cfg(feature = "world")]
mod driver;
mod hook_point;
#[cfg(feature = "world")]
mod interventions;
#[cfg(feature = "world")]
pub mod kernels;
#[cfg(feature = "world")]
pub mod network;
#[cfg(feature = "world")]
mod overlay;
pub mod params;
#[cfg(feature = "world")]
mod plugin;
#[cfg(feature = "world")]
pub mod readback;
pub mod reference;
#[cfg(feature = "world")]
mod schedule;
#[cfg(feature = "world")]
pub(crate) mod threads;

#[cfg(feature = "world")]
pub use driver::{ForwardRequest, ForwardState, ForwardStatus};
pub use hook_point::HookPoint;
#[cfg(feature = "world")]
pub use interventions::InterventionsPlugin;
#[cfg(feature = "world")]
pub use overlay::{Overlaid, OverlayPlugin};
#[cfg(feature = "world")]
pub use plugin::{PassesPlugin, PassesSystems};
#[cfg(feature = "world")]
pub use schedule::{Forward, ForwardSystems};
