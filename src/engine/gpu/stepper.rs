//! The steps of a model on an adapter: submitted, polled, and computed again kernel by kernel where
//! the workgroups of a fused layer did not meet.
//!
//! In: a [`StepRequest`] in the render world that has the model. Out: a [`CompletedStep`]. A batch
//! waits for it; a window gives each frame a budget by [`Stepper::begin_frame`], and no poll waits
//! beyond that. A step that does not fit what is left of a frame is cut into slices of layers, of
//! which each frame has one at least.

use std::ops::Range;
use std::time::{Duration, Instant};

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::world::World;
use bevy::render::render_resource::Buffer;
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::draws::{sampling_mode, write_draws};
use super::fused_layer_policy::{Barriers, FusedLayerPolicy};
use super::slices::{LayerClock, LayerCount, LayerWay};
use crate::engine::{Batch, Column, EngineError, LogitsQuery};
use crate::forward::cpu;
use crate::forward::gpu::model::{
    GpuModel, Step, StreamFailure, Unread, seen_within, set_hooks, take_unread, watched_buffer,
};
use crate::forward::gpu::readback::PendingReadback;
use crate::forward::gpu::{ForwardState, run_forward};
use crate::forward::{AdapterSet, Hook, Watched};
use crate::residency::compute::Pool;

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
    /// From its submission until its values were there; of a step in slices, their sum.
    pub took: Duration,
}

/// How far a step in slices has come.
#[derive(Debug)]
pub(crate) struct StepFront {
    /// Layers that are computed.
    pub layers: u32,
    /// What the hooks have seen in them.
    pub watched: Vec<Watched>,
}

/// A step that is on the device, or between two slices of it.
#[derive(Debug)]
struct InFlightStep {
    request: StepRequest,
    fused: bool,
    count: LayerCount,
    /// The layers of the slice that was submitted last; the output is one more.
    slice: Range<usize>,
    /// What reads back what that slice makes, and when it was submitted.
    submitted: Option<(PendingReadback, Instant)>,
    /// What its hooks have seen, once the last slice is submitted.
    unread: Option<Unread>,
    front: Option<StepFront>,
    /// What the slices before took.
    took: Duration,
}

/// Takes the steps of a model, one after the other.
#[derive(Debug)]
pub(crate) struct Stepper {
    policy: FusedLayerPolicy,
    clock: LayerClock,
    /// When the frame that waits for it began, and how long it may wait. A batch has none, and as
    /// much time as it takes.
    frame: Option<(Instant, Duration)>,
    /// Whether this frame has submitted something.
    has_submitted: bool,
    in_flight: Option<InFlightStep>,
    /// What acts on a sequence where a batch does not say.
    pub usual: AdapterSet,
}

impl Stepper {
    /// A stepper with nothing on the device.
    pub fn new(policy: FusedLayerPolicy) -> Self {
        let (clock, usual) = (LayerClock::default(), AdapterSet::NONE);
        Self { policy, clock, frame: None, has_submitted: false, in_flight: None, usual }
    }

    /// From now on no poll waits longer than the rest of this budget.
    pub(crate) fn begin_frame(&mut self, start: Instant, budget: Duration) {
        self.frame = Some((start, budget));
        self.has_submitted = false;
    }

    /// What a frame may compute for.
    fn budget(&self) -> Duration {
        self.frame.map_or(Duration::MAX, |(_, budget)| budget)
    }

    /// What is left of the frame's budget.
    pub fn left(&self) -> Duration {
        self.frame.map_or(Duration::MAX, |(start, budget)| budget.saturating_sub(start.elapsed()))
    }

    /// Whether a step of one column, or a slice of it that is worth its submission, is expected to
    /// end within what is left of the frame.
    pub(crate) fn has_room(&self, model: &GpuModel) -> bool {
        let count = LayerCount::new(&model.config, true);
        [LayerWay::Fused, LayerWay::Single].into_iter().any(|way| {
            count.slice(&self.clock, (way, 1), 0, self.left(), false).is_some()
                && self.clock.expects(way, 1.0, 1).is_some()
        })
    }

    /// Submits a step and the reading of what it makes, or the first slice of it.
    ///
    /// # Errors
    /// The step does not fit the model, or a kernel or a tile is broken. With
    /// [`EngineError::Compiling`] it is to be submitted again after another frame.
    pub(crate) fn submit(
        &mut self,
        world: &mut World,
        request: &StepRequest,
    ) -> Result<(), EngineError> {
        check(world.resource::<GpuModel>(), request)?;
        set_slots(world, &request.batch, &self.usual);
        let model = world.resource::<GpuModel>();
        let (batch, left) = (&request.batch, self.left());
        let layers = if is_cut(world, self.frame) { 1.0 } else { f64::from(u32::MAX) };
        let expected = self.clock.expects(LayerWay::Fused, layers, 1);
        let fits = expected.is_none_or(|expected| expected <= left);
        let fused =
            !batch.shares_sequences() && self.policy.may_fuse(model, batch.columns.len(), fits);
        let mut step = InFlightStep::begin(world, request.clone(), fused)?;
        self.submit_slice(world, &mut step)?;
        self.in_flight = Some(step);
        Ok(())
    }

    /// Submits the next slice of a step, if it fits what is left of the frame.
    fn submit_slice(
        &mut self,
        world: &mut World,
        step: &mut InFlightStep,
    ) -> Result<(), EngineError> {
        let (from, end) = (step.slice.end, step.count.end());
        let to = if is_cut(world, self.frame) {
            let (way, is_first) = (step.way(), !self.has_submitted);
            step.count.slice(&self.clock, way, from, self.left(), is_first)
        } else {
            Some(end)
        };
        let Some(to) = to else { return Ok(()) };
        step.submit(world, from..to)?;
        self.has_submitted = true;
        Ok(())
    }

    /// What the step has made, if that is there before the frame's budget is spent. Without a frame
    /// it is waited for. Of a step in slices, those that fit the frame are submitted.
    ///
    /// # Errors
    /// The device was lost, or the step failed as it was submitted again; it is dropped then.
    pub(crate) fn poll(&mut self, world: &mut World) -> Result<Option<CompletedStep>, EngineError> {
        while let Some(mut step) = self.in_flight.take() {
            if step.submitted.is_none() {
                self.submit_slice(world, &mut step)?;
            }
            let Some((readback, since)) = &step.submitted else {
                self.in_flight = Some(step);
                break;
            };
            let time = self.frame.map(|_| self.left());
            let device = world.resource::<RenderDevice>();
            let Some(parts) = readback.poll(device, time).map_err(lost)? else {
                self.in_flight = Some(step);
                break;
            };
            let took = since.elapsed();
            step.took += took;
            step.submitted = None;
            if step.fused && !self.met(world, took, &parts) {
                // Nothing that was computed counts, but everything that it began with is there
                // still.
                let mut again = InFlightStep::begin(world, step.request, false)?;
                self.submit_slice(world, &mut again)?;
                self.in_flight = Some(again);
                continue;
            }
            let layers = step.count.counted(step.slice.start, step.slice.end);
            let (way, columns) = step.way();
            self.clock.learn(way, layers, columns, took);
            if !is_cut(world, self.frame) && took > self.budget() {
                // Or one slow step would rule out all later ones: what is left of a frame is never
                // more than its budget.
                self.clock.forget(way);
            }
            if step.slice.end == step.count.end() {
                return Ok(Some(step.complete(world.resource::<GpuModel>(), &parts)));
            }
            let layers = step.slice.end as u32;
            let bytes = parts.last().map_or(&[][..], Vec::as_slice);
            step.front = Some(StepFront { layers, watched: seen_within(world, layers, bytes) });
            self.in_flight = Some(step);
        }
        Ok(None)
    }

    /// How far the step has come, where it is cut into slices and one of them is done.
    pub(crate) fn front(&self) -> Option<&StepFront> {
        self.in_flight.as_ref()?.front.as_ref()
    }

    /// Gives up the step, of which slices may be done: nothing comes of it.
    pub(crate) fn give_up(&mut self, world: &mut World) {
        if self.in_flight.take().is_some() {
            // Its hooks are there until the last slice.
            take_unread(world);
        }
    }

    /// Whether the workgroups of a fused step met at each of its barriers.
    fn met(&mut self, world: &mut World, took: Duration, parts: &[Vec<u8>]) -> bool {
        // `read_back` puts the barriers first.
        let barriers = Barriers::from(bytemuck::pod_read_unaligned::<u32>(&parts[0]));
        if !self.policy.ended(barriers, took, self.budget()) {
            bevy::log::debug!("{barriers:?}: no more fused layers");
            set_fused_layers(world, false);
        }
        barriers.failed == 0
    }
}

/// Whether steps are cut into slices: in the frames of a window, unless layers are streamed, which
/// come in an order of their own.
fn is_cut(world: &World, frame: Option<(Instant, Duration)>) -> bool {
    frame.is_some() && !world.contains_resource::<Pool>()
}

impl InFlightStep {
    /// Brings to the device what a step begins with. Nothing of it is submitted yet.
    fn begin(world: &mut World, request: StepRequest, fused: bool) -> Result<Self, EngineError> {
        watch(world, &request)?;
        write_columns(world, &request.batch.columns, &request.wanted);
        let (model, queue) = (world.resource::<GpuModel>(), world.resource::<RenderQueue>());
        write_draws(model, queue, request.draws());
        if fused {
            // Kernels only add to this word: what an earlier step left would count for this one.
            queue.write_buffer(&model.buffers.barriers, 0, &[0; 4]);
        }
        let count = LayerCount::new(&model.config, !request.wanted.is_empty());
        let (submitted, unread, front) = (None, None, None);
        let took = Duration::ZERO;
        Ok(Self { request, fused, count, slice: 0..0, submitted, unread, front, took })
    }

    /// How its layers are computed, and of how many columns.
    fn way(&self) -> (LayerWay, usize) {
        let columns = self.request.batch.columns.len();
        (LayerWay::of(self.fused, columns), columns)
    }

    /// Submits some layers, and the reading of what they make.
    fn submit(&mut self, world: &mut World, slice: Range<usize>) -> Result<(), EngineError> {
        // A software adapter computes while a step is submitted, and nothing is left to wait for.
        let since = Instant::now();
        let Batch { copies, columns, .. } = &self.request.batch;
        let is_last = slice.end == self.count.end();
        let step = Step {
            copies: copies.clone(),
            columns: columns.len() as u32,
            wanted: self.request.wanted.len() as u32,
            sample: sampling_mode(self.request.draws()),
            tokens: columns.iter().map(|column| column.token).collect(),
            kernel_by_kernel: !self.fused,
            adapted: is_adapted(world.resource::<GpuModel>(), columns),
            only: None,
            slice: (slice.start > 0 || !is_last).then(|| slice.clone()),
        };
        let submitted = run(world, step, self.request.passes());
        if submitted.is_err() || is_last {
            // Taken even where the step failed, so that the next one has no hooks.
            self.unread = take_unread(world);
        }
        submitted?;
        let readback = if is_last {
            let watched = self.unread.as_ref().map(Unread::buffer);
            read_back(world, Some(&self.request), watched)
        } else {
            read_back(world, None, watched_buffer(world).as_ref())
        };
        (self.slice, self.submitted) = (slice, Some((readback, since)));
        Ok(())
    }

    fn complete(self, model: &GpuModel, parts: &[Vec<u8>]) -> CompletedStep {
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
        CompletedStep { logits, sampled, watched, took: self.took }
    }
}

/// Computes layers in one dispatch each from now on, where the model has such, or not.
pub(super) fn set_fused_layers(world: &mut World, fused: bool) {
    let mut model = world.resource_mut::<GpuModel>();
    // What watches for changes of the model means another one, on another device.
    let model = model.bypass_change_detection();
    model.fused_layers = fused && model.has_fused_layers();
}

/// Gives slots the adapters that a batch says; those of a slot that is copied come with it.
fn set_slots(world: &mut World, batch: &Batch, usual: &AdapterSet) {
    let queue = world.resource::<RenderQueue>().clone();
    let mut model = world.resource_mut::<GpuModel>();
    // What watches for changes of the model means another one, on another device.
    let model = model.bypass_change_detection();
    for copy in &batch.copies {
        let set = model.slot_adapters(copy.from).clone();
        model.set_slot(&queue, copy.to, &set);
    }
    for (slot, set) in &batch.adapters {
        model.set_slot(&queue, *slot, set.as_ref().unwrap_or(usual));
    }
}

/// Whether adapters act on one of the columns.
pub(super) fn is_adapted(model: &GpuModel, columns: &[Column]) -> bool {
    columns.iter().any(|column| !model.slot_adapters(column.slot).is_empty())
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
        [column.token, column.position, column.slot * model.sizes.rows(), column.slot]
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

/// Submits the reading of the barriers, of what a step is for where this was the end of it, and of
/// what hooks have seen.
fn read_back(
    world: &World,
    request: Option<&StepRequest>,
    watched: Option<&Buffer>,
) -> PendingReadback {
    let model = world.resource::<GpuModel>();
    let mut parts: Vec<(&Buffer, u64)> = vec![(&model.buffers.barriers, 4)];
    if let Some(request) = request {
        let (result, words) = if request.draws {
            (&model.buffers.sampling.sampled, model.sizes.steps as usize + 1)
        } else {
            (&model.buffers.logits, model.logits_stride())
        };
        parts.push((result, (request.wanted.len() * words * 4) as u64));
    }
    parts.extend(watched.map(|buffer| (buffer, buffer.size())));
    let (device, queue) = (world.resource::<RenderDevice>(), world.resource::<RenderQueue>());
    PendingReadback::submit(device, queue, &parts)
}

/// The device is gone.
pub(super) fn lost(error: impl std::error::Error) -> EngineError {
    EngineError::DeviceLost(error.to_string())
}
