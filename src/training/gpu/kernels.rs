//! The kernels of training: their names, what they are compiled with, and what all of them are
//! bound to.
//!
//! One bind group serves all, and the parameters of a dispatch are found by an offset: a step has
//! more than a thousand dispatches.

use bevy::render::{
    render_resource::{
        BindGroup, BindGroupEntry, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
        BindingResource, BindingType, BufferBindingType, CachedComputePipelineId, ComputePipeline,
        ComputePipelineDescriptor, PipelineCache, ShaderStages, StorageTextureAccess,
        TextureFormat, TextureViewDimension,
    },
    renderer::RenderDevice,
};
use bevy::shader::ShaderDefVal;

use super::params::{
    AdamwParams, AttentionParams, BackParams, EmbedParams, GradientNormParams, HeadParams,
    LoraInParams, LossParams, NormBackParams, NormParams, OuterParams, ProductParams, SLOT,
    SwigluParams,
};
use crate::forward::gpu::kernels::{Binding, BindingKind, KernelSource, encoding_def};
use crate::forward::gpu::shaders::Shaders;
use crate::forward::params::Places;
use crate::model::Encoding;

/// The binding of a dispatch's parameters.
const PARAMS: usize = 4;
/// The one that only kernels of the forward pass have.
const UNUSED: usize = 3;

const fn bindings(params: usize) -> [Binding; 11] {
    use BindingKind::{Pages, Params, Quads, Read, Write};
    const fn binding(name: &'static str, kind: BindingKind) -> Binding {
        Binding { name, kind }
    }
    [
        binding("weights", Pages),
        binding("tile_place", Read),
        binding("activations", Quads),
        binding("places", Params(size_of::<Places>())),
        binding("params", Params(params)),
        binding("vectors", Read),
        binding("angles", Read),
        binding("columns", Read),
        binding("trained", Quads),
        binding("results", Write),
        binding("wanted", Read),
    ]
}

macro_rules! kernels {
    ($($kernel:ident $name:literal $params:ty, $variants:expr;)*) => {
        /// A kernel of training.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Name { $(
            #[doc = concat!("`shaders/training/", $name, ".wgsl`.")]
            $kernel,
        )* }

        /// All kernels of training, in the order of a step.
        pub const SOURCES: &[&KernelSource] = &[$(&KernelSource {
            name: $name,
            bindings: &bindings(size_of::<$params>()),
            variants: $variants,
        }),*];
    };
}

kernels! {
    Embed "embed" EmbedParams, per_encoding;
    Norm "norm" NormParams, alone;
    LoraIn "lora_in" LoraInParams, alone;
    Product "product" ProductParams, products;
    Rotate "rotate" HeadParams, alone;
    Attend "attend" AttentionParams, of_heads;
    Swiglu "swiglu" SwigluParams, alone;
    Loss "loss" LossParams, alone;
    Back "back" BackParams, backs;
    NormBack "norm_back" NormBackParams, alone;
    SwigluBack "swiglu_back" SwigluParams, alone;
    AttendBackQuery "attend_back_query" AttentionParams, of_heads;
    AttendBackKey "attend_back_key" AttentionParams, of_heads;
    RotateBack "rotate_back" HeadParams, alone;
    Outer "outer" OuterParams, alone;
    GradientNorm "gradient_norm" GradientNormParams, alone;
    Adamw "adamw" AdamwParams, alone;
}

/// Columns that a workgroup of a product multiplies at once.
pub const COLUMNS: u32 = 8;

/// How a workgroup of `back` shares its work: inputs of a lane, 16 or 32, and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackShape {
    /// Inputs of a lane.
    pub part: u32,
    /// Columns of a workgroup.
    pub columns: u32,
}

impl BackShape {
    /// All that the shader is written for, the fastest on lavapipe first.
    pub const ALL: [Self; 3] = [
        Self { part: 16, columns: 8 },
        Self { part: 32, columns: 4 },
        Self { part: 16, columns: 4 },
    ];
}

/// Shader definitions of a product.
pub fn product_defs(encoding: Encoding) -> Vec<ShaderDefVal> {
    vec![encoding_def(encoding), ShaderDefVal::UInt("COLUMNS".into(), COLUMNS)]
}

/// Shader definitions of `back`.
pub fn back_defs(encoding: Encoding, shape: BackShape) -> Vec<ShaderDefVal> {
    vec![
        encoding_def(encoding),
        ShaderDefVal::UInt("COLUMNS".into(), shape.columns),
        ShaderDefVal::UInt("PART".into(), shape.part),
    ]
}

/// Shader definitions of attention.
pub fn head_defs(head_size: u32, heads: u32) -> Vec<ShaderDefVal> {
    [("HEAD_SIZE", head_size), ("HEADS", heads)]
        .map(|(name, value)| ShaderDefVal::UInt(name.into(), value))
        .to_vec()
}

fn alone() -> Vec<Vec<ShaderDefVal>> {
    vec![vec![]]
}

fn per_encoding() -> Vec<Vec<ShaderDefVal>> {
    Encoding::ALL.into_iter().map(|encoding| vec![encoding_def(encoding)]).collect()
}

fn products() -> Vec<Vec<ShaderDefVal>> {
    Encoding::ALL.into_iter().map(product_defs).collect()
}

fn backs() -> Vec<Vec<ShaderDefVal>> {
    let variants = |encoding| BackShape::ALL.map(|shape| back_defs(encoding, shape));
    Encoding::ALL.into_iter().flat_map(variants).collect()
}

fn of_heads() -> Vec<Vec<ShaderDefVal>> {
    [(16, 2), (24, 3), (32, 4), (64, 3), (128, 4)]
        .map(|(size, heads)| head_defs(size, heads))
        .to_vec()
}

/// A variant of a kernel in [`KernelVariants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VariantId(usize);

impl VariantId {
    /// Its place among the variants.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The variants that a trainer needs.
#[derive(Debug)]
pub struct KernelVariants {
    textures: bool,
    subgroups: bool,
    variants: Vec<(Name, Vec<ShaderDefVal>)>,
}

impl KernelVariants {
    /// None yet, for a device that has what is said.
    pub fn new(textures: bool, subgroups: bool) -> Self {
        Self { textures, subgroups, variants: Vec::new() }
    }

    /// A variant, the same however often it is asked for.
    pub fn request(&mut self, name: Name, defs: Vec<ShaderDefVal>) -> VariantId {
        let wanted = (name, defs);
        if let Some(known) = self.variants.iter().position(|known| *known == wanted) {
            return VariantId(known);
        }
        self.variants.push(wanted);
        VariantId(self.variants.len() - 1)
    }

    /// Has all variants compiled, in their order.
    pub fn queue(
        &self,
        cache: &PipelineCache,
        shaders: &Shaders,
    ) -> Vec<(&'static str, CachedComputePipelineId)> {
        let layout = layout(self.textures);
        let flags = [("SUBGROUPS", self.subgroups), ("TEXTURES", self.textures)];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        let flags: Vec<_> = flags.map(|(name, _)| ShaderDefVal::Bool(name.into(), true)).collect();
        let queue = |(name, defs): &(Name, Vec<ShaderDefVal>)| {
            let name = SOURCES[*name as usize].name;
            let pipeline = cache.queue_compute_pipeline(ComputePipelineDescriptor {
                label: Some(format!("training:{name}").into()),
                layout: vec![layout.clone()],
                immediate_size: 0,
                shader: shaders.handle(&format!("training/{name}.wgsl")),
                shader_defs: [&defs[..], &flags].concat(),
                entry_point: Some(name.into()),
                zero_initialize_workgroup_memory: false,
            });
            (name, pipeline)
        };
        self.variants.iter().map(queue).collect()
    }

    /// Binds resources in the order of their names, without the one that is not used.
    pub fn bind(
        &self,
        device: &RenderDevice,
        cache: &PipelineCache,
        resources: Vec<BindingResource<'_>>,
    ) -> BindGroup {
        let numbers = (0..).filter(|number| *number != UNUSED as u32);
        let entries: Vec<_> = numbers
            .zip(resources)
            .map(|(binding, resource)| BindGroupEntry { binding, resource })
            .collect();
        let layout = cache.get_bind_group_layout(&layout(self.textures));
        device.create_bind_group("training", &layout, &entries)
    }
}

/// Compiled kernels, by [`VariantId`].
pub type Pipelines = Vec<ComputePipeline>;

fn layout(textures: bool) -> BindGroupLayoutDescriptor {
    let buffer = |ty, has_dynamic_offset| BindingType::Buffer {
        ty,
        has_dynamic_offset,
        min_binding_size: None,
    };
    let storage = |read_only| buffer(BufferBindingType::Storage { read_only }, false);
    let entry = |(number, binding): (usize, &Binding)| BindGroupLayoutEntry {
        binding: number as u32,
        visibility: ShaderStages::COMPUTE,
        ty: match binding.kind {
            BindingKind::Pages => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadOnly,
                format: TextureFormat::Rgba32Uint,
                view_dimension: TextureViewDimension::D2Array,
            },
            BindingKind::Quads if textures => BindingType::StorageTexture {
                access: StorageTextureAccess::ReadWrite,
                format: TextureFormat::Rgba32Float,
                view_dimension: TextureViewDimension::D2,
            },
            BindingKind::Quads | BindingKind::Write => storage(false),
            BindingKind::Read => storage(true),
            BindingKind::Params(_) => buffer(BufferBindingType::Uniform, number == PARAMS),
        },
        count: None,
    };
    let list = bindings(SLOT);
    let used = list.iter().enumerate().filter(|(number, _)| *number != UNUSED);
    BindGroupLayoutDescriptor::new("training", &used.map(entry).collect::<Vec<_>>())
}
