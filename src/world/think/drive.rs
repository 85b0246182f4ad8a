//! The steps of a frame in the render world: as many as its budget holds, and none is ever waited
//! for beyond it.
//!
//! A step that is not done when the budget is spent goes on while the frame is drawn, and the next
//! frame takes in what came of it.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy::render::renderer::{PendingCommandBuffers, RenderDevice, RenderQueue};

use super::Link;
use super::fused_layer_policy::FusedLayerPolicy;
use super::session::StepRequest;
use super::trace::Seen;
use crate::forward::cpu::Column;
use crate::forward::gpu::model::{
    GpuModel, NO_LOGITS, Step, StreamFailure, Unread, set_hooks, take_unread,
};
use crate::forward::gpu::readback::Later;
use crate::forward::gpu::{Forward, ForwardState, ForwardStatus};

/// The step that is on the device.
#[derive(Resource, Default)]
pub(super) struct UnderWay(Option<InFlightStep>);

struct InFlightStep {
    order: StepRequest,
    unread: Unread,
    later: Later,
    since: Instant,
    /// Whether a crew computes its layers.
    crew: bool,
}

/// Takes steps until the frame's budget is spent.
pub(super) fn drive(world: &mut World) {
    let ready = world.contains_resource::<GpuModel>()
        && world.resource::<ForwardStatus>().state == ForwardState::Ready;
    if !ready {
        return;
    }
    let start = Instant::now();
    take_steps(world, start);
    world.resource::<Link>().with(|session| session.spent = start.elapsed());
}

fn take_steps(world: &mut World, start: Instant) {
    let link = world.resource::<Link>().clone();
    let device = world.resource::<RenderDevice>().clone();
    let budget = link.with(|session| session.budget);
    let left = || budget.saturating_sub(start.elapsed());
    // What the step before took, of those that were begun in this frame.
    let mut before: Option<Duration> = None;
    let mut begun = false;
    loop {
        if let Some(flying) = world.resource_mut::<UnderWay>().0.take() {
            match flying.later.within(&device, left()) {
                Ok(None) => {
                    world.resource_mut::<UnderWay>().0 = Some(flying);
                    return;
                }
                Ok(Some(parts)) => {
                    before = begun.then(|| flying.since.elapsed());
                    if let Some(order) = complete(world, &link, flying, &parts, budget) {
                        begin(world, &link, order, false);
                        continue;
                    }
                }
                Err(error) => link.with(|session| session.fail(&flying.order, error.to_string())),
            }
        }
        // One step is begun in every frame, so that the device has one while the frame is drawn;
        // another one only if it will end before that, since what is drawn waits for it.
        if begun && before.is_none_or(|before| left() < before) {
            return;
        }
        let Some(order) = link.with(|session| session.order()) else { return };
        begun = true;
        let may = world.resource::<GpuModel>().has_fused_layers() && order.tokens.len() == 1;
        let crew = may && world.resource_mut::<FusedLayerPolicy>().may_begin(left());
        begin(world, &link, order, crew);
    }
}

/// Begins a step, or tells why that cannot be.
fn begin(world: &mut World, link: &Link, order: StepRequest, crew: bool) {
    match submit(world, &order, crew) {
        Ok((unread, later)) => {
            let since = Instant::now();
            world.resource_mut::<UnderWay>().0 =
                Some(InFlightStep { order, unread, later, since, crew });
        }
        Err(problem) => link.with(|session| session.fail(&order, problem)),
    }
}

/// Submits a step and the reading of what it makes.
fn submit(world: &mut World, order: &StepRequest, crew: bool) -> Result<(Unread, Later), String> {
    // What watches for changes of the network means another one.
    world.resource_mut::<GpuModel>().bypass_change_detection().fused_layers = crew;
    let network = world.resource::<GpuModel>();
    let last = order.tokens.len() as u32 - 1;
    let position = order.first as u32;
    let columns: Vec<Column> = (position..)
        .zip(&order.tokens)
        .map(|(position, &token)| Column {
            token,
            slot: 0,
            position,
            wants_logits: order.logits && position == order.first as u32 + last,
        })
        .collect();
    let words: Vec<[u32; 4]> =
        columns.iter().map(|column| [column.token, column.position, 0, NO_LOGITS]).collect();
    let queue = world.resource::<RenderQueue>().clone();
    queue.write_buffer(&network.buffers.columns, 0, bytemuck::cast_slice(&words));
    queue.write_buffer(&network.buffers.wanted, 0, bytemuck::bytes_of(&last));
    if crew {
        queue.write_buffer(&network.buffers.barriers, 0, &[0; 4]);
    }
    let hooks = super::trace::hooks(&network.config, last + 1);
    set_hooks(world, &columns, &hooks).map_err(|error| error.to_string())?;
    world.insert_resource(Step {
        columns: last + 1,
        wanted: u32::from(order.logits),
        tokens: order.tokens.clone(),
        ..Step::default()
    });
    world.run_schedule(Forward);
    world.resource_mut::<GpuModel>().bypass_change_detection().fused_layers = false;
    let commands = world.resource_mut::<PendingCommandBuffers>().take();
    queue.submit(commands);
    if let Some(error) = world.resource_mut::<StreamFailure>().0.take() {
        return Err(error.to_string());
    }
    let unread = take_unread(world).ok_or("the step was watched by nothing")?;
    let network = world.resource::<GpuModel>();
    let logits = if order.logits { (network.logits_stride() * 4) as u64 } else { 0 };
    let parts = [
        (unread.buffer(), unread.buffer().size()),
        (&network.buffers.barriers, 4),
        (&network.buffers.logits, logits),
    ];
    let later = Later::new(world.resource::<RenderDevice>(), &queue, &parts);
    Ok((unread, later))
}

/// Takes in what came of a step; gives it back where it is to be taken again.
fn complete(
    world: &mut World,
    link: &Link,
    flying: InFlightStep,
    parts: &[Vec<u8>],
    budget: Duration,
) -> Option<StepRequest> {
    let InFlightStep { order, unread, since, crew, .. } = flying;
    let took = since.elapsed();
    let mut crews = world.resource_mut::<FusedLayerPolicy>();
    if crew {
        let failed = bytemuck::pod_read_unaligned::<u32>(&parts[1]) & 0xFFFF;
        if failed > 0 {
            // Nothing that was computed counts, but everything that it began with is there still.
            crews.failed();
            return Some(order);
        }
        crews.done(took, budget);
    }
    let network = world.resource::<GpuModel>();
    let watched = unread.filled(&parts[0]);
    let seen = (0..order.tokens.len())
        .map(|column| Seen::of_column(&watched, column, &network.config))
        .collect();
    let mut logits: Vec<f32> = bytemuck::pod_collect_to_vec(&parts[2]);
    logits.truncate(network.config.vocab_size as usize);
    link.with(|session| session.accept(&order, seen, &logits, took));
    None
}
