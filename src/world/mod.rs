//! The world: the model as a land seen from above, drawn from the very texture that the kernels read.
//!
//! In: a model whose tiles are on the device ([`Network`](crate::forward::gpu::network::Network)), the person's mouse and keys, or a [`tour`].
//! Out: pictures, and marks on the model's entities. [`layout`] and [`view`] are pure: where everything lies, and what a camera sees of it.
//! [`draw`] is the one render pass that decodes weights in the fragment shader; text and panels lie above it, in `panel`.

pub mod agents;
pub mod camera;
pub mod content;
pub mod draw;
pub mod frames;
pub mod hot_reload;
pub mod instruments;
pub mod keys;
pub mod lab;
pub mod layout;
pub mod lost;
pub mod overlay;
pub mod palette;
mod plugin;
pub mod settings;
pub mod shot;
pub mod soak;
mod stream;
pub mod think;
pub mod tour;
pub mod view;

pub use plugin::{Map, WorldPlugin, WorldSystems};
