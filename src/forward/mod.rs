//! The forward pass: from token ids to logits, through kernels that read weights from tiles as they
//! lie in the file, and the sampling of the next token from logits.
//!
//! In: the tiles of a model, columns (a token at a position of a sequence) and a cache of keys and
//! values. Out: logits, or tokens. A kernel is one name everywhere: its parameters in [`params`],
//! its twin on the processor in [`cpu`], its shader in `shaders/`. In the world, the schedule of
//! one forward step runs in Bevy's render graph, before the cameras (`gpu`).

mod adapter_set;
pub(crate) mod bind;
pub mod cpu;
#[cfg(feature = "world")]
pub mod gpu;
mod hook_point;
mod hooks;
mod interventions;
pub mod params;
pub mod sampling;

pub use adapter_set::AdapterSet;
pub use bind::BindError;
pub use hook_point::HookPoint;
pub use hooks::{Hook, HookAction, HookError, Hooks, Watched};
pub use interventions::Interventions;

/// Keys and values to copy from one slot to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixCopy {
    /// The slot that has them.
    pub from: u32,
    /// The slot that gets them.
    pub to: u32,
    /// How many positions, counted from 0.
    pub positions: u32,
}
