//! The steps of a model on an adapter: submitted, polled, and computed again kernel by kernel where
//! the workgroups of a fused layer did not meet.
//!
//! In: a [`StepRequest`] in the render world that has the model. Out: a [`CompletedStep`]. A batch
//! waits for it; a window gives each frame a budget by [`Stepper::begin_frame`], and no poll waits
//! beyond that.

use std::time::{Duration, Instant};

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::world::World;
use bevy::render::render_resource::Buffer;
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::draws::{sampling_mode, write_draws};
use super::fused_layer_policy::{Barriers, FusedLayerPolicy};
use crate::engine::{Batch, Column, EngineError, LogitsQuery};
use crate::forward::cpu;
use crate::forward::gpu::model::{
    GpuModel, NO_LOGITS, Step, StreamFailure, Unread, set_hooks, take_unread,
};
use crate::forward::gpu::readback::PendingReadback;
use crate::forward::gpu::{ForwardState, run_forward};
use crate::forward::{Hook, Watched};

/// What a step is to compute.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepRequest {
    /// Copies and columns; draws and passes too where tokens are sampled on the device.
    pub batch: Batch,
    /// The columns whose logits are wanted.
    pub wanted: Vec<u32>,
    /// Whether the device draws from the logits, and they themselves are not read.
    pub draws: bool,
    /// What watches or changes values on their way.
    pub hooks: Vec<Hook>,
}

impl StepRequest {
    fn draws(&self) -> &[LogitsQuery] {
        if self.draws { &self.batch.asks } else { &[] }
    }

    /// Forward passes, each of which computes what the one before has sampled.
    fn passes(&self) -> u32 {
        if self.draws { self.batch.steps.max(1) } else { 1 }
    }
}

/// What a step has made.
#[derive(Debug)]
pub struct CompletedStep {
    /// A row for each column whose logits were wanted, unless tokens were sampled from them.
    pub logits: Vec<Vec<f32>>,
    /// What was sampled, as it lies on the device: for each row how many, and room for the most.
    pub sampled: Vec<u32>,
    /// What the hooks that watch have seen, in their order.
    pub watched: Vec<Watched>,
    /// From its submission until its values were there.
    pub took: Duration,
}

/// A step that is on the device.
#[derive(Debug)]
struct InFlightStep {
    request: StepRequest,
    readback: PendingReadback,
    unread: Option<Unread>,
    since: Instant,
    fused: bool,
}

/// Takes the steps of a model, one after the other.
#[derive(Debug)]
pub(crate) struct Stepper {
    policy: FusedLayerPolicy,
    /// When the frame that waits for it began, and how long it may wait. A batch has none, and as
    /// much time as it takes.
    frame: Option<(Instant, Duration)>,
    in_flight: Option<InFlightStep>,
}

impl Stepper {
    /// A stepper with nothing on the device.
    pub fn new(policy: FusedLayerPolicy) -> Self {
        Self { policy, frame: None, in_flight: None }
    }

    /// From now on no poll waits longer than the rest of this budget.
    pub(crate) fn begin_frame(&mut self, start: Instant, budget: Duration) {
        self.frame = Some((start, budget));
    }

    /// What is left of the frame's budget.
    pub fn left(&self) -> Duration {
        self.frame.map_or(Duration::MAX, |(start, budget)| budget.saturating_sub(start.elapsed()))
    }

    /// Submits a step and the reading of what it makes.
    ///
    /// # Errors
    /// The step does not fit the model, or a kernel or a tile is broken. With
    /// [`EngineError::Compiling`] it is to be submitted again after another frame.
    pub(crate) fn submit(
        &mut self,
        world: &mut World,
        request: &StepRequest,
    ) -> Result<(), EngineError> {
        let (left, model) = (self.left(), world.resource::<GpuModel>());
        check(model, request)?;
        let batch = &request.batch;
        let fused =
            !batch.shares_sequences() && self.policy.may_fuse(model, batch.columns.len(), left);
        self.in_flight = Some(submit(world, request, fused)?);
        Ok(())
    }

    /// What the step has made, if that is there before the frame's budget is spent. Without a frame
    /// it is waited for.
    ///
    /// # Errors
    /// The device was lost, or the step failed as it was submitted again; it is dropped then.
    pub(crate) fn poll(&mut self, world: &mut World) -> Result<Option<CompletedStep>, EngineError> {
        while let Some(step) = self.in_flight.take() {
            let time = self.frame.map(|_| self.left());
            let device = world.resource::<RenderDevice>();
            let Some(parts) = step.readback.poll(device, time).map_err(lost)? else {
                self.in_flight = Some(step);
                break;
            };
            if !step.fused || self.met(world, &step, &parts) {
                return Ok(Some(step.complete(world.resource::<GpuModel>(), &parts)));
            }
            // Nothing that was computed counts, but everything that it began with is there still.
            self.in_flight = Some(submit(world, &step.request, false)?);
        }
        Ok(None)
    }

    /// Whether the workgroups of a fused step met at each of its barriers.
    fn met(&mut self, world: &mut World, step: &InFlightStep, parts: &[Vec<u8>]) -> bool {
        // `read_back` puts the barriers first.
        let barriers = Barriers::from(bytemuck::pod_read_unaligned::<u32>(&parts[0]));
        let budget = self.frame.map_or(Duration::MAX, |(_, budget)| budget);
        if !self.policy.ended(barriers, step.since.elapsed(), budget) {
            bevy::log::debug!("{barriers:?}: no more fused layers");
            set_fused_layers(world, false);
        }
        barriers.failed == 0
    }
}

impl InFlightStep {
    fn complete(self, model: &GpuModel, parts: &[Vec<u8>]) -> CompletedStep {
        let took = self.since.elapsed();
        let watched = self.unread.map_or_else(Vec::new, |unread| unread.filled(&parts[2]));
        let (mut logits, mut sampled) = (Vec::new(), Vec::new());
        if !self.request.draws {
            let vocab = model.config.vocab_size as usize;
            let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&parts[1]);
            // Rows lie a multiple of 64 words apart; the padding is no logit.
            let rows = numbers.chunks_exact(model.logits_stride());
            logits = rows.map(|row| row[..vocab].to_vec()).collect();
        } else {
            sampled = bytemuck::pod_collect_to_vec(&parts[1]);
        }
        CompletedStep { logits, sampled, watched, took }
    }
}

/// Computes layers in one dispatch each from now on, where the model has such, or not.
pub(super) fn set_fused_layers(world: &mut World, fused: bool) {
    let mut model = world.resource_mut::<GpuModel>();
    // What watches for changes of the model means another one, on another device.
    let model = model.bypass_change_detection();
    model.fused_layers = fused && model.has_fused_layers();
}

fn check(model: &GpuModel, request: &StepRequest) -> Result<(), EngineError> {
    let (sizes, columns, passes) = (&model.sizes, &request.batch.columns, request.passes());
    // In 64 bits, where a position near `u32::MAX` does not wrap around and pass.
    let outside = columns.iter().any(|column| {
        column.slot >= sizes.slots
            || u64::from(column.position) + u64::from(passes) > u64::from(sizes.context)
            || column.token >= model.config.vocab_size
    });
    if columns.len() > sizes.columns as usize || outside || passes > sizes.steps {
        let what = format!("a batch of {} columns does not fit {sizes:?}", columns.len());
        return Err(EngineError::Other(what.into()));
    }
    Ok(())
}

fn submit(
    world: &mut World,
    request: &StepRequest,
    fused: bool,
) -> Result<InFlightStep, EngineError> {
    // A software adapter computes while a step is submitted, and nothing is left to wait for.
    let since = Instant::now();
    let Batch { copies, columns, .. } = &request.batch;
    watch(world, request)?;
    write_columns(world, columns, &request.wanted);
    let (model, queue) = (world.resource::<GpuModel>(), world.resource::<RenderQueue>());
    write_draws(model, queue, request.draws());
    if fused {
        // Kernels only add to this word: what an earlier step left would count for this one.
        queue.write_buffer(&model.buffers.barriers, 0, &[0; 4]);
    }
    let step = Step {
        copies: copies.clone(),
        columns: columns.len() as u32,
        wanted: request.wanted.len() as u32,
        sample: sampling_mode(request.draws()),
        tokens: columns.iter().map(|column| column.token).collect(),
        kernel_by_kernel: !fused,
        only: None,
    };
    let submitted = run(world, step, request.passes());
    // Taken even where the step failed, so that the next one has no hooks.
    let unread = take_unread(world);
    submitted?;
    let readback = read_back(world, request, unread.as_ref());
    let request = request.clone();
    Ok(InFlightStep { request, readback, unread, since, fused })
}

/// Sets the hooks of a step.
fn watch(world: &mut World, request: &StepRequest) -> Result<(), EngineError> {
    let column = |(index, column): (u32, &Column)| cpu::Column {
        token: column.token,
        slot: column.slot,
        position: column.position,
        wants_logits: request.wanted.contains(&index),
    };
    let columns: Vec<_> = (0..).zip(&request.batch.columns).map(column).collect();
    set_hooks(world, &columns, &request.hooks).map_err(|error| EngineError::Other(Box::new(error)))
}

/// Writes the columns of the next step, and which of them want logits.
pub(super) fn write_columns(world: &World, columns: &[Column], wanted: &[u32]) {
    let model = world.resource::<GpuModel>();
    let word = |column: &Column| {
        [column.token, column.position, column.slot * model.sizes.rows(), NO_LOGITS]
    };
    let columns: Vec<[u32; 4]> = columns.iter().map(word).collect();
    let queue = world.resource::<RenderQueue>();
    queue.write_buffer(&model.buffers.columns, 0, bytemuck::cast_slice(&columns));
    queue.write_buffer(&model.buffers.wanted, 0, bytemuck::cast_slice(wanted));
}

/// Submits the forward passes of a step.
pub(super) fn run(world: &mut World, step: Step, passes: u32) -> Result<(), EngineError> {
    world.insert_resource(step);
    match run_forward(world, passes) {
        ForwardState::Ready => {}
        ForwardState::Starting => return Err(EngineError::Compiling),
        ForwardState::Failed(why) => {
            let why = format!("the GPU kernels do not compile: {why}");
            return Err(EngineError::Other(why.into()));
        }
    }
    // Whether all tiles that the step needed have come, where they are streamed.
    let failure = world.resource_mut::<StreamFailure>().bypass_change_detection().0.take();
    failure.map_or(Ok(()), |error| Err(EngineError::Model(error.to_string())))
}

/// Submits the reading of the barriers, of what the step is for, and of what hooks have seen.
fn read_back(world: &World, request: &StepRequest, unread: Option<&Unread>) -> PendingReadback {
    let model = world.resource::<GpuModel>();
    let (result, words) = if request.draws {
        (&model.buffers.sampling.sampled, model.sizes.steps as usize + 1)
    } else {
        (&model.buffers.logits, model.logits_stride())
    };
    let size = (request.wanted.len() * words * 4) as u64;
    let mut parts: Vec<(&Buffer, u64)> = vec![(&model.buffers.barriers, 4), (result, size)];
    parts.extend(unread.map(|unread| (unread.buffer(), unread.buffer().size())));
    let (device, queue) = (world.resource::<RenderDevice>(), world.resource::<RenderQueue>());
    PendingReadback::submit(device, queue, &parts)
}

/// The device is gone.
pub(super) fn lost(error: impl std::error::Error) -> EngineError {
    EngineError::DeviceLost(error.to_string())
}
