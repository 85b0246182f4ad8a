//! The compute kernels: one file each, named as its shader, its entry point and its pipeline are.

pub mod attend;
pub mod change;
pub mod choose;
pub mod down;
pub mod embed;
mod family;
pub mod gate_up;
mod layout;
pub mod logits;
pub mod project;
pub mod qkv;
pub mod rms_norm;
pub mod rotate;
pub mod whole_layer;

pub use family::Family;
pub use layout::{COLUMNS_TOGETHER, encoding_def, product_defs, readings, variant_for};

use bevy::{
    prelude::*,
    render::{
        render_resource::{
            BindGroup, BindGroupEntry, BindGroupLayoutDescriptor, BindingResource, CachedComputePipelineId,
            CachedPipelineState, ComputePass, ComputePipelineDescriptor, PipelineCache,
        },
        renderer::RenderDevice,
    },
    shader::{ShaderCacheError, ShaderDefVal},
};

use super::ForwardState;
use crate::shaders::Shaders;

/// What can go wrong when a kernel is recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Its pipeline is not compiled. The driver runs no step before all are.
    #[error("the kernel {name} is not compiled yet")]
    NotReady {
        /// The kernel.
        name: &'static str,
    },
    /// More workgroups than the device takes in one dimension.
    #[error("the kernel {name} would need {needed} workgroups in one dimension; the device takes {limit}")]
    TooManyWorkgroups {
        /// The kernel.
        name: &'static str,
        /// How many the parameters ask for.
        needed: u32,
        /// The device's limit.
        limit: u32,
    },
}

/// A kernel as it is written down: everything about it that needs no GPU.
pub struct KernelSource {
    /// Its one name: of the shader `NAME.wgsl`, of the entry point, of the label `passes:NAME`.
    pub name: &'static str,
    /// Its bindings, in group 0, where activations are in textures or not.
    pub layout: fn(bool) -> BindGroupLayoutDescriptor,
    /// Every set of shader definitions it is compiled with.
    pub variants: fn() -> Vec<Vec<ShaderDefVal>>,
}

/// All kernels, in the order of their names.
pub const SOURCES: &[&KernelSource] = &[
    &attend::SOURCE,
    &change::SOURCE,
    &choose::SOURCE,
    &down::SOURCE,
    &embed::SOURCE,
    &gate_up::SOURCE,
    &logits::SOURCE,
    &project::SOURCE,
    &qkv::SOURCE,
    &rms_norm::SOURCE,
    &rotate::SOURCE,
    &whole_layer::SOURCE,
];

/// A kernel on the device.
pub struct Kernel {
    source: &'static KernelSource,
    layout: BindGroupLayoutDescriptor,
    pipeline: CachedComputePipelineId,
    shader_defs: Vec<ShaderDefVal>,
}

impl Kernel {
    fn queue(
        source: &'static KernelSource,
        shader_defs: Vec<ShaderDefVal>,
        shaders: &Shaders,
        cache: &PipelineCache,
    ) -> Self {
        let layout = (source.layout)(family::has_textures(&shader_defs));
        let pipeline = cache.queue_compute_pipeline(ComputePipelineDescriptor {
            label: Some(format!("passes:{}", source.name).into()),
            layout: vec![layout.clone()],
            immediate_size: 0,
            shader: shaders.handle(&format!("{}.wgsl", source.name)),
            shader_defs: shader_defs.clone(),
            entry_point: Some(source.name.into()),
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        });
        Self { source, layout, pipeline, shader_defs }
    }

    /// Its one name.
    pub fn name(&self) -> &'static str {
        self.source.name
    }

    /// Binds `resources` in the order of the layout. Made once and used for many steps.
    pub fn bind(
        &self,
        device: &RenderDevice,
        cache: &PipelineCache,
        resources: &[BindingResource],
    ) -> BindGroup {
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| BindGroupEntry { binding, resource: resource.clone() })
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
        let pipeline = cache.get_compute_pipeline(self.pipeline).ok_or(KernelError::NotReady { name })?;
        let limit = device.limits().max_compute_workgroups_per_dimension;
        if let Some(&needed) = workgroups.iter().find(|&&needed| needed > limit) {
            return Err(KernelError::TooManyWorkgroups { name, needed, limit });
        }
        pass.set_pipeline(pipeline);
        pass.dispatch_workgroups(workgroups[0], workgroups[1], workgroups[2]);
        Ok(())
    }

    fn state(&self, cache: &PipelineCache) -> ForwardState {
        match cache.get_compute_pipeline_state(self.pipeline) {
            CachedPipelineState::Ok(_) => ForwardState::Ready,
            CachedPipelineState::Queued | CachedPipelineState::Creating(_) => ForwardState::Starting,
            // The shaders are assets and arrive a frame late; the cache tries these two again by itself.
            CachedPipelineState::Err(
                ShaderCacheError::ShaderNotLoaded(_) | ShaderCacheError::ShaderImportNotYetAvailable,
            ) => ForwardState::Starting,
            CachedPipelineState::Err(error) => ForwardState::Failed(format!("{}: {error}", self.name())),
        }
    }
}

/// All kernels on the device.
#[derive(Resource)]
pub struct Kernels {
    /// Root-mean-square normalisation.
    pub rms_norm: Kernel,
    variants: Vec<Kernel>,
}

/// A kernel's variant that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelId(usize);

impl Kernels {
    fn iter(&self) -> impl Iterator<Item = &Kernel> {
        [&self.rms_norm].into_iter().chain(&self.variants)
    }

    /// Queues the pipeline of a variant, once however often it is asked for. Steps wait until it is compiled.
    pub fn request(
        &mut self,
        source: &'static KernelSource,
        shader_defs: Vec<ShaderDefVal>,
        shaders: &Shaders,
        cache: &PipelineCache,
    ) -> KernelId {
        let same = |kernel: &Kernel| kernel.name() == source.name && kernel.shader_defs == shader_defs;
        if let Some(known) = self.variants.iter().position(same) {
            return KernelId(known);
        }
        self.variants.push(Kernel::queue(source, shader_defs, shaders, cache));
        KernelId(self.variants.len() - 1)
    }

    /// A variant that was asked for.
    pub fn get(&self, id: KernelId) -> &Kernel {
        &self.variants[id.0]
    }

    /// The state of all kernels together: the first that failed, else the first that is not there yet.
    pub(super) fn state(&self, cache: &PipelineCache) -> ForwardState {
        let mut all = ForwardState::Ready;
        for kernel in self.iter() {
            match kernel.state(cache) {
                ForwardState::Ready => {}
                ForwardState::Starting => all = ForwardState::Starting,
                failed @ ForwardState::Failed(_) => return failed,
            }
        }
        all
    }
}

/// Queues every kernel's pipeline. Runs once per device.
pub(super) fn queue_kernels(mut commands: Commands, shaders: Res<Shaders>, cache: Res<PipelineCache>) {
    commands.insert_resource(Kernels {
        rms_norm: Kernel::queue(&rms_norm::SOURCE, rms_norm::shader_defs(), &shaders, &cache),
        variants: Vec::new(),
    });
}
