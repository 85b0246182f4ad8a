//! 4  Tiles on the GPU: the pixels of a model as the textures that are drawn and that the forward pass reads.
//!
//! In: the tiles of a [`PixelModel`](crate::model::PixelModel), copied from the mapped file as they are. Out: [`Pages`], an array texture of
//! `Rgba32Uint` texels and the first line of each tile in it.

mod pages;

pub use pages::{Pages, PagesError, Shape};
