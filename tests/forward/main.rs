//! The forward pass on the processor, and what is resident for it.

#[path = "../common/mod.rs"]
mod common;

mod adapters;
mod cpu;
mod families;
mod residency_view;
