//! What the tests of the world share: it is opened off-screen, and its pictures are read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are steps of tests, which fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use pixel_llm::app::explore::{Offscreen, OffscreenError, WorldSetup};
use pixel_llm::engine::gpu::headless::GpuError;
use pixel_llm::model::PixelModel;
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::notices::Notices;
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::SettingsFile;
use pixel_llm::world::tabs::Drawer;

/// A model's world with everything else as built in, or `None` with a loud word where there is no
/// adapter.
pub fn open_world(model: Arc<PixelModel>, size: [u32; 2]) -> Option<Offscreen> {
    let setup = WorldSetup {
        model,
        assets: pixel_llm::app::kinds::assets(),
        settings: SettingsFile::default(),
        size,
    };
    opened(Offscreen::new(&setup))
}

/// A world that was opened, or `None` with a loud word where there is no adapter. With
/// `PIXEL_LLM_REQUIRE_GPU` set that is an error, as all else is.
pub fn opened(world: Result<Offscreen, OffscreenError>) -> Option<Offscreen> {
    match world {
        Ok(world) => Some(world),
        Err(OffscreenError::Gpu(error @ GpuError::NoAdapter { .. }))
            if std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none() =>
        {
            eprintln!("SKIPPED, nothing was tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Is at a place at once, and selects it as [`Navigate`](pixel_llm::world::camera::Navigate) does.
/// False where the model has no such place.
pub fn go_to(world: &mut Offscreen, place: &Place) -> bool {
    let world = world.app.world_mut();
    let atlas = world.resource::<Atlas>();
    let bounds = atlas.bounds();
    let Some(view) = world.resource::<MapCamera>().view_of(place, atlas) else { return false };
    world.resource_mut::<MapCamera>().fly(view, Some(0.0), bounds);
    world.resource_mut::<Selection>().0 = (*place != Place::Model).then(|| place.clone());
    true
}

/// A picture of what is seen now, by way of a file in a folder.
pub fn shoot(world: &mut Offscreen, folder: &Path) -> Picture {
    // What is told fades; two pictures of the same are the same.
    *world.app.world_mut().resource_mut::<Notices>() = Notices::default();
    // Words are wholly there after 150 ms, which are ten frames.
    world.update(11);
    let path = folder.join("picture.png");
    world.shoot(path.clone()).unwrap();
    Picture::read(&path)
}

/// A picture without the drawer, which opens where weights are painted and answers are compared,
/// and covers a small screen.
pub fn shoot_map(world: &mut Offscreen, folder: &Path) -> Picture {
    world.app.world_mut().resource_mut::<Drawer>().0 = None;
    shoot(world, folder)
}

/// A picture, its pixels row by row.
#[derive(PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub fn read(path: &Path) -> Self {
        let decoder =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        let pixels = rgb.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Self { width: info.width as usize, height: info.height as usize, pixels }
    }

    /// The pixel at a point of the screen.
    pub fn at(&self, [x, y]: [f64; 2]) -> [u8; 3] {
        self.pixels[y as usize * self.width + x as usize]
    }
}
