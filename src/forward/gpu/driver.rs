//! Runs the [`Forward`] schedule for whoever has a step to take, without waiting for any of its
//! passes.
//!
//! Each pass is submitted by itself: a buffer written by the queue between two passes is then seen
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

/// How far the forward pass is, in both worlds. The main world's is the state after the frame
/// before.
#[derive(Resource, Clone, Debug, Default)]
pub struct ForwardStatus {
    /// Whether steps can be done at all.
    pub state: ForwardState,
    /// How many kernels are compiled.
    pub kernels: KernelProgress,
}

/// How far the compilation of kernels is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelProgress {
    /// Those that are compiled.
    pub compiled: usize,
    /// Those that are to be.
    pub wanted: usize,
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

/// Carries the status to the main world.
pub(super) fn tell_status(mut main_world: ResMut<MainWorld>, status: Res<ForwardStatus>) {
    *main_world.resource_mut::<ForwardStatus>() = status.clone();
}

/// Has the kernels of the next step compiled, and finds out how far they are.
pub(super) fn compile_step(world: &mut World) {
    compile_needed(world);
    let (kernels, cache) = (world.resource::<Kernels>(), world.resource::<PipelineCache>());
    let status = ForwardStatus { state: kernels.state(cache), kernels: kernels.progress(cache) };
    *world.resource_mut::<ForwardStatus>() = status;
}

/// Has another kernel compiled, where all are wanted before they are needed.
pub(super) fn compile_ahead(kernels: Res<Kernels>, cache: Res<PipelineCache>) {
    kernels.queue_next(&cache);
}

/// Submits so many passes of the next [`Step`](super::model::Step), in the render world. Where the
/// state is not [`ForwardState::Ready`], nothing was submitted.
pub fn run_forward(world: &mut World, passes: u32) -> ForwardState {
    compile_step(world);
    let state = world.resource::<ForwardStatus>().state.clone();
    if state == ForwardState::Ready {
        for _ in 0..passes {
            world.run_schedule(Forward);
            submit(world);
        }
    }
    state
}

fn submit(world: &mut World) {
    let commands = world.resource_mut::<PendingCommandBuffers>().take();
    if !commands.is_empty() {
        world.resource::<RenderQueue>().submit(commands);
    }
}
