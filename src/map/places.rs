//! What lies where: placing things on the map, and asking for what is in a rectangle, near a point,
//! around a tile or along a ray.

use super::{
    InfiniteMap, MapError,
    geometry::{Point, Rect, TilePos},
    item::{Item, Kind, Kinds},
    quadtree::{Crossing, Near, Quadtree, Ray},
    tile::Pixel,
};

/// A pixel beside another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its place, within the plane.
    pub point: Point,
    /// Its colour; none where nothing was ever written.
    pub pixel: Option<Pixel>,
}

impl InfiniteMap {
    /// The index of everything that is on the map, stored or placed.
    pub fn index(&self) -> &Quadtree {
        &self.tree
    }

    /// Everything of some kinds that shares a pixel with a rectangle.
    pub fn query(&self, rect: &Rect, kinds: Kinds) -> Vec<Item> {
        self.tree.region(rect, kinds)
    }

    /// The things of some kinds nearest to a point, nearest first.
    pub fn nearest(&self, point: Point, count: usize, kinds: Kinds) -> Vec<Near> {
        self.tree.nearest(point, count, kinds)
    }

    /// The first things of some kinds that a ray crosses, in the order in which it enters them.
    pub fn ray(&self, ray: &Ray, count: usize, kinds: Kinds) -> Vec<(Crossing, Item)> {
        self.tree.ray(ray, count, kinds)
    }

    /// The tiles that exist among the eight around a tile, in the order of [`super::DIRECTIONS`].
    pub fn tile_neighbours(&self, tile: TilePos) -> [Option<TilePos>; 8] {
        self.tile_size.neighbours(tile).map(|tile| tile.filter(|tile| self.has_tile(*tile)))
    }

    /// The eight pixels around a pixel, in the order of [`super::DIRECTIONS`]; none beyond the
    /// plane's edge.
    ///
    /// # Errors
    /// A tile is damaged or missing in its file.
    pub fn neighbours(&self, point: Point) -> Result<[Option<Neighbour>; 8], MapError> {
        let mut found = [None; 8];
        for (neighbour, point) in found.iter_mut().zip(point.neighbours()) {
            if let Some(point) = point {
                *neighbour = Some(Neighbour { point, pixel: self.pixel(point)? });
            }
        }
        Ok(found)
    }

    /// Puts something on the map that is not its own to keep: a tile of a model, a note, an agent.
    /// It is found by every query, and is gone when the map is closed.
    ///
    /// # Errors
    /// The item is too large, or of a kind that the map itself keeps.
    pub fn place(&mut self, item: Item) -> Result<(), MapError> {
        // A pixel tile's number names a pack, and one that is made up would name none.
        if (Kind::PIXELS | Kind::REGION).contains(item.kind) {
            let found = item.kind.code().into();
            return Err(MapError::TooLarge { what: "kind of a placed item", found, limit: 0 });
        }
        self.tree.insert(item)
    }

    /// Takes away what was placed, and tells whether it was there.
    pub fn unplace(&mut self, item: &Item) -> bool {
        !(Kind::PIXELS | Kind::REGION).contains(item.kind) && self.tree.remove(item)
    }
}
