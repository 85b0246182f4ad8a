//! Runs the [`Forward`] schedule as often as is asked for, without waiting for any step.
//!
//! Each step is submitted by itself: a buffer written by the queue between two steps is then seen
//! by the second.

use bevy::{
    prelude::*,
    render::{
        MainWorld,
        render_resource::PipelineCache,
        renderer::{PendingCommandBuffers, RenderQueue},
    },
};

use super::model::compile_needed;
use super::{Forward, kernels::Kernels};

/// How many forward steps are wanted, counted from the start of the program.
///
/// A sum and not a queue, so that it can be copied to the render world without a step being lost or
/// done twice.
#[derive(Resource, Clone, Copy, Debug, Default)]
pub struct ForwardRequest {
    /// Steps wanted since the start of the program.
    pub steps: u64,
}

/// How far the forward pass is: the render world's answer to [`ForwardRequest`], in both worlds.
/// The main world's is the state after the frame before.
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
    /// Pipelines are still being compiled. Steps wait.
    #[default]
    Starting,
    /// The pipelines of the next step are there.
    Ready,
    /// A kernel does not compile; its name and why, in one line. Steps wait until its shader
    /// changes. Bevy logs the place in the shader.
    Failed(String),
}

/// Carries the request to the render world and the status back.
pub(super) fn exchange(
    mut main_world: ResMut<MainWorld>,
    mut request: ResMut<ForwardRequest>,
    status: Res<ForwardStatus>,
) {
    *request = *main_world.resource::<ForwardRequest>();
    *main_world.resource_mut::<ForwardStatus>() = status.clone();
}

/// Does this frame's forward steps.
pub(super) fn drive_forward(world: &mut World) {
    compile_needed(world);
    let state = world.resource::<Kernels>().state(world.resource::<PipelineCache>());
    let mut status = world.resource_mut::<ForwardStatus>();
    status.state = state;
    if status.state != ForwardState::Ready {
        return;
    }

    let ForwardRequest { steps } = *world.resource::<ForwardRequest>();
    while world.resource::<ForwardStatus>().steps_done < steps {
        world.run_schedule(Forward);
        submit(world);
        world.resource_mut::<ForwardStatus>().steps_done += 1;
    }
}

fn submit(world: &mut World) {
    let commands = world.resource_mut::<PendingCommandBuffers>().take();
    if !commands.is_empty() {
        world.resource::<RenderQueue>().submit(commands);
    }
}
