//! InfiniteMap: a plane of pixels in 64-bit coordinates, of which only the tiles exist that were
//! written.
//!
//! Comes in: pixels and bytes at places, rectangles with names, things to be placed. Goes out: the
//! same pixels, and answers to what is where: in a rectangle, around a tile, near a point, along a
//! ray. Stored in a folder of `.pxi` files that one process writes and any number read;
//! `specs/map.md` states it byte by byte.
//!
//! Read in this order: the plane ([`Point`], [`Rect`], [`TileSize`]), what lies on it ([`Item`],
//! [`Kind`]) and the index that finds it ([`Quadtree`]), [`Tile`] and the cache of them, [`Region`]
//! and the allocator, the folder (`store`), and [`InfiniteMap`], which holds them together: single
//! pixels and tiles here, then rectangles (`pixels`), names (`named`), questions (`places`), saving
//! (`flush`) and figures (`stats`).
//!
//! Nothing here knows models, and nothing here knows Bevy.

mod cache;
mod error;
mod flush;
mod geometry;
mod infinite;
mod item;
mod named;
mod pixels;
mod places;
mod quadtree;
mod regions;
mod stats;
mod store;
mod tile;

pub use cache::CacheStats;
pub use error::MapError;
pub use geometry::{DIRECTIONS, Point, Rect, TilePos, TileSize};
pub use infinite::{Access, InfiniteMap, MapOptions};
pub use item::{Item, Kind, Kinds};
pub use pixels::Patch;
pub use places::Neighbour;
pub use quadtree::{Crossing, Distance, Near, Quadtree, Ray, TreeStats};
pub use regions::Region;
pub use stats::{MapProblem, MapStats, Verified};
pub use store::{Counts, Directory, Index, PackRecord};
pub use tile::{BLACK, Pixel, Tile};
