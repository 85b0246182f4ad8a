//! The forward pass in Bevy's render graph.
//!
//! In: a [`NetworkModel`](network::NetworkModel), and a [`Step`](network::Step) before each forward
//! step. Out: logits and drawn tokens in the buffers of [`Network`](network::Network).

mod driver;
mod interventions;
pub mod kernels;
pub mod network;
mod overlay;
mod plugin;
pub mod readback;
mod schedule;
pub mod shaders;

pub use driver::{ForwardRequest, ForwardState, ForwardStatus};
pub use interventions::InterventionsPlugin;
pub use overlay::{Overlaid, OverlayPlugin};
pub use plugin::{PassesPlugin, PassesSystems};
pub use schedule::{Forward, ForwardSystems};
