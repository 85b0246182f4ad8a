//! Hooks of the forward pass on the GPU: values that a step's dispatches make are copied out, or
//! changed before what follows reads them.
//!
//! In: [`Hook`]s for the columns of the next step, by [`set_hooks`]. Out: [`Watched`] values, by
//! [`take_watched`]. A step without hooks is recorded as if there were none to be had. The places
//! are those that have a buffer: kernels are fused, so that a norm's factor is folded into the
//! product behind it, and gate and up are never written.

mod prepare;

use std::ops::Range;

use bevy::{
    prelude::*,
    render::{
        render_resource::{BindGroup, Buffer, CommandEncoder, PipelineCache},
        renderer::RenderDevice,
    },
};

use super::{GpuModel, Quads};
use crate::forward::HookPoint;
use crate::forward::cpu::Column;
use crate::forward::gpu::kernels::{KernelId, Kernels, fused_layer};
use crate::forward::gpu::shaders::Shaders;

/// Why a hook cannot be set on the GPU.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// No buffer ever holds these values.
    #[error(
        "{point}: the fused GPU kernels never write it; hooks can be at embedding, query, key, value, head output, \
         hidden and residual of a layer, and logits; for other places use --device cpu"
    )]
    NotOnGpu {
        /// The place that was asked for.
        point: HookPoint,
    },
    /// A layer that the model does not have.
    #[error("{point}: the model has {layers} layers, counted from 0")]
    Layer {
        /// The place that was asked for.
        point: HookPoint,
        /// Layers of the model.
        layers: u32,
    },
    /// Columns that the step does not have.
    #[error("{point}: columns {} to {} (not included), but the step has {available} there", columns.start, columns.end)]
    Columns {
        /// The place.
        point: HookPoint,
        /// The columns that were asked for.
        columns: Range<u32>,
        /// Columns of the step; those that want logits, at the logits.
        available: u32,
    },
    /// A column whose keys and values have no place in the cache.
    #[error(
        "{point}: position {position} of slot {slot} is outside of the cache's {slots} x {context}"
    )]
    Cache {
        /// The place.
        point: HookPoint,
        /// The column's sequence.
        slot: u32,
        /// Its position there.
        position: u32,
        /// Sequences of the cache.
        slots: u32,
        /// Positions of each.
        context: u32,
    },
    /// Too few or too many values to replace or to add.
    #[error("{point}: {found} values for {columns} columns of {features}")]
    Values {
        /// The place.
        point: HookPoint,
        /// How many were given.
        found: usize,
        /// Columns to change.
        columns: u32,
        /// Values of each.
        features: u32,
    },
    /// The best logits are known when logits are, and a token is drawn from both.
    #[error("logits can be watched on the GPU but not changed; a request's biases change them")]
    ChangedLogits,
    /// More is watched than a buffer of the device holds.
    #[error("{size} bytes are watched in one step; a buffer of the device holds {most}")]
    TooMuch {
        /// Bytes of all watched values.
        size: u64,
        /// Bytes of the device's largest buffer.
        most: u64,
    },
}

/// What a hook does with the values at its place.
#[derive(Debug, Clone, PartialEq)]
pub enum HookAction {
    /// Copies them, as they are after the hooks before it.
    Watch,
    /// Puts others in their place: one per feature, column by column.
    Replace(Vec<f32>),
    /// Multiplies them.
    Scale(f32),
    /// Adds to them: one per feature, column by column.
    Add(Vec<f32>),
}

/// Watches or changes the values of some columns at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The place. On the GPU [`HookPoint::HeadOutput`] is what each head gives *after* its factor;
    /// on the CPU it is before it.
    pub point: HookPoint,
    /// Columns of the step; at [`HookPoint::Logits`], rows of logits.
    pub columns: Range<u32>,
    /// What to do.
    pub action: HookAction,
}

impl Hook {
    /// A hook that copies.
    pub fn watch(point: HookPoint, columns: Range<u32>) -> Self {
        Self { point, columns, action: HookAction::Watch }
    }
}

/// Values that a hook has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// The place.
    pub point: HookPoint,
    /// The columns.
    pub columns: Vec<Column>,
    /// Values per column.
    pub features: usize,
    /// `values[column * features + feature]`.
    pub values: Vec<f32>,
}

impl Watched {
    /// The values of a column, by its index in [`Watched::columns`].
    pub fn column(&self, index: usize) -> &[f32] {
        &self.values[index * self.features..][..self.features]
    }
}

/// The hooks of the steps that are recorded while it is there.
#[derive(Resource, Debug)]
pub(super) struct StepHooks {
    placed: Vec<Placed>,
    watched: Vec<Watched>,
    /// Whether something is to be done between the kernels of a layer, and not only at its end.
    within_layers: bool,
    /// What is watched, one after the other. Not mapped itself: reading back copies it once more,
    /// which is little beside a step.
    staging: Option<Buffer>,
}

#[derive(Debug)]
struct Placed {
    /// The kernel that makes the values, and in which layer.
    after: (&'static str, u32),
    effect: Effect,
}

/// What is recorded for a hook.
#[derive(Debug)]
pub(super) enum Effect {
    /// Runs of bytes to copy: from, to, size.
    Copy { from: Buffer, runs: Vec<[u64; 3]> },
    /// Runs of quads to copy, whatever holds them: the quads, the first, how many, to which byte.
    CopyQuads(Vec<(Quads, [u64; 3])>),
    /// Quads to a buffer in which the effects that follow find them, or back.
    Mirror { quads: Quads, buffer: Buffer, back: bool },
    /// A dispatch.
    Change { kernel: KernelId, group: BindGroup, workgroups: [u32; 3] },
}

/// The last kernel of a layer.
const LAST: &str = "down";

impl StepHooks {
    fn new(placed: Vec<Placed>, watched: Vec<Watched>, staging: Option<Buffer>) -> Self {
        let copies = |effect: &Effect| matches!(effect, Effect::Copy { .. } | Effect::CopyQuads(_));
        let ends = ["embed", LAST, "logits"];
        let within_layers =
            placed.iter().any(|placed| !ends.contains(&placed.after.0) || !copies(&placed.effect));
        Self { placed, watched, within_layers, staging }
    }

    /// Whether a layer may be one dispatch.
    pub fn allow_fused_layers(&self) -> bool {
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
        let here = move |placed: &&Placed| placed.after.1 == layer && placed.after.0 == kernel;
        self.placed.iter().filter(here).map(|placed| &placed.effect)
    }

    /// Records copies.
    pub fn copy(&self, encoder: &mut CommandEncoder, effect: &Effect) {
        match effect {
            Effect::Change { .. } => {}
            Effect::CopyQuads(runs) => {
                let staging =
                    self.staging.as_ref().expect("whatever is copied was given a place there");
                for (quads, [first, count, target]) in runs {
                    quads.copy_some(encoder, *first, *count, staging, *target);
                }
            }
            Effect::Mirror { quads, buffer, back } => quads.copy_all(encoder, buffer, *back),
            Effect::Copy { from, runs } => {
                let staging =
                    self.staging.as_ref().expect("whatever is copied was given a place there");
                for &[source, target, size] in runs {
                    encoder.copy_buffer_to_buffer(from, source, staging, target, size);
                }
            }
        }
    }
}

/// Sets the hooks of the next step, which has these columns, in the order in which they act where
/// their places are the same. They stay until [`take_unread`]. In a step that repeats, every pass
/// acts on the columns of the first.
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
    let hooks = with_builder(render_world, columns, |builder| builder.build(hooks))?;
    render_world.insert_resource(hooks);
    Ok(())
}

/// What hooks have seen, or will have once the device is there: the values are in a buffer still.
#[derive(Debug)]
pub struct Unread {
    watched: Vec<Watched>,
    staging: Buffer,
}

impl Unread {
    /// The buffer that holds the values.
    pub fn buffer(&self) -> &Buffer {
        &self.staging
    }

    /// What was seen, in the order in which the hooks were set; `bytes` are those of the buffer.
    pub fn filled(mut self, bytes: &[u8]) -> Vec<Watched> {
        let mut at = 0;
        for seen in &mut self.watched {
            let size = seen.columns.len() * seen.features * 4;
            seen.values = bytemuck::pod_collect_to_vec(&bytes[at..at + size]);
            at += size;
        }
        self.watched
    }
}

/// Removes the hooks and gives what they have seen without waiting for it.
pub fn take_unread(render_world: &mut World) -> Option<Unread> {
    let StepHooks { watched, staging, .. } = render_world.remove_resource::<StepHooks>()?;
    Some(Unread { watched, staging: staging? })
}

/// Sets what [`set_hooks`] would with a watch of every column at the embedding and at residual,
/// head output, query, hidden and key of every layer, in this order; but each layer is left only
/// once for copies, after its last kernel.
///
/// # Errors
/// A place has no buffer, or the columns do not fit; then nothing is watched.
///
/// # Panics
/// As [`set_hooks`].
pub fn watch_layers(render_world: &mut World, columns: &[Column]) -> Result<(), HookError> {
    render_world.remove_resource::<StepHooks>();
    let hooks = with_builder(render_world, columns, |builder| builder.build_layers())?;
    render_world.insert_resource(hooks);
    Ok(())
}

fn with_builder<R>(
    render_world: &mut World,
    columns: &[Column],
    build: impl FnOnce(prepare::Builder<'_>) -> R,
) -> R {
    render_world.resource_scope(|world, mut kernels: Mut<Kernels>| {
        build(prepare::Builder {
            network: world.resource::<GpuModel>(),
            device: world.resource::<RenderDevice>(),
            cache: world.resource::<PipelineCache>(),
            shaders: world.resource::<Shaders>(),
            kernels: &mut kernels,
            columns,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_buffer_is_told_with_those_that_have_one() {
        let error = HookError::NotOnGpu { point: HookPoint::Gate(3) }.to_string();
        for part in [
            "gate of layer 3",
            "embedding",
            "query",
            "key",
            "value",
            "head output",
            "hidden",
            "residual",
            "logits",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
