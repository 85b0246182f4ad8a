//! The steps of a batch in Bevy's render graph: each is begun in the frame that is run for it.
//!
//! In: the next step, by [`BatchSteps::next`]. Out: whether the frame has begun it; the stepper has
//! what it makes.

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems};

use super::stepper::{self, StepRequest, Stepper};
use super::{EngineError, FusedLayerPolicy};
use crate::forward::gpu::ForwardPluginSystems;
use crate::forward::gpu::model::Step;

/// What a frame is run for.
#[derive(Debug)]
pub(super) enum FrameWork {
    /// A step whose results the stepper gives.
    Step(Box<StepRequest>),
    /// One kernel of a step, for its time alone.
    Alone(Step),
}

/// The stepper of a batch, and what the next frame is to begin.
#[derive(Resource, Debug)]
pub(super) struct BatchSteps {
    pub stepper: Stepper,
    pub next: Option<FrameWork>,
    /// Whether the last frame that had something to begin has begun it.
    pub begun: Option<Result<(), EngineError>>,
}

/// Has the render graph of an app begin the steps of a batch.
pub(super) struct BatchStepsPlugin;

impl Plugin for BatchStepsPlugin {
    fn build(&self, app: &mut App) {
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        let stepper = Stepper::new(FusedLayerPolicy::UntilSlow);
        render_app.insert_resource(BatchSteps { stepper, next: None, begun: None }).add_systems(
            RenderGraph,
            begin_next
                .after(ForwardPluginSystems::Compile)
                .in_set(RenderGraphSystems::Render)
                .before(camera_driver),
        );
    }
}

/// Begins what the frame is run for. What waits for kernels stays for the frame after.
fn begin_next(world: &mut World) {
    world.resource_scope(|world, mut steps: Mut<BatchSteps>| {
        let Some(next) = steps.next.take() else { return };
        let begun = match &next {
            FrameWork::Step(request) => steps.stepper.submit(world, request),
            FrameWork::Alone(step) => stepper::run(world, step.clone(), 1),
        };
        if matches!(begun, Err(EngineError::Compiling)) {
            steps.next = Some(next);
        }
        steps.begun = Some(begun);
    });
}
