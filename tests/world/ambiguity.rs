//! No two of our systems touch the same data in an order that nobody chose.
//!
//! The render world is built here by hand, with Bevy's own sets and none of Bevy's systems, so that
//! what is found is ours and no GPU is needed.

use std::sync::Arc;

use bevy::{
    app::SubApp,
    ecs::schedule::{LogLevel, ScheduleBuildError},
    prelude::*,
    render::{MainWorld, Render, RenderApp, RenderStartup},
    shader::Shader,
};
use pixel_llm::agents::Tick;
use pixel_llm::forward::gpu::kernels::KernelFamily;
use pixel_llm::forward::gpu::model::{GpuModelPlugin, GpuModelSource, Sizes};
use pixel_llm::forward::gpu::shaders::{ShadersPlugin, load_sources};
use pixel_llm::forward::gpu::{Forward, ForwardPlugin, InterventionsPlugin, WeightEditsPlugin};
use pixel_llm::residency::ResidencyPlugin;
use pixel_llm::residency::compute::StreamTuning;
use pixel_llm::world::agents::InhabitedPlugin;

fn app() -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default())).init_asset::<Shader>();
    let mut render_app = SubApp::new();
    render_app
        // It is there whenever extraction runs, and systems of it ask for it before.
        .init_resource::<MainWorld>()
        .init_schedule(RenderStartup)
        .init_schedule(ExtractSchedule)
        .add_schedule(Render::base_schedule())
        .add_schedule(RenderGraph::base_schedule());
    app.insert_sub_app(RenderApp, render_app);
    app
}

fn network_model() -> GpuModelSource {
    let model = Arc::new(
        pixel_llm::app::kinds::assets().default_model().expect("the built-in model is sound"),
    );
    GpuModelSource {
        model,
        persistent_workgroups: 0,
        compile_ahead: false,
        memory: None,
        tuning: StreamTuning::default(),
        family: KernelFamily::ALL[1],
        sizes: Sizes { slots: 1, context: 16, columns: 1, steps: 1 },
    }
}

/// Builds every schedule of a world with detection on, and returns what was found.
fn ambiguities(world: &mut World) -> Vec<String> {
    let labels: Vec<_> =
        world.resource::<Schedules>().iter().map(|(_, schedule)| schedule.label()).collect();
    let mut found = Vec::new();
    for label in labels {
        let mut schedule = world.resource_mut::<Schedules>().remove(label).expect("it was listed");
        let mut settings = schedule.get_build_settings();
        settings.ambiguity_detection = LogLevel::Error;
        schedule.set_build_settings(settings);
        if let Err(error) = schedule.initialize(world) {
            assert!(matches!(error, ScheduleBuildError::Elevated(_)), "{label:?}: {error}");
            found.push(format!("{label:?}: {}", error.to_string(schedule.graph(), world)));
        }
        world.resource_mut::<Schedules>().insert(schedule);
    }
    found
}

#[test]
fn our_schedules_have_no_ambiguities() {
    let mut app = app();
    app.add_plugins((
        ShadersPlugin { sources: load_sources(None).unwrap() },
        ForwardPlugin,
        GpuModelPlugin { model: network_model() },
        ResidencyPlugin,
        InterventionsPlugin,
        // With it come the agents, their minds and the simulation that runs them.
        InhabitedPlugin,
        WeightEditsPlugin,
    ));
    assert!(
        app.world().resource::<Schedules>().contains(Tick),
        "the simulation was added to this world"
    );
    assert_eq!(ambiguities(app.world_mut()), [""; 0], "in the main world");
    let render_world = app.sub_app_mut(RenderApp).world_mut();
    assert!(
        render_world.resource::<Schedules>().contains(Forward),
        "the plugin was added to this render world"
    );
    assert_eq!(ambiguities(render_world), [""; 0], "in the render world");
}

/// Shows that the check above can fail.
#[test]
fn two_writers_without_an_order_are_found() {
    #[derive(Resource)]
    struct Contested;
    fn one(_: ResMut<Contested>) {}
    fn other(_: ResMut<Contested>) {}

    let mut app = app();
    app.add_plugins((ShadersPlugin { sources: load_sources(None).unwrap() }, ForwardPlugin));
    let render_app = app.sub_app_mut(RenderApp);
    render_app.add_systems(Forward, (one, other));
    let found = ambiguities(render_app.world_mut());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("Forward"), "{found:?}");
}
