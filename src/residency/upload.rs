//! The texture that tiles in view are drawn from, and which tile is in which of its slots.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy::prelude::*;
use bevy::render::extract_resource::ExtractResource;
use bevy::render::render_resource::{BufferInitDescriptor, BufferUsages};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use crate::tiles::{Pages, PagesError, Shape};

/// Lines of a slot: those of the tallest tile.
pub const SLOT_LINES: u32 = 64;
/// Instead of a tile's place: it is not there, and its coarse level is drawn. As in
/// `view/bytes.wgsl`.
pub const ABSENT: u32 = u32::MAX;
/// Instead of a tile's place: its bytes do not match its checksum. As in `view/bytes.wgsl`.
pub const DAMAGED: u32 = u32::MAX - 1;

/// An array texture of slots of 64 lines of 64 `Rgba32Uint` texels, one under the other, in as many
/// layers as they need; with a buffer that has a word per tile of the model: its place, [`ABSENT`]
/// or [`DAMAGED`].
///
/// In the world from when a model is drawn through the view set. In the render world a copy shares
/// the texture and the buffer, for whoever draws.
#[derive(Resource, Debug, Clone, ExtractResource)]
pub struct ViewAtlas {
    pages: Pages,
    slots: u32,
    changes: Arc<AtomicU64>,
}

impl ViewAtlas {
    /// A texture of so many slots for a model of so many tiles, none of which is there. Where the
    /// device has no room for it, it has half as many slots.
    pub(super) fn new(device: &RenderDevice, slots: u32, tiles: u32) -> Result<Self, PagesError> {
        let limits = device.limits();
        let lines = u64::from(slots.max(1)) * u64::from(SLOT_LINES);
        let shape =
            Shape::new(lines, Shape::most_height(&limits), limits.max_texture_array_layers)?;
        let places = device.create_buffer_with_data(&BufferInitDescriptor {
            label: Some("residency:slot_place"),
            contents: bytemuck::cast_slice(&vec![ABSENT; tiles.max(1) as usize]),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
        });
        match Pages::empty(device, shape, places) {
            Ok(pages) => Ok(Self { pages, slots: slots.max(1), changes: Arc::default() }),
            Err(PagesError::NoRoom { .. }) if slots > 1 => Self::new(device, slots / 2, tiles),
            Err(error) => Err(error),
        }
    }

    /// How many tiles it holds at once.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The texture and the places of tiles.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// A number that is another one whenever something else is to be seen.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Where a slot begins: the layer, and the line there.
    pub fn place(&self, slot: u32) -> [u32; 2] {
        let per_layer = self.pages.shape.height / SLOT_LINES;
        [slot / per_layer, slot % per_layer * SLOT_LINES]
    }

    /// Puts a tile in a slot.
    pub(super) fn write(&self, queue: &RenderQueue, tile: u32, slot: u32, bytes: &[u8]) {
        let [layer, line] = self.place(slot);
        let line = layer * self.pages.shape.height + line;
        self.pages.write_lines(queue, line, bytes);
        self.tell(queue, tile, self.pages.shape.word(line));
    }

    /// Says where a tile is: a place, [`ABSENT`] or [`DAMAGED`].
    pub(super) fn tell(&self, queue: &RenderQueue, tile: u32, word: u32) {
        // Relaxed: whoever reads it asks only whether it is another number.
        self.changes.fetch_add(1, Ordering::Relaxed);
        let at = u64::from(tile) * 4;
        // Tiles of a model that was drawn before may be more than this one has.
        if at < self.pages.tile_place.size() {
            queue.write_buffer(&self.pages.tile_place, at, &word.to_le_bytes());
        }
    }
}

/// Which tile is in which slot.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: HashMap<u32, u32>,
    free: Vec<u32>,
}

impl Slots {
    /// A slot for a tile: the one that it has, one that is free, or another one.
    pub fn take(&mut self, tile: u32) -> u32 {
        if let Some(&slot) = self.slots.get(&tile) {
            return slot;
        }
        // All slots ever given are either in use or free.
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        self.slots.insert(tile, slot);
        slot
    }

    /// The slot that a tile had, which is free now.
    pub(crate) fn give_back(&mut self, tile: u32) -> Option<u32> {
        let slot = self.slots.remove(&tile)?;
        self.free.push(slot);
        Some(slot)
    }

    /// The tiles that have one.
    pub fn tiles(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_never_twice_at_once() {
        let mut slots = Slots::default();
        assert_eq!([5, 6, 7, 6].map(|tile| slots.take(tile)), [0, 1, 2, 1]);
        assert_eq!(slots.give_back(6), Some(1));
        assert_eq!(slots.give_back(6), None);
        assert_eq!([8, 9].map(|tile| slots.take(tile)), [1, 3]);
        assert_eq!(slots.tiles().count(), 4);
    }
}
