//! The world off-screen with a model that does not fit the device: what is near is drawn, through
//! the view set, as where all of it fits; what is not there is drawn from afar; a damaged tile is
//! seen to be damaged; and the model thinks as it does where it fits.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::forward::convert_to;
use crate::common::tiny::Tiny;
use crate::common::world::{Picture, opened};
use bevy::prelude::Mut;
use pixel_llm::app::cli::engine::GpuMemory;
use pixel_llm::app::explore::{Offscreen, OffscreenError, WorldSetup};
use pixel_llm::forward::gpu::model::GpuModelError;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::panel::streaming::{Recent, rows};
use pixel_llm::residency::compute::{PlanError, PoolError};
use pixel_llm::residency::{BadTile, ResidencyBudgets, ResidencyFigures, ViewAtlas};
use pixel_llm::size::MemorySize;
use pixel_llm::tiles::ModelIndex;
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::SettingsFile;
use pixel_llm::world::tabs::{Drawer, Tab};
use pixel_llm::world::think::Generation;

/// Points per cell: the screen shows no more tiles than the view has room for.
const SCALE: f64 = 16.0;

fn open(model: &Arc<PixelModel>, memory: Option<u64>) -> Result<Offscreen, OffscreenError> {
    let setup = WorldSetup {
        model: Arc::clone(model),
        assets: pixel_llm::app::kinds::assets(),
        settings: SettingsFile::default(),
        size: [640, 480],
    };
    Offscreen::with_memory(&setup, GpuMemory { gpu_memory: memory.map(MemorySize) })
}

/// The world with the model on the device, and with it streamed through as little as will do.
fn worlds(model: &Arc<PixelModel>) -> Option<[Offscreen; 2]> {
    let whole = opened(open(model, None))?;
    Some([whole, streamed(model)])
}

pub fn streamed(model: &Arc<PixelModel>) -> Offscreen {
    let Err(OffscreenError::GpuModel(GpuModelError::Pool(PoolError::Plan(PlanError::TooSmall {
        least,
        ..
    })))) = open(model, Some(4))
    else {
        panic!("4 bytes are enough");
    };
    // A quarter is for the view.
    let mut world = open(model, Some(least / 3 * 4 + 8)).unwrap();
    world.update(2);
    assert!(world.app.world().contains_resource::<ViewAtlas>(), "it does not fit and is streamed");
    world
}

fn go_to(world: &mut Offscreen, model: &PixelModel, tensor: &str) {
    let tensor = model.tensor(tensor).unwrap();
    assert!(crate::common::world::go_to(world, &Place::Weight(tensor.name.clone(), 8, 8)));
    let world = world.app.world_mut();
    world.resource_mut::<MapCamera>().view.scale = SCALE;
    world.resource_mut::<Selection>().0 = None;
}

/// Frames until nothing is on its way.
fn settle(world: &mut Offscreen) {
    let mut quiet = 0;
    for _ in 0..500 {
        world.update(1);
        let figures = world.app.world().resource::<ResidencyFigures>().view;
        quiet = if figures.is_none_or(|view| view.bytes_in_flight == 0) { quiet + 1 } else { 0 };
        if quiet == 5 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("tiles do not come: {:?}", world.app.world().resource::<ResidencyFigures>());
}

/// The middle of the picture, where no panel is.
fn shoot(world: &mut Offscreen, folder: &Path, name: &str) -> Vec<[u8; 3]> {
    // Words are wholly there after 150 ms, which are ten frames.
    world.update(11);
    let path = folder.join(name);
    world.shoot(path.clone()).unwrap();
    let picture = Picture::read(&path);
    let (rows, columns) = (110..300, 60..580);
    rows.flat_map(|y| columns.clone().map(move |x| y * picture.width + x))
        .map(|at| picture.pixels[at])
        .collect()
}

fn colours(picture: &[[u8; 3]]) -> usize {
    picture.iter().collect::<std::collections::HashSet<_>>().len()
}

#[test]
fn what_is_near_is_drawn_as_where_all_of_it_fits() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some([mut whole, mut streamed]) = worlds(&model) else { return };
    // More places than the view has room for tiles, and back to the first.
    let names = [
        "blk.0.attn_q.weight",
        "blk.1.ffn_down.weight",
        "token_embd.weight",
        "blk.0.attn_q.weight",
    ];
    for (at, name) in names.iter().enumerate() {
        let [expected, found] = [&mut whole, &mut streamed].map(|world| {
            go_to(world, &model, name);
            settle(world);
            shoot(world, folder.path(), "near.png")
        });
        assert!(colours(&expected) > 20, "{name} is seen");
        let wrong = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{name}, place {at}: of {} pixels", found.len());
    }
    let figures = streamed.app.world().resource::<ResidencyFigures>().view.unwrap();
    assert!(figures.bytes_uploaded > 0 && figures.bad_tiles == 0, "{figures:?}");
    assert_eq!(
        whole.app.world().resource::<ResidencyFigures>(),
        &ResidencyFigures::default(),
        "off costs nothing"
    );

    // Without room for a single tile there is the coarse level still.
    streamed.app.world_mut().resource_mut::<ResidencyBudgets>().memory_in_bytes = 0;
    settle(&mut streamed);
    let coarse = shoot(&mut streamed, folder.path(), "coarse.png");
    let near = shoot(&mut whole, folder.path(), "near.png");
    let same = coarse.iter().zip(&near).filter(|(a, b)| a == b).count();
    assert!(
        colours(&coarse) > 4 && same < near.len() / 2,
        "{} colours, {same} the same",
        colours(&coarse)
    );
}

#[test]
fn a_damaged_tile_is_seen_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = folder.path().join("tiny.gguf");
    Tiny::new("llama", Encoding::Q8_0, 7).write(&gguf);
    let file = folder.path().join("tiny.pxi");
    convert_to(&gguf, &file);
    let model = Arc::new(PixelModel::open(&file).unwrap());
    let Some([mut whole, mut sound]) = worlds(&model) else { return };
    let (damaged, other) = ("blk.1.ffn_down.weight", "blk.0.attn_q.weight");
    let tile = model.tensor(damaged).unwrap().first_tile;
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[64 + model.tile_range(tile).start] ^= 1;
    // Another file, since what is mapped must not change.
    let broken = folder.path().join("broken.pxi");
    std::fs::write(&broken, bytes).unwrap();
    let broken = Arc::new(PixelModel::open(&broken).unwrap());
    let mut world = streamed(&broken);

    go_to(&mut world, &broken, damaged);
    settle(&mut world);
    let picture = shoot(&mut world, folder.path(), "damaged.png");
    let red = |picture: &[[u8; 3]]| {
        picture.iter().filter(|[r, g, b]| *r > 230 && *g < 60 && *b < 60).count()
    };
    assert!(red(&picture) > 100, "{} red pixels", red(&picture));
    go_to(&mut sound, &model, damaged);
    settle(&mut sound);
    assert_eq!(red(&shoot(&mut sound, folder.path(), "sound.png")), 0);
    let entity = world.app.world().resource::<ModelIndex>().tile(tile).unwrap();
    assert!(world.app.world().get::<BadTile>(entity).is_some());
    assert_eq!(
        world.app.world().resource::<ResidencyFigures>().view.unwrap().bad_tiles,
        1,
        "it is asked for once"
    );

    let [expected, found] = [&mut whole, &mut world].map(|world| {
        go_to(world, &model, other);
        settle(world);
        shoot(world, folder.path(), "other.png")
    });
    assert!(expected == found && colours(&expected) > 20);
}

#[test]
fn a_streamed_model_thinks_the_same() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(worlds) = worlds(&model) else { return };
    let [expected, found] = worlds.map(|mut world| {
        world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
            mind.ask(world.resource::<Atlas>().model(), "Once upon a time", false, 8, 0.0);
        });
        for _ in 0..2000 {
            world.update(1);
            if !world.app.world().resource::<Generation>().is_busy() {
                break;
            }
        }
        let mind = world.app.world().resource::<Generation>();
        assert_eq!(mind.problem, None);
        (mind.thoughts.clone(), world.app.world().resource::<ResidencyFigures>().compute)
    });
    assert!(
        expected.0.len() > 8 && expected.0 == found.0,
        "{:?}\n{:?}",
        expected.0.last(),
        found.0.last()
    );
    assert_eq!(expected.1, None);
    let figures = found.1.unwrap();
    assert!(figures.passes > 4 && figures.bytes_uploaded > 0, "{figures:?}");
}

#[test]
fn the_timings_panel_tells_what_streaming_does() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some([whole, mut world]) = worlds(&model) else { return };
    let table = |world: &Offscreen| {
        let (figures, atlas) = (
            world.app.world().resource::<ResidencyFigures>(),
            world.app.world().get_resource::<ViewAtlas>(),
        );
        rows(figures, atlas.map(ViewAtlas::slots), &Recent::default())
    };
    assert!(table(&whole).is_empty(), "what is all there is not streamed");

    let without = shoot(&mut world, folder.path(), "without.png");
    world.app.world_mut().resource_mut::<Drawer>().0 = Some(Tab::Timings);
    go_to(&mut world, &model, "blk.0.attn_q.weight");
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), "Once upon a time", false, 8, 0.0);
    });
    while world.app.world().resource::<Generation>().is_busy() {
        world.update(1);
    }
    settle(&mut world);
    let figures = *world.app.world().resource::<ResidencyFigures>();
    let (compute, view, room) =
        (figures.compute.unwrap(), figures.view.unwrap(), figures.pool.unwrap());
    let rows = table(&world);
    let of = |name: &str| {
        let row =
            rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        [row[1].replace('\u{202f}', ""), row[2].replace('\u{202f}', "")]
    };
    assert_eq!(of("tiles there"), [compute.hits.to_string(), view.hits.to_string()]);
    assert_eq!(of("tiles brought"), [compute.misses.to_string(), view.misses.to_string()]);
    assert_eq!(of("made room"), [compute.evictions.to_string(), view.evictions.to_string()]);
    assert_eq!(of("damaged"), ["0", "0"]);
    let sizes =
        [compute.bytes_uploaded, view.bytes_uploaded].map(|bytes| MemorySize(bytes).to_string());
    assert_eq!(of("uploaded"), sizes);
    assert!(compute.bytes_uploaded > 0 && view.bytes_uploaded > 0, "{figures:?}");
    assert_eq!(of("room")[0], MemorySize(room.in_bytes).to_string());
    assert!(of("waits")[0].starts_with(&compute.stalls.to_string()), "{rows:?}");
    // The pool is within what it was given: less than the weights.
    let weights: u64 = model.tensors().iter().map(|tensor| tensor.tiling.size_in_bytes()).sum();
    assert!(room.in_bytes < weights && room.slots > 0, "{room:?}, {weights} bytes of weights");
    let with = shoot(&mut world, folder.path(), "with.png");
    assert!(with != without, "the panel is drawn");
}
