//! A model with a damaged tile is opened all the same, where it fits the device and where it is
//! streamed: the tile is marked and named, the rest is drawn as ever, and a prompt is refused in
//! words until somebody wants an answer anyway.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::display::Display;
use crate::common::forward::convert_to;
use crate::common::tiny::Tiny;
use crate::common::world::{go_to, open_world, shoot};
use crate::streamed::streamed;
use bevy::prelude::Mut;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::damage::Damage;
use pixel_llm::world::draw::MapFrame;
use pixel_llm::world::layout::{Atlas, Place, STATE_DAMAGED};
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::think::Generation;

const SIZE: [u32; 2] = [640, 480];
const DAMAGED: &str = "blk.1.ffn_down.weight";

/// A sound model and a copy with a byte of one tile changed; and that tile.
fn models(folder: &Path) -> (PathBuf, PathBuf, u32) {
    let gguf = folder.join("tiny.gguf");
    Tiny::new("llama", Encoding::Q8_0, 7).write(&gguf);
    let [sound, broken] = ["sound.pxi", "broken.pxi"].map(|name| folder.join(name));
    convert_to(&gguf, &sound);
    let model = PixelModel::open(&sound).unwrap();
    let tile = model.tensor(DAMAGED).unwrap().first_tile;
    let mut bytes = std::fs::read(&sound).unwrap();
    // In the middle of it: a code, so that no number is infinite.
    let range = model.tile_range(tile);
    bytes[64 + (range.start + range.end) / 2] ^= 1;
    std::fs::write(&broken, bytes).unwrap();
    (sound, broken, tile)
}

fn mind(world: &Offscreen) -> &Generation {
    world.app.world().resource::<Generation>()
}

fn answered(world: &mut Offscreen, act: impl FnOnce(&mut Generation, &PixelModel)) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        act(&mut mind, world.resource::<Atlas>().model());
    });
    for _ in 0..2000 {
        world.update(1);
        if !mind(world).is_busy() {
            return;
        }
    }
    panic!("no end comes of it");
}

fn ask(world: &mut Offscreen) {
    answered(world, |mind, model| mind.ask(model, "ab", false, 4, 0.0));
}

/// A prompt is refused by the tile's name, and answered on request, which is said.
fn refused_and_answered_anyway(world: &mut Offscreen, tile: u32) {
    ask(world);
    let problem = mind(world).problem.clone().unwrap();
    let named = format!("tile {tile} of {DAMAGED}");
    assert!(problem.contains(&named), "{problem}");
    assert!(mind(world).thoughts.is_empty() && mind(world).refused().is_some());
    assert_eq!(world.app.world().resource::<Damage>().tiles, [tile]);
    answered(world, Generation::answer_anyway);
    assert_eq!(mind(world).problem, None);
    assert!(mind(world).thoughts.len() > mind(world).prompt_len, "there is an answer");
    assert!(mind(world).damage_of_answer().unwrap().contains(&named));
    ask(world);
    assert_eq!(mind(world).problem, None, "and there is one to the next prompt");
}

#[test]
fn a_damaged_tile_of_a_model_on_the_device_is_marked_and_named_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, broken, tile) = models(folder.path());
    let [sound, broken] = [sound, broken].map(|path| Arc::new(PixelModel::open(&path).unwrap()));
    let Some(mut world) = open_world(Arc::clone(&broken), SIZE) else { return };
    let mut whole = open_world(sound, SIZE).unwrap();
    world.update(2);
    assert_eq!(world.app.world().resource::<Damage>().tiles, [tile]);
    let quads = &world.app.world().resource::<MapFrame>().quads;
    let marked = quads.iter().filter(|quad| quad.state & STATE_DAMAGED != 0);
    assert!(marked.clone().count() > 0 && marked.clone().all(|quad| quad.tile == tile));

    let mut look = |tensor: &str, world: &mut Offscreen| {
        assert!(go_to(world, &Place::Weight(tensor.into(), 8, 8)));
        let app = world.app.world_mut();
        app.resource_mut::<Selection>().0 = None;
        app.resource_mut::<MapCamera>().view.scale = 16.0;
        let picture = shoot(world, folder.path());
        let places = (110..300).flat_map(|y| (60..580).map(move |x| y * picture.width + x));
        places.map(|at| picture.pixels[at]).collect::<Vec<_>>()
    };
    let red = |picture: &[[u8; 3]]| {
        picture.iter().filter(|[r, g, b]| *r > 230 && *g < 60 && *b < 60).count()
    };
    let picture = look(DAMAGED, &mut world);
    assert!(red(&picture) > 100, "{} red pixels", red(&picture));
    assert_eq!(red(&look(DAMAGED, &mut whole)), 0);
    let other = "blk.0.attn_q.weight";
    assert!(look(other, &mut world) == look(other, &mut whole), "the rest is drawn as ever");

    refused_and_answered_anyway(&mut world, tile);
    ask(&mut whole);
    assert_eq!(mind(&whole).damage_of_answer(), None);
}

#[test]
fn a_damaged_tile_of_a_streamed_model_ends_an_answer_by_its_name_and_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let (_, broken, tile) = models(folder.path());
    let broken = Arc::new(PixelModel::open(&broken).unwrap());
    if open_world(Arc::clone(&broken), SIZE).is_none() {
        return;
    }
    refused_and_answered_anyway(&mut streamed(&broken), tile);
}

#[cfg(target_os = "linux")]
#[test]
fn the_window_opens_a_damaged_model() {
    let Some(display) = Display::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, broken, tile) = models(folder.path());
    let tour = "(title: \"t\", steps: [Look(at: Tensor(\"blk.1.ffn_down.weight\"), \
                seconds: Some(0.0)), Screenshot(\"damaged\"), Prompt(text: \"ab\", tokens: 4), \
                Screenshot(\"refused\")])";
    let said = display.take_tour(tour, folder.path(), |program| _ = program.arg(&broken));
    let Some(said) = said else { return };
    assert!(said.contains(&format!("the tour's prompt: 1 tile is damaged: tile {tile}")), "{said}");
    for name in ["damaged", "refused"] {
        let path = folder.path().join(format!("{name}.png"));
        let picture = crate::common::world::Picture::read(&path);
        let red = picture.pixels.iter().filter(|[r, g, b]| *r > 230 && *g < 60 && *b < 60).count();
        assert!(red > 100, "{name}: {red} red pixels");
        if let Some(kept) = std::env::var_os("PIXEL_LLM_SHOTS") {
            std::fs::copy(&path, PathBuf::from(kept).join(format!("{name}-tile.png"))).unwrap();
        }
    }
}
