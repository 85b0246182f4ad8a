//! The world: the model as a land seen from above, drawn from the very texture that the kernels
//! read.
//!
//! In: a model whose tiles are on the device ([`GpuModel`](crate::forward::gpu::model::GpuModel)),
//! the person's mouse and keys, or a [`tour`]. Out: pictures, and marks on the model's entities.
//! [`layout`] and [`view`] are pure: where everything lies, and what a camera sees of it. [`draw`]
//! is the one render pass that decodes weights in the fragment shader; text and panels lie above
//! it, in `panel`.

pub mod adapters;
pub mod agents;
mod bookmarks;
pub mod camera;
pub mod content;
pub mod damage;
pub mod device_recovery;
pub mod draw;
pub mod family;
pub mod frames;
pub mod heatmap;
pub mod hot_reload;
pub mod keys;
pub mod lab;
pub mod layout;
pub mod learning;
pub mod memory_samples;
pub mod notices;
pub mod opening;
pub mod palette;
mod plugin;
pub mod pointer;
pub mod screenshot;
pub mod search;
pub mod settings;
mod stream;
pub mod tabs;
pub mod text_scale;
pub mod think;
pub mod tour;
pub mod update;
pub mod view;

pub use plugin::{WorldPlugin, WorldSystems};
