//! The compute kernels: one file each, named as its shader, its entry point and its pipeline are.

pub mod attend;
pub(super) mod bindings;
pub mod change;
pub mod down;
pub mod embed;
mod family;
pub mod fused_layer;
pub mod gate_up;
pub mod logits;
pub mod narrow;
pub mod project;
pub mod qkv;
pub mod rope;
pub mod sample;
mod variants;

pub use bindings::{Binding, BindingKind};
pub use family::{KernelFamily, adapters_def, has_adapters};
pub use variants::{COLUMNS_TOGETHER, encoding_def, product_defs, readings, variant_for};

use std::sync::OnceLock;

use bevy::{
    prelude::*,
    render::{
        render_resource::{
            BindGroup, BindGroupEntry, BindGroupLayoutDescriptor, BindingResource,
            CachedComputePipelineId, CachedPipelineState, ComputePass, ComputePipelineDescriptor,
            PipelineCache,
        },
        renderer::RenderDevice,
    },
    shader::{ShaderCacheError, ShaderDefVal},
};

use super::{ForwardState, KernelProgress};
use crate::forward::gpu::shaders::Shaders;
use bindings::Bindings;

/// What can go wrong when a kernel is recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Its pipeline is not compiled. The driver runs no step before all are.
    #[error("the kernel {name} is not compiled yet")]
    NotReady {
        /// The kernel's name, that of its shader.
        name: &'static str,
    },
    /// More workgroups than the device takes in one dimension.
    #[error(
        "the kernel {name} would need {needed} workgroups in one dimension; \
         the device takes {limit}"
    )]
    TooManyWorkgroups {
        /// The kernel's name, that of its shader.
        name: &'static str,
        /// How many the parameters ask for.
        needed: u32,
        /// The most workgroups that the device takes in one.
        limit: u32,
    },
}

/// A kernel as it is written down: everything about it that needs no GPU.
pub struct KernelSource {
    /// Its one name: of the shader `NAME.wgsl`, of the entry point, of the label `forward:NAME`.
    pub name: &'static str,
    /// What it is bound to, in group 0, in the order of numbers.
    pub bindings: &'static [Binding],
    /// Every set of shader definitions it is compiled with.
    pub variants: fn() -> Vec<Vec<ShaderDefVal>>,
}

impl KernelSource {
    /// What it is bound to where it is compiled so: adapters too, where they act.
    pub fn bindings_with(&self, shader_defs: &[ShaderDefVal]) -> Vec<Binding> {
        let more = if has_adapters(shader_defs) { bindings::AdapterBindings::LIST } else { &[] };
        [self.bindings, more].concat()
    }
}

/// All kernels, in the order of their names.
pub const SOURCES: &[&KernelSource] = &[
    &attend::SOURCE,
    &change::SOURCE,
    &down::SOURCE,
    &embed::SOURCE,
    &gate_up::SOURCE,
    &logits::SOURCE,
    &narrow::SOURCE,
    &project::SOURCE,
    &qkv::SOURCE,
    &rope::SOURCE,
    &sample::SOURCE,
    &fused_layer::SOURCE,
];

/// A kernel on the device, compiled when it is first needed.
pub struct Kernel {
    source: &'static KernelSource,
    layout: BindGroupLayoutDescriptor,
    shader: Handle<Shader>,
    shader_defs: Vec<ShaderDefVal>,
    pipeline: OnceLock<CachedComputePipelineId>,
}

impl Kernel {
    fn new(
        source: &'static KernelSource,
        shader_defs: Vec<ShaderDefVal>,
        shaders: &Shaders,
    ) -> Self {
        let textures = family::has_textures(&shader_defs);
        let all = source.bindings_with(&shader_defs);
        let layout = bindings::layout(source.name, &all, textures);
        let shader = shaders.handle(&format!("kernels/{}.wgsl", source.name));
        Self { source, layout, shader, shader_defs, pipeline: OnceLock::new() }
    }

    /// Queues its pipeline. False where that was done before.
    fn queue(&self, cache: &PipelineCache) -> bool {
        let mut is_first = false;
        self.pipeline.get_or_init(|| {
            is_first = true;
            cache.queue_compute_pipeline(ComputePipelineDescriptor {
                label: Some(format!("forward:{}", self.source.name).into()),
                layout: vec![self.layout.clone()],
                immediate_size: 0,
                shader: self.shader.clone(),
                shader_defs: self.shader_defs.clone(),
                entry_point: Some(self.source.name.into()),
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            })
        });
        is_first
    }

    /// Whether it was queued.
    fn is_queued(&self) -> bool {
        self.pipeline.get().is_some()
    }

    /// The one name of all its variants.
    pub fn name(&self) -> &'static str {
        self.source.name
    }

    /// Binds resources by their names. Made once and used for many steps.
    ///
    /// # Panics
    /// They are those of another kernel.
    pub(super) fn bind<'a, B: Bindings<'a>>(
        &self,
        device: &RenderDevice,
        cache: &PipelineCache,
        resources: B,
    ) -> BindGroup {
        assert_eq!(self.source.bindings, B::LIST, "{} has other bindings", self.name());
        self.bind_all(device, cache, resources.resources())
    }

    /// Binds resources of a kernel of a layer and those of adapters that act on it.
    ///
    /// # Panics
    /// The kernel is not compiled with adapters.
    pub(super) fn bind_with_adapters<'a>(
        &self,
        device: &RenderDevice,
        cache: &PipelineCache,
        layer: bindings::LayerBindings<'a>,
        adapters: bindings::AdapterBindings<'a>,
    ) -> BindGroup {
        assert!(has_adapters(&self.shader_defs), "{} takes no adapters", self.name());
        let resources = layer.resources().into_iter().chain(adapters.resources());
        self.bind_all(device, cache, resources.collect())
    }

    fn bind_all(
        &self,
        device: &RenderDevice,
        cache: &PipelineCache,
        resources: Vec<BindingResource<'_>>,
    ) -> BindGroup {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| BindGroupEntry { binding, resource })
            .collect();
        device.create_bind_group(self.name(), &cache.get_bind_group_layout(&self.layout), &entries)
    }

    /// Records one dispatch of what is bound.
    pub fn dispatch(
        &self,
        pass: &mut ComputePass,
        device: &RenderDevice,
        cache: &PipelineCache,
        workgroups: [u32; 3],
    ) -> Result<(), KernelError> {
        let name = self.name();
        let pipeline = self.pipeline.get().and_then(|&id| cache.get_compute_pipeline(id));
        let pipeline = pipeline.ok_or(KernelError::NotReady { name })?;
        let limit = device.limits().max_compute_workgroups_per_dimension;
        if let Some(&needed) = workgroups.iter().find(|&&needed| needed > limit) {
            return Err(KernelError::TooManyWorkgroups { name, needed, limit });
        }
        pass.set_pipeline(pipeline);
        pass.dispatch_workgroups(workgroups[0], workgroups[1], workgroups[2]);
        Ok(())
    }

    fn state(&self, cache: &PipelineCache) -> ForwardState {
        // Nobody waits for what nobody needs.
        let Some(&pipeline) = self.pipeline.get() else { return ForwardState::Ready };
        match cache.get_compute_pipeline_state(pipeline) {
            CachedPipelineState::Ok(_) => ForwardState::Ready,
            CachedPipelineState::Queued | CachedPipelineState::Creating(_) => {
                ForwardState::Starting
            }
            // The shaders are assets and arrive a frame late; the cache tries these two again by
            // itself.
            CachedPipelineState::Err(
                ShaderCacheError::ShaderNotLoaded(_)
                | ShaderCacheError::ShaderImportNotYetAvailable,
            ) => ForwardState::Starting,
            CachedPipelineState::Err(error) => {
                ForwardState::Failed(format!("{}: {error}", self.name()))
            }
        }
    }
}

/// All kernels on the device.
#[derive(Resource, Default)]
pub struct Kernels {
    variants: Vec<Kernel>,
    /// Whether all that are asked for are compiled, one in each frame, and not only those that a
    /// step needs.
    pub(super) ahead: bool,
}

/// A kernel's variant that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelId(usize);

impl Kernels {
    /// A variant, the same however often it is asked for. It is compiled when a step first needs
    /// it: of the 27 variants of a small model an answer needs 10, and each takes 30 to 40 ms on
    /// two processors.
    pub fn request(
        &mut self,
        source: &'static KernelSource,
        shader_defs: Vec<ShaderDefVal>,
        shaders: &Shaders,
    ) -> KernelId {
        let same =
            |kernel: &Kernel| kernel.name() == source.name && kernel.shader_defs == shader_defs;
        if let Some(known) = self.variants.iter().position(same) {
            return KernelId(known);
        }
        self.variants.push(Kernel::new(source, shader_defs, shaders));
        KernelId(self.variants.len() - 1)
    }

    /// A variant that was asked for.
    pub fn get(&self, id: KernelId) -> &Kernel {
        &self.variants[id.0]
    }

    /// Queues the pipelines of some variants; whether any of them is new.
    pub(super) fn queue(&self, ids: impl Iterator<Item = KernelId>, cache: &PipelineCache) -> bool {
        // Not by `any`, which would stop at the first new one.
        ids.fold(false, |any, id| self.get(id).queue(cache) | any)
    }

    /// Queues the next one that nobody has needed yet, where all are to be compiled. One in each
    /// frame: all 27 together would hold a window's frame for a second.
    pub(super) fn queue_next(&self, cache: &PipelineCache) {
        if self.ahead {
            self.variants.iter().any(|kernel| kernel.queue(cache));
        }
    }

    /// How many are compiled, and how many are to be: those that somebody has asked for.
    pub(super) fn progress(&self, cache: &PipelineCache) -> KernelProgress {
        let wanted = self.variants.iter().filter(|kernel| self.ahead || kernel.is_queued());
        let is_ready =
            |kernel: &&Kernel| kernel.is_queued() && kernel.state(cache) == ForwardState::Ready;
        let compiled = wanted.clone().filter(is_ready).count();
        KernelProgress { compiled, wanted: wanted.count() }
    }

    /// The state of all queued kernels together: the first that failed, else the first that is not
    /// there yet.
    pub(super) fn state(&self, cache: &PipelineCache) -> ForwardState {
        let mut all = ForwardState::Ready;
        for kernel in &self.variants {
            match kernel.state(cache) {
                ForwardState::Ready => {}
                ForwardState::Starting => all = ForwardState::Starting,
                failed @ ForwardState::Failed(_) => return failed,
            }
        }
        all
    }
}

/// Forgets the kernels of an earlier device. Runs once per device.
pub(super) fn forget_kernels(mut commands: Commands) {
    commands.insert_resource(Kernels::default());
}
