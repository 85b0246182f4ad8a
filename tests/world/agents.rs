//! Agents in the world that is drawn: they do the coach's tasks while one looks, wait for the
//! prompt, and the whole state of the world comes back from its file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::world::opened;
use pixel_llm::agents::simulation::{Clock, WorldSnapshot};
use pixel_llm::agents::{Activity, Agent, Board, QueueWorkers, Roster, WorkerPool};
use pixel_llm::app::explore::{Inhabitants, Offscreen, WorldSetup};
use pixel_llm::coach::{AllowedCommands, Status};
use pixel_llm::panel::CoachPanel;
use pixel_llm::world::agents::{restore, snapshot};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::heatmap::Heatmaps;
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::palette::Theme;
use pixel_llm::world::pointer::Pointer;
use pixel_llm::world::settings::{Settings, SettingsFile};
use pixel_llm::world::tabs::{Drawer, Tab};
use pixel_llm::world::think::Generation;

const PLAN: &str = r#"Plan(name: "p", phases: [
    Phase(name: "look", tasks: [
        Task(id: "verify-tiles", title: "Verify every tile", action: verify_tiles, priority: 9,
            acceptance: equals(figure: "bad_tiles", value: 0)),
        Task(id: "survey-statistics", title: "Survey the tiles", action: survey_statistics,
            priority: 6),
        Task(id: "head-importance", title: "Head-importance survey", action: survey_heads,
            priority: 5),
        Task(id: "mine", title: "Say which head you like",
            action: ask_person(question: "Which head?"), priority: 5, agent: human),
    ]),
    Phase(name: "later", tasks: [
        Task(id: "tune", title: "Tune the residency", action: tune_residency, priority: 5)]),
])"#;

fn open(folder: &Path) -> Option<Offscreen> {
    open_with(folder, PLAN)
}

fn open_with(folder: &Path, plan: &str) -> Option<Offscreen> {
    let assets = folder.join("assets");
    std::fs::create_dir_all(assets.join("coach")).unwrap();
    std::fs::write(assets.join("coach/default.plan.ron"), plan).unwrap();
    let assets = pixel_llm::app::kinds::assets().with_folder(Some(assets));
    let model = Arc::new(assets.default_model().unwrap());
    // Small, since a software adapter draws it; pictures are to be looked at.
    let size = if std::env::var_os("PIXEL_LLM_SHOTS").is_some() { [1280, 720] } else { [480, 320] };
    let setup = WorldSetup { model, assets, settings: SettingsFile::default(), size };
    let inhabitants = Inhabitants {
        queue: folder.join("coach.json"),
        world: Some(folder.join("world.ron")),
        consents: Some(AllowedCommands::new(folder.join("allowed.ron"))),
    };
    opened(Offscreen::with(&setup, |app| inhabitants.move_in(app, &setup)))
}

/// Lets frames pass until something holds.
fn until(world: &mut Offscreen, what: &str, holds: impl Fn(&mut Offscreen) -> bool) {
    let start = Instant::now();
    while !holds(world) {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} does not come");
        world.update(1);
    }
}

fn status(world: &Offscreen, id: &str) -> Status {
    let queue = world.app.world().resource::<QueueWorkers>().runner().shared_queue().queue();
    queue.task(&id.parse().unwrap()).unwrap().status
}

/// Leaves a picture for who wants to look at it.
fn shoot(world: &mut Offscreen, name: &str) {
    if let Some(folder) = std::env::var_os("PIXEL_LLM_SHOTS") {
        world.update(3);
        world.shoot(PathBuf::from(folder).join(format!("{name}.png"))).unwrap();
    }
}

/// Puts the pointer on the first agent that does something of interest.
fn point_at(world: &mut Offscreen, wanted: fn(&Activity) -> bool) {
    let entities = world.app.world().resource::<Roster>().entities().to_vec();
    let place = entities.into_iter().find_map(|entity| {
        let found = world.app.world().entity(entity);
        wanted(found.get::<Activity>()?)
            .then(|| *found.get::<pixel_llm::agents::Position>().unwrap())
    });
    let view = world.app.world().resource::<MapCamera>().view;
    let pointer = place.map(|place| view.to_screen([place.x, place.y]));
    *world.app.world_mut().resource_mut::<Pointer>() = Pointer(pointer);
}

#[test]
fn agents_do_the_plan_in_the_world_and_it_comes_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open(folder.path()) else { return };
    assert_eq!(world.app.world().resource::<Roster>().entities().len(), 10);
    world.app.world_mut().resource_mut::<Clock>().set_speed(2.0);
    shoot(&mut world, "1-begin");

    // Nothing begins while the model answers.
    let ask = |world: &mut Offscreen| {
        world.app.world_mut().resource_scope(|world, mut mind: bevy::prelude::Mut<Generation>| {
            mind.ask(world.resource::<Atlas>().model(), "Once upon a time", false, 12, 0.0);
        });
    };
    ask(&mut world);
    until(&mut world, "an answer", |world| {
        let busy = world.app.world().resource::<Generation>().is_busy();
        if busy {
            assert_eq!(
                world.app.world().resource::<WorkerPool>().busy(),
                0,
                "work began while the model answered"
            );
        }
        !busy
    });
    until(&mut world, "work", |world| status(world, "verify-tiles") != Status::Pending);
    shoot(&mut world, "2-work");
    world.app.world_mut().resource_mut::<Settings>().theme = Theme::Light;
    world.app.world_mut().resource_mut::<Drawer>().0 = Some(Tab::Coach);
    world.app.world_mut().resource_mut::<CoachPanel>().task = Some("verify-tiles".parse().unwrap());
    shoot(&mut world, "2-paper");
    world.app.world_mut().resource_mut::<Settings>().theme = Theme::Dark;
    world.app.world_mut().resource_mut::<Drawer>().0 = None;
    until(&mut world, "the survey", |world| {
        status(world, "survey-statistics") == Status::Completed
            && status(world, "head-importance") != Status::Pending
    });
    point_at(&mut world, |activity| matches!(activity, Activity::Working(_)));
    world.app.world_mut().resource_mut::<Drawer>().0 = Some(Tab::Coach);
    shoot(&mut world, "3-panel");
    until(&mut world, "both layers", |world| {
        world.app.world().resource::<Heatmaps>().all.len() == 3
    });
    world.app.world_mut().resource_mut::<Heatmaps>().shown = Some("heads".into());
    world.app.world_mut().resource_mut::<CoachPanel>().task = Some("mine".parse().unwrap());
    shoot(&mut world, "4-heads");

    // The person's task holds the phase; nobody does it, and nobody is stuck for it.
    assert_eq!(status(&world, "mine"), Status::Pending);
    assert_eq!(status(&world, "tune"), Status::Pending);
    let desk = world.app.world().resource::<QueueWorkers>().runner().shared_queue().clone();
    desk.change(|queue| {
        queue.accept(&"mine".parse().unwrap(), "a person", "head 2.1", &jiff::Zoned::now())
    })
    .unwrap();
    until(&mut world, "the next phase", |world| status(world, "tune") == Status::Completed);
    let queue = desk.queue();
    let begun = |id: &str| {
        let task = queue.task(&id.parse().unwrap()).unwrap();
        task.history.iter().filter(|event| event.status == Status::InProgress).count()
    };
    for id in ["verify-tiles", "survey-statistics", "head-importance", "tune"] {
        assert_eq!(begun(id), 1, "{id} was done once");
    }

    // The state of the world, whatever happens after it.
    world.app.world_mut().resource_mut::<Heatmaps>().shown = Some("spread".into());
    world.app.world_mut().resource_mut::<Clock>().set_paused(true);
    world.update(2);
    shoot(&mut world, "5-spread");
    let saved = snapshot(world.app.world_mut());
    let path = folder.path().join("saved.ron");
    saved.save(&path).unwrap();
    world.app.world_mut().resource_mut::<Clock>().set_paused(false);
    world.app.world_mut().resource_mut::<Heatmaps>().shown = None;
    world.app.world_mut().resource_mut::<MapCamera>().view.scale *= 3.0;
    world.update(20);
    assert!(
        snapshot(world.app.world_mut()).to_text() != saved.to_text(),
        "nothing has changed since"
    );
    let read = WorldSnapshot::load(&path).unwrap();
    restore(world.app.world_mut(), &read).unwrap();
    assert!(
        snapshot(world.app.world_mut()).to_text() == saved.to_text(),
        "it does not come back the same"
    );
    world.update(3);
    assert_eq!(snapshot(world.app.world_mut()).camera, saved.camera);
    // An agent that was at work finds out that its task has been done meanwhile.
    world.app.world_mut().resource_mut::<Clock>().set_paused(false);
    until(&mut world, "an empty board", |world| world.app.world().resource::<Board>().open() == 0);
    assert_eq!(begun("tune"), 1);
}

#[cfg(unix)]
#[test]
fn leave_that_is_given_in_another_terminal_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let plan = r#"Plan(name: "p", phases: [Phase(name: "a", tasks: [
        Task(id: "run", title: "Run it", action: command(name: "yes"), priority: 5)])],
        commands: [Command(name: "yes", line: ["true"])])"#;
    let Some(mut world) = open_with(folder.path(), plan) else { return };
    world.app.world_mut().resource_mut::<Clock>().set_speed(4.0);
    let waits = |world: &mut Offscreen| {
        let queue = world.app.world().resource::<QueueWorkers>().runner().shared_queue().queue();
        queue.task(&"run".parse().unwrap()).unwrap().waiting.is_some()
    };
    until(&mut world, "a question", waits);
    world.update(30);
    assert_ne!(status(&world, "run"), Status::Completed);
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    AllowedCommands::new(folder.path().join("allowed.ron"))
        .allow(&here, &["true".to_owned()], true)
        .unwrap();
    until(&mut world, "the command", |world| status(world, "run") == Status::Completed);
}

#[test]
fn a_world_ends_with_its_state_written_and_begins_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open(folder.path()) else { return };
    world.update(30);
    world.app.world_mut().write_message(bevy::app::AppExit::Success);
    world.update(1);
    let text = std::fs::read_to_string(folder.path().join("world.ron")).unwrap();
    assert!(text.contains("surveyor 1"), "{text}");
    let tick = world.app.world().resource::<Clock>().tick();
    drop(world);

    let world = open(folder.path()).unwrap();
    let now = world.app.world().resource::<Clock>().tick();
    assert!((tick..tick + 20).contains(&now), "it goes on in tick {tick}, and not in {now}");
    let names = world.app.world().resource::<Roster>().entities().iter();
    let names: Vec<_> =
        names.map(|&entity| world.app.world().get::<Agent>(entity).unwrap().name.clone()).collect();
    assert_eq!((names.len(), names[0].as_str()), (10, "archivist 1"));
    drop(world);

    // What is damaged is told of and left alone.
    std::fs::write(folder.path().join("world.ron"), &text[..text.len() / 2]).unwrap();
    let setup = |folder: &Path| {
        let assets = pixel_llm::app::kinds::assets().with_folder(Some(folder.join("assets")));
        WorldSetup {
            model: Arc::new(assets.default_model().unwrap()),
            assets,
            settings: SettingsFile::default(),
            size: [640, 480],
        }
    };
    let setup = setup(folder.path());
    let inhabitants = Inhabitants {
        queue: folder.path().join("coach.json"),
        world: Some(folder.path().join("world.ron")),
        consents: None,
    };
    let error =
        Offscreen::with(&setup, |app| inhabitants.move_in(app, &setup)).err().unwrap().to_string();
    assert!(error.contains("world.ron:"), "{error}");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("world.ron")).unwrap(),
        text[..text.len() / 2]
    );
}
