//! Records the dispatches of one forward step, or of a slice of it.

use std::ops::Range;

use bevy::{
    ecs::system::SystemParam,
    prelude::*,
    render::{
        render_resource::{CommandEncoder, ComputePassDescriptor, PipelineCache},
        renderer::{RenderContext, RenderDevice},
    },
};

use super::GpuModel;
use super::buffers::ROW_POSITIONS;
use super::build::KernelStage;
use super::hooks::{Effect, StepHooks};
use crate::forward::PrefixCopy;
use crate::forward::gpu::kernels::{KernelError, Kernels};

/// How the next tokens are sampled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SamplingMode {
    /// Nothing is sampled: logits are all that a step gives.
    #[default]
    None,
    /// By the chain of `forward::sampling`.
    Chain,
    /// The most probable ones.
    Greedy,
}

/// What the next step is to do. The columns themselves are in the network's buffers.
#[derive(Resource, Debug, Clone, Default)]
pub struct Step {
    /// Copies to make first, once.
    pub copies: Vec<PrefixCopy>,
    /// Columns in the buffer.
    pub columns: u32,
    /// Rows of logits wanted.
    pub wanted: u32,
    /// Whether and how the next tokens are sampled and fed back.
    pub sample: SamplingMode,
    /// The token of each column, which the streaming of a model's tiles goes by.
    pub tokens: Vec<u32>,
    /// Each layer kernel by kernel, though the model's are fused: where columns share a sequence, a
    /// later one reads keys that an earlier one writes in the same phase of a fused layer.
    pub kernel_by_kernel: bool,
    /// Whether adapters act on a column.
    pub adapted: bool,
    /// Only the dispatches of this kernel, to see what it takes.
    pub only: Option<&'static str>,
    /// The layers of this submission, where a window cuts a long step so that frames are drawn
    /// between its slices; `None` is all. The embedding goes with the first layer, the output with
    /// the end: a slice that ends behind the last layer, at their number plus one.
    pub slice: Option<Range<usize>>,
}

impl Step {
    /// Whether it has the dispatches of a kernel.
    pub(super) fn has(&self, kernel: &str) -> bool {
        self.only.is_none_or(|only| only == kernel)
    }

    /// Whether it has the copies and the embedding.
    fn begins(&self) -> bool {
        self.slice.as_ref().is_none_or(|slice| slice.start == 0)
    }

    /// Which of so many layers it has.
    fn layers(&self, count: usize) -> Range<usize> {
        self.slice.as_ref().map_or(0..count, |slice| slice.start.min(count)..slice.end.min(count))
    }

    /// Whether it has the output of so many layers.
    fn ends(&self, count: usize) -> bool {
        self.slice.as_ref().is_none_or(|slice| slice.end > count)
    }

    /// Whether its layers may be one dispatch each. Between their phases there is no place for a
    /// hook.
    pub(super) fn fuses(&self, hooks: Option<&StepHooks>) -> bool {
        !self.kernel_by_kernel && hooks.is_none_or(StepHooks::allow_fused_layers)
    }
}

#[derive(SystemParam)]
pub(super) struct Recorder<'w> {
    pub network: Res<'w, GpuModel>,
    pub device: Res<'w, RenderDevice>,
    cache: Res<'w, PipelineCache>,
    kernels: Res<'w, Kernels>,
    hooks: Option<Res<'w, StepHooks>>,
}

impl Recorder<'_> {
    /// Records the dispatches of some stages, each with the number of its layer.
    pub fn dispatch<'a>(
        &self,
        encoder: &mut CommandEncoder,
        label: &'static str,
        step: &Step,
        stages: impl Iterator<Item = (u32, &'a KernelStage)>,
        columns: u32,
    ) -> Result<(), KernelError> {
        if columns == 0 {
            return Ok(());
        }
        let descriptor = ComputePassDescriptor { label: Some(label), timestamp_writes: None };
        let fused = step.fuses(self.hooks.as_deref());
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for (layer, stage) in stages {
            pass.set_bind_group(0, &stage.group, &[]);
            for dispatch in self.network.plan(stage, columns, fused) {
                let (kernel, workgroups) = dispatch.plan(columns);
                if step.has(dispatch.name) {
                    self.kernels.get(kernel).dispatch(
                        &mut pass,
                        &self.device,
                        &self.cache,
                        workgroups,
                    )?;
                }
                let Some(hooks) = &self.hooks else { continue };
                for effect in hooks.after(dispatch.name, layer) {
                    match effect {
                        Effect::Change { kernel, group, workgroups } => {
                            pass.set_bind_group(0, group, &[]);
                            let kernel = self.kernels.get(*kernel);
                            kernel.dispatch(&mut pass, &self.device, &self.cache, *workgroups)?;
                        }
                        copy => {
                            // There are no copies within a compute pass.
                            drop(pass);
                            hooks.copy(encoder, copy);
                            pass = encoder.begin_compute_pass(&descriptor);
                        }
                    }
                    // A change has bound a group of its own, and a new pass has none.
                    pass.set_bind_group(0, &stage.group, &[]);
                }
            }
        }
        Ok(())
    }
}

/// Has those kernels of the next step compiled that are not yet.
pub(in crate::forward) fn compile_needed(world: &mut World) {
    let (Some(network), Some(step)) =
        (world.get_resource::<GpuModel>(), world.get_resource::<Step>())
    else {
        return;
    };
    let (kernels, cache) = (world.resource::<Kernels>(), world.resource::<PipelineCache>());
    let hooks = world.get_resource::<StepHooks>();
    let of_hooks = hooks.into_iter().flat_map(StepHooks::kernels);
    let is_new = kernels.queue(network.needed(step, step.fuses(hooks)).chain(of_hooks), cache);
    if is_new {
        // The cache does this once per frame, before there is a step.
        world.resource_mut::<PipelineCache>().process_queue();
    }
}

/// Copies keys and values between sequences.
pub(super) fn record_copies(network: &GpuModel, encoder: &mut CommandEncoder, step: &mut Step) {
    let slot = network.sizes.rows() / ROW_POSITIONS;
    for copy in std::mem::take(&mut step.copies) {
        // Positions past those that were asked for are written before they are read.
        let rows = copy.positions.div_ceil(ROW_POSITIONS);
        if rows == 0 || copy.from == copy.to {
            continue;
        }
        // A copy within one buffer or texture has to go by way of another.
        for quads in network.buffers.cache.iter().flatten() {
            quads.copy_to(encoder, copy.from * slot, rows, &network.buffers.passing);
            quads.copy_from(encoder, copy.to * slot, rows, &network.buffers.passing);
        }
    }
}

pub(super) fn record_start(
    mut context: RenderContext,
    recorder: Recorder,
    mut step: ResMut<Step>,
) -> Result {
    if !step.begins() {
        return Ok(());
    }
    let encoder = context.command_encoder();
    record_copies(&recorder.network, encoder, &mut step);
    let stages = [(0, &recorder.network.embed)];
    recorder.dispatch(encoder, "forward:embed", &step, stages.into_iter(), step.columns)?;
    Ok(())
}

pub(super) fn record_layers(
    mut context: RenderContext,
    recorder: Recorder,
    step: Res<Step>,
) -> Result {
    let layers = step.layers(recorder.network.layers.len());
    let stages = &recorder.network.layer_stages(step.adapted)[layers.clone()];
    let stages = (layers.start as u32..).zip(stages);
    recorder.dispatch(context.command_encoder(), "forward:layers", &step, stages, step.columns)?;
    Ok(())
}

pub(super) fn record_head(
    mut context: RenderContext,
    recorder: Recorder,
    step: Res<Step>,
) -> Result {
    if !step.ends(recorder.network.layers.len()) {
        return Ok(());
    }
    let stages = [(0, &recorder.network.logits)];
    recorder.dispatch(
        context.command_encoder(),
        "forward:logits",
        &step,
        stages.into_iter(),
        step.wanted,
    )?;
    Ok(())
}

pub(super) fn record_sampling(
    mut context: RenderContext,
    recorder: Recorder,
    step: Res<Step>,
) -> Result {
    if !step.ends(recorder.network.layers.len()) {
        return Ok(());
    }
    let stages = recorder.network.sampling(&step).map(|stage| (0, stage));
    recorder.dispatch(
        context.command_encoder(),
        "forward:sample",
        &step,
        stages.into_iter(),
        step.wanted,
    )?;
    Ok(())
}
