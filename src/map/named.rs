//! Regions of the map by name.

use super::{
    InfiniteMap, MapError,
    geometry::Rect,
    item::{Item, Kind},
    regions::{Region, free_place, shape_for},
};

impl InfiniteMap {
    /// Finds room for a rectangle and gives it a name. Nothing was written there, and no other
    /// region will be.
    ///
    /// # Errors
    /// The name or the size cannot be, or the map cannot be written to.
    pub fn allocate(&mut self, name: &str, width: u64, height: u64) -> Result<Region, MapError> {
        self.check_writable()?;
        self.regions.check(name, width.max(height).into())?;
        let rect = free_place(&self.tree, self.tile_size, width, height)?;
        self.reserve(name, rect)
    }

    /// Gives a rectangle a name, with whatever was written there.
    ///
    /// # Errors
    /// It would share a tile with another region, the name or the size cannot be, or the map cannot
    /// be written to.
    pub fn reserve(&mut self, name: &str, rect: Rect) -> Result<Region, MapError> {
        self.check_writable()?;
        let region = Region { name: name.to_owned(), rect, length: 0 };
        self.regions.add(&mut self.tree, self.tile_size, region.clone())?;
        self.regions_changed = true;
        Ok(region)
    }

    /// A region by its name.
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.regions.get(name)
    }

    /// All regions, by name.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = &Region> {
        self.regions.iter()
    }

    /// The region that an item of the index stands for.
    pub fn region_of(&self, item: &Item) -> Option<&Region> {
        if item.kind == Kind::REGION { self.regions.by_number(item.number) } else { None }
    }

    /// Gives up a region, and makes its tiles ones that were never written.
    ///
    /// # Errors
    /// There is no such region, or the map cannot be written to.
    pub fn remove_region(&mut self, name: &str) -> Result<Region, MapError> {
        self.check_writable()?;
        let removed = self.regions.remove(&mut self.tree, name);
        let region = removed.ok_or_else(|| MapError::NoRegion { name: name.to_owned() })?;
        self.regions_changed = true;
        // Whole tiles are its own: no other region has a part of them.
        let footprint = self.tile_size.footprint(&region.rect);
        for item in self.tree.region(&footprint, Kind::PIXELS.into()) {
            self.remove_tile(self.tile_size.tile_of(item.rect.corner()))?;
        }
        Ok(region)
    }

    /// Stores bytes under a name: in the region of that name if they fit, in a new one if there is
    /// none.
    ///
    /// # Errors
    /// They do not fit, or those of [`Self::allocate`] and [`Self::write_bytes`].
    pub fn write_region(&mut self, name: &str, bytes: &[u8]) -> Result<Region, MapError> {
        self.check_writable()?;
        let length = bytes.len() as u64;
        let rect = match self.regions.get(name) {
            Some(region) if length > region.capacity() => {
                let (found, limit) = (length.into(), region.capacity().into());
                return Err(MapError::TooLarge {
                    what: "number of bytes for the region",
                    found,
                    limit,
                });
            }
            Some(region) => region.rect,
            None => {
                let (width, height) = shape_for(length, self.tile_size);
                self.allocate(name, width, height)?.rect
            }
        };
        self.write_bytes(&rect, 0, bytes)?;
        self.regions_changed = true;
        // After the bytes: where writing fails, the region says what it did before.
        let region = self.regions.get_mut(name).expect("it was there or has been allocated");
        region.length = length;
        Ok(region.clone())
    }

    /// The bytes that were stored under a name.
    ///
    /// # Errors
    /// There is no such region, or a tile of it is damaged or missing.
    pub fn read_region(&self, name: &str) -> Result<Vec<u8>, MapError> {
        let region =
            self.region(name).ok_or_else(|| MapError::NoRegion { name: name.to_owned() })?;
        self.read_bytes(&region.rect, 0, region.length)
    }
}
