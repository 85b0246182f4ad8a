//! Runs the [`Forward`] schedule as often per frame as is asked for and the budget allows.
//!
//! Each step is submitted by itself: a buffer written by the queue between two steps is then seen by the second.

use std::time::{Duration, Instant};

use bevy::{
    prelude::*,
    render::{
        MainWorld,
        render_resource::{PipelineCache, PollType},
        renderer::{PendingCommandBuffers, RenderDevice, RenderQueue},
    },
};

use super::{Forward, kernels::Kernels};

/// How many forward steps are wanted, counted from the start of the program, and how fast.
///
/// A sum and not a queue, so that it can be copied to the render world without a step being lost or done twice.
#[derive(Resource, Clone, Debug, Default)]
pub struct ForwardRequest {
    /// Steps wanted since the start of the program.
    pub steps: u64,
    /// What one frame may spend on them.
    pub budget: ForwardBudget,
}

/// What one frame may spend on forward steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardBudget {
    /// All that are wanted, without waiting for any: nobody watches. The default.
    #[default]
    Unbounded,
    /// Steps are begun until this much time is spent. At least one is done each frame. The GPU's time counts, so
    /// each step is waited for.
    Time(Duration),
}

/// How far the forward pass is: the render world's answer to [`ForwardRequest`], in both worlds. The main world's is
/// the state after the frame before.
#[derive(Resource, Clone, Debug, Default)]
pub struct ForwardStatus {
    /// Steps handed to the GPU since the start of the program.
    pub steps_done: u64,
    /// Whether steps can be done at all.
    pub state: ForwardState,
}

/// Whether the kernels can run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardState {
    /// The pipelines are still being compiled. Steps wait.
    #[default]
    Starting,
    /// All pipelines are there.
    Ready,
    /// A kernel does not compile; its name and why, in one line. Steps wait until its shader changes. Bevy logs the
    /// place in the shader.
    Failed(String),
}

/// Carries the request to the render world and the status back.
pub(super) fn exchange(
    mut main_world: ResMut<MainWorld>,
    mut request: ResMut<ForwardRequest>,
    status: Res<ForwardStatus>,
) {
    *request = main_world.resource::<ForwardRequest>().clone();
    *main_world.resource_mut::<ForwardStatus>() = status.clone();
}

/// Does this frame's forward steps.
pub(super) fn drive_forward(world: &mut World) {
    let state = world.resource::<Kernels>().state(world.resource::<PipelineCache>());
    let mut status = world.resource_mut::<ForwardStatus>();
    status.state = state;
    if status.state != ForwardState::Ready {
        return;
    }

    let ForwardRequest { steps, budget } = world.resource::<ForwardRequest>().clone();
    let start = Instant::now();
    while world.resource::<ForwardStatus>().steps_done < steps {
        world.run_schedule(Forward);
        submit(world);
        world.resource_mut::<ForwardStatus>().steps_done += 1;
        if let ForwardBudget::Time(limit) = budget {
            wait(world);
            if start.elapsed() >= limit {
                return;
            }
        }
    }
}

fn submit(world: &mut World) {
    let commands = world.resource_mut::<PendingCommandBuffers>().take();
    if !commands.is_empty() {
        world.resource::<RenderQueue>().submit(commands);
    }
}

fn wait(world: &World) {
    // A lost device is reported by Bevy's device error handler at the start of the next frame, which also decides
    // what is done about it.
    if let Err(error) = world.resource::<RenderDevice>().poll(PollType::wait_indefinitely()) {
        warn!("waiting for a forward step: {error}");
    }
}
