//! The texture that tiles in view are drawn from, and which tile is in which of its slots.

use std::collections::HashMap;

use bevy::prelude::*;
use bevy::render::render_resource::{BufferInitDescriptor, BufferUsages, Texture, TextureView};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use crate::tiles::{Pages, PagesError, Shape};

/// Lines of a slot: those of the tallest tile.
pub const SLOT_LINES: u32 = 64;

/// An array texture of slots of 64 lines of 64 `Rgba32Uint` texels, one under the other, in as many layers as they need.
#[derive(Resource, Debug)]
pub struct ViewAtlas {
    pages: Pages,
}

impl ViewAtlas {
    /// A texture of so many slots.
    pub(super) fn new(device: &RenderDevice, slots: u64) -> Result<Self, PagesError> {
        let limits = device.limits();
        let lines = slots.max(1) * u64::from(SLOT_LINES);
        let shape = Shape::new(lines, Shape::most_height(&limits), limits.max_texture_array_layers)?;
        let places = device.create_buffer_with_data(&BufferInitDescriptor {
            label: Some("residency:slot_place"),
            contents: bytemuck::bytes_of(&0u32),
            usage: BufferUsages::STORAGE,
        });
        Ok(Self { pages: Pages::empty(device, shape, places) })
    }

    /// The texture.
    pub fn texture(&self) -> &Texture {
        &self.pages.texture
    }

    /// All its layers.
    pub fn view(&self) -> &TextureView {
        &self.pages.view
    }

    /// Where a slot begins: the layer, and the line there.
    pub fn place(&self, slot: u32) -> [u32; 2] {
        let per_layer = self.pages.shape.height / SLOT_LINES;
        [slot / per_layer, slot % per_layer * SLOT_LINES]
    }

    pub(super) fn write(&self, queue: &RenderQueue, slot: u32, bytes: &[u8]) {
        let [layer, line] = self.place(slot);
        self.pages.write_lines(queue, layer * self.pages.shape.height + line, bytes);
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
    pub fn give_back(&mut self, tile: u32) -> Option<u32> {
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
