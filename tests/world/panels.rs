//! The panels: whatever is open, no two of them overlap, none reaches beyond the screen, each is
//! opened by a click, and every control says what it does.
//!
//! Frames are laid out here and not drawn. Where panels are is what egui knows of its areas and
//! what the frame's painted parts have said (`Taken`), so that a new panel is looked at by itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::common::world::{go_to, opened};
use bevy::app::{Main, PreUpdate};
use bevy::prelude::*;
use bevy_egui::{EguiContext, EguiInput, EguiPreUpdateSet, EguiPrimaryContextPass, egui};
use egui::{Order, Pos2, Rect, pos2, vec2};
use pixel_llm::app::explore::{Inhabitants, Offscreen, WorldSetup};
use pixel_llm::coach::AllowedCommands;
use pixel_llm::model::edits::Brush;
use pixel_llm::panel::{CoachPanel, SearchBox, Taken};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::heatmap::{HeatmapLayer, HeatmapScale, Heatmaps};
use pixel_llm::world::lab::Edits;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::learning::{
    GradientNorms, Lesson, LessonStage, PinnedAnswer, PinnedQuestion,
};
use pixel_llm::world::notices::Notices;
use pixel_llm::world::settings::{Settings, SettingsFile};
use pixel_llm::world::tabs::{Drawer, Tab};
use pixel_llm::world::think::Generation;
use pixel_llm::world::tour::{Tour, TourRun};

/// The screens, in pixels.
const SCREENS: [[u32; 2]; 3] = [[800, 600], [1280, 720], [2560, 1440]];
/// What rounding to pixels may add to a rectangle.
const ROUNDING: f32 = 1.0;

/// What a person does with the mouse in the next frame.
#[derive(Resource, Default)]
struct Hand(Vec<egui::Event>);

fn hand(mut hand: ResMut<Hand>, mut inputs: Query<&mut EguiInput>) {
    for event in hand.0.drain(..) {
        for mut input in &mut inputs {
            input.events.push(event.clone());
        }
    }
}

/// A world with agents, where somebody is welcome, at a screen of some size. A tooltip comes as
/// soon as something is pointed at.
fn open(folder: &Path, size: [u32; 2]) -> Option<Offscreen> {
    let assets = pixel_llm::app::kinds::assets();
    let model = Arc::new(assets.default_model().unwrap());
    let settings = SettingsFile(Some(folder.join("settings.ron")));
    let setup = WorldSetup { model, assets, settings, size };
    let inhabitants = Inhabitants {
        queue: folder.join("coach.json"),
        world: Some(folder.join("world.ron")),
        consents: Some(AllowedCommands::new(folder.join("allowed.ron"))),
    };
    let mut world = opened(Offscreen::with(&setup, |app| {
        app.init_resource::<Hand>();
        app.add_systems(
            PreUpdate,
            hand.after(EguiPreUpdateSet::ProcessInput).before(EguiPreUpdateSet::BeginPass),
        );
        inhabitants.move_in(app, &setup)
    }))?;
    let context = context(&mut world);
    context.all_styles_mut(|style| {
        style.interaction.tooltip_delay = 0.0;
        style.interaction.show_tooltips_only_when_still = false;
        // A text that can be marked would be taken for a control.
        style.interaction.selectable_labels = false;
    });
    let survey = HeatmapLayer {
        name: "tiles",
        title: "a survey of tiles, in bits",
        scale: HeatmapScale::Logarithmic,
        cells: Vec::new(),
        range: [0.5, 2.0],
    };
    world.app.world_mut().resource_mut::<Heatmaps>().all = vec![survey];
    learn(&mut world);
    Some(world)
}

/// A lesson that rests: the gradient has a legend on the map, and the panel is full.
fn learn(world: &mut Offscreen) {
    let world = world.app.world_mut();
    let config = world.resource::<Atlas>().model().config().clone();
    let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
    let mut lesson = world.resource_mut::<Lesson>();
    lesson.stage = LessonStage::Paused;
    lesson.gradient = Some(GradientNorms {
        step: 12_345,
        heads: vec![1.5e-3; layers * heads],
        fields: vec![2.5e-3; layers],
        layers: vec![3.5e-3; layers],
        stream: vec![4.5e-3; layers],
    });
    let answer = |step, is_right| {
        let text = "name Mila, kind fox, thing umbrella, colour golden.".into();
        Some(PinnedAnswer { step, text, is_right })
    };
    let question = PinnedQuestion {
        prompt: "Mila is a fox. The umbrella of Mila is golden.\nRecord:".into(),
        expected: "name Mila, kind fox, thing umbrella, colour golden.".into(),
        before: answer(0, false),
        now: answer(12_345, true),
    };
    lesson.questions = vec![question; 3];
}

fn context(world: &mut Offscreen) -> egui::Context {
    let world = world.app.world_mut();
    world.query::<&mut EguiContext>().single_mut(world).unwrap().get_mut().clone()
}

/// Lays out some frames, and draws none.
fn frames(world: &mut Offscreen, count: u32) {
    for _ in 0..count {
        world.app.world_mut().run_schedule(Main);
        world.app.world_mut().clear_trackers();
    }
}

/// Waits for the answer that the welcome has asked for: another question would be the person's, and
/// end the welcome.
fn answer(world: &mut Offscreen) {
    let mind = |world: &Offscreen| {
        let mind = world.app.world().resource::<Generation>();
        !mind.is_busy() && mind.latest().is_some()
    };
    for _ in 0..2000 {
        if mind(world) {
            return;
        }
        world.update(1);
    }
    panic!("the welcome has no answer");
}

/// The panels of the frame before, each once.
fn panels(world: &Offscreen) -> Vec<Rect> {
    let is_same = |a: &Rect, b: &Rect| {
        (a.min - b.min).length() < ROUNDING && (a.max - b.max).length() < ROUNDING
    };
    let mut found: Vec<Rect> = Vec::new();
    for rect in &world.app.world().resource::<Taken>().rects {
        if rect.is_positive() && !found.iter().any(|known| is_same(known, rect)) {
            found.push(*rect);
        }
    }
    found
}

/// What is wrong with where panels are, in words.
fn collisions(panels: &[Rect], screen: Rect) -> Vec<String> {
    let mut found = Vec::new();
    for (at, panel) in panels.iter().enumerate() {
        if !screen.expand(ROUNDING).contains_rect(*panel) {
            found.push(format!("{panel:?} is beyond {screen:?}"));
        }
        for other in &panels[..at] {
            let common = panel.intersect(*other);
            if common.width() > ROUNDING && common.height() > ROUNDING {
                found.push(format!("{panel:?} and {other:?}"));
            }
        }
    }
    found
}

/// What may be open beside the drawer's panels.
const BESIDE: [&str; 7] =
    ["caption", "notice", "search", "survey", "welcome", "problem", "marking"];

/// Opens and closes as the bits of a number say.
fn set_up(world: &mut Offscreen, bits: usize) {
    let is_on = |what: &str| bits >> BESIDE.iter().position(|name| *name == what).unwrap() & 1 == 1;
    let world = world.app.world_mut();
    if is_on("caption") {
        let tour: Tour = ron::from_str("(title: \"t\", steps: [Wait(100000.0)])").unwrap();
        let mut run = TourRun::new(tour, None, false);
        run.caption =
            "A layer is a strip across the river: its heads stand on the north bank, its \
                       fields on the south. Each reads the river and adds to it."
                .into();
        world.insert_resource(run);
    } else {
        world.remove_resource::<TourRun>();
    }
    let mut notices = Notices::default();
    if is_on("notice") {
        notices.tell("a copy with your changes is in /home/somebody/models/seedling-edited.pxi");
    }
    world.insert_resource(notices);
    world.resource_mut::<SearchBox>().text =
        if is_on("search") { "layer 1".into() } else { String::new() };
    world.resource_mut::<Heatmaps>().shown = is_on("survey").then(|| "tiles".to_owned());
    world.resource_mut::<Settings>().welcomed = !is_on("welcome");
    world.resource_mut::<Generation>().problem =
        is_on("problem").then(|| "the prompt has 600 tokens, and the model reads 512".to_owned());
    world.resource_mut::<Edits>().painting = is_on("marking");
}

#[test]
fn no_two_panels_overlap_and_none_is_beyond_the_screen() {
    for size in SCREENS {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut world) = open(folder.path(), size) else { return };
        answer(&mut world);
        let screen = context(&mut world).content_rect();
        let (mut looked_at, mut most) = (0, 0);
        for place in [Place::Model, Place::Head(0, 1)] {
            go_to(&mut world, &place);
            for bits in 0..1 << BESIDE.len() {
                set_up(&mut world, bits);
                frames(&mut world, 1);
                for tab in [None].into_iter().chain(Tab::ALL.map(Some)) {
                    world.app.world_mut().resource_mut::<Drawer>().0 = tab;
                    frames(&mut world, 2);
                    let panels = panels(&world);
                    let wrong = collisions(&panels, screen);
                    let open = BESIDE.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                    let open: Vec<&str> = open.map(|(_, name)| *name).collect();
                    assert!(wrong.is_empty(), "{size:?}, {place:?}, {tab:?}, {open:?}: {wrong:#?}");
                    (looked_at, most) = (looked_at + 1, most.max(panels.len()));
                }
            }
        }
        println!("{size:?}: {looked_at} combinations of up to {most} panels");
        assert!(most >= 8, "panels are seen: {most}");
    }
}

#[test]
fn an_overlap_that_was_planted_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open(folder.path(), SCREENS[1]) else { return };
    frames(&mut world, 3);
    let screen = context(&mut world).content_rect();
    assert_eq!(collisions(&panels(&world), screen), [""; 0]);
    let planted = |mut contexts: bevy_egui::EguiContexts| -> Result {
        let area = egui::Area::new(egui::Id::new("planted")).fixed_pos(pos2(600.0, 690.0));
        area.show(contexts.ctx_mut()?, |ui| ui.allocate_space(vec2(60.0, 20.0)));
        Ok(())
    };
    world.app.add_systems(EguiPrimaryContextPass, planted);
    frames(&mut world, 3);
    let found = collisions(&panels(&world), screen);
    assert_eq!(found.len(), 1, "{found:?}");
    let beyond = Rect::from_min_size(screen.max - vec2(10.0, 10.0), vec2(20.0, 5.0));
    assert_eq!(collisions(&[beyond], screen).len(), 1);
}

/// A control, and what is known of it.
#[derive(Clone)]
struct Control {
    rect: Rect,
    seen: Rect,
    layer: egui::LayerId,
    name: String,
}

/// Everything that takes clicks or drags, but for what only holds others and what scrolls.
fn controls(context: &egui::Context) -> Vec<Control> {
    let screen = context.content_rect();
    context.viewport(|viewport| {
        let widgets = &viewport.prev_pass.widgets;
        let all = widgets.layers().flat_map(|(_, of_layer)| of_layer.iter());
        let senses = |widget: &&egui::WidgetRect| {
            let is_told = widget.layer_id.order == Order::Tooltip;
            // An area takes what is done beside its controls, or the map would hear it.
            let is_area = widget.id == widget.layer_id.id.with("move");
            widget.sense.interactive() && widget.rect.is_positive() && !is_told && !is_area
        };
        let all: Vec<&egui::WidgetRect> = all.filter(senses).collect();
        let holds = |outer: &egui::WidgetRect| {
            all.iter().any(|inner| {
                let is_other = inner.id != outer.id && inner.layer_id == outer.layer_id;
                is_other && outer.rect.contains_rect(inner.rect) && outer.rect != inner.rect
            })
        };
        let scrolls = |widget: &egui::WidgetRect| widget.rect.width() <= 12.0;
        let control = |widget: &&egui::WidgetRect| Control {
            rect: widget.rect,
            seen: widget.interact_rect.intersect(screen),
            layer: widget.layer_id,
            name: widgets.info(widget.id).map_or_else(String::new, |info| info.description()),
        };
        all.iter().filter(|widget| !holds(widget) && !scrolls(widget)).map(control).collect()
    })
}

fn point(world: &mut Offscreen, at: Pos2) {
    world.app.world_mut().resource_mut::<Hand>().0.push(egui::Event::PointerMoved(at));
    frames(world, 2);
}

fn click(world: &mut Offscreen, pos: Pos2) {
    point(world, pos);
    for pressed in [true, false] {
        let button = egui::PointerButton::Primary;
        let modifiers = egui::Modifiers::default();
        let event = egui::Event::PointerButton { pos, button, pressed, modifiers };
        world.app.world_mut().resource_mut::<Hand>().0.push(event);
        frames(world, 1);
    }
    frames(world, 2);
}

#[test]
fn every_panel_is_opened_and_closed_by_clicks_and_nothing_in_it_is_cut_off() {
    for size in SCREENS {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut world) = open(folder.path(), size) else { return };
        answer(&mut world);
        world.app.world_mut().resource_mut::<Settings>().welcomed = true;
        frames(&mut world, 3);
        let context = context(&mut world);
        let of = |name: &str| {
            let id = egui::Id::new(name);
            let of_it = controls(&context).into_iter().filter(|one| one.layer.id == id);
            let mut of_it: Vec<Control> = of_it.collect();
            // As they are read: line by line.
            of_it.sort_by_key(|one| [one.rect.center().y, one.rect.left()].map(|x| x as i32));
            of_it
        };
        click(&mut world, of("names")[0].seen.center());
        assert_eq!(world.app.world().resource::<Drawer>().0, Some(Tab::Inspector), "{size:?}");
        for (at, tab) in Tab::ALL.into_iter().enumerate().rev() {
            click(&mut world, of("drawer head")[at].seen.center());
            assert_eq!(world.app.world().resource::<Drawer>().0, Some(tab), "{size:?}");
            let across = Rect::from_min_max(
                pos2(context.content_rect().right() - Drawer::ACROSS, 0.0),
                context.content_rect().max,
            );
            for one in of("drawer head").into_iter().chain(of("drawer")) {
                let is_inside = across.x_range().contains(one.rect.left())
                    && across.x_range().contains(one.rect.right());
                assert!(is_inside, "{size:?}, {tab:?}: {} at {:?}", one.name, one.rect);
            }
        }
        let close = of("drawer head")[Tab::ALL.len()].seen.center();
        click(&mut world, close);
        assert_eq!(world.app.world().resource::<Drawer>().0, None, "{size:?}");
    }
}

/// Controls that are pointed at and say nothing.
fn silent(world: &mut Offscreen, what: &str, heard: &mut usize) -> BTreeSet<String> {
    let context = context(world);
    let mut found = BTreeSet::new();
    // What stands beside a drawer that was just opened finds its place within some frames.
    frames(world, 8);
    for one in controls(&context) {
        if !one.seen.is_positive() {
            found.insert(format!("{what}: {} at {:?} cannot be pointed at", one.name, one.rect));
            continue;
        }
        point(world, one.seen.center());
        let is_told = context.memory(|memory| {
            memory.areas().visible_layer_ids().iter().any(|layer| layer.order == Order::Tooltip)
        });
        if is_told {
            *heard += 1;
        } else {
            found.insert(format!("{what}: {} at {:?}", one.name, one.rect));
        }
        // What is told of one is not taken for what is told of the next.
        world.app.world_mut().resource_mut::<Hand>().0.push(egui::Event::PointerGone);
        frames(world, 2);
    }
    found
}

#[test]
fn every_control_says_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    // So high that nothing has to be scrolled to; text is twice as large there.
    let Some(mut world) = open(folder.path(), [2560, 2200]) else { return };
    let (mut heard, mut found) = (0, BTreeSet::new());
    frames(&mut world, 3);
    found.extend(silent(&mut world, "welcome", &mut heard));
    world.app.world_mut().resource_mut::<Settings>().welcomed = true;
    answer(&mut world);
    set_up(&mut world, 1 << 2 | 1 << 5);
    found.extend(silent(&mut world, "closed", &mut heard));
    for place in [Place::Head(0, 1), Place::Tensor("blk.0.attn_q.weight".into())] {
        go_to(&mut world, &place);
        mark_and_paint(&mut world, &place);
        set_up(&mut world, 0);
        frames(&mut world, 3);
        let title = world.app.world().resource::<Atlas>().title();
        let view = world.app.world().resource::<MapCamera>().view;
        let mut settings = world.app.world_mut().resource_mut::<Settings>();
        settings.bookmarks.insert(title, vec![("here".into(), view)]);
        for tab in Tab::ALL {
            world.app.world_mut().resource_mut::<Drawer>().0 = Some(tab);
            found.extend(silent(&mut world, &format!("{tab:?}"), &mut heard));
        }
    }
    world.app.world_mut().resource_mut::<Drawer>().0 = Some(Tab::Coach);
    world.app.world_mut().resource_mut::<CoachPanel>().task = Some("verify-tiles".parse().unwrap());
    found.extend(silent(&mut world, "a task", &mut heard));
    println!("{heard} controls say what they do");
    assert!(found.is_empty(), "these say nothing: {found:#?}");
    assert!(heard > 150, "controls are found: {heard}");
}

/// Sets some weights, so that there is something to take back and a copy to save.
fn mark_and_paint(world: &mut Offscreen, place: &Place) {
    world.app.world_mut().resource_scope(|world, mut edits: Mut<Edits>| {
        let atlas = world.resource::<Atlas>();
        edits.mark_place(atlas, place);
        edits.paint(atlas.model(), Brush::Zero);
    });
}

/// Shows that a control without a tooltip is found.
#[test]
fn a_control_that_says_nothing_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open(folder.path(), SCREENS[1]) else { return };
    world.app.world_mut().resource_mut::<Settings>().welcomed = true;
    let planted = |mut contexts: bevy_egui::EguiContexts| -> Result {
        let area = egui::Area::new(egui::Id::new("planted")).fixed_pos(pos2(300.0, 300.0));
        area.show(contexts.ctx_mut()?, |ui| ui.button("planted"));
        Ok(())
    };
    world.app.add_systems(EguiPrimaryContextPass, planted);
    let found = silent(&mut world, "", &mut 0);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.first().unwrap().contains("300.0 300.0"), "{found:?}");
}
