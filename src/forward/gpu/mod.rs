//! The forward pass in Bevy's render graph.
//!
//! In: a [`GpuModelSource`](model::GpuModelSource), and a [`Step`](model::Step) before each forward
//! step. Out: logits and sampled tokens in the buffers of [`GpuModel`](model::GpuModel).

pub(crate) mod adapter_places;
mod driver;
mod interventions;
pub mod kernels;
pub mod model;
mod plugin;
pub mod readback;
mod schedule;
pub mod shaders;
mod weight_edits;

pub use driver::{ForwardState, ForwardStatus, KernelProgress, run_forward};
pub use interventions::{InterventionsPlugin, InterventionsSystems};
pub use plugin::{ForwardPlugin, ForwardPluginSystems};
pub use schedule::{Forward, ForwardSystems};
pub use weight_edits::{EditedWeights, WeightEditsPlugin};
