//! The steps of a frame in the render world: as many as its budget holds, and none is ever waited
//! for beyond it.
//!
//! A step that is not done when the budget is spent goes on while the frame is drawn, and the next
//! frame takes in what came of it.

use std::time::{Duration, Instant};

use bevy::prelude::*;

use super::Link;
use super::session::Chunk;
use super::trace::SeenColumn;
use crate::engine::gpu::{CompletedStep, FusedLayerPolicy, Stepper};
use crate::forward::gpu::model::GpuModel;
use crate::forward::gpu::{ForwardState, ForwardStatus};

/// The step that is on the device.
#[derive(Resource)]
pub(super) struct UnderWay {
    stepper: Stepper,
    chunk: Option<Chunk>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { stepper: Stepper::new(FusedLayerPolicy::within_frame()), chunk: None }
    }
}

/// Takes steps until the frame's budget is spent.
pub(super) fn drive(world: &mut World) {
    let ready = world.contains_resource::<GpuModel>()
        && world.resource::<ForwardStatus>().state == ForwardState::Ready;
    if !ready {
        return;
    }
    let start = Instant::now();
    world.resource_scope(|world, mut under_way: Mut<UnderWay>| {
        under_way.take_steps(world, start);
    });
    world.resource::<Link>().with(|session| session.spent = start.elapsed());
}

impl UnderWay {
    fn take_steps(&mut self, world: &mut World, start: Instant) {
        let link = world.resource::<Link>().clone();
        self.stepper.begin_frame(start, link.with(|session| session.budget));
        // What the step before took, of those that were begun in this frame.
        let mut before: Option<Duration> = None;
        let mut begun = false;
        loop {
            if let Some(chunk) = self.chunk.take() {
                match self.stepper.poll(world) {
                    Ok(None) => {
                        self.chunk = Some(chunk);
                        return;
                    }
                    Ok(Some(step)) => {
                        before = begun.then_some(step.took);
                        accept(world, &link, &chunk, step);
                    }
                    Err(error) => link.with(|session| session.fail(&chunk, error.to_string())),
                }
            }
            // One step is begun in every frame, so that the device has one while the frame is
            // drawn; another one only if it will end before that, since what is drawn waits for it.
            if begun && before.is_none_or(|before| self.stepper.left() < before) {
                return;
            }
            let Some(chunk) = link.with(|session| session.next_chunk()) else { return };
            begun = true;
            let request = chunk.request(&world.resource::<GpuModel>().config);
            match self.stepper.submit(world, &request) {
                Ok(()) => self.chunk = Some(chunk),
                Err(error) => link.with(|session| session.fail(&chunk, error.to_string())),
            }
        }
    }
}

/// Takes in what came of a step.
fn accept(world: &World, link: &Link, chunk: &Chunk, step: CompletedStep) {
    let config = &world.resource::<GpuModel>().config;
    let seen = (0..chunk.tokens.len())
        .map(|column| SeenColumn::of_column(&step.watched, column, config))
        .collect();
    let logits = step.logits.first().map_or(&[][..], Vec::as_slice);
    link.with(|session| session.accept(chunk, seen, logits, step.took));
}
