//! What each kernel is bound to, by the names that its shader gives: a place in a bind group has no
//! other meaning than its name, so that two buffers cannot be swapped unseen.
//!
//! `tests/gpu/bindings.rs` compares names, places and kinds with the shaders.

use std::num::NonZeroU64;

use bevy::render::render_resource::{
    BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingResource, BindingType,
    BufferBindingType, ShaderStages, StorageTextureAccess, TextureFormat, TextureViewDimension,
};

use crate::forward::params::{
    ChangeParams, EmbedParams, LayerParams, LogitsParams, Places, SampleParams,
};

/// What a variable of a shader is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    /// The page texture: `Rgba32Uint` texels in layers.
    Pages,
    /// A storage buffer that is read.
    Read,
    /// A storage buffer that is written.
    Write,
    /// Quads that are written: a texture or a storage buffer.
    Quads,
    /// A parameter struct of so many bytes.
    Params(usize),
}

/// A variable of a shader in group 0. Its place in the list of its kernel is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Its name in the shader.
    pub name: &'static str,
    /// What it is bound to.
    pub kind: BindingKind,
}

/// Resources of a bind group by their names.
pub(in crate::forward::gpu) trait Bindings<'a> {
    /// Names and kinds, in the order of their numbers.
    const LIST: &'static [Binding];

    /// The resources in that order.
    fn resources(self) -> Vec<BindingResource<'a>>;
}

macro_rules! bindings {
    ($(#[$doc:meta])* $group:ident { $($name:ident: $kind:expr,)* }) => {
        $(#[$doc])*
        pub(in crate::forward::gpu) struct $group<'a> {
            $(pub $name: BindingResource<'a>,)*
        }

        impl<'a> Bindings<'a> for $group<'a> {
            const LIST: &'static [Binding] =
                &[$(Binding { name: stringify!($name), kind: $kind }),*];

            fn resources(self) -> Vec<BindingResource<'a>> {
                vec![$(self.$name),*]
            }
        }
    };
}

use BindingKind::{Pages, Params, Quads, Read, Write};

bindings! {
    EmbedBindings {
        weights: Pages,
        tile_place: Read,
        activations: Quads,
        places: Params(size_of::<Places>()),
        params: Params(size_of::<EmbedParams>()),
        gain: Read,
        columns: Read,
        barriers: Write,
    }
}

bindings! {
    /// Of every kernel of a layer.
    LayerBindings {
        weights: Pages,
        tile_place: Read,
        activations: Quads,
        places: Params(size_of::<Places>()),
        layer: Params(size_of::<LayerParams>()),
        gains: Read,
        vectors: Read,
        angles: Read,
        columns: Read,
        keys: Quads,
        values: Quads,
        head_scale: Read,
        barriers: Write,
    }
}

bindings! {
    /// Of every kernel of a layer on which adapters act, behind those of the layer.
    AdapterBindings {
        factors: Quads,
        adapted: Read,
        strengths: Read,
        narrowed: Quads,
    }
}

bindings! {
    LogitsBindings {
        weights: Pages,
        tile_place: Read,
        activations: Quads,
        places: Params(size_of::<Places>()),
        params: Params(size_of::<LogitsParams>()),
        wanted: Read,
        logits_out: Write,
        best: Write,
    }
}

bindings! {
    SampleBindings {
        params: Params(size_of::<SampleParams>()),
        best: Write,
        logits: Write,
        listed: Write,
        recent: Write,
        biases: Read,
        wanted: Read,
        columns: Write,
        sampled: Write,
        sampling: Read,
    }
}

bindings! {
    ChangeBindings {
        params: Params(size_of::<ChangeParams>()),
        rows: Read,
        added: Read,
        numbers: Write,
        gain: Read,
    }
}

/// The layout of group 0, where quads are in textures or not.
pub(super) fn layout(
    name: &'static str,
    bindings: &[Binding],
    textures: bool,
) -> BindGroupLayoutDescriptor {
    let buffer =
        |ty, size| BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: size };
    let entry = |(binding, bound): (u32, &Binding)| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: match bound.kind {
            Pages => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadOnly,
                format: TextureFormat::Rgba32Uint,
                view_dimension: TextureViewDimension::D2Array,
            },
            Quads if textures => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadWrite,
                format: TextureFormat::Rgba32Float,
                view_dimension: TextureViewDimension::D2,
            },
            Read => buffer(BufferBindingType::Storage { read_only: true }, None),
            Write | Quads => buffer(BufferBindingType::Storage { read_only: false }, None),
            Params(size) => buffer(BufferBindingType::Uniform, NonZeroU64::new(size as u64)),
        },
        count: None,
    };
    BindGroupLayoutDescriptor::new(name, &(0..).zip(bindings).map(entry).collect::<Vec<_>>())
}
