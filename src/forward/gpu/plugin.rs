//! The plugin of the forward pass: what runs where in the render world.

use super::schedule::Forward;
use super::{ForwardStatus, driver, kernels};
use bevy::{
    core_pipeline::schedule::camera_driver,
    prelude::*,
    render::{
        Render, RenderApp, RenderStartup, RenderSystems,
        renderer::{RenderGraph, RenderGraphSystems},
    },
};

/// The forward pass.
///
/// Adds [`ForwardStatus`] to the main world. In the render world it makes [`kernels::Kernels`] in
/// `RenderStartup`, set [`ForwardPluginSystems::Kernels`], and has those of the next step compiled
/// in `RenderGraph`, before the cameras, in set [`ForwardPluginSystems::Compile`]. Steps are taken
/// by [`run_forward`](super::run_forward).
/// Needs Bevy's `RenderPlugin` and `CorePipelinePlugin` and our `ShadersPlugin`, all before it.
/// Without a GPU there is no render world, and the status stays [`super::ForwardState::Starting`].
pub struct ForwardPlugin;

/// Where the systems of [`ForwardPlugin`] are in the render world's schedules.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPluginSystems {
    /// In `RenderStartup`: there are no kernels yet on this device. What asks for them comes after.
    Kernels,
    /// In `RenderGraph`: the kernels of the next step are compiled.
    Compile,
}

impl Plugin for ForwardPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ForwardStatus>();

        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app
            .init_resource::<ForwardStatus>()
            .add_schedule(Forward::base_schedule())
            .add_systems(
                RenderStartup,
                kernels::forget_kernels.in_set(ForwardPluginSystems::Kernels),
            )
            // The cache compiles it in the next frame, before there is a step: none waits for it.
            .add_systems(
                Render,
                driver::compile_ahead
                    .in_set(RenderSystems::PostCleanup)
                    .run_if(resource_exists::<kernels::Kernels>),
            )
            // It writes the main world during extraction, but only our resource there.
            .add_systems(ExtractSchedule, driver::tell_status.ambiguous_with_all())
            .add_systems(
                RenderGraph,
                driver::compile_step
                    .in_set(ForwardPluginSystems::Compile)
                    .in_set(RenderGraphSystems::Render)
                    // What is drawn this frame shows what was computed this frame.
                    .before(camera_driver),
            );
    }
}
