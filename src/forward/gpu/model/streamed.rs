//! Records and submits a step of a model whose tiles are streamed: the same dispatches in the same
//! order, with copies before those that read them.

use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use bevy::render::render_resource::{CommandEncoder, CommandEncoderDescriptor};
use bevy::render::renderer::RenderQueue;

use super::build::KernelStage;
use super::record::{Recorder, Step, record_copies};
use crate::forward::gpu::kernels::KernelError;
use crate::residency::compute::{Pool, PoolError};

/// What went wrong while a step was streamed: nothing that it made counts.
#[derive(Resource, Debug, Default)]
pub struct StreamFailure(pub Option<PoolError>);

#[derive(SystemParam)]
pub(super) struct Streamer<'w> {
    recorder: Recorder<'w>,
    queue: Res<'w, RenderQueue>,
    failure: ResMut<'w, StreamFailure>,
}

/// A whole step: streamed layers need submissions between them, so that buffers come back to be
/// filled again.
pub(super) fn stream_step(
    mut streamer: Streamer,
    mut pool: ResMut<Pool>,
    mut step: ResMut<Step>,
) -> Result {
    if let Err(error) = streamer.run(&mut pool, &mut step) {
        match error {
            StepError::Pool(error) => streamer.failure.0 = Some(error),
            StepError::Kernel(error) => return Err(error.into()),
        }
    }
    Ok(())
}

enum StepError {
    Pool(PoolError),
    Kernel(KernelError),
}

impl From<PoolError> for StepError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<KernelError> for StepError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl Streamer<'_> {
    fn run(&self, pool: &mut Pool, step: &mut Step) -> Result<(), StepError> {
        let (network, device) = (&self.recorder.network, &self.recorder.device);
        // The queue's writes come before all that is submitted next, and so before `embed`.
        pool.bring_rows(&self.queue, &step.tokens)?;
        let mut encoder = self.encoder();
        record_copies(network, &mut encoder, step);
        self.stage(&mut encoder, "forward:embed", step, 0, &network.embed, step.columns)?;

        let pieces = network.output_pieces.iter().chain([&network.logits]);
        let layers = network.layer_stages(step.adapted).iter();
        let layers = layers.map(|stage| ("forward:layers", stage, step.columns));
        let output = pieces.map(|stage| ("forward:logits", stage, step.wanted));
        // A layer without columns and an output that nobody wants are not brought.
        let count = |stages: usize, columns: u32| if columns > 0 { stages } else { 0 };
        let layer_count = count(network.layers.len(), step.columns);
        let last = layer_count + count(network.output_pieces.len() + 1, step.wanted);
        if layer_count > 0 {
            // To see what a kernel takes, any tiles will do: those that are there.
            let streams = step.only.is_none();
            let mut pass = if streams { Some(pool.begin(step.wanted > 0)?) } else { None };
            for (unit, (label, stage, columns)) in layers.chain(output).take(last).enumerate() {
                if let Some(pass) = &mut pass {
                    pass.have(unit, device, &mut encoder)?;
                    pass.go_ahead(unit, last, &mut encoder)?;
                }
                let layer = if unit < layer_count { unit as u32 } else { 0 };
                self.stage(&mut encoder, label, step, layer, stage, columns)?;
                // A staging buffer comes back only after a submission; units that stay use none.
                if let Some(pass) = pass.as_mut().filter(|pass| pass.has_copies()) {
                    self.queue.submit([std::mem::replace(&mut encoder, self.encoder()).finish()]);
                    pass.submitted(device);
                }
            }
        }
        if let Some(sample) = network.sampling(step) {
            self.stage(&mut encoder, "forward:sample", step, 0, sample, step.wanted)?;
        }
        self.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn encoder(&self) -> CommandEncoder {
        let descriptor = CommandEncoderDescriptor { label: Some("forward:streamed") };
        self.recorder.device.create_command_encoder(&descriptor)
    }

    fn stage(
        &self,
        encoder: &mut CommandEncoder,
        label: &'static str,
        step: &Step,
        layer: u32,
        stage: &KernelStage,
        columns: u32,
    ) -> Result<(), KernelError> {
        self.recorder.dispatch(encoder, label, step, [(layer, stage)].into_iter(), columns)
    }
}
