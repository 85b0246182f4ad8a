//! Light over the map: large areas of plain colours. The shader of panels looks up a texture and
//! raises to powers at each pixel, which a software adapter feels where a whole screen is lit; this
//! one does nothing.

use bevy::mesh::VertexBufferLayout;
use bevy::prelude::*;
use bevy::render::extract_resource::ExtractResource;
use bevy::render::render_phase::TrackedRenderPass;
use bevy::render::render_resource::{
    BlendState, BufferUsages, CachedRenderPipelineId, ColorTargetState, ColorWrites, FragmentState,
    IndexFormat, PipelineCache, RawBufferVec, RenderPipelineDescriptor, TextureFormat,
    VertexFormat, VertexState, VertexStepMode,
};
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bytemuck::{Pod, Zeroable};

use crate::forward::gpu::shaders::Shaders;

/// A corner of a triangle of light.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct LightCorner {
    /// On the map's part of the screen, from its left and top, in parts of it.
    pub place: [f32; 2],
    /// Premultiplied sRGB: alpha 0 is added to what is below, 255 covers it.
    pub colour: [u8; 4],
}

/// What lies over the map in this frame, below all text.
#[derive(Resource, Debug, Clone, Default, PartialEq)]
pub struct Lights {
    /// The corners of all triangles.
    pub corners: Vec<LightCorner>,
    /// Three of them a triangle, those that come later lie above.
    pub triangles: Vec<u32>,
}

impl Lights {
    /// Lays others over these.
    pub fn add(&mut self, others: &Self) {
        let first = self.corners.len() as u32;
        self.corners.extend_from_slice(&others.corners);
        self.triangles.extend(others.triangles.iter().map(|corner| corner + first));
    }
}

impl ExtractResource for Lights {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

/// The light on the device.
pub(super) struct Light {
    corners: RawBufferVec<LightCorner>,
    triangles: RawBufferVec<u32>,
    pipeline: Option<(TextureFormat, CachedRenderPipelineId)>,
}

impl Default for Light {
    fn default() -> Self {
        let corners = RawBufferVec::new(BufferUsages::VERTEX);
        let triangles = RawBufferVec::new(BufferUsages::INDEX);
        Self { corners, triangles, pipeline: None }
    }
}

impl Light {
    /// Takes over a frame's light, for targets of a format.
    pub fn prepare(
        &mut self,
        lights: &Lights,
        format: TextureFormat,
        (device, queue, cache, shaders): (&RenderDevice, &RenderQueue, &PipelineCache, &Shaders),
    ) {
        let Self { corners, triangles, pipeline } = self;
        corners.values_mut().clone_from(&lights.corners);
        triangles.values_mut().clone_from(&lights.triangles);
        corners.write_buffer(device, queue);
        triangles.write_buffer(device, queue);
        if pipeline.is_none_or(|(known, _)| known != format) {
            *pipeline = Some((format, cache.queue_render_pipeline(descriptor(shaders, format))));
        }
    }

    /// Whether there is any.
    pub fn is_dark(&self) -> bool {
        self.triangles.is_empty()
    }

    /// Draws it on a pass's viewport, which is the map's.
    pub fn draw<'a>(&'a self, pass: &mut TrackedRenderPass<'a>, cache: &'a PipelineCache) {
        let (Some(corners), Some(triangles)) = (self.corners.buffer(), self.triangles.buffer())
        else {
            return;
        };
        let pipeline = self.pipeline.and_then(|(_, pipeline)| cache.get_render_pipeline(pipeline));
        // Buffers are there still, with old corners, after a frame that had light.
        let (Some(pipeline), false) = (pipeline, self.is_dark()) else { return };
        pass.set_render_pipeline(pipeline);
        pass.set_vertex_buffer(0, corners.slice(..));
        pass.set_index_buffer(triangles.slice(..), IndexFormat::Uint32);
        pass.draw_indexed(0..self.triangles.len() as u32, 0, 0..1);
    }
}

fn descriptor(shaders: &Shaders, format: TextureFormat) -> RenderPipelineDescriptor {
    let shader = shaders.handle("view/light.wgsl");
    let corner = [VertexFormat::Float32x2, VertexFormat::Unorm8x4];
    let target = ColorTargetState {
        format,
        blend: Some(BlendState::PREMULTIPLIED_ALPHA_BLENDING),
        write_mask: ColorWrites::ALL,
    };
    RenderPipelineDescriptor {
        label: Some("world:light".into()),
        vertex: VertexState {
            shader: shader.clone(),
            entry_point: Some("corner".into()),
            buffers: vec![VertexBufferLayout::from_vertex_formats(VertexStepMode::Vertex, corner)],
            ..default()
        },
        fragment: Some(FragmentState {
            shader,
            entry_point: Some("light".into()),
            targets: vec![Some(target)],
            ..default()
        }),
        ..default()
    }
}
