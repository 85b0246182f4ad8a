//! The mode that opens the world: in a window, or off-screen for a tour's pictures.
//!
//! Comes in: a model, and maybe a tour. Goes out: the window, or PNG files.

mod agents;
mod experiments;
mod offscreen;
#[cfg(feature = "serve")]
mod serving;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bevy::camera::CameraMainTextureUsages;
use bevy::log::{DEFAULT_FILTER, Level, LogPlugin};
use bevy::prelude::*;
use bevy::render::pipelined_rendering::PipelinedRenderingPlugin;
use bevy::render::render_resource::TextureUsages;
use bevy::render::{RenderApp, RenderPlugin};
use bevy::time::TimeUpdateStrategy;
use bevy::window::{ExitCondition, WindowResolution};
use bevy::winit::WinitPlugin;
use clap::Args;

use super::cli::engine::GpuMemory;
use super::cli::lora::LoraArgs;
use super::cli::output::{Exit, Output, print_warning};
use crate::coach::{ModelMark, QueueStore};
use crate::content::assets::Assets;
use crate::engine::gpu::headless::{AdapterFacts, GpuChoice, log_layer, reopen_gpu};
use crate::engine::gpu::{KernelConfig, streaming_trial};
use crate::engine::open::EngineAdapters;
use crate::forward::gpu::model::{GpuModelPlugin, GpuModelSource, HeldBack, Sizes};
use crate::forward::gpu::shaders::{ShadersPlugin, load_sources};
use crate::forward::gpu::{ForwardPlugin, InterventionsPlugin, WeightEditsPlugin};
use crate::model::{Cache, PixelModel, resolve};
use crate::outputs;
use crate::panel::PanelPlugin;
use crate::residency::ResidencyBudgets;
use crate::residency::compute::{StreamTuning, weights_in_bytes};
use crate::terminal::one_line;
use crate::tiles::spawn_model;
use crate::training::corpus::Corpus;
use crate::world::WorldPlugin;
use crate::world::adapters::LoadedAdapters;
use crate::world::device_recovery::GraphicsDevice;
use crate::world::family::FamilyFolder;
use crate::world::frames::Frames;
use crate::world::hot_reload::LiveModsPlugin;
use crate::world::keys::KeyBindings;
use crate::world::layout::Atlas;
use crate::world::learning::{Lesson, LessonData};
use crate::world::opening::Opening;
use crate::world::palette::Palettes;
use crate::world::screenshot::Shots;
use crate::world::settings::{Settings, SettingsFile};
use crate::world::tabs::{Drawer, Tab};
#[cfg(feature = "serve")]
use crate::world::think::Generation;
use crate::world::tour::{Tour, TourRun};

pub use agents::Inhabitants;
pub use offscreen::{Offscreen, OffscreenError};

/// Arguments of the world.
#[derive(Debug, Args)]
pub struct WorldArgs {
    /// Take a tour; its steps move the camera, speak and leave pictures.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["prompt", "input", "mute", "ticks", "experiment"],
        help_heading = "The world"
    )]
    pub tour: Option<String>,
    /// Where a tour's pictures go, as PNG files; the program ends with the tour. With --no-window
    /// they are drawn off-screen.
    #[arg(long, value_name = "DIR", requires = "tour", help_heading = "The world")]
    pub screenshots: Option<PathBuf>,
    /// Write how long a tour's frames took and what memory came to, as JSON; the program ends with
    /// the tour.
    #[arg(long, value_name = "FILE", requires = "tour", help_heading = "The world")]
    pub frame_times: Option<PathBuf>,
    /// Take the tour again and again for so long; the program ends after it.
    #[arg(
        long = "for",
        value_name = "MINUTES",
        requires = "tour",
        conflicts_with = "no_window",
        value_parser = parse_minutes,
        help_heading = "The world"
    )]
    pub repeat_for: Option<Duration>,
    /// Teach the model while one looks on: a corpus by its name, or a file of JSON lines as `train`
    /// takes them. What it learns lies over the model as an adapter and can be saved.
    #[arg(
        long,
        value_name = "DATA",
        conflicts_with_all = ["prompt", "input", "mute", "ticks", "experiment", "no_window"],
        help_heading = "The world"
    )]
    pub learn: Option<String>,
    /// Answer OpenAI clients at this port of this machine while one watches: a request lights what
    /// answers it, one at a time. 0 is any port that is free.
    #[cfg(feature = "serve")]
    #[arg(
        long,
        value_name = "PORT",
        conflicts_with_all = [
            "tour", "prompt", "input", "mute", "ticks", "experiment", "no_window", "learn"
        ],
        help_heading = "The world"
    )]
    pub serve: Option<u16>,
    /// The size of the window or of pictures, in pixels.
    #[arg(
        long,
        value_name = "WxH",
        default_value = "1280x720",
        value_parser = parse_size,
        help_heading = "The world"
    )]
    pub size: [u32; 2],
    /// Where the state of agents, jobs, layers and camera is kept: read at the start where it is
    /// there, written at the end. [default: a file for each model in the user's data folder]
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["tour", "no_window"],
        help_heading = "The world"
    )]
    pub world: Option<PathBuf>,
    /// Explore without agents: nobody works on the coach's tasks meanwhile.
    #[arg(long, conflicts_with = "no_window", help_heading = "The world")]
    pub no_agents: bool,
}

impl WorldArgs {
    /// Refuses a file of frame times that is a part of the model, or whose ending says another
    /// format. To be called before anything is opened.
    ///
    /// # Errors
    /// It is one of these.
    pub(crate) fn check_outputs(&self, model: Option<&Path>) -> Result<(), outputs::Refusal> {
        let Some(output) = &self.frame_times else { return Ok(()) };
        let parts = model.map(resolve::parts).unwrap_or_default();
        outputs::refuse_input(output, parts)?;
        outputs::refuse_ending(output, outputs::Format::Text)
    }
}

/// The largest side of a window or picture: what textures of every adapter hold.
const MOST_SIDE: u32 = 8192;
/// The longest that a tour is repeated: a week is longer than anybody waits, and no clock
/// overflows.
const MOST_REPEATED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Columns of one step.
const COLUMNS: u32 = 64;

fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    sides
        .filter(|sides| sides.iter().all(|side| (1..=MOST_SIDE).contains(side)))
        .ok_or_else(|| format!("expected WIDTHxHEIGHT, such as 1280x720, of 1 to {MOST_SIDE}"))
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().map(|minutes| minutes * 60.0);
    // This refuses what a float may be and a time is not: negative, NaN, infinite.
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|time| *time <= MOST_REPEATED)
        .ok_or_else(|| "expected minutes, such as 10 or 0.5, up to a week".into())
}

/// What the world is opened with.
pub struct WorldSetup {
    /// What is shown, and answers.
    pub model: Arc<PixelModel>,
    /// What palettes, tours and keys are read from.
    pub assets: Assets,
    /// Where settings are kept, or nowhere.
    pub settings: SettingsFile,
    /// The window or picture, in pixels: width, height.
    pub size: [u32; 2],
}

/// What the tiles in view may take of the device where a model is streamed: a quarter of what the
/// model may, and at most as much as a screen full of them.
fn view_budgets(memory: Option<u64>) -> ResidencyBudgets {
    let usual = ResidencyBudgets::default();
    let memory_in_bytes =
        memory.map_or(usual.memory_in_bytes, |cap| usual.memory_in_bytes.min(cap / 4));
    ResidencyBudgets { memory_in_bytes, ..usual }
}

/// Opens the world in a window and stays until it is closed.
///
/// # Errors
/// There is no display or no adapter; an asset cannot be read.
pub fn run(
    model: PixelModel,
    (args, lora): (&WorldArgs, &LoraArgs),
    memory: GpuMemory,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let tour = open_tour(args, assets)?;
    let lesson = args.learn.as_deref().map(|data| lesson(data, assets)).transpose()?;
    let adapters = load_adapters(lora, &model)?;
    // A run that leaves pictures begins the same each time.
    let settings = if tour.is_some() { SettingsFile::default() } else { SettingsFile::usual() };
    let setup =
        WorldSetup { model: Arc::new(model), assets: assets.clone(), settings, size: args.size };
    let mut app = windowed_app(&setup, memory)?;
    app.insert_resource(adapters);
    if let Some(lesson) = lesson {
        app.insert_resource(lesson).insert_resource(Drawer(Some(Tab::Learning)));
    }
    if tour.as_ref().is_none_or(TourRun::shows_family)
        && let Some(folder) = family_folder(&setup)
    {
        app.insert_resource(folder);
    }
    match tour {
        Some(tour) => drop(app.insert_resource(tour)),
        None if args.no_agents => {}
        None => match (&args.world, Inhabitants::of_user(&setup, args.world.clone())) {
            // A world that was named is wanted as it is.
            (Some(_), inhabitants) => inhabitants?.move_in(&mut app, &setup)?,
            (None, Ok(inhabitants)) => inhabitants.move_in_or_stay_away(&mut app, &setup),
            (None, Err(error)) => print_warning(&format!("the world is without agents: {error:#}")),
        },
    }
    app.world_mut().resource_mut::<Frames>().file.clone_from(&args.frame_times);
    app.add_systems(Last, report);
    #[cfg(feature = "serve")]
    let server = args.serve.map(|port| serve(&app, port)).transpose()?;
    // The window may stay open for long: what is to be read is written before.
    out.flush()?;
    let exit = app.run();
    #[cfg(feature = "serve")]
    if let Some(server) = server {
        server.finish();
    }
    Ok(if exit.is_success() { Exit::Ok } else { Exit::FoundBad })
}

/// Answers clients with the model of a window.
#[cfg(feature = "serve")]
fn serve(app: &App, port: u16) -> anyhow::Result<serving::WindowServer> {
    let world = app.world();
    let model = world.resource::<Atlas>().model();
    let device = format!("{}, in the window", world.resource::<AdapterFacts>().info.name);
    let engine = world.resource::<Generation>().engine(model.config(), device);
    serving::WindowServer::start(port, engine, model)
}

/// Takes a tour without a window.
///
/// # Errors
/// There is no such tour, no adapter, or a picture cannot be written.
pub(crate) fn run_offscreen(
    model: PixelModel,
    (args, lora): (&WorldArgs, &LoraArgs),
    memory: GpuMemory,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let adapters = load_adapters(lora, &model)?;
    let tour = open_tour(args, assets)?
        .context("--no-window draws pictures only for --tour NAME --screenshots DIR")?;
    anyhow::ensure!(args.screenshots.is_some(), "--tour without a window needs --screenshots DIR");
    let settings = SettingsFile::default();
    let setup =
        WorldSetup { model: Arc::new(model), assets: assets.clone(), settings, size: args.size };
    let mut world = Offscreen::with_memory(&setup, memory)?;
    let shows_family = tour.shows_family();
    world.app.insert_resource(tour).insert_resource(adapters);
    // A tour that does not walk there leaves the same pictures with a family and without.
    if let Some(folder) = shows_family.then(|| family_folder(&setup)).flatten() {
        world.app.insert_resource(folder);
    }
    let complaints = world.take_tour()?;
    let shots = world.app.world().resource::<Shots>();
    warn_of(shots, &complaints);
    out.print(&shots.written(), |written| {
        written.iter().map(|path| format!("{}\n", path.display())).collect()
    })?;
    Ok(if shots.failures().is_empty() && complaints.is_empty() { Exit::Ok } else { Exit::FoundBad })
}

/// Where the lineage of the model is kept: beside its queue.
fn family_folder(setup: &WorldSetup) -> Option<FamilyFolder> {
    let queue = super::cli::coach::default_queue_of(&ModelMark::of(&setup.model)).ok()?;
    Some(FamilyFolder(QueueStore::new(queue).folder().to_owned()))
}

fn open_tour(args: &WorldArgs, assets: &Assets) -> anyhow::Result<Option<TourRun>> {
    let Some(name) = &args.tour else { return Ok(None) };
    let tour = assets.content::<Tour>("tour", name)?;
    if let Some(folder) = &args.screenshots {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let ends =
        args.screenshots.is_some() || args.frame_times.is_some() || args.repeat_for.is_some();
    let mut run = TourRun::new(tour, args.screenshots.clone(), ends);
    run.repeat_until = args.repeat_for.map(|time| Instant::now() + time);
    Ok(Some(run))
}

/// The adapters that lie over the model from the beginning.
fn load_adapters(lora: &LoraArgs, model: &PixelModel) -> anyhow::Result<LoadedAdapters> {
    let names = lora.names()?;
    let EngineAdapters { adapters, usual } = lora.load(model, false)?;
    let mut loaded = LoadedAdapters::default();
    for ((at, adapter), name) in (0u32..).zip(adapters).zip(names) {
        let strength = usual.factors().iter().find(|(known, _)| *known == at);
        loaded.put(&name, adapter, strength.map_or(0.0, |(_, strength)| *strength));
    }
    Ok(loaded)
}

/// The lesson that a person has named.
fn lesson(data: &str, assets: &Assets) -> anyhow::Result<Lesson> {
    let mut lesson = Lesson::default();
    lesson.settings.data = LessonData::named(data);
    match &lesson.settings.data {
        LessonData::Corpus(name) => drop(assets.content::<Corpus>("corpus", name)?),
        LessonData::File(path) => {
            anyhow::ensure!(path.is_file(), "cannot read {}: there is no such file", data);
        }
    }
    lesson.begin();
    Ok(lesson)
}

/// What is said where there is nothing to show a window on.
fn no_window(why: &str) -> anyhow::Error {
    anyhow::anyhow!("{why}; answer in the terminal with --no-window --prompt TEXT")
}

fn windowed_app(setup: &WorldSetup, memory: GpuMemory) -> anyhow::Result<App> {
    let choice = GpuChoice::default();
    let facts = AdapterFacts::find(&choice).map_err(|error| no_window(&error.to_string()))?;
    let mut app = App::new();
    let [width, height] = setup.size;
    let window = Window {
        title: one_line(&format!("pixel-llm - {}", setup.model.path().display())).into_owned(),
        resolution: WindowResolution::new(width, height),
        ..default()
    };
    let plugins = DefaultPlugins
        .set(WindowPlugin { primary_window: Some(window), ..default() })
        .set(log())
        .set(render_plugin())
        // The forward pass and the picture share one device: a thread of its own for the picture
        // gains nothing.
        .disable::<PipelinedRenderingPlugin>()
        .disable::<WinitPlugin>();
    let display = ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"];
    if cfg!(target_os = "linux") && display.iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(no_window("there is no display for a window"));
    }
    // Winit says by a panic that a display which is named does not answer.
    let hook = std::panic::take_hook();
    // The usual hook would print the panic beside what is said of it here.
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        app.add_plugins(WinitPlugin::default());
    }));
    std::panic::set_hook(hook);
    opened.map_err(|_| no_window("the display does not answer, so there can be no window"))?;
    app.add_plugins(plugins);
    add_world(&mut app, setup, facts, memory)?;
    app.world_mut().spawn(camera());
    // A window that says nothing for seconds looks broken.
    app.insert_resource(Opening::default());
    if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
        render_app.insert_resource(HeldBack(Opening::FRAMES));
    }
    Ok(app)
}

/// The camera of the map.
fn camera() -> impl Bundle {
    // A picture of the map that is still the same is copied to where it is shown.
    let usages = CameraMainTextureUsages::default().with(TextureUsages::COPY_DST);
    (Camera2d, Msaa::Off, usages)
}

fn render_plugin() -> RenderPlugin {
    let render_creation = GpuChoice::default().settings().into();
    // Compiled before a frame is drawn, so that a tour's pictures are the same each time.
    RenderPlugin { render_creation, synchronous_pipeline_compilation: true, ..default() }
}

fn log() -> LogPlugin {
    LogPlugin {
        level: Level::WARN,
        // GL that fails to start is nothing to report where another back end works.
        filter: format!("{DEFAULT_FILTER},wgpu_hal::gles=off,bevy_winit=error"),
        fmt_layer: log_layer,
        ..default()
    }
}

/// Everything but the window: the model, its forward pass, the map and the panels.
fn add_world(
    app: &mut App,
    setup: &WorldSetup,
    facts: AdapterFacts,
    memory: GpuMemory,
) -> anyhow::Result<()> {
    // A damaged tile is shown as such, and a prompt refused in words: the rest can be looked at.
    let model = &Arc::new(setup.model.laid_out(&setup.assets.rules()?).with_damaged_tiles());
    let settings = setup.settings.read();
    let palettes = crate::world::content::palettes(&setup.assets)?;
    let keys: KeyBindings = crate::world::content::keys(&setup.assets)?;
    spawn_model(app.world_mut(), model);
    let context = model.config().context_length.min(crate::world::think::CONTEXT);
    let sizes = Sizes { slots: 1, context, columns: COLUMNS, steps: 1 };
    let plan = KernelConfig::usual(&facts);
    let memory = memory.gpu_memory.map(|size| size.0).or_else(|| facts.memory_for_weights());
    let budgets = view_budgets(memory);
    // The tiles in view and those of the forward pass share what there is.
    let streamed = memory.filter(|&cap| weights_in_bytes(model) > cap);
    let memory = streamed.map(|cap| cap - budgets.memory_in_bytes).or(memory);
    let tuning = streamed.and(memory).and_then(|cap| tuned(&facts, model, cap)).unwrap_or_default();
    let network = GpuModelSource {
        model: Arc::clone(model),
        sizes,
        family: plan.family,
        persistent_workgroups: plan.persistent_workgroups(),
        compile_ahead: true,
        memory,
        tuning,
    };
    app.insert_resource(facts)
        .insert_resource(GraphicsDevice::new(Some(reopen_gpu)))
        .insert_resource(budgets)
        .insert_resource(Atlas::new(Arc::clone(model)))
        .insert_resource(Palettes(palettes))
        .insert_resource(setup.settings.clone())
        .insert_resource(settings)
        .insert_resource(keys)
        .insert_resource(setup.assets.clone())
        .add_plugins((
            ShadersPlugin { sources: load_sources(None)? },
            ForwardPlugin,
            GpuModelPlugin { model: network },
            (InterventionsPlugin, WeightEditsPlugin),
            WorldPlugin,
            LiveModsPlugin,
            PanelPlugin,
            experiments::ExperimentsPlugin,
        ))
        .add_systems(Last, keep_settings.run_if(resource_exists_and_changed::<Settings>));
    Ok(())
}

/// How a trial has found that a model is streamed fastest through so much memory.
fn tuned(facts: &AdapterFacts, model: &PixelModel, cap: u64) -> Option<StreamTuning> {
    let known = streaming_trial::recall(Cache::default().folder(), facts, model, cap)?;
    info!("{}, by a trial", known.line());
    Some(known.tuning)
}

fn keep_settings(settings: Res<Settings>, file: Res<SettingsFile>, mut first: Local<bool>) {
    // The first change is that they were read.
    if std::mem::replace(&mut *first, true) {
        file.write(&settings);
    }
}

/// Says on the terminal what became of a tour's pictures.
fn report(mut exits: MessageReader<AppExit>, shots: Res<Shots>, tour: Option<Res<TourRun>>) {
    if exits.read().next().is_none() {
        return;
    }
    warn_of(&shots, tour.as_ref().map_or(&[], |tour| &tour.complaints));
}

/// Says which pictures could not be written, and what of a tour could not be done.
fn warn_of(shots: &Shots, complaints: &[String]) {
    let failures = shots.failures().iter().map(ToString::to_string);
    for warning in failures.chain(complaints.iter().cloned()) {
        print_warning(&warning);
    }
}
