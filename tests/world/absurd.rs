//! Absurd input of a person, a tour or a file of settings: zooms far beyond both ends, a screen of
//! one pixel, numbers that are none, a prompt past the context. What can be done is done, what
//! cannot is said in words, and the world goes on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::{go_to, open_world, opened, shoot};
use bevy::asset::Assets as BevyAssets;
use bevy::image::Image;
use bevy::input::ButtonState;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::input::mouse::{MouseScrollUnit, MouseWheel};
use bevy::prelude::{Entity, KeyCode, Mut, Window};
use bevy::render::render_resource::Extent3d;
use bevy::window::PrimaryWindow;
use pixel_llm::agents::Position as Spot;
use pixel_llm::agents::simulation::Camera;
use pixel_llm::app::explore::{Inhabitants, Offscreen, WorldSetup};
use pixel_llm::coach::AllowedCommands;
use pixel_llm::model::PixelModel;
use pixel_llm::world::agents::{restore, snapshot};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::pointer::Pointer;
use pixel_llm::world::screenshot::Shots;
use pixel_llm::world::settings::{Settings, SettingsFile};
use pixel_llm::world::tabs::{Drawer, Tab};
use pixel_llm::world::think::Generation;
use pixel_llm::world::tour::{Tour, TourRun};
use pixel_llm::world::view::{MOST_SCALE, View};

const SIZE: [u32; 2] = [320, 240];

/// Views of numbers that are none, or of no place.
const ABSURD: [View; 3] = [
    View { centre: [f64::NAN, f64::INFINITY], scale: f64::NAN, size: [f64::NAN, 0.0] },
    View { centre: [1e300, -1e300], scale: f64::INFINITY, size: [-1.0; 2] },
    View { centre: [f64::NEG_INFINITY; 2], scale: -1e-300, size: [f64::INFINITY; 2] },
];

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

fn view(world: &Offscreen) -> View {
    world.app.world().resource::<MapCamera>().view
}

/// The farthest that one can zoom out.
fn least_scale(world: &Offscreen) -> f64 {
    let bounds = world.app.world().resource::<Atlas>().bounds();
    view(world).zoomed(1e-12, [0.0; 2], bounds).scale
}

fn assert_sane(world: &Offscreen, what: &str) {
    let (view, bounds) = (view(world), world.app.world().resource::<Atlas>().bounds());
    assert!(
        view.scale >= least_scale(world) * 0.999 && view.scale <= MOST_SCALE,
        "{what}: {view:?}"
    );
    let [x, y] = view.centre;
    let inside = |at: f64, low: i64, size: i64| at >= low as f64 && at <= (low + size) as f64;
    assert!(
        inside(x, bounds.x, bounds.width) && inside(y, bounds.y, bounds.height),
        "{what}: {view:?}"
    );
}

fn stroke(world: &mut Offscreen, key_code: KeyCode, state: ButtonState) {
    world.app.world_mut().write_message(KeyboardInput {
        key_code,
        logical_key: Key::Dead(None),
        state,
        text: None,
        repeat: false,
        window: Entity::PLACEHOLDER,
    });
}

fn key(world: &mut Offscreen, code: KeyCode, frames: u32) {
    stroke(world, code, ButtonState::Pressed);
    world.update(frames);
    stroke(world, code, ButtonState::Released);
    world.update(1);
}

#[test]
fn zooms_by_keys_and_wheel_stop_at_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let home = shoot(&mut world, folder.path());
    key(&mut world, KeyCode::KeyE, 260);
    assert_eq!(view(&world).scale, MOST_SCALE);
    key(&mut world, KeyCode::KeyD, 200);
    assert_sane(&world, "close, and far to the right");
    key(&mut world, KeyCode::KeyQ, 320);
    assert!((view(&world).scale / least_scale(&world) - 1.0).abs() < 1e-6, "{:?}", view(&world));
    key(&mut world, KeyCode::KeyW, 60);
    assert_sane(&world, "far");

    // A mouse whose wheel is broken.
    let window = Window { resolution: (SIZE[0], SIZE[1]).into(), ..Window::default() };
    let window = world.app.world_mut().spawn((window, PrimaryWindow)).id();
    let mut place = world.app.world_mut().get_mut::<Window>(window).unwrap();
    place.set_physical_cursor_position(Some(bevy::math::DVec2::new(160.0, 120.0)));
    for y in [1e9, f32::INFINITY, f32::MAX] {
        wheel(&mut world, window, y);
        assert_eq!(view(&world).scale, MOST_SCALE, "{y}");
        wheel(&mut world, window, -y);
        assert!(
            (view(&world).scale / least_scale(&world) - 1.0).abs() < 1e-6,
            "-{y}: {:?}",
            view(&world)
        );
    }
    let before = view(&world);
    wheel(&mut world, window, f32::NAN);
    assert_eq!(view(&world), before, "a wheel that tells no number moves nothing");
    world.app.world_mut().despawn(window);
    world.app.world_mut().resource_mut::<Pointer>().0 = None;
    assert!(go_to(&mut world, &Place::Model));
    assert!(shoot(&mut world, folder.path()) == home, "and home again");
}

fn wheel(world: &mut Offscreen, window: Entity, y: f32) {
    for unit in [MouseScrollUnit::Line, MouseScrollUnit::Pixel] {
        let phase = bevy::input::touch::TouchPhase::Moved;
        world.app.world_mut().write_message(MouseWheel { unit, x: 0.0, y, window, phase });
    }
    world.update(2);
    assert_sane(world, &format!("a wheel that tells {y}"));
}

#[test]
fn a_screen_of_one_pixel_is_survived_with_every_panel_open() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    assert_eq!(ask(&mut world, "Once upon a time", 3), None);
    settle(&mut world);
    let before = shoot(&mut world, folder.path());
    let resize = |world: &mut Offscreen, [width, height]: [u32; 2]| {
        let target = world.app.world().resource::<Shots>().target.clone().unwrap().handle;
        let mut images = world.app.world_mut().resource_mut::<BevyAssets<Image>>();
        images.get_mut(&target).unwrap().resize(Extent3d {
            width,
            height,
            depth_or_array_layers: 1,
        });
        world.update(3);
    };
    for tab in Tab::ALL {
        world.app.world_mut().resource_mut::<Drawer>().0 = Some(tab);
        for size in [[1, 1], [1, 240], [320, 1], [64, 48]] {
            resize(&mut world, size);
            assert_eq!(view(&world).size, size.map(f64::from), "{tab:?}");
            assert_sane(&world, &format!("{tab:?} on {size:?}"));
        }
    }
    resize(&mut world, [1, 1]);
    assert_eq!(shoot(&mut world, folder.path()).pixels.len(), 1);
    world.app.world_mut().resource_mut::<Drawer>().0 = None;
    resize(&mut world, SIZE);
    assert!(go_to(&mut world, &Place::Model));
    let after = shoot(&mut world, folder.path());
    assert_eq!((after.width, after.height), (before.width, before.height));
    let others = after.pixels.iter().zip(&before.pixels).filter(|(a, b)| a != b).count();
    assert!(others < before.pixels.len() / 50, "all is as before but for {others} pixels");
}

fn ask(world: &mut Offscreen, prompt: &str, tokens: u32) -> Option<String> {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), prompt, false, tokens, 0.0);
        mind.problem.clone()
    })
}

fn settle(world: &mut Offscreen) {
    for _ in 0..2000 {
        if !world.app.world().resource::<Generation>().is_busy() {
            return;
        }
        world.update(1);
    }
    panic!("the answer does not end");
}

#[test]
fn a_prompt_past_the_context_is_told_and_changes_nothing() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    assert_eq!(ask(&mut world, "Once upon a time", 6), None);
    settle(&mut world);
    let before = world.app.world().resource::<Generation>().thoughts.clone();
    let problem = ask(&mut world, &"word ".repeat(5000), 6).unwrap();
    assert!(problem.contains("tokens") && problem.contains("room for"), "{problem}");
    world.update(5);
    assert!(
        world.app.world().resource::<Generation>().thoughts == before,
        "the answer before is still there"
    );
    // More tokens than there is room for are as many as there is room for.
    assert_eq!(ask(&mut world, "Once upon a time", u32::MAX), None);
    world.update(3);
    assert_eq!(ask(&mut world, "Once upon a time", 6), None, "and another takes its place");
    settle(&mut world);
    assert!(world.app.world().resource::<Generation>().thoughts == before);
}

#[test]
fn a_tour_that_names_what_is_not_there_says_so_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let text = "(title: \"t\", steps: [Zoom(at: Tensor(\"none\"), scale: 1e300), \
                Select(Some(Head(9, 9))), Unmute(Layer(77)), \
                Palette(\"nowhere\"), Look(at: Weight(\"blk.0.attn_q.weight\", 99999999, 0)), \
                Prompt(text: \"Once\", tokens: 2), Zoom(at: Model, scale: 1e300), \
                Screenshot(\"end\")])";
    let tour: Tour = ron::from_str(text).unwrap();
    world.app.insert_resource(TourRun::new(tour, Some(folder.path().to_owned()), false));
    let complaints = world.take_tour().unwrap();
    for (word, complaint) in
        ["none", "head 9", "layer 77", "nowhere", "99999999"].iter().zip(&complaints)
    {
        assert!(complaint.contains(word), "{word}: {complaints:?}");
    }
    assert_eq!(complaints.len(), 5, "{complaints:?}");
    assert!(folder.path().join("end.png").is_file(), "it went on to its end");
    assert!(world.app.world().resource::<Generation>().answer().len() > 1);
    assert_eq!(view(&world).scale, MOST_SCALE);
}

#[test]
fn a_tour_of_numbers_that_are_none_is_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tours")).unwrap();
    for step in [
        "Zoom(at: Model, scale: NaN)",
        "Zoom(at: Model, scale: 1e999)",
        "Zoom(at: Model, scale: -1.0)",
        "Look(at: Model, seconds: Some(1e999))",
        "Look(at: Model, seconds: Some(-NaN))",
        "Wait(inf)",
        "Wait(1e30)",
    ] {
        let text = format!("(title: \"t\", steps: [Screenshot(\"a\"), {step}])");
        std::fs::write(folder.path().join("tours/t.tour.ron"), text).unwrap();
        let error = pixel_llm::app::kinds::assets()
            .with_folder(Some(folder.path().to_owned()))
            .content::<Tour>("tour", "t")
            .unwrap_err();
        let said = format!("{error:#}");
        let is_told = said.contains("expected") || said.contains("is no number");
        assert!(is_told && said.contains("t.tour.ron"), "{step}: {said}");
    }
}

#[test]
fn bookmarks_of_numbers_that_are_none_lead_to_a_place_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.ron");
    let mut settings = Settings { tokens_per_second: f32::NAN, ..Settings::default() };
    settings.thinking_milliseconds = u32::MAX;
    let list = ABSURD.iter().map(|view| ("absurd".to_owned(), *view)).collect();
    let model = seedling();
    let setup = WorldSetup {
        model: Arc::clone(&model),
        assets: pixel_llm::app::kinds::assets(),
        settings: SettingsFile(Some(path)),
        size: SIZE,
    };
    let title = Atlas::new(model).title();
    settings.bookmarks.insert(title, list);
    setup.settings.write(&settings);
    let Some(mut world) = opened(Offscreen::new(&setup)) else { return };
    let kept = world.app.world().resource::<Settings>().bookmarks.values().next().unwrap().len();
    assert_eq!(kept, ABSURD.len(), "they were read");
    for at in 0..ABSURD.len() {
        key(&mut world, KeyCode::KeyV, 2);
        for _ in 0..40 {
            world.update(1);
            assert_sane(&world, &format!("bookmark {at}"));
        }
        assert_eq!(world.app.world().resource::<MapCamera>().flight, None, "bookmark {at}");
    }
    assert_eq!(ask(&mut world, "Once", 3), None);
    settle(&mut world);
}

#[test]
fn a_saved_world_with_an_absurd_camera_opens_at_a_place_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let setup = WorldSetup {
        model: seedling(),
        assets: pixel_llm::app::kinds::assets(),
        settings: SettingsFile::default(),
        size: SIZE,
    };
    let inhabitants = Inhabitants {
        queue: folder.path().join("coach.json"),
        world: Some(folder.path().join("world.ron")),
        consents: Some(AllowedCommands::new(folder.path().join("allowed.ron"))),
    };
    let Some(mut world) = opened(Offscreen::with(&setup, |app| inhabitants.move_in(app, &setup)))
    else {
        return;
    };
    let mut saved = snapshot(world.app.world_mut());
    for View { centre: [x, y], scale, .. } in ABSURD {
        saved.camera = Some(Camera { place: Spot::new(x, y), pixels_per_cell: scale });
        let before = view(&world);
        // Either it is refused in words, and nothing changes, or it leads somewhere.
        if let Err(error) = restore(world.app.world_mut(), &saved) {
            assert!(error.to_string().len() > 10 && view(&world) == before, "{error}");
        }
        world.update(2);
        assert_sane(&world, &format!("a saved world with {:?}", saved.camera));
    }
}
