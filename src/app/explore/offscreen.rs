//! The world without a window: drawn into an image, at a clock of its own, so that a tour is the
//! same each time.

use super::*;
use crate::engine::gpu::headless::GpuError;
use crate::forward::gpu::model::{GpuModelError, GpuModelFailure};
use crate::world::text_scale;
use bevy::camera::{ImageRenderTarget, RenderTarget};
use bevy::image::Image;
use bevy::render::RenderApp;
use bevy::render::render_resource::{TextureFormat, TextureUsages};

/// Why the world cannot be drawn off-screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffscreenError {
    /// There is no adapter.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model cannot be put on it.
    #[error(transparent)]
    GpuModel(#[from] GpuModelError),
    /// An asset is not what it should be.
    #[error("{0}")]
    Asset(String),
    /// A tour or a picture does not come to an end.
    #[error("{what} is not done after {frames} frames")]
    Endless {
        /// What is waited for: the tour or a picture.
        what: &'static str,
        /// How long it was waited for.
        frames: u32,
    },
}

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(33);
/// Frames in which a tour must be over: ten minutes of it.
const MOST_FRAMES: u32 = 18_000;

/// The world without a window.
pub struct Offscreen {
    /// The app, to look into and to act on.
    pub app: App,
}

impl Offscreen {
    /// Opens it.
    ///
    /// # Errors
    /// There is no adapter, the model does not fit it, or an asset cannot be read.
    pub fn new(setup: &WorldSetup) -> Result<Self, OffscreenError> {
        Self::open(setup, GpuMemory::default(), |_| Ok(()))
    }

    /// Opens it with something more, such as [`Inhabitants`].
    ///
    /// # Errors
    /// As for [`Self::new`], or what `add` says.
    pub fn with(
        setup: &WorldSetup,
        add: impl FnOnce(&mut App) -> anyhow::Result<()>,
    ) -> Result<Self, OffscreenError> {
        Self::open(setup, GpuMemory::default(), add)
    }

    /// Opens it with a cap on what the model may take of the device: a larger one is streamed.
    ///
    /// # Errors
    /// As for [`Self::new`], or the cap is too small for that.
    pub fn with_memory(setup: &WorldSetup, memory: GpuMemory) -> Result<Self, OffscreenError> {
        Self::open(setup, memory, |_| Ok(()))
    }

    fn open(
        setup: &WorldSetup,
        memory: GpuMemory,
        add: impl FnOnce(&mut App) -> anyhow::Result<()>,
    ) -> Result<Self, OffscreenError> {
        let facts = AdapterFacts::find(&GpuChoice::default())?;
        let mut app = App::new();
        let plugins = DefaultPlugins
            .set(WindowPlugin {
                primary_window: None,
                // The usual condition, no open window, holds from the first frame on.
                exit_condition: ExitCondition::DontExit,
                ..default()
            })
            .set(log())
            .set(render_plugin())
            // With it a frame is drawn while the next one is simulated already.
            .disable::<PipelinedRenderingPlugin>()
            .disable::<WinitPlugin>();
        app.add_plugins(plugins).insert_resource(TimeUpdateStrategy::ManualDuration(FRAME));
        add_world(&mut app, setup, facts, memory)
            .and_then(|()| add(&mut app))
            .map_err(|error| OffscreenError::Asset(format!("{error:#}")))?;
        let [width, height] = setup.size;
        let mut image =
            Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
        image.texture_descriptor.usage |= TextureUsages::COPY_SRC;
        let target = app.world_mut().resource_mut::<bevy::asset::Assets<Image>>().add(image);
        let scale_factor = text_scale::chosen(app.world().resource(), height as f32);
        let target = ImageRenderTarget { handle: target, scale_factor };
        app.world_mut().resource_mut::<Shots>().target = Some(target.clone());
        app.world_mut().spawn((camera(), RenderTarget::Image(target)));
        crate::engine::gpu::headless::prepare(&mut app);
        let mut world = Self { app };
        world.update(4);
        // Whether the model fits the device is known only after frames have been drawn.
        let failure =
            world.app.sub_app_mut(RenderApp).world_mut().resource_mut::<GpuModelFailure>().0.take();
        failure.map_or(Ok(world), |error| Err(error.into()))
    }

    /// Lets some frames pass.
    pub fn update(&mut self, frames: u32) {
        for _ in 0..frames {
            self.app.update();
        }
    }

    /// A picture of what is to be seen now.
    ///
    /// # Errors
    /// It does not come.
    pub fn shoot(&mut self, path: PathBuf) -> Result<(), OffscreenError> {
        self.app.world_mut().resource_mut::<Shots>().take(path);
        self.until("a picture", |world| !world.resource::<Shots>().is_busy())
    }

    /// Takes the tour that is there to its end and gives what it complains of.
    ///
    /// # Errors
    /// It has no end.
    pub fn take_tour(&mut self) -> Result<Vec<String>, OffscreenError> {
        // Nobody watches, so pauses and flights would only cost frames.
        self.app.world_mut().resource_mut::<TourRun>().hurry = true;
        self.until("the tour", |world| {
            world.resource::<TourRun>().is_over() && !world.resource::<Shots>().is_busy()
        })?;
        Ok(self.app.world().resource::<TourRun>().complaints.clone())
    }

    fn until(
        &mut self,
        what: &'static str,
        done: impl Fn(&World) -> bool,
    ) -> Result<(), OffscreenError> {
        for _ in 0..MOST_FRAMES {
            if done(self.app.world()) {
                return Ok(());
            }
            self.app.update();
        }
        Err(OffscreenError::Endless { what, frames: MOST_FRAMES })
    }
}
