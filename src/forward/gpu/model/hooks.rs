//! Hooks of the forward pass on the GPU: values that a step's dispatches make are copied out, or
//! changed before what follows reads them.
//!
//! In: [`Hook`]s for the columns of the next step, by [`set_hooks`]. Out: what they have seen, by
//! [`take_unread`]. A step without hooks is recorded as if there were none to be had. The places
//! are those that have a buffer: kernels are fused, so that a norm's factor is folded into the
//! product behind it, and gate and up are never written.

mod prepare;

use bevy::{
    prelude::*,
    render::{
        render_resource::{BindGroup, Buffer, CommandEncoder, PipelineCache},
        renderer::RenderDevice,
    },
};

use super::{GpuModel, Quads};
use crate::forward::cpu::Column;
use crate::forward::gpu::kernels::{KernelId, Kernels, fused_layer};
use crate::forward::gpu::shaders::Shaders;
use crate::forward::{Hook, HookError, Watched};

/// The hooks of the steps that are recorded while it is there.
#[derive(Resource, Debug)]
pub(super) struct StepHooks {
    placed: Vec<Placed>,
    watched: Vec<WatchedPlace>,
    /// Whether something is to be done between the kernels of a layer, and not only at its end.
    within_layers: bool,
    /// What is watched, one after the other. Not mapped itself: reading back copies it once more,
    /// which is little beside a step.
    staging: Option<Buffer>,
}

/// What a hook sees, and the byte at which it begins in the staging buffer.
#[derive(Debug, Clone)]
struct WatchedPlace {
    start: u64,
    watched: Watched,
}

#[derive(Debug)]
struct Placed {
    /// The kernel that makes the values, and in which layer.
    after: (&'static str, u32),
    effect: Effect,
}

/// DeviceNumbers on the device.
#[derive(Debug, Clone)]
pub(super) enum DeviceNumbers {
    Buffer(Buffer),
    Quads(Quads),
}

/// What is recorded for hooks.
#[derive(Debug)]
pub(super) enum Effect {
    /// Runs of bytes to copy: from, to, size.
    Copy(Vec<(DeviceNumbers, [u64; 3])>),
    /// Quads to a buffer in which the effects that follow find them, or back.
    Mirror { quads: Box<Quads>, buffer: Buffer, back: bool },
    /// A dispatch of the kernel `change`, bound to its columns.
    Change { kernel: KernelId, group: BindGroup, workgroups: [u32; 3] },
}

/// The last kernel of a layer.
const LAST: &str = "down";

impl StepHooks {
    /// Whether a layer may be one dispatch.
    pub(crate) fn allow_fused_layers(&self) -> bool {
        !self.within_layers
    }

    /// The kernels of its changes.
    pub fn kernels(&self) -> impl Iterator<Item = KernelId> {
        self.placed.iter().filter_map(|placed| match placed.effect {
            Effect::Change { kernel, .. } => Some(kernel),
            _ => None,
        })
    }

    /// What is to be recorded after a kernel.
    pub fn after(&self, kernel: &'static str, layer: u32) -> impl Iterator<Item = &Effect> {
        // A whole layer ends as its last kernel does.
        let kernel = if kernel == fused_layer::SOURCE.name { LAST } else { kernel };
        let here = move |placed: &&Placed| placed.after == (kernel, layer);
        self.placed.iter().filter(here).map(|placed| &placed.effect)
    }

    pub fn copy(&self, encoder: &mut CommandEncoder, effect: &Effect) {
        match effect {
            Effect::Change { .. } => {}
            Effect::Mirror { quads, buffer, back } => quads.copy_all(encoder, buffer, *back),
            Effect::Copy(runs) => {
                let staging =
                    self.staging.as_ref().expect("whatever is copied was given a place there");
                for (numbers, [source, target, size]) in runs {
                    match numbers {
                        DeviceNumbers::Buffer(from) => {
                            encoder.copy_buffer_to_buffer(from, *source, staging, *target, *size);
                        }
                        DeviceNumbers::Quads(from) => {
                            from.copy_some(encoder, *source / 16, *size / 16, staging, *target);
                        }
                    }
                }
            }
        }
    }
}

/// Sets the hooks of the next step, which has these columns, in the order in which they act where
/// their places are the same. They stay until [`take_unread`]. In a step that repeats, every pass
/// acts on the columns of the first. Where all of them watch, each layer is left only once for
/// copies, after its last kernel: what its kernels leave in the activations stays there until the
/// next layer.
///
/// # Errors
/// A place has no buffer, or the hooks do not fit the model and the columns; then none is set.
///
/// # Panics
/// There is no [`GpuModel`] in this world: it is that of another app, or the device has none yet.
pub fn set_hooks(
    render_world: &mut World,
    columns: &[Column],
    hooks: &[Hook],
) -> Result<(), HookError> {
    render_world.remove_resource::<StepHooks>();
    if hooks.is_empty() {
        return Ok(());
    }
    let hooks = render_world.resource_scope(|world, mut kernels: Mut<Kernels>| {
        let builder = prepare::HookBuilder {
            network: world.resource::<GpuModel>(),
            device: world.resource::<RenderDevice>(),
            cache: world.resource::<PipelineCache>(),
            shaders: world.resource::<Shaders>(),
            kernels: &mut kernels,
            columns,
        };
        builder.build(hooks)
    })?;
    render_world.insert_resource(hooks);
    Ok(())
}

/// What hooks have seen, or will have once the device is there: the values are in a buffer still.
#[derive(Debug)]
pub struct Unread {
    watched: Vec<WatchedPlace>,
    staging: Buffer,
}

impl Unread {
    /// The buffer that holds the values.
    pub fn buffer(&self) -> &Buffer {
        &self.staging
    }

    /// What was seen, in the order in which the hooks were set; `bytes` are those of the buffer.
    pub fn filled(self, bytes: &[u8]) -> Vec<Watched> {
        self.watched.into_iter().map(|place| place.filled(bytes)).collect()
    }
}

impl WatchedPlace {
    fn filled(self, bytes: &[u8]) -> Watched {
        let Self { start, mut watched } = self;
        let size = watched.columns.len() * watched.features * 4;
        watched.values = bytemuck::pod_collect_to_vec(&bytes[start as usize..][..size]);
        watched
    }
}

/// The buffer of what hooks see, while the step that has them is cut into slices.
pub(crate) fn watched_buffer(render_world: &World) -> Option<Buffer> {
    render_world.get_resource::<StepHooks>()?.staging.clone()
}

/// What hooks have seen in the first layers of a step; `bytes` are those of [`watched_buffer`].
pub(crate) fn seen_within(render_world: &World, layers: u32, bytes: &[u8]) -> Vec<Watched> {
    let hooks = render_world.get_resource::<StepHooks>();
    let places = hooks.into_iter().flat_map(|hooks| &hooks.watched);
    let is_there = |place: &&WatchedPlace| {
        let point = place.watched.point;
        !point.is_of_logits() && point.layer().is_none_or(|layer| layer < layers)
    };
    places.filter(is_there).map(|place| place.clone().filled(bytes)).collect()
}

/// Removes the hooks and gives what they have seen without waiting for it; `None` where nothing was
/// watched.
pub fn take_unread(render_world: &mut World) -> Option<Unread> {
    let StepHooks { watched, staging, .. } = render_world.remove_resource::<StepHooks>()?;
    Some(Unread { watched, staging: staging? })
}
