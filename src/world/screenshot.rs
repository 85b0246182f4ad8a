//! Screenshots: what the camera's target shows, as PNG files.

use std::path::{Path, PathBuf};

use bevy::{
    camera::{ImageRenderTarget, RenderTarget},
    prelude::*,
    render::view::screenshot::{Screenshot, ScreenshotCaptured},
};

use super::WorldSystems;
use super::device_recovery::GraphicsDevice;
use super::tour::{self, TourRun, TourStep, TourSystems};

/// Why a picture was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShotError {
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What went wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Screenshots that are wanted and how they went.
#[derive(Resource, Default, Debug)]
pub struct Shots {
    /// What is drawn off-screen; without it, the primary window.
    pub target: Option<ImageRenderTarget>,
    wanted: Vec<PathBuf>,
    /// Those that are being taken.
    waiting: Vec<(Entity, PathBuf)>,
    written: Vec<PathBuf>,
    failures: Vec<ShotError>,
}

impl Shots {
    /// Asks for a picture of the next frame.
    pub fn take(&mut self, path: PathBuf) {
        self.wanted.push(path);
    }

    /// Whether pictures are still on their way.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.wanted.is_empty()
    }

    /// The files that were written.
    pub fn written(&self) -> &[PathBuf] {
        &self.written
    }

    /// What could not be written.
    pub fn failures(&self) -> &[ShotError] {
        &self.failures
    }
}

/// Adds [`Shots`], and takes what is asked of them.
pub(super) struct ScreenshotPlugin;

impl Plugin for ScreenshotPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Shots>().add_systems(Last, ask).add_systems(
            Update,
            (
                tour::hold.in_set(TourSystems::Hold).run_if(is_busy),
                follow_tour.in_set(WorldSystems::Act).run_if(resource_exists::<TourRun>),
            ),
        );
    }
}

/// Takes the pictures that a tour leaves.
fn follow_tour(mut steps: MessageReader<TourStep>, tour: Res<TourRun>, mut shots: ResMut<Shots>) {
    for step in steps.read() {
        if let (TourStep::Screenshot(name), Some(folder)) = (step, &tour.shots) {
            shots.take(folder.join(format!("{name}.png")));
        }
    }
}

fn is_busy(shots: Res<Shots>) -> bool {
    shots.is_busy()
}

fn ask(mut shots: ResMut<Shots>, device: Option<Res<GraphicsDevice>>, mut commands: Commands) {
    if device.is_some_and(|device| device.lost.is_some()) {
        // What was being taken went with the device, and is taken once there is another.
        for (entity, path) in std::mem::take(&mut shots.waiting) {
            // Bevy despawns one that was captured.
            commands.entity(entity).try_despawn();
            shots.wanted.push(path);
        }
        return;
    }
    let wanted = std::mem::take(&mut shots.wanted);
    for path in wanted {
        let screenshot = match &shots.target {
            // With its factor: a target with another one is another target, and stays black.
            Some(target) => Screenshot(RenderTarget::Image(target.clone())),
            None => Screenshot::primary_window(),
        };
        let file = path.clone();
        let keep = move |captured: On<ScreenshotCaptured>, mut shots: ResMut<Shots>| {
            shots.waiting.retain(|(_, waiting)| *waiting != file);
            match write_png(&captured.image, &file) {
                Ok(()) => shots.written.push(file.clone()),
                Err(error) => shots.failures.push(error),
            }
        };
        let entity = commands.spawn(screenshot).observe(keep).id();
        shots.waiting.push((entity, path));
    }
}

/// Writes a picture without its alpha.
fn write_png(image: &Image, path: &Path) -> Result<(), ShotError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ShotError::Write {
        path: path.to_owned(),
        source,
    };
    let picture = image.clone().try_into_dynamic().map_err(|error| failed(error.into()))?.to_rgb8();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| failed(error.into()))?;
    writer.write_image_data(picture.as_raw()).map_err(|error| failed(error.into()))?;
    writer.finish().map_err(|error| failed(error.into()))?;
    crate::pxi::AtomicFile::replace(path, &bytes).map_err(|error| failed(error.into()))
}
