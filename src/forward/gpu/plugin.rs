//! The plugin of the forward pass: what runs where in the render world.

use super::schedule::Forward;
use super::{ForwardRequest, ForwardStatus, driver, kernels};
use bevy::{
    core_pipeline::schedule::camera_driver,
    prelude::*,
    render::{
        RenderApp, RenderStartup,
        renderer::{RenderGraph, RenderGraphSystems},
    },
};

/// The forward pass.
///
/// Adds [`ForwardRequest`] and [`ForwardStatus`] to the main world. In the render world it makes
/// [`kernels::Kernels`] in `RenderStartup`, set [`ForwardPluginSystems::Kernels`], and runs
/// [`Forward`] in `RenderGraph`, before the cameras, in set [`ForwardPluginSystems::Forward`].
/// Needs Bevy's `RenderPlugin` and `CorePipelinePlugin` and our `ShadersPlugin`, all before it.
/// Without a GPU there is no render world, and the status stays [`super::ForwardState::Starting`].
pub struct ForwardPlugin;

/// Where the systems of [`ForwardPlugin`] are in the render world's schedules.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPluginSystems {
    /// In `RenderStartup`: there are no kernels yet on this device. What asks for them comes after.
    Kernels,
    /// In `RenderGraph`: the driver, which runs [`Forward`] once per step.
    Forward,
}

impl Plugin for ForwardPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<ForwardRequest>().init_resource::<ForwardStatus>();

        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app
            .init_resource::<ForwardRequest>()
            .init_resource::<ForwardStatus>()
            .add_schedule(Forward::base_schedule())
            .add_systems(
                RenderStartup,
                kernels::forget_kernels.in_set(ForwardPluginSystems::Kernels),
            )
            // It writes the main world during extraction, but only our two resources there.
            .add_systems(ExtractSchedule, driver::exchange.ambiguous_with_all())
            .add_systems(
                RenderGraph,
                driver::drive_forward
                    .in_set(ForwardPluginSystems::Forward)
                    .in_set(RenderGraphSystems::Render)
                    // What is drawn this frame shows what was computed this frame.
                    .before(camera_driver),
            );
    }
}
