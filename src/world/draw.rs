//! The one render pass of the map: quads in, pixels out, weights decoded in the fragment shader from the page texture of the kernels.
//!
//! In: a [`MapFrame`] of the main world, copied each frame, and the [`Network`]'s pages, or those of a [`ViewAtlas`]. Out: colours in the camera's target, before egui draws
//! text and panels over them. The minimap is the same draw through a second view.

use std::sync::Arc;

use bevy::{
    core_pipeline::{
        Core2d, Core2dSystems,
        core_2d::{main_opaque_pass_2d, main_transparent_pass_2d},
    },
    platform::collections::HashMap,
    prelude::*,
    render::{
        Render, RenderApp, RenderSystems,
        extract_resource::{ExtractResource, ExtractResourcePlugin},
        render_resource::{
            BindGroup, BindGroupEntry, BindGroupLayoutDescriptor, BindingResource, Buffer, BufferDescriptor,
            BufferInitDescriptor, BufferUsages, CachedRenderPipelineId, ColorTargetState, ColorWrites,
            FragmentState, PipelineCache, PrimitiveState, PrimitiveTopology, RenderPassDescriptor,
            RenderPipelineDescriptor, TextureFormat, VertexState,
        },
        renderer::{RenderContext, RenderDevice, RenderQueue, ViewQuery},
        view::ViewTarget,
    },
};
use bytemuck::{Pod, Zeroable};
use half::f16;

use super::layout::Quad;
use super::palette::{Colouring, ENTRIES, RANGE, Theme, linear};
use super::view::View;
use crate::model::{PixelModel, coarse::GRID};
use crate::passes::network::Network;
use crate::residency::ViewAtlas;
use crate::shaders::Shaders;
use crate::tiles::Pages;

mod layout;
mod look;

pub use look::Look;

/// What is to be drawn this frame.
#[derive(Resource, Clone)]
pub struct MapFrame {
    /// The camera, in points.
    pub view: View,
    /// Pixels per point.
    pub pixels_per_point: f32,
    /// Where the minimap lies on the screen in points: left, top, width, height.
    pub minimap: Option<[f32; 4]>,
    /// The camera of the minimap.
    pub minimap_view: View,
    /// What is shown of each weight.
    pub colouring: Colouring,
    /// Light or dark.
    pub theme: Theme,
    /// The palette's table.
    pub palette: Arc<Vec<[f32; 4]>>,
    /// Every quad, with its state.
    pub quads: Arc<Vec<Quad>>,
    /// The coarse level of every tile.
    pub coarse: Arc<Vec<u32>>,
}

impl ExtractResource for MapFrame {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

/// The coarse level of a model as the shader reads it: 64 words per tile, mean and spread as two halves.
pub fn coarse_words(model: &PixelModel) -> Vec<u32> {
    (0..model.tile_count()).flat_map(|tile| coarse_grid_words(&model.tile_grid(tile))).collect()
}

/// The same of one tile.
pub(super) fn coarse_grid_words(grid: &[[[f16; 2]; GRID]; GRID]) -> impl Iterator<Item = u32> + use<> {
    let word = |[mean, spread]: [f16; 2]| u32::from(mean.to_bits()) | u32::from(spread.to_bits()) << 16;
    grid.as_flattened().to_vec().into_iter().map(word)
}

/// Draws the map. Comes after `NetworkPlugin` and `ShadersPlugin`.
pub struct DrawPlugin;

impl Plugin for DrawPlugin {
    fn build(&self, app: &mut App) {
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app
            .init_resource::<Drawing>()
            .add_systems(
                Render,
                prepare.in_set(RenderSystems::PrepareBindGroups).run_if(resource_exists::<MapFrame>),
            )
            .add_systems(
                Core2d,
                draw_map
                    .in_set(Core2dSystems::MainPass)
                    // Between the two passes of meshes and sprites, of which the map has none: the first clears.
                    .after(main_opaque_pass_2d)
                    .before(main_transparent_pass_2d),
            );
        app.add_plugins(ExtractResourcePlugin::<MapFrame>::default());
    }
}

/// The view as the shader reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct ViewWords {
    centre: [i32; 2],
    rest: [f32; 2],
    size: [f32; 2],
    scale: f32,
    colouring: u32,
    ground: [f32; 4],
    water: [f32; 4],
    range: f32,
    coarse: f32,
    spare: [f32; 2],
}

impl ViewWords {
    fn new(frame: &MapFrame, view: &View) -> Self {
        let pixels = f64::from(frame.pixels_per_point);
        let whole = view.centre.map(f64::floor);
        let colour = |bytes: [u8; 3]| {
            let [r, g, b] = bytes.map(|channel| linear(f32::from(channel) / 255.0));
            [r, g, b, 1.0]
        };
        Self {
            centre: whole.map(|cell| cell as i32),
            rest: std::array::from_fn(|i| (view.centre[i] - whole[i]) as f32),
            size: view.size.map(|side| (side * pixels) as f32),
            scale: (view.scale * pixels) as f32,
            colouring: frame.colouring as u32,
            ground: colour(frame.theme.ground()),
            water: colour(frame.theme.water()),
            range: RANGE,
            coarse: 1.0,
            spare: [0.0; 2],
        }
    }
}

/// What is on the device for the drawing.
#[derive(Resource, Default)]
struct Drawing {
    pipelines: HashMap<(TextureFormat, Look), CachedRenderPipelineId>,
    on_device: Option<OnDevice>,
}

struct OnDevice {
    /// What the buffers were made of; others make others.
    quads: Arc<Vec<Quad>>,
    palette: Arc<Vec<[f32; 4]>>,
    coarse: Arc<Vec<u32>>,
    quad_buffer: Buffer,
    coarse_buffer: Buffer,
    palette_buffer: Buffer,
    /// What the quads are, in the order in which they are drawn.
    encodings: Vec<u32>,
    views: [Buffer; 2],
    groups: [BindGroup; 2],
}

fn bindings() -> BindGroupLayoutDescriptor {
    layout::layout(size_of::<ViewWords>() as u64, (ENTRIES * 16) as u64)
}

fn prepare(
    frame: Res<MapFrame>,
    network: Option<Res<Network>>,
    atlas: Option<Res<ViewAtlas>>,
    mut drawing: ResMut<Drawing>,
    targets: Query<&ViewTarget>,
    (device, queue, cache, shaders): (Res<RenderDevice>, Res<RenderQueue>, Res<PipelineCache>, Res<Shaders>),
) {
    let Some(network) = network else { return };
    let drawing = &mut *drawing;
    // Where the model is streamed, what is near is in the atlas of the view set.
    let pages = atlas.as_ref().map_or(&network.pages, |atlas| atlas.pages());
    if network.is_changed() || atlas.as_ref().is_some_and(|atlas| atlas.is_changed()) {
        drawing.on_device = None;
    }
    let on_device = match &mut drawing.on_device {
        Some(on_device) if on_device.quads.len() == frame.quads.len() => on_device,
        place => place.insert(OnDevice::new(&frame, pages, &device, &cache)),
    };
    if !Arc::ptr_eq(&on_device.quads, &frame.quads) {
        queue.write_buffer(&on_device.quad_buffer, 0, bytemuck::cast_slice(&frame.quads));
        on_device.quads = Arc::clone(&frame.quads);
    }
    if !Arc::ptr_eq(&on_device.coarse, &frame.coarse) {
        queue.write_buffer(&on_device.coarse_buffer, 0, bytemuck::cast_slice(&frame.coarse));
        on_device.coarse = Arc::clone(&frame.coarse);
    }
    if !Arc::ptr_eq(&on_device.palette, &frame.palette) {
        queue.write_buffer(&on_device.palette_buffer, 0, bytemuck::cast_slice(&frame.palette));
        on_device.palette = Arc::clone(&frame.palette);
    }
    for target in &targets {
        let format = target.main_texture_format();
        for look in frame.views().into_iter().flat_map(|view| frame.looks(view, &on_device.encodings)) {
            drawing
                .pipelines
                .entry((format, look))
                .or_insert_with(|| cache.queue_render_pipeline(pipeline(&shaders, format, look)));
        }
    }
    for (buffer, view) in on_device.views.iter().zip([&frame.view, &frame.minimap_view]) {
        queue.write_buffer(buffer, 0, bytemuck::bytes_of(&ViewWords::new(&frame, view)));
    }
}

impl OnDevice {
    fn new(frame: &MapFrame, pages: &Pages, device: &RenderDevice, cache: &PipelineCache) -> Self {
        let filled = |label, contents: &[u8], usage| {
            let usage = usage | BufferUsages::COPY_DST;
            device.create_buffer_with_data(&BufferInitDescriptor { label: Some(label), contents, usage })
        };
        let quad_buffer = filled("world:quads", bytemuck::cast_slice(&frame.quads), BufferUsages::STORAGE);
        let coarse_buffer =
            filled("world:coarse", bytemuck::cast_slice(&frame.coarse), BufferUsages::STORAGE);
        let palette_buffer =
            filled("world:palette", bytemuck::cast_slice(&frame.palette), BufferUsages::UNIFORM);
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
                quad_buffer.as_entire_binding(),
                coarse_buffer.as_entire_binding(),
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
        let coarse = Arc::clone(&frame.coarse);
        let encodings = look::encodings(&quads);
        Self { quads, palette, coarse, encodings, quad_buffer, coarse_buffer, palette_buffer, views, groups }
    }
}

fn pipeline(shaders: &Shaders, format: TextureFormat, look: Look) -> RenderPipelineDescriptor {
    let shader = shaders.handle("view/tiles.wgsl");
    RenderPipelineDescriptor {
        label: Some("world:map".into()),
        layout: vec![bindings()],
        vertex: VertexState {
            shader: shader.clone(),
            shader_defs: look.shader_defs(),
            entry_point: Some("corner".into()),
            ..default()
        },
        primitive: PrimitiveState { topology: PrimitiveTopology::TriangleStrip, ..default() },
        fragment: Some(FragmentState {
            shader,
            shader_defs: look.shader_defs(),
            entry_point: Some("tiles".into()),
            targets: vec![Some(ColorTargetState { format, blend: None, write_mask: ColorWrites::ALL })],
        }),
        ..default()
    }
}

fn draw_map(
    view: ViewQuery<&ViewTarget>,
    frame: Option<Res<MapFrame>>,
    drawing: Res<Drawing>,
    cache: Res<PipelineCache>,
    mut context: RenderContext,
) {
    let target = view.into_inner();
    let (Some(frame), Some(on_device)) = (frame, &drawing.on_device) else { return };
    let format = target.main_texture_format();
    let pipelines = |view: &View| {
        let looks = frame.looks(view, &on_device.encodings);
        let found =
            looks.filter_map(|look| cache.get_render_pipeline(*drawing.pipelines.get(&(format, look))?));
        found.collect::<Vec<_>>()
    };
    let [map, minimap] = frame.views().map(pipelines);
    let size = target.main_texture().size();
    let [width, height] = [size.width as f32, size.height as f32];
    let attachments = [Some(target.get_color_attachment())];
    let mut pass = context.begin_tracked_render_pass(RenderPassDescriptor {
        label: Some("world:map"),
        color_attachments: &attachments,
        ..default()
    });
    let quads = 0..on_device.quads.len() as u32;
    for pipeline in map {
        pass.set_render_pipeline(pipeline);
        pass.set_bind_group(0, &on_device.groups[0], &[]);
        pass.draw(0..4, quads.clone());
    }
    let Some(place) = frame.minimap else { return };
    let [left, top, across, down] = place.map(|side| side * frame.pixels_per_point);
    if left < 0.0 || top < 0.0 || across < 1.0 || down < 1.0 || left + across > width || top + down > height {
        return;
    }
    pass.set_viewport(left, top, across, down, 0.0, 1.0);
    pass.set_scissor_rect(left as u32, top as u32, across as u32, down as u32);
    for pipeline in minimap {
        pass.set_render_pipeline(pipeline);
        pass.set_bind_group(0, &on_device.groups[1], &[]);
        pass.draw(0..4, quads.clone());
    }
}
