//! A Bevy app with a GPU and without a window: the base of batch runs, tools and GPU tests.
//!
//! It renders on the thread that updates it, and it compiles pipelines before it goes on, so that a
//! run is the same each time. It is driven by [`prepare`] and then `App::update`, as often as there
//! is work.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bevy::{
    app::PluginsState,
    camera::CameraPlugin,
    core_pipeline::CorePipelinePlugin,
    diagnostic::{DiagnosticsPlugin, FrameCountPlugin},
    ecs::schedule::SingleThreadedExecutor,
    log::{BoxedFmtLayer, DEFAULT_FILTER, Level, LogPlugin, tracing_subscriber::fmt::Layer},
    mesh::MeshPlugin,
    prelude::*,
    render::{
        RenderApp, RenderPlugin,
        renderer::{
            RenderAdapter, RenderAdapterInfo, RenderDevice, RenderInstance, RenderQueue,
            WgpuWrapper,
        },
        settings::{RenderCreation, WgpuSettings},
    },
    tasks::block_on,
    time::TimePlugin,
    window::ExitCondition,
};
use wgpu::{
    Adapter, DeviceDescriptor, DeviceType, Features, Instance, InstanceDescriptor,
    RequestAdapterOptions,
};

use crate::engine::gpu::threads::DriverThreads;
use crate::forward::gpu::kernels::KernelFamily;
use crate::residency::compute::StreamTuning;

/// Why there is no GPU to compute on. Each message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no graphics adapter was found (Vulkan, Metal, DX12 or GL): install a driver \
         or Mesa's software Vulkan"
    )]
    NoAdapter {
        /// What the graphics library said.
        #[source]
        source: wgpu::RequestAdapterError,
    },
    /// None by the name that was asked for.
    #[error("no graphics adapter has {name:?} in its name; there are: {}", available.join(", "))]
    NoSuchAdapter {
        /// The part of a name that was asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// The adapter is there but gives no device.
    #[error("the graphics adapter {adapter} cannot be used: {source}")]
    NoDevice {
        /// The adapter's name, as its driver gives it.
        adapter: String,
        /// What the graphics library said.
        source: wgpu::RequestDeviceError,
    },
}

/// Which adapter to compute on. The default is the one that the graphics library finds fastest.
///
/// Of Bevy's variables, `WGPU_ADAPTER_NAME` and `WGPU_FORCE_FALLBACK_ADAPTER` win over what is said
/// here, and `WGPU_BACKEND` says where to look.
#[derive(Clone, Debug, Default)]
pub struct GpuChoice {
    /// A part of the adapter's name, in any case.
    pub name: Option<String>,
    /// Only a software adapter, such as Mesa's lavapipe.
    pub software: bool,
    /// Bytes of its memory that a model's weights may take; a model that needs more is streamed.
    /// `None` is what it has.
    pub memory: Option<u64>,
    /// How a model that needs more is streamed.
    pub tuning: StreamTuning,
    /// Percent of each of its heaps, as far as its driver tells their sizes, that may be in use
    /// when something is put on it. `None` is no such limit: small heaps count as well, and many
    /// cards have one of 256 MiB beside the one that large textures go to.
    pub most_percent: Option<u8>,
    /// The adapter, where it has been looked for: [`GpuChoice::find`] puts it here.
    pub found: Option<FoundAdapter>,
}

/// An adapter that was found, to open devices on: finding it again takes a good part of a second.
#[derive(Clone, Debug)]
pub struct FoundAdapter {
    instance: Instance,
    adapter: Adapter,
    threads: DriverThreads,
}

impl FoundAdapter {
    fn new(settings: &WgpuSettings) -> Result<Self, GpuError> {
        let (found, threads) = DriverThreads::of(|| {
            let instance = instance(settings);
            find_adapter(&instance, settings).map(|adapter| (instance, adapter))
        });
        let (instance, adapter) = found?;
        Ok(Self { instance, adapter, threads })
    }
}

/// Whether this machine may have a GPU, without asking the graphics library, which takes a good
/// part of a second. Elsewhere than on Linux, whose drivers show themselves in `/dev`, it always
/// may.
pub(crate) fn may_have_gpu() -> bool {
    !cfg!(target_os = "linux") || has_gpu_node(Path::new("/dev"))
}

/// Whether a folder of devices has one that computes: of the kernel's drivers, NVIDIA's, the
/// Windows host's, Qualcomm's or Arm's.
fn has_gpu_node(devices: &Path) -> bool {
    let has = |folder: &Path, starts: &[&str]| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| {
            let name = name.to_string_lossy();
            starts.iter().any(|start| name.starts_with(start))
        })
    };
    has(&devices.join("dri"), &["renderD"]) || has(devices, &["nvidia", "dxg", "kgsl", "mali"])
}

impl GpuChoice {
    /// Finds the adapter and keeps it: what is opened by this choice, or by a clone of it, is
    /// opened on it.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn find(&mut self) -> Result<AdapterFacts, GpuError> {
        let found = FoundAdapter::new(&self.settings())?;
        let facts = AdapterFacts::of(&found);
        self.found = Some(found);
        Ok(facts)
    }

    /// What Bevy is to open.
    pub(crate) fn settings(&self) -> WgpuSettings {
        let adapter_name = std::env::var("WGPU_ADAPTER_NAME").ok().or_else(|| self.name.clone());
        // The values that Bevy takes for no.
        let force_fallback_adapter = std::env::var("WGPU_FORCE_FALLBACK_ADAPTER")
            .map_or(self.software, |value| !matches!(value.as_str(), "" | "0" | "false"));
        let instance_memory_budget_thresholds = wgpu::MemoryBudgetThresholds {
            for_resource_creation: self.most_percent,
            for_device_loss: None,
        };
        WgpuSettings {
            adapter_name,
            force_fallback_adapter,
            instance_memory_budget_thresholds,
            ..default()
        }
    }
}

/// Bevy without a window and with the GPU of `choice`. The stages' plugins are added to what it
/// returns; then comes [`prepare`].
///
/// It has the few plugins that the render graph needs and not `DefaultPlugins`: with them, an
/// update without work takes 0.15 ms instead of 0.3 ms.
pub fn headless_app(choice: &GpuChoice) -> Result<App, GpuError> {
    // Bevy would look for a GPU by itself, and panic where there is none.
    let (render_creation, facts) = open_gpu(&choice.settings(), choice.found.clone())?;
    let mut app = App::new();
    app.insert_resource(facts);
    // A program has one log, however many apps it opens one after the other.
    static HAS_LOG: AtomicBool = AtomicBool::new(false);
    if !HAS_LOG.swap(true, Ordering::SeqCst) {
        // The results of a run go to the standard output, and its log, of warnings, to the standard
        // error.
        app.add_plugins(LogPlugin {
            level: Level::WARN,
            filter: log_filter(),
            fmt_layer: log_layer,
            ..default()
        });
    }
    app.add_plugins((
        TaskPoolPlugin::default(),
        FrameCountPlugin,
        TimePlugin,
        DiagnosticsPlugin,
        WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() },
        AssetPlugin::default(),
        RenderPlugin { render_creation, synchronous_pipeline_compilation: true, ..default() },
        ImagePlugin::default(),
        MeshPlugin,
        CameraPlugin,
        CorePipelinePlugin,
    ));
    Ok(app)
}

/// What writes the log: on a terminal nothing that is quoted in it is obeyed. So it has no colours
/// either.
pub(crate) fn log_layer(_: &mut App) -> Option<BoxedFmtLayer> {
    Some(Box::new(Layer::default().with_ansi(false).with_writer(crate::terminal::stderr)))
}

/// GL that fails to start is nothing to report where another back end works, and where none does
/// [`GpuError`] says so. RUST_LOG replaces all of it.
fn log_filter() -> String {
    format!("{DEFAULT_FILTER},wgpu_hal::gles=off")
}

/// Ends the building of an app that no runner runs. After it, `App::update` does a frame.
pub fn prepare(app: &mut App) {
    // No runner ticks the pools on which plugins get ready.
    while app.plugins_state() == PluginsState::Adding {
        bevy::tasks::tick_global_task_pools_on_main_thread();
    }
    app.finish();
    app.cleanup();

    // Without a window no schedule has work for two threads, and handing the systems to them takes
    // longer than running them: 1.1 ms an update instead of 0.3 ms on two cores.
    let render_world = app.get_sub_app_mut(RenderApp).map(|render_app| render_app.world_mut());
    if let Some(world) = render_world {
        run_on_one_thread(world);
    }
    run_on_one_thread(app.world_mut());
}

fn run_on_one_thread(world: &mut World) {
    for (_, schedule) in world.resource_mut::<Schedules>().iter_mut() {
        schedule.set_executor(SingleThreadedExecutor::new());
    }
}

/// An adapter as far as it says what it is. A resource of the app that computes on it.
#[derive(Resource, Debug, Clone)]
pub struct AdapterFacts {
    /// Its names, its kind and its driver.
    pub info: wgpu::AdapterInfo,
    /// Whether the kernels' subgroup operations can be used.
    pub subgroups: bool,
    /// Whether activations can be in textures.
    pub textures: bool,
    /// What its driver computes with, as far as that is known.
    pub(crate) threads: DriverThreads,
}

impl AdapterFacts {
    /// The facts of the adapter of `choice`, without a device on it.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn find(choice: &GpuChoice) -> Result<Self, GpuError> {
        Ok(Self::of(&FoundAdapter::new(&choice.settings())?))
    }

    fn of(found: &FoundAdapter) -> Self {
        let FoundAdapter { adapter, threads, .. } = found;
        let info = adapter.get_info();
        let subgroups = KernelFamily::can_use_subgroups(&info, adapter.features());
        Self {
            info,
            subgroups,
            textures: KernelFamily::can_use_textures(adapter),
            threads: threads.clone(),
        }
    }

    /// Bytes that a model's weights may take where nobody says: of a software adapter, whose memory
    /// is the host's, half of what the host has to spare. `None` where the adapter does not tell:
    /// then what fits is found out by putting it there (`specs/residency.md`, section 2).
    pub(crate) fn memory_for_weights(&self) -> Option<u64> {
        self.is_software().then(available_memory).flatten().map(|bytes| bytes / 2)
    }

    /// Whether the processor does its work.
    pub fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }
}

/// Bytes of the host's memory that programs can have without swapping, where the system tells.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn instance(settings: &WgpuSettings) -> Instance {
    Instance::new(InstanceDescriptor {
        // Only a build for browsers has none.
        backends: settings.backends.unwrap_or_default(),
        flags: settings.instance_flags,
        memory_budget_thresholds: settings.instance_memory_budget_thresholds,
        ..InstanceDescriptor::new_without_display_handle()
    })
}

/// Another device on the usual adapter, in the place of one that was lost.
///
/// # Errors
/// There is none.
pub(crate) fn reopen_gpu() -> Result<RenderCreation, String> {
    open_gpu(&GpuChoice::default().settings(), None)
        .map(|(creation, _)| creation)
        .map_err(|error| error.to_string())
}

fn open_gpu(
    settings: &WgpuSettings,
    found: Option<FoundAdapter>,
) -> Result<(RenderCreation, AdapterFacts), GpuError> {
    let found = found.map_or_else(|| FoundAdapter::new(settings), Ok)?;
    let mut facts = AdapterFacts::of(&found);
    let FoundAdapter { instance, adapter, .. } = found;
    let info = facts.info.clone();

    // All that the adapter offers, as Bevy does. Experimental features would need a promise that we
    // cannot give.
    let mut features = adapter.features() - Features::all_experimental_mask();
    if info.device_type == DeviceType::DiscreteGpu {
        // Buffers that the CPU can map would lie across the bus.
        features.remove(Features::MAPPABLE_PRIMARY_BUFFERS);
    }
    let descriptor = DeviceDescriptor {
        label: Some("pixel-llm"),
        required_features: features,
        required_limits: adapter.limits(),
        memory_hints: settings.memory_hints.clone(),
        ..default()
    };
    // A driver is asked for its device when the request is made, not when it is waited for.
    let (opened, threads) = DriverThreads::of(|| block_on(adapter.request_device(&descriptor)));
    let (device, queue) =
        opened.map_err(|source| GpuError::NoDevice { adapter: info.name.clone(), source })?;
    facts.threads = facts.threads.and(threads);

    let creation = RenderCreation::manual(
        RenderDevice::from(device),
        RenderQueue(Arc::new(WgpuWrapper::new(queue))),
        RenderAdapterInfo(WgpuWrapper::new(info)),
        RenderAdapter(Arc::new(WgpuWrapper::new(adapter))),
        RenderInstance(Arc::new(WgpuWrapper::new(instance))),
    );
    Ok((creation, facts))
}

fn find_adapter(instance: &Instance, settings: &WgpuSettings) -> Result<Adapter, GpuError> {
    let Some(name) = &settings.adapter_name else {
        let options = RequestAdapterOptions {
            power_preference: settings.power_preference,
            force_fallback_adapter: settings.force_fallback_adapter,
            compatible_surface: None,
        };
        return block_on(instance.request_adapter(&options))
            .map_err(|source| GpuError::NoAdapter { source });
    };

    let wanted = name.to_lowercase();
    let mut available = Vec::new();
    for adapter in block_on(instance.enumerate_adapters(settings.backends.unwrap_or_default())) {
        let found = adapter.get_info().name;
        if found.to_lowercase().contains(&wanted) {
            return Ok(adapter);
        }
        available.push(found);
    }
    Err(GpuError::NoSuchAdapter { name: name.clone(), available })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_is_not_there_is_an_error_of_one_line_and_no_panic() {
        let choice = GpuChoice { name: Some("no adapter is called this".into()), ..default() };
        let error = headless_app(&choice).expect_err("nobody makes such an adapter").to_string();
        assert!(error.contains("no adapter is called this"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn a_gpu_shows_itself_among_the_devices() {
        for (node, is_one) in [
            ("dri/renderD128", true),
            ("nvidia0", true),
            ("dxg", true),
            ("dri/card0", false),
            ("tty0", false),
        ] {
            let devices = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(devices.path().join("dri")).expect("a folder in it");
            std::fs::write(devices.path().join(node), "").expect("a file in it");
            assert_eq!(has_gpu_node(devices.path()), is_one, "{node}");
        }
        assert!(!has_gpu_node(Path::new("there are no devices here")));
    }

    #[test]
    fn an_adapter_is_found_once_for_all_that_is_opened_on_it() {
        let mut choice = GpuChoice::default();
        let Ok(facts) = choice.find() else { return eprintln!("SKIPPED: there is no adapter") };
        let opened = [0, 1].map(|_| headless_app(&choice.clone()).expect("it was found"));
        assert!(opened.iter().all(|app| app.world().resource::<AdapterFacts>().info == facts.info));
    }

    #[test]
    fn no_back_end_at_all_is_an_error_too() {
        let settings = WgpuSettings { backends: Some(wgpu::Backends::empty()), ..default() };
        let error = open_gpu(&settings, None).err().expect("there is nothing to find");
        assert!(
            matches!(error, GpuError::NoAdapter { .. } | GpuError::NoSuchAdapter { .. }),
            "{error}"
        );
    }
}
