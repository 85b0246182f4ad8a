//! What the drawing's shader is bound to.

use std::num::NonZeroU64;

use bevy::render::render_resource::{
    BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ShaderStages,
    StorageTextureAccess, TextureFormat, TextureSampleType, TextureViewDimension,
};

/// The bindings of `lib/page.wgsl`, as kernels have them, then those of `view/bindings.wgsl`.
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
    let pages = BindingType::StorageTexture {
        access: StorageTextureAccess::ReadOnly,
        format: TextureFormat::Rgba32Uint,
        view_dimension: TextureViewDimension::D2Array,
    };
    let coarse = BindingType::Texture {
        sample_type: TextureSampleType::Uint,
        view_dimension: TextureViewDimension::D2,
        multisampled: false,
    };
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
