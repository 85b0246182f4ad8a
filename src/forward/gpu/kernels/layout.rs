//! Bindings of a kernel in one line each.

use std::num::NonZeroU64;

use bevy::{
    render::render_resource::{
        BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType,
        ShaderStages, StorageTextureAccess, TextureFormat, TextureViewDimension,
    },
    shader::ShaderDefVal,
};

use crate::forward::params::{LayerParams, Places};
use crate::model::Encoding;

/// What is bound.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    /// The page texture.
    Pages,
    /// A storage buffer that is read.
    Read,
    /// A storage buffer that is written.
    Write,
    /// Quads that are written: a texture or a storage buffer.
    Quads,
    /// A parameter struct of this size.
    Params(usize),
}

/// The layout of group 0, bindings counted from 0, where quads are in textures or not.
pub(super) fn layout(
    name: &'static str,
    bound: &[Bound],
    textures: bool,
) -> BindGroupLayoutDescriptor {
    let buffer =
        |ty, size| BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: size };
    let entry = |(binding, bound): (u32, &Bound)| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: match *bound {
            Bound::Pages => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadOnly,
                format: TextureFormat::Rgba32Uint,
                view_dimension: TextureViewDimension::D2Array,
            },
            Bound::Quads if textures => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadWrite,
                format: TextureFormat::Rgba32Float,
                view_dimension: TextureViewDimension::D2,
            },
            Bound::Read => buffer(BufferBindingType::Storage { read_only: true }, None),
            Bound::Write | Bound::Quads => {
                buffer(BufferBindingType::Storage { read_only: false }, None)
            }
            Bound::Params(size) => buffer(BufferBindingType::Uniform, NonZeroU64::new(size as u64)),
        },
        count: None,
    };
    BindGroupLayoutDescriptor::new(name, &(0..).zip(bound).map(entry).collect::<Vec<_>>())
}

/// The bindings that all kernels of a layer have.
pub(super) fn layer_layout(name: &'static str, textures: bool) -> BindGroupLayoutDescriptor {
    use Bound::{Pages, Params, Quads, Read, Write};
    let places = Params(size_of::<Places>());
    let layer = Params(size_of::<LayerParams>());
    let bound =
        [Pages, Read, Quads, places, layer, Read, Read, Read, Read, Quads, Quads, Read, Write];
    layout(name, &bound, textures)
}

/// What compiles a kernel for an encoding.
pub fn encoding_def(encoding: Encoding) -> ShaderDefVal {
    ShaderDefVal::Bool(format!("ENCODING_{}", encoding.name()), true)
}

/// One variant per encoding.
pub(super) fn per_encoding() -> Vec<Vec<ShaderDefVal>> {
    Encoding::ALL.into_iter().map(|encoding| vec![encoding_def(encoding)]).collect()
}

/// How many columns a workgroup can multiply at once, one number for each variant of a product:
/// they share every decoded weight.
pub const COLUMNS_TOGETHER: [u32; 3] = [1, 4, 8];

/// Which of [`COLUMNS_TOGETHER`] is for a step of so many columns: the fewest that hold them all,
/// or else the most.
pub fn variant_for(columns: u32) -> usize {
    let holds = |together: &u32| *together >= columns;
    COLUMNS_TOGETHER.iter().position(holds).unwrap_or(COLUMNS_TOGETHER.len() - 1)
}

/// How often a step of so many columns reads every weight.
pub fn readings(columns: u32) -> u32 {
    columns.div_ceil(COLUMNS_TOGETHER[variant_for(columns)])
}

/// What compiles a product for one of [`COLUMNS_TOGETHER`].
pub fn product_defs(encoding: Encoding, columns: u32) -> Vec<ShaderDefVal> {
    vec![encoding_def(encoding), ShaderDefVal::UInt("COLUMNS".into(), columns)]
}

/// One variant of a product per encoding and number of columns.
pub(super) fn per_encoding_and_columns() -> Vec<Vec<ShaderDefVal>> {
    let variants = |encoding| COLUMNS_TOGETHER.map(|columns| product_defs(encoding, columns));
    Encoding::ALL.into_iter().flat_map(variants).collect()
}
