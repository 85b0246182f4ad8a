//! Tiles: the pixels of a model as textures on the GPU, and the model as entities of the main
//! world.
//!
//! In: a [`PixelModel`](crate::model::PixelModel). Out: [`Pages`], an array texture of `Rgba32Uint`
//! texels with the first line of each tile in it; and entities for the model, its layers, heads,
//! tensors and tiles, found through a [`ModelIndex`], of which heads and layers may be marked as
//! [`Muted`] or with a [`Scale`].

mod entities;
mod index;
mod marks;
mod pages;
mod spawn;

pub use entities::{
    Head, HeadOf, Heads, Layer, LayerOf, Layers, Model, Tensor, TensorOf, Tensors, Tile, TileOf,
    Tiles,
};
pub use index::ModelIndex;
pub use marks::{Muted, Scale, factor};
pub use pages::{Pages, PagesError, Shape};
pub use spawn::{despawn_model, spawn_model, spawn_parts};
