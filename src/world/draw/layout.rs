//! What the drawing's shader is bound to.

use std::num::NonZeroU64;

use bevy::render::render_resource::{
    BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages,
    TextureSampleType, TextureViewDimension,
};

/// The bindings of `view/bindings.wgsl`, in their order.
pub(super) fn layout(view_bytes: u64, palette_bytes: u64) -> BindGroupLayoutDescriptor {
    let read = BindingType::Buffer {
        ty: BufferBindingType::Storage { read_only: true },
        has_dynamic_offset: false,
        min_binding_size: None,
    };
    let uniform = |bytes| BindingType::Buffer {
        ty: BufferBindingType::Uniform,
        has_dynamic_offset: false,
        min_binding_size: NonZeroU64::new(bytes),
    };
    let words = |view_dimension| BindingType::Texture {
        sample_type: TextureSampleType::Uint,
        view_dimension,
        multisampled: false,
    };
    let (pages, coarse) = (words(TextureViewDimension::D2Array), words(TextureViewDimension::D2));
    let bindings = [pages, read, coarse, uniform(palette_bytes), uniform(view_bytes)];
    let entry = |(binding, ty)| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::VERTEX_FRAGMENT,
        ty,
        count: None,
    };
    let entries: Vec<_> = (0..).zip(bindings).map(entry).collect();
    BindGroupLayoutDescriptor::new("world:map", &entries)
}
