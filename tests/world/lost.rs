//! A graphics device that is lost in the middle: frames go on, what happened is said in words,
//! prompts are refused until there is another, and on that one all is as it was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::Path;
use std::sync::Arc;

use crate::common::world::{self, Picture, go_to, open_world};
use bevy::app::AppExit;
use bevy::prelude::{Messages, Mut};
use bevy::render::renderer::RenderDevice;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::model::edits::Brush;
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::camera::{MapCamera, Navigate};
use pixel_llm::world::device_recovery::GraphicsDevice;
use pixel_llm::world::lab::Edits;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::notices::Notices;
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::think::{GeneratedToken, Generation};
use pixel_llm::world::tour::{Tour, TourRun};

const SIZE: [u32; 2] = [640, 480];
const PROMPT: &str = "Once upon a time";

fn world() -> Option<Offscreen> {
    open_world(Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap()), SIZE)
}

fn ask(world: &mut Offscreen, tokens: u32) -> Option<String> {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, tokens, 0.0);
        mind.problem.clone()
    })
}

fn answer(world: &mut Offscreen, tokens: u32) -> Vec<GeneratedToken> {
    assert_eq!(ask(world, tokens), None);
    for _ in 0..2000 {
        if !world.app.world().resource::<Generation>().is_busy() {
            break;
        }
        world.update(1);
    }
    let mind = world.app.world().resource::<Generation>();
    assert_eq!(mind.problem, None);
    assert_eq!(mind.thoughts.len(), mind.prompt_len + tokens as usize);
    mind.thoughts.clone()
}

fn lose(world: &mut Offscreen) {
    pixel_llm::world::device_recovery::lose(world.app.world().resource::<RenderDevice>());
}

fn notice(world: &Offscreen) -> String {
    world.app.world().resource::<Notices>().text().unwrap_or_default().to_owned()
}

/// A picture of the map as it is when it is come to.
fn shoot(world: &mut Offscreen, folder: &Path) -> Picture {
    // Names that stood a frame ago come first: after a look at the whole land there are none.
    let scale = world.app.world().resource::<MapCamera>().view.scale;
    world.app.world_mut().resource_mut::<MapCamera>().view.scale = scale / 100.0;
    world.update(2);
    world.app.world_mut().resource_mut::<MapCamera>().view.scale = scale;
    world::shoot_map(world, folder)
}

/// Mutes a head, paints a tensor and looks at a place where both are seen.
fn change(world: &mut Offscreen) {
    let app = world.app.world_mut();
    let head = app.resource::<ModelIndex>().head(0, 1).unwrap();
    app.entity_mut(head).insert(Muted);
    app.resource_scope(|world, mut edits: Mut<Edits>| {
        let atlas = world.resource::<Atlas>();
        for name in ["blk.0.ffn_up.weight", "blk.1.attn_norm.weight"] {
            edits.mark_place(atlas, &Place::Tensor(name.into()));
            edits.paint(atlas.model(), Brush::Scale(1.5)).unwrap();
        }
        edits.clear();
    });
    assert!(go_to(world, &Place::Layer(0)));
    world.app.world_mut().resource_mut::<Selection>().0 = None;
}

#[test]
fn a_lost_device_is_followed_by_another_on_which_all_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = world() else { return };
    let plain = answer(&mut world, 8);
    change(&mut world);
    let thoughts = answer(&mut world, 8);
    assert!(thoughts != plain, "the changes matter");
    let picture = shoot(&mut world, folder.path());

    // In the middle of an answer.
    assert_eq!(ask(&mut world, 200), None);
    world.update(4);
    assert!(world.app.world().resource::<Generation>().is_busy());
    lose(&mut world);
    world.update(12);
    let device = world.app.world().resource::<GraphicsDevice>();
    assert_eq!((device.losses, &device.lost), (1, &None), "there is another");
    let told = notice(&world);
    assert!(told.contains("device is lost") && told.contains("another was opened"), "{told}");
    let mind = world.app.world().resource::<Generation>();
    let problem = mind.problem.clone().unwrap_or_default();
    assert!(!mind.is_busy() && problem.contains("ask again"), "{problem}");

    answered(&mut world, &thoughts, &picture, folder.path());
    // And once more, at rest and with a picture on its way.
    lose(&mut world);
    let path = folder.path().join("later.png");
    world.shoot(path.clone()).unwrap();
    assert_eq!(Picture::read(&path).pixels.len(), picture.pixels.len());
    assert_eq!(world.app.world().resource::<GraphicsDevice>().losses, 2);
    answered(&mut world, &thoughts, &picture, folder.path());
    // What was painted is taken back on the new device as on the old.
    let app = world.app.world_mut();
    app.resource_mut::<Edits>().restore_all();
    let head = app.resource::<ModelIndex>().head(0, 1).unwrap();
    app.entity_mut(head).remove::<Muted>();
    world.update(2);
    assert!(answer(&mut world, 8) == plain, "bit for bit");
}

/// Asserts that the answer is that of before, bit for bit, and so is the picture.
fn answered(world: &mut Offscreen, thoughts: &[GeneratedToken], picture: &Picture, folder: &Path) {
    assert!(answer(world, 8) == thoughts, "the answer is that of before, bit for bit");
    let now = shoot(world, folder);
    let pairs = now.pixels.iter().zip(&picture.pixels).enumerate();
    let others: Vec<_> = pairs.filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    let places = others.iter().map(|at| [at % picture.width, at / picture.width]);
    let ends = places.fold([[usize::MAX; 2], [0; 2]], |[low, high], [x, y]| {
        [[low[0].min(x), low[1].min(y)], [high[0].max(x), high[1].max(y)]]
    });
    assert!(others.is_empty(), "{} pixels are others than before, in {ends:?}", others.len());
}

#[test]
fn without_another_device_frames_go_on_and_prompts_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = world() else { return };
    let before = answer(&mut world, 4);
    let picture = shoot(&mut world, folder.path());
    let open = world.app.world().resource::<GraphicsDevice>().open;
    world.app.world_mut().resource_mut::<GraphicsDevice>().open =
        Some(|| Err("the card is gone".into()));
    lose(&mut world);
    world.update(30);
    let why = world.app.world().resource::<GraphicsDevice>().lost.clone().unwrap();
    assert!(why.contains("device is lost"), "{why}");
    assert!(notice(&world).contains("nothing is drawn"), "{}", notice(&world));
    let problem = ask(&mut world, 4).unwrap();
    assert!(
        problem.contains("device is lost") && problem.contains("until there is another"),
        "{problem}"
    );
    world.update(3);
    let mind = world.app.world().resource::<Generation>();
    assert!(!mind.is_busy() && mind.thoughts == before, "nothing changed");
    let home = world.app.world().resource::<MapCamera>().view;
    for (to, is_home) in [(Navigate::To(Place::Layer(1)), false), (Navigate::Back, true)] {
        world.app.world_mut().write_message(to);
        world.update(40);
        let view = world.app.world().resource::<MapCamera>().view;
        assert_eq!(view == home, is_home, "one can go about: {view:?}");
    }
    world.app.world_mut().resource_mut::<Selection>().0 = None;
    assert!(world.app.should_exit().is_none(), "it lives on");

    // A device comes back; it is found by the next attempt.
    world.app.world_mut().resource_mut::<GraphicsDevice>().open = open;
    let start = std::time::Instant::now();
    while world.app.world().resource::<GraphicsDevice>().lost.is_some() {
        world.update(1);
        assert!(start.elapsed().as_secs() < 20, "it is not found");
    }
    assert!(answer(&mut world, 4) == before, "bit for bit");
    assert!(go_to(&mut world, &Place::Model));
    assert!(shoot(&mut world, folder.path()) == picture);
    world.app.world_mut().resource_mut::<Messages<AppExit>>().write(AppExit::Success);
    world.update(1);
    assert_eq!(world.app.should_exit(), Some(AppExit::Success), "nothing else ended it");
}

#[test]
fn a_tour_goes_on_over_a_lost_device() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = world() else { return };
    let text = "(title: \"t\", steps: [Look(at: Head(0, 0)), LoseDevice, Screenshot(\"one\"), \
                Prompt(text: \"Once\", tokens: 3), Screenshot(\"two\")])";
    let tour: Tour = ron::from_str(text).unwrap();
    world.app.insert_resource(TourRun::new(tour, Some(folder.path().to_owned()), false));
    assert_eq!(world.take_tour().unwrap(), [""; 0]);
    for name in ["one.png", "two.png"] {
        let picture = Picture::read(&folder.path().join(name));
        let colours: std::collections::HashSet<_> = picture.pixels.iter().collect();
        assert!(colours.len() > 100, "{name} has {} colours", colours.len());
    }
    assert!(world.app.world().resource::<Generation>().answer().len() > 3);
}
