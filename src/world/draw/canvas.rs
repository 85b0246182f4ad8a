//! The picture of the map, kept while nothing on it changes: a software adapter copies it in a
//! millisecond, and draws it in twenty.

use bevy::render::render_resource::{
    CommandEncoder, Extent3d, LoadOp, Operations, RenderPassColorAttachment, StoreOp, Texture,
    TextureDescriptor, TextureDimension, TextureFormat, TextureUsages, TextureView,
    TextureViewDescriptor,
};
use bevy::render::renderer::RenderDevice;
use std::sync::Arc;

use super::{MapFrame, linear_light};
use crate::world::palette::Theme;

/// How the map comes to be on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CanvasPlan {
    /// It is drawn there: what moves is not kept.
    Target,
    /// It is drawn on the canvas and copied: it is the same as in the frame before.
    Canvas,
    /// It is copied: the canvas has it.
    Copy,
}

/// What a picture shows.
struct ShownFrame {
    frame: MapFrame,
    /// The number of [`ViewAtlas::changes`](crate::residency::ViewAtlas::changes).
    changes: u64,
    size: Extent3d,
    format: TextureFormat,
}

impl ShownFrame {
    fn is_same(&self, other: &Self) -> bool {
        let rest = |shown: &Self| (shown.changes, shown.size, shown.format);
        rest(self) == rest(other) && self.frame.looks_like(&other.frame)
    }
}

impl MapFrame {
    /// Whether the same is to be seen of another frame.
    fn looks_like(&self, other: &Self) -> bool {
        let cameras =
            |frame: &Self| (frame.view, frame.pixels_per_point, frame.minimap, frame.minimap_view);
        cameras(self) == cameras(other)
            && (self.colouring, self.theme) == (other.colouring, other.theme)
            // Whoever changes one of these makes another `Arc`: no words are compared.
            && Arc::ptr_eq(&self.palette, &other.palette)
            && Arc::ptr_eq(&self.quads, &other.quads)
            && Arc::ptr_eq(&self.coarse, &other.coarse)
    }
}

/// A picture, and what it shows.
#[derive(Default)]
pub(super) struct MapCanvas {
    /// What the last frame showed.
    shown: Option<ShownFrame>,
    /// Whether that is on the texture.
    is_filled: bool,
    texture: Option<(Texture, TextureView)>,
}

impl MapCanvas {
    /// How this frame is to be drawn, which is remembered.
    pub fn plan(
        &mut self,
        frame: &MapFrame,
        changes: u64,
        target: &Texture,
        device: &RenderDevice,
    ) -> CanvasPlan {
        let (size, format) = (target.size(), target.format());
        let now = ShownFrame { frame: frame.clone(), changes, size, format };
        let is_same = self.shown.as_ref().is_some_and(|before| before.is_same(&now));
        self.shown = Some(now);
        // While something moves, a picture would be made in vain and the copy come on top. Not
        // every target can be copied to.
        if !is_same || !target.usage().contains(TextureUsages::COPY_DST) {
            self.is_filled = false;
            return CanvasPlan::Target;
        }
        if std::mem::replace(&mut self.is_filled, true) {
            return CanvasPlan::Copy;
        }
        if !self
            .texture
            .as_ref()
            .is_some_and(|(own, _)| (own.size(), own.format()) == (size, format))
        {
            let texture = device.create_texture(&TextureDescriptor {
                label: Some("world:canvas"),
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: TextureDimension::D2,
                format,
                usage: TextureUsages::RENDER_ATTACHMENT | TextureUsages::COPY_SRC,
                view_formats: &[],
            });
            let view = texture.create_view(&TextureViewDescriptor::default());
            self.texture = Some((texture, view));
        }
        CanvasPlan::Canvas
    }

    /// Draws anew next time, whatever it looks like.
    pub fn forget(&mut self) {
        (self.shown, self.is_filled) = (None, false);
    }

    /// The texture to draw on.
    pub(crate) fn attachment(&self, theme: Theme) -> Option<RenderPassColorAttachment<'_>> {
        let (_, view) = self.texture.as_ref()?;
        let [r, g, b, a] = linear_light(theme.ground()).map(f64::from);
        let ops =
            Operations { load: LoadOp::Clear(wgpu::Color { r, g, b, a }), store: StoreOp::Store };
        Some(RenderPassColorAttachment { view, depth_slice: None, resolve_target: None, ops })
    }

    /// Copies it to a target of its size.
    pub(crate) fn copy_to(&self, encoder: &mut CommandEncoder, target: &Texture) {
        if let Some((texture, _)) = &self.texture {
            encoder.copy_texture_to_texture(
                texture.as_image_copy(),
                target.as_image_copy(),
                target.size(),
            );
        }
    }
}
