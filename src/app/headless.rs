//! A Bevy app with a GPU and without a window: the base of batch runs, tools and GPU tests.
//!
//! It renders on the thread that updates it, and it compiles pipelines before it goes on, so that a run is the same
//! each time. It is driven by [`prepare`] and then `App::update`, as often as there is work.

use bevy::{
    app::PluginsState,
    log::{Level, LogPlugin},
    prelude::*,
    render::{RenderPlugin, pipelined_rendering::PipelinedRenderingPlugin, settings::WgpuSettings},
    tasks::block_on,
    window::ExitCondition,
    winit::WinitPlugin,
};
use wgpu::{AdapterInfo, Instance, InstanceDescriptor, RequestAdapterOptions};

/// Why there is no GPU to compute on. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no graphics adapter was found (Vulkan, Metal, DX12 or GL); install a driver, or Mesa's software Vulkan"
    )]
    NoAdapter {
        /// What the graphics library said.
        #[source]
        source: wgpu::RequestAdapterError,
    },
    /// None by the name that was asked for.
    #[error("no graphics adapter is named like {name:?}; there are: {}", available.join(", "))]
    NoSuchAdapter {
        /// The part of a name that was asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
}

/// Which adapter to compute on. The default is the one that the graphics library finds fastest.
///
/// The variables `WGPU_ADAPTER_NAME`, `WGPU_BACKEND` and `WGPU_FORCE_FALLBACK_ADAPTER` have the same effect, and the
/// first and the last win over what is said here.
#[derive(Clone, Debug, Default)]
pub struct GpuChoice {
    /// A part of the adapter's name, in any case.
    pub name: Option<String>,
    /// Only a software adapter, such as Mesa's lavapipe.
    pub software: bool,
}

impl GpuChoice {
    fn settings(&self) -> WgpuSettings {
        let name = std::env::var("WGPU_ADAPTER_NAME").ok().or_else(|| self.name.clone());
        let force_fallback_adapter = std::env::var("WGPU_FORCE_FALLBACK_ADAPTER")
            .map_or(self.software, |value| !matches!(value.as_str(), "" | "0" | "false"));
        WgpuSettings { adapter_name: name, force_fallback_adapter, ..default() }
    }
}

/// The adapter that [`headless_app`] would compute on. Creates no device.
pub fn find_adapter(choice: &GpuChoice) -> Result<AdapterInfo, GpuError> {
    let settings = choice.settings();
    // Only a browser build has no backends, and it has no headless mode.
    let backends = settings.backends.unwrap_or_default();
    let instance = Instance::new(InstanceDescriptor {
        backends,
        flags: settings.instance_flags,
        ..InstanceDescriptor::new_without_display_handle()
    });

    if let Some(name) = settings.adapter_name {
        let infos: Vec<_> =
            block_on(instance.enumerate_adapters(backends)).iter().map(wgpu::Adapter::get_info).collect();
        let wanted = name.to_lowercase();
        return match infos.iter().find(|info| info.name.to_lowercase().contains(&wanted)) {
            Some(info) => Ok(info.clone()),
            None => {
                let available = infos.into_iter().map(|info| info.name).collect();
                Err(GpuError::NoSuchAdapter { name, available })
            }
        };
    }

    block_on(instance.request_adapter(&RequestAdapterOptions {
        power_preference: settings.power_preference,
        force_fallback_adapter: settings.force_fallback_adapter,
        compatible_surface: None,
    }))
    .map(|adapter| adapter.get_info())
    .map_err(|source| GpuError::NoAdapter { source })
}

/// Bevy without a window, on the GPU of `choice`. The stages' plugins are added to what it returns.
///
/// Bevy's renderer panics where there is no adapter, so one is looked for first.
pub fn headless_app(choice: &GpuChoice) -> Result<App, GpuError> {
    find_adapter(choice)?;
    let mut app = App::new();
    app.add_plugins(
        DefaultPlugins
            .set(RenderPlugin {
                render_creation: choice.settings().into(),
                synchronous_pipeline_compilation: true,
                ..default()
            })
            .set(WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() })
            // The results of a run go to the standard output, so its log has warnings only. RUST_LOG says otherwise.
            .set(LogPlugin { level: Level::WARN, ..default() })
            .disable::<WinitPlugin>()
            .disable::<PipelinedRenderingPlugin>(),
    );
    Ok(app)
}

/// Ends the building of an app that no runner runs. After it, `App::update` does a frame.
pub fn prepare(app: &mut App) {
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();
}
