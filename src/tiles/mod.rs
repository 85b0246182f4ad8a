//! Tiles: the pixels of a model as textures on the GPU, and the model as entities of the main
//! world.
//!
//! In: a [`PixelModel`](crate::model::PixelModel). Out: [`Pages`], an array texture of `Rgba32Uint`
//! texels with the first line of each tile in it; entities for the model, its layers, heads,
//! tensors and tiles, found through a [`ModelIndex`]; and [`Factors`], what [`Muted`] and [`Scale`]
//! on them come to.

mod entities;
mod factors;
mod index;
mod pages;
mod plugin;
mod spawn;

pub use entities::{
    Head, HeadOf, Heads, Layer, LayerOf, Layers, Model, Tensor, TensorOf, Tensors, Tile, TileOf,
    Tiles,
};
pub use factors::{Factors, Muted, Scale};
pub use index::ModelIndex;
pub use pages::{Pages, PagesError, Shape};
pub use plugin::{TilesPlugin, TilesSystems};
pub use spawn::{despawn_model, spawn_model, spawn_parts};
