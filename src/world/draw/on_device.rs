//! What is on the device for the drawing: quads, the coarse level, the palette, and what the shader
//! is bound to.

use std::sync::Arc;

use bevy::prelude::*;
use bevy::render::render_resource::{
    BindGroup, BindGroupEntry, BindingResource, Buffer, BufferDescriptor, BufferInitDescriptor,
    BufferUsages, Extent3d, Origin3d, PipelineCache, TexelCopyBufferLayout, TexelCopyTextureInfo,
    Texture, TextureAspect, TextureDescriptor, TextureDimension, TextureFormat, TextureUsages,
    TextureViewDescriptor,
};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::runs::{QuadRun, runs};
use super::{MapFrame, ViewWords, bindings};
use crate::tiles::Pages;
use crate::world::layout::Quad;

/// Words in a line of the coarse level's texture, as in `view/bindings.wgsl`: room for a quarter of
/// a million tiles on every device, thus for 17 GB of weights.
const COARSE_ACROSS: u32 = 8192;

/// Buffers and textures, and what they were made of.
pub(super) struct OnDevice {
    quads: Arc<Vec<Quad>>,
    palette: Arc<Vec<[f32; 4]>>,
    coarse: Arc<Vec<u32>>,
    coarse_texture: Texture,
    palette_buffer: Buffer,
    views: [Buffer; 2],
    /// Vertex data, one instance a quad.
    pub quad_buffer: Buffer,
    /// Its quads, in the order in which they are drawn.
    pub runs: Vec<QuadRun>,
    /// What the shader is bound to: for the map, and for the minimap.
    pub groups: [BindGroup; 2],
}

impl OnDevice {
    pub fn new(
        frame: &MapFrame,
        pages: &Pages,
        (device, queue, cache): (&RenderDevice, &RenderQueue, &PipelineCache),
    ) -> Self {
        let filled = |label, contents: &[u8], usage| {
            let usage = usage | BufferUsages::COPY_DST;
            device.create_buffer_with_data(&BufferInitDescriptor {
                label: Some(label),
                contents,
                usage,
            })
        };
        let quad_buffer =
            filled("world:quads", bytemuck::cast_slice(&frame.quads), BufferUsages::VERTEX);
        let palette_buffer =
            filled("world:palette", bytemuck::cast_slice(&frame.palette), BufferUsages::UNIFORM);
        let coarse_texture = coarse_texture(device, frame.coarse.len());
        write_coarse(queue, &coarse_texture, &frame.coarse);
        let coarse_view = coarse_texture.create_view(&TextureViewDescriptor::default());
        let views = [0, 1].map(|_| {
            device.create_buffer(&BufferDescriptor {
                label: Some("world:view"),
                size: size_of::<ViewWords>() as u64,
                usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let layout = cache.get_bind_group_layout(&bindings());
        let groups = [0, 1].map(|at: usize| {
            let resources = [
                BindingResource::TextureView(&pages.view),
                pages.tile_place.as_entire_binding(),
                BindingResource::TextureView(&coarse_view),
                palette_buffer.as_entire_binding(),
                views[at].as_entire_binding(),
            ];
            let entries: Vec<_> = (0..)
                .zip(resources)
                .map(|(binding, resource)| BindGroupEntry { binding, resource })
                .collect();
            device.create_bind_group("world:map", &layout, &entries)
        });
        let (quads, palette) = (Arc::clone(&frame.quads), Arc::clone(&frame.palette));
        let (runs, coarse) = (runs(&quads), Arc::clone(&frame.coarse));
        Self {
            quads,
            palette,
            coarse,
            coarse_texture,
            palette_buffer,
            views,
            quad_buffer,
            runs,
            groups,
        }
    }

    /// Whether a frame's quads have room where these are.
    pub fn fits(&self, frame: &MapFrame) -> bool {
        self.quads.len() == frame.quads.len()
    }

    /// Writes what a frame has others of.
    pub fn write(&mut self, frame: &MapFrame, queue: &RenderQueue) {
        if !Arc::ptr_eq(&self.quads, &frame.quads) {
            queue.write_buffer(&self.quad_buffer, 0, bytemuck::cast_slice(&frame.quads));
            // A mod may have laid out the same number of quads elsewhere, and what is out of sight
            // is left out by the bounds of runs.
            self.runs = runs(&frame.quads);
            self.quads = Arc::clone(&frame.quads);
        }
        if !Arc::ptr_eq(&self.coarse, &frame.coarse) {
            write_coarse(queue, &self.coarse_texture, &frame.coarse);
            self.coarse = Arc::clone(&frame.coarse);
        }
        if !Arc::ptr_eq(&self.palette, &frame.palette) {
            queue.write_buffer(&self.palette_buffer, 0, bytemuck::cast_slice(&frame.palette));
            self.palette = Arc::clone(&frame.palette);
        }
        for (buffer, view) in self.views.iter().zip(frame.views()) {
            queue.write_buffer(buffer, 0, bytemuck::bytes_of(&ViewWords::new(frame, view)));
        }
    }
}

fn coarse_texture(device: &RenderDevice, words: usize) -> Texture {
    // A larger texture is refused: so only the last tiles are without a coarse level.
    let lines =
        (words as u32).div_ceil(COARSE_ACROSS).clamp(1, device.limits().max_texture_dimension_2d);
    device.create_texture(&TextureDescriptor {
        label: Some("world:coarse"),
        size: Extent3d { width: COARSE_ACROSS, height: lines, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: TextureDimension::D2,
        format: TextureFormat::R32Uint,
        usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

/// Writes whole lines, then what is left of the last.
fn write_coarse(queue: &RenderQueue, texture: &Texture, words: &[u32]) {
    let across = COARSE_ACROSS as usize;
    let whole = (words.len() / across).min(texture.height() as usize);
    let (lines, rest) = words.split_at(whole * across);
    let rest = if whole < texture.height() as usize { rest } else { &[] };
    for (first, width, height, words) in
        [(0, across, whole, lines), (whole, rest.len(), usize::from(!rest.is_empty()), rest)]
    {
        if height == 0 {
            continue;
        }
        let place = TexelCopyTextureInfo {
            texture,
            mip_level: 0,
            origin: Origin3d { x: 0, y: first as u32, z: 0 },
            aspect: TextureAspect::All,
        };
        let layout = TexelCopyBufferLayout {
            offset: 0,
            // Rows of a queue's write need not be multiples of 256 bytes, as those of a copy do.
            bytes_per_row: Some(width as u32 * 4),
            rows_per_image: None,
        };
        let size =
            Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 };
        queue.write_texture(place, bytemuck::cast_slice(words), layout, size);
    }
}
