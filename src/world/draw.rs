//! The one render pass of the map: quads in, pixels out, weights decoded in the fragment shader
//! from the page texture of the kernels.
//!
//! In: a [`MapFrame`] of the main world, copied each frame, and the [`GpuModel`]'s pages, or those
//! of a [`ViewAtlas`]. Out: colours in the camera's target, before egui draws text and panels over
//! them. The minimap is the same draw through a second view.

use std::sync::Arc;

use bevy::{
    core_pipeline::{
        Core2d, Core2dSystems,
        core_2d::{main_opaque_pass_2d, main_transparent_pass_2d},
    },
    mesh::VertexBufferLayout,
    platform::collections::HashMap,
    prelude::*,
    render::{
        GpuResourceAppExt, Render, RenderApp, RenderSystems,
        extract_resource::{ExtractResource, ExtractResourcePlugin},
        render_resource::{
            BindGroupLayoutDescriptor, CachedRenderPipelineId, ColorTargetState, ColorWrites,
            Extent3d, FragmentState, PipelineCache, PrimitiveState, PrimitiveTopology,
            RenderPassDescriptor, RenderPipelineDescriptor, TextureFormat, VertexFormat,
            VertexState, VertexStepMode,
        },
        renderer::{RenderContext, RenderDevice, RenderQueue, ViewQuery},
        view::ViewTarget,
    },
};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::layout::Quad;
use super::palette::{Colouring, ENTRIES, RANGE, Theme};
use super::view::View;
use crate::forward::gpu::model::GpuModel;
use crate::forward::gpu::shaders::Shaders;
use crate::model::coarse::{BLOCKS, Block, BlockGrid};
use crate::model::colour::light_of;
use crate::model::{PixelModel, relief};
use crate::residency::ViewAtlas;
use canvas::{CanvasPlan, MapCanvas};
use light::Light;
use on_device::OnDevice;
use runs::visible;

mod canvas;
mod layout;
mod light;
mod look;
mod on_device;
mod runs;

pub use light::{LightCorner, Lights};
pub use look::Look;
pub(crate) use look::relief_fade;

/// What is to be drawn this frame.
#[derive(Resource, Clone)]
pub struct MapFrame {
    /// The camera, in points.
    pub view: View,
    /// Pixels of the target per point of the screen.
    pub pixels_per_point: f32,
    /// Where the minimap lies on the screen in points: left, top, width, height.
    pub minimap: Option<[f32; 4]>,
    /// The camera of the minimap.
    pub minimap_view: View,
    /// Cells of a pixel from which on relief fades in, and from which on nothing else is seen.
    pub relief_fade: [f64; 2],
    /// What is shown of each weight.
    pub colouring: Colouring,
    /// Light or dark ground.
    pub theme: Theme,
    /// The palette, baked into the table that the shader reads.
    pub palette: Arc<Vec<[f32; 4]>>,
    /// Every quad, with its state.
    pub quads: Arc<Vec<Quad>>,
    /// The coarse level of every tile: a word for each of its blocks.
    pub coarse: Arc<Vec<u32>>,
}

impl ExtractResource for MapFrame {
    type Source = Self;

    fn extract_resource(source: &Self) -> Self {
        source.clone()
    }
}

/// The coarse level of a model as the shader reads it: a word for each block of each tile.
pub(crate) fn coarse_words(model: &PixelModel) -> Vec<u32> {
    let tiles = (0..model.tile_count()).into_par_iter();
    tiles.flat_map_iter(|tile| tile_words(model, tile, &model.tile_blocks(tile))).collect()
}

/// The same of one tile, which may have other blocks than in the file.
pub(super) fn tile_words(model: &PixelModel, tile: u32, blocks: &[Block; BLOCKS]) -> [u32; BLOCKS] {
    let (tensor, shape) = model.tile_shape(tile);
    let is_sea = model.tensors()[tensor].layer().is_none();
    let grid = BlockGrid::of(&shape);
    relief::words(blocks, &grid, model.tensor_median(tensor), is_sea)
}

/// Draws the map. Comes after `GpuModelPlugin` and `ShadersPlugin`.
pub(crate) struct DrawPlugin;

impl Plugin for DrawPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Lights>();
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app
            .init_resource::<Lights>()
            .init_gpu_resource::<Drawing>()
            .add_systems(
                Render,
                prepare
                    .in_set(RenderSystems::PrepareBindGroups)
                    .run_if(resource_exists::<MapFrame>),
            )
            .add_systems(
                Core2d,
                draw_map
                    .in_set(Core2dSystems::MainPass)
                    // Between the two passes of meshes and sprites, of which the map has none: the
                    // first clears.
                    .after(main_opaque_pass_2d)
                    .before(main_transparent_pass_2d),
            );
        app.add_plugins((
            ExtractResourcePlugin::<MapFrame>::default(),
            ExtractResourcePlugin::<Lights>::default(),
        ));
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
    // WGSL aligns a vec4 to 16 bytes: the fields before it fill 32.
    ground: [f32; 4],
    water: [f32; 4],
    range: f32,
    // WGSL aligns a vec2 to 8 bytes, and a struct with a vec4 to 16.
    spare: f32,
    relief_fade: [f32; 2],
}

/// A colour as shaders and attachments have it.
fn linear_light(bytes: [u8; 3]) -> [f32; 4] {
    let [r, g, b] = light_of(bytes);
    [r, g, b, 1.0]
}

impl ViewWords {
    fn new(frame: &MapFrame, view: &View) -> Self {
        let pixels = f64::from(frame.pixels_per_point);
        // Beyond 65,536 cells an f32 goes by steps of 1/128: more than a pixel at the closest zoom.
        // Differences of whole cells are exact.
        let whole = view.centre.map(f64::floor);
        Self {
            centre: whole.map(|cell| cell as i32),
            rest: std::array::from_fn(|i| (view.centre[i] - whole[i]) as f32),
            size: view.size.map(|side| (side * pixels) as f32),
            scale: (view.scale * pixels) as f32,
            colouring: frame.colouring as u32,
            ground: linear_light(frame.theme.ground()),
            water: linear_light(frame.theme.water()),
            range: RANGE,
            spare: 0.0,
            relief_fade: frame.relief_fade.map(|cells| cells as f32),
        }
    }
}

/// What the drawing has made so far.
#[derive(Resource, Default)]
struct Drawing {
    pipelines: HashMap<(TextureFormat, Look), CachedRenderPipelineId>,
    on_device: Option<OnDevice>,
    canvas: MapCanvas,
    light: Light,
}

fn bindings() -> BindGroupLayoutDescriptor {
    layout::layout(size_of::<ViewWords>() as u64, (ENTRIES * 16) as u64)
}

fn prepare(
    frame: Res<MapFrame>,
    network: Option<Res<GpuModel>>,
    atlas: Option<Res<ViewAtlas>>,
    mut drawing: ResMut<Drawing>,
    (targets, lights): (Query<&ViewTarget>, Res<Lights>),
    (device, queue, cache, shaders): (
        Res<RenderDevice>,
        Res<RenderQueue>,
        Res<PipelineCache>,
        Res<Shaders>,
    ),
) {
    let Some(network) = network else { return };
    let drawing = &mut *drawing;
    // Where the model is streamed, what is near is in the atlas of the view set.
    let pages = atlas.as_ref().map_or(&network.pages, |atlas| atlas.pages());
    if network.is_changed() || atlas.as_ref().is_some_and(|atlas| atlas.is_changed()) {
        // Its bind groups name the textures of before.
        drawing.on_device = None;
    }
    let on_device = match &mut drawing.on_device {
        Some(on_device) if on_device.fits(&frame) => on_device,
        place => {
            // A frame may look like the last one and yet be drawn from other pages.
            drawing.canvas.forget();
            place.insert(OnDevice::new(&frame, pages, (&device, &queue, &cache)))
        }
    };
    on_device.write(&frame, &queue);
    for target in &targets {
        let format = target.main_texture_format();
        drawing.light.prepare(&lights, format, (&device, &queue, &cache, &shaders));
        for look in frame.views().map(|view| frame.look(view)) {
            for run in &on_device.runs {
                let look = look(run.encoding);
                let queue = || cache.queue_render_pipeline(pipeline(&shaders, format, look));
                drawing.pipelines.entry((format, look)).or_insert_with(queue);
            }
        }
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
            // Words of a quad come with its vertices. Lanes of a software adapter read a buffer one
            // after the other: with the words in one, and the map drawn in each frame, a frame
            // while flying took 54 ms in the place of 40.
            buffers: vec![VertexBufferLayout::from_vertex_formats(
                VertexStepMode::Instance,
                [VertexFormat::Uint32x4; size_of::<Quad>() / 16],
            )],
        },
        primitive: PrimitiveState { topology: PrimitiveTopology::TriangleStrip, ..default() },
        fragment: Some(FragmentState {
            shader,
            shader_defs: look.shader_defs(),
            entry_point: Some("tiles".into()),
            targets: vec![Some(ColorTargetState {
                format,
                // Quads are opaque: the ground is the first, and what comes later covers it.
                blend: None,
                write_mask: ColorWrites::ALL,
            })],
        }),
        ..default()
    }
}

fn draw_map(
    view: ViewQuery<&ViewTarget>,
    frame: Option<Res<MapFrame>>,
    atlas: Option<Res<ViewAtlas>>,
    (device, cache): (Res<RenderDevice>, Res<PipelineCache>),
    mut drawing: ResMut<Drawing>,
    mut context: RenderContext,
) {
    let target = view.into_inner();
    let Drawing { pipelines, on_device, canvas, light } = &mut *drawing;
    let (Some(frame), Some(on_device)) = (frame, on_device) else { return };
    let screen = target.main_texture().size();
    let [across, down] = map_on(&frame, screen);
    let changes = atlas.map_or(0, |atlas| atlas.changes());
    // The first to take it clears the target, which nobody is to do after a copy.
    let own = target.get_color_attachment();
    let plan = canvas.plan(&frame, changes, target.main_texture(), &device);
    if plan != CanvasPlan::Copy {
        let format = target.main_texture_format();
        let [map, minimap] = frame.views().map(|view| {
            let look = frame.look(view);
            let runs = visible(&on_device.runs, &view.visible()).into_iter();
            let call = |(encoding, quads)| {
                let pipeline = pipelines.get(&(format, look(encoding)))?;
                Some((cache.get_render_pipeline(*pipeline)?, quads))
            };
            runs.map(call).collect::<Option<Vec<_>>>()
        });
        if map.is_none() || minimap.is_none() {
            // What is not whole is not kept.
            canvas.forget();
        }
        let attachment = match plan {
            CanvasPlan::Canvas => canvas.attachment(frame.theme),
            _ => Some(own),
        };
        let mut pass = context.begin_tracked_render_pass(RenderPassDescriptor {
            label: Some("world:map"),
            color_attachments: &[attachment],
            ..default()
        });
        pass.set_vertex_buffer(0, on_device.quad_buffer.slice(..));
        pass.set_viewport(0.0, 0.0, across, down, 0.0, 1.0);
        for (pipeline, quads) in map.unwrap_or_default() {
            pass.set_render_pipeline(pipeline);
            pass.set_bind_group(0, &on_device.groups[0], &[]);
            pass.draw(0..4, quads);
        }
        if plan == CanvasPlan::Target {
            light.draw(&mut pass, &cache);
            // The light has put its corners in their place.
            pass.set_vertex_buffer(0, on_device.quad_buffer.slice(..));
        }
        if let Some([left, top, across, down]) = minimap_on(&frame, screen) {
            pass.set_viewport(left, top, across, down, 0.0, 1.0);
            pass.set_scissor_rect(left as u32, top as u32, across as u32, down as u32);
            for (pipeline, quads) in minimap.unwrap_or_default() {
                pass.set_render_pipeline(pipeline);
                pass.set_bind_group(0, &on_device.groups[1], &[]);
                pass.draw(0..4, quads);
            }
        }
    }
    if plan != CanvasPlan::Target {
        canvas.copy_to(context.command_encoder(), target.main_texture());
        if !light.is_dark() {
            let mut pass = context.begin_tracked_render_pass(RenderPassDescriptor {
                label: Some("world:light"),
                // A target's second attachment of a frame loads what is there: the copy stays.
                color_attachments: &[Some(target.get_color_attachment())],
                ..default()
            });
            pass.set_viewport(0.0, 0.0, across, down, 0.0, 1.0);
            light.draw(&mut pass, &cache);
        }
    }
}

/// How much of a screen in pixels the map has, from the left and the top: the drawer has the rest.
fn map_on(frame: &MapFrame, size: Extent3d) -> [f32; 2] {
    let map = frame.view.size.map(|side| side as f32 * frame.pixels_per_point);
    // The screen may have become smaller in this frame, and wgpu refuses what is beyond it.
    [map[0].clamp(1.0, size.width as f32), map[1].clamp(1.0, size.height as f32)]
}

/// Where the minimap lies on a screen in pixels, if there is one and it is wholly there.
fn minimap_on(frame: &MapFrame, size: Extent3d) -> Option<[f32; 4]> {
    let place = frame.minimap?.map(|side| side * frame.pixels_per_point);
    let [left, top, across, down] = place;
    let [width, height] = [size.width as f32, size.height as f32];
    // wgpu refuses a scissor rectangle that is not within the target.
    let is_there = left >= 0.0 && top >= 0.0 && across >= 1.0 && down >= 1.0;
    (is_there && left + across <= width && top + down <= height).then_some(place)
}
