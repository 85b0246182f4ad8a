//! Records the dispatches of one forward step.

use bevy::{
    prelude::*,
    render::{
        render_resource::{ComputePassDescriptor, PipelineCache},
        renderer::{RenderContext, RenderDevice},
    },
};

use super::Network;
use super::build::Dispatch;
use crate::passes::kernels::{KernelError, Kernels};

/// Keys and values to copy between sequences before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// The sequence that has them.
    pub from: u32,
    /// The sequence that gets them.
    pub to: u32,
    /// How many positions, from 0.
    pub positions: u32,
}

/// What the next step is to do. The columns themselves are in the network's buffers.
#[derive(Resource, Debug, Clone, Default)]
pub struct Step {
    /// Copies to make first, once.
    pub copies: Vec<Copy>,
    /// Columns in the buffer.
    pub columns: u32,
    /// Rows of logits wanted.
    pub wanted: u32,
    /// Whether the greedy choice is made and fed back.
    pub choose: bool,
}

fn dispatch_all<'a>(
    context: &mut RenderContext,
    label: &'static str,
    (device, cache, kernels): (&RenderDevice, &PipelineCache, &Kernels),
    dispatches: impl Iterator<Item = &'a Dispatch>,
    columns: u32,
) -> Result<(), KernelError> {
    if columns == 0 {
        return Ok(());
    }
    let descriptor = ComputePassDescriptor { label: Some(label), timestamp_writes: None };
    let mut pass = context.command_encoder().begin_compute_pass(&descriptor);
    for dispatch in dispatches {
        let workgroups = [dispatch.workgroups, columns, 1];
        kernels.get(dispatch.kernel).dispatch(&mut pass, device, cache, &dispatch.group, workgroups)?;
    }
    Ok(())
}

pub(super) fn record_start(
    mut context: RenderContext,
    mut step: ResMut<Step>,
    network: Res<Network>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) -> Result {
    let row = u64::from(network.config.kv_size()) * 4;
    let slot = row * u64::from(network.sizes.context);
    for copy in std::mem::take(&mut step.copies) {
        let size = row * u64::from(copy.positions);
        let [from, to] = [copy.from, copy.to].map(|index| u64::from(index) * slot);
        if size == 0 || from == to {
            continue;
        }
        // A copy within one buffer has to go by way of another.
        let encoder = context.command_encoder();
        for buffer in network.buffers.cache.iter().flatten() {
            encoder.copy_buffer_to_buffer(buffer, from, &network.buffers.passing, 0, size);
            encoder.copy_buffer_to_buffer(&network.buffers.passing, 0, buffer, to, size);
        }
    }
    let dispatches = std::iter::once(&network.embed);
    dispatch_all(&mut context, "passes:embed", (&device, &cache, &kernels), dispatches, step.columns)?;
    Ok(())
}

pub(super) fn record_layers(
    mut context: RenderContext,
    step: Res<Step>,
    network: Res<Network>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) -> Result {
    let dispatches = network.layers.iter().flatten();
    dispatch_all(&mut context, "passes:layers", (&device, &cache, &kernels), dispatches, step.columns)?;
    Ok(())
}

pub(super) fn record_head(
    mut context: RenderContext,
    step: Res<Step>,
    network: Res<Network>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) -> Result {
    let dispatches = std::iter::once(&network.logits);
    dispatch_all(&mut context, "passes:logits", (&device, &cache, &kernels), dispatches, step.wanted)?;
    Ok(())
}

pub(super) fn record_choice(
    mut context: RenderContext,
    step: Res<Step>,
    network: Res<Network>,
    device: Res<RenderDevice>,
    cache: Res<PipelineCache>,
    kernels: Res<Kernels>,
) -> Result {
    let columns = if step.choose { step.wanted } else { 0 };
    let dispatches = std::iter::once(&network.choose);
    dispatch_all(&mut context, "passes:choose", (&device, &cache, &kernels), dispatches, columns)?;
    Ok(())
}
