//! The steps of a frame in the render world: as many as its budget holds, and none is ever waited
//! for beyond it.
//!
//! A step that is not done when the budget is spent goes on while the frame is drawn, and the next
//! frame takes in what came of it. One that takes longer than a frame may is cut into slices of
//! layers; after each it is told how far it has come.

use std::time::Instant;

use bevy::prelude::*;

use super::Link;
use super::session::{Chunk, Front};
use super::state::is_same;
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
        self.forget_what_is_old(world, &link);
        let mut begun = false;
        loop {
            if let Some(chunk) = self.chunk.take() {
                match self.stepper.poll(world) {
                    Ok(None) => {
                        self.tell_front(world, &link, &chunk);
                        self.chunk = Some(chunk);
                        return;
                    }
                    Ok(Some(step)) => accept(world, &link, &chunk, step),
                    Err(error) => link.with(|session| session.fail(&chunk, error.to_string())),
                }
            }
            // One step is begun in every frame, so that the device has one while the frame is
            // drawn; another one only if some of it will end before that, since what is drawn waits
            // for it.
            if begun && !self.stepper.has_room(world.resource::<GpuModel>()) {
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

    /// Gives up a step in slices of a sequence that is over, and begins it again where the model
    /// was changed between two of them: all layers of a step are computed with the same.
    fn forget_what_is_old(&mut self, world: &mut World, link: &Link) {
        if self.stepper.front().is_none() {
            return;
        }
        let Some(chunk) = &mut self.chunk else { return };
        let (generation, state) =
            link.with(|session| (session.generation(), session.state.clone()));
        if generation == chunk.generation && is_same(&state, &chunk.state) {
            return;
        }
        self.stepper.give_up(world);
        link.with(|session| session.front = None);
        if generation != chunk.generation {
            self.chunk = None;
            return;
        }
        chunk.state = state;
        let request = chunk.request(&world.resource::<GpuModel>().config);
        if let Err(error) = self.stepper.submit(world, &request) {
            link.with(|session| session.fail(chunk, error.to_string()));
            self.chunk = None;
        }
    }

    /// Tells how far a step in slices has come.
    fn tell_front(&self, world: &World, link: &Link, chunk: &Chunk) {
        let Some(front) = self.stepper.front() else { return };
        let config = &world.resource::<GpuModel>().config;
        let last = chunk.tokens.len() - 1;
        let is_new = |before: &Front| before.layers != front.layers;
        link.with(|session| {
            if session.front.as_ref().is_none_or(is_new) {
                session.front = Some(Front {
                    generation: chunk.generation,
                    place: chunk.first + last,
                    layers: front.layers,
                    seen: SeenColumn::of_column(&front.watched, last, config).into(),
                });
            }
        });
    }
}

/// Takes in what came of a step.
fn accept(world: &World, link: &Link, chunk: &Chunk, step: CompletedStep) {
    let config = &world.resource::<GpuModel>().config;
    let seen = (0..chunk.tokens.len())
        .map(|column| SeenColumn::of_column(&step.watched, column, config))
        .collect();
    link.with(|session| {
        session.front = None;
        session.accept(chunk, seen, &step.logits, step.took);
    });
}
