//! Records the dispatches of one forward step.

use bevy::{
    ecs::system::SystemParam,
    prelude::*,
    render::{
        render_resource::{CommandEncoder, ComputePassDescriptor, PipelineCache},
        renderer::{RenderContext, RenderDevice},
    },
};

use super::Network;
use super::build::Stage;
use super::hooks::{Effect, StepHooks};
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

/// How the next tokens are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Not at all.
    #[default]
    None,
    /// By the chain of `tokens::sampling`.
    Chain,
    /// The most probable ones.
    Greedy,
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
    /// Whether and how the next tokens are chosen and fed back.
    pub choose: Choice,
    /// The token of each column, which the streaming of a model's tiles goes by.
    pub tokens: Vec<u32>,
    /// Only the dispatches of this kernel, to see what it takes.
    pub only: Option<&'static str>,
}

impl Step {
    fn has(&self, kernel: &str) -> bool {
        self.only.is_none_or(|only| only == kernel)
    }
}

/// What recording needs.
#[derive(SystemParam)]
pub(super) struct Recorder<'w> {
    pub network: Res<'w, Network>,
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
        stages: impl Iterator<Item = (u32, &'a Stage)>,
        columns: u32,
    ) -> Result<(), KernelError> {
        if columns == 0 {
            return Ok(());
        }
        let descriptor = ComputePassDescriptor { label: Some(label), timestamp_writes: None };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for (layer, stage) in stages {
            pass.set_bind_group(0, &stage.group, &[]);
            let dispatches = match &self.hooks {
                // Between the phases of a whole layer in one dispatch there is no place for a hook.
                Some(_) => &stage.dispatches,
                None => self.network.plan(stage, columns),
            };
            for dispatch in dispatches {
                let (kernel, workgroups) = dispatch.plan(columns);
                if step.has(dispatch.name) {
                    self.kernels.get(kernel).dispatch(&mut pass, &self.device, &self.cache, workgroups)?;
                }
                let Some(hooks) = &self.hooks else { continue };
                for effect in hooks.after(dispatch.name, layer) {
                    match effect {
                        Effect::Change { kernel, group, workgroups } => {
                            pass.set_bind_group(0, group, &[]);
                            let kernel = self.kernels.get(*kernel);
                            kernel.dispatch(&mut pass, &self.device, &self.cache, *workgroups)?;
                        }
                        Effect::Copy { from, runs } => {
                            // There are no copies within a compute pass.
                            drop(pass);
                            hooks.copy(encoder, from, runs);
                            pass = encoder.begin_compute_pass(&descriptor);
                        }
                    }
                    pass.set_bind_group(0, &stage.group, &[]);
                }
            }
        }
        Ok(())
    }
}

/// Copies keys and values between sequences.
pub(super) fn record_copies(network: &Network, encoder: &mut CommandEncoder, step: &mut Step) {
    let row = u64::from(network.config.kv_size()) * 4;
    let slot = row * u64::from(network.sizes.context);
    for copy in std::mem::take(&mut step.copies) {
        let size = row * u64::from(copy.positions);
        let [from, to] = [copy.from, copy.to].map(|index| u64::from(index) * slot);
        if size == 0 || from == to {
            continue;
        }
        // A copy within one buffer has to go by way of another.
        for buffer in network.buffers.cache.iter().flatten() {
            encoder.copy_buffer_to_buffer(buffer, from, &network.buffers.passing, 0, size);
            encoder.copy_buffer_to_buffer(&network.buffers.passing, 0, buffer, to, size);
        }
    }
}

pub(super) fn record_start(mut context: RenderContext, recorder: Recorder, mut step: ResMut<Step>) -> Result {
    let encoder = context.command_encoder();
    record_copies(&recorder.network, encoder, &mut step);
    let stages = [(0, &recorder.network.embed)];
    recorder.dispatch(encoder, "passes:embed", &step, stages.into_iter(), step.columns)?;
    Ok(())
}

pub(super) fn record_layers(mut context: RenderContext, recorder: Recorder, step: Res<Step>) -> Result {
    let stages = (0..).zip(&recorder.network.layers);
    recorder.dispatch(context.command_encoder(), "passes:layers", &step, stages, step.columns)?;
    Ok(())
}

pub(super) fn record_head(mut context: RenderContext, recorder: Recorder, step: Res<Step>) -> Result {
    let stages = [(0, &recorder.network.logits)];
    recorder.dispatch(context.command_encoder(), "passes:logits", &step, stages.into_iter(), step.wanted)?;
    Ok(())
}

pub(super) fn record_choice(mut context: RenderContext, recorder: Recorder, step: Res<Step>) -> Result {
    let index = match step.choose {
        Choice::None => return Ok(()),
        Choice::Chain => 0,
        Choice::Greedy => 1,
    };
    let stages = [(0, &recorder.network.choose[index])];
    recorder.dispatch(context.command_encoder(), "passes:choose", &step, stages.into_iter(), step.wanted)?;
    Ok(())
}
