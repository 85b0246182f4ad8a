//! The forward pass on an adapter, and the engine around it.

#[path = "../common/mod.rs"]
mod common;

mod adapters;
mod bindings;
mod coach;
mod forward;
mod golden;
mod hooks;
mod interventions;
mod kernels;
mod memory;
mod offsets;
mod run;
mod sampling;
mod shader_folder;
mod shaders;
mod start;
mod streaming;
