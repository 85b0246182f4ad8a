//! How the world looks: nothing that is read is seen through, nothing of the map is written under a
//! panel, and a frame at rest is few triangles.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::{Picture, go_to, open_world};
use bevy::prelude::*;
use bevy_egui::{EguiPostUpdateSet, EguiRenderOutput, egui};
use pixel_llm::app::explore::Offscreen;
use pixel_llm::model::PixelModel;
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::palette::Theme;
use pixel_llm::world::settings::Settings;
use pixel_llm::world::think::Generation;
use pixel_llm::world::tour::{Tour, TourRun};

/// Corners of triangles that a frame of the model at a glance may have while it is lit.
const MOST_CORNERS: usize = 12_000;

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

/// Corners and clipped parts of what the panels and the words on the map are drawn with.
#[derive(Resource, Default, Clone, Copy)]
struct Drawn {
    corners: usize,
    parts: usize,
}

/// Counts what is drawn before the renderer takes it.
fn count(outputs: Query<&EguiRenderOutput>, mut drawn: ResMut<Drawn>) {
    let jobs = outputs.iter().flat_map(|output| &output.paint_jobs);
    let corners = jobs.map(|job| match &job.primitive {
        egui::epaint::Primitive::Mesh(mesh) => mesh.vertices.len(),
        egui::epaint::Primitive::Callback(_) => 0,
    });
    let corners: Vec<usize> = corners.collect();
    *drawn = Drawn { corners: corners.iter().sum(), parts: corners.len() };
}

fn drawn(world: &Offscreen, what: &str) -> usize {
    let Drawn { corners, parts } = *world.app.world().resource::<Drawn>();
    println!("{what}: {corners} corners in {parts} parts");
    corners
}

#[test]
fn a_caption_and_the_minimap_are_opaque_over_bright_weights_in_both_themes() {
    let folder = tempfile::tempdir().unwrap();
    for theme in [Theme::Dark, Theme::Light] {
        let Some(mut world) = open_world(seedling(), [1280, 720]) else { return };
        world.app.world_mut().resource_mut::<Settings>().theme = theme;
        let text = "(title: \"t\", steps: [Look(at: Weight(\"blk.0.ffn_down.weight\", 90, 200)), \
                    Caption(\"one two three\"), Screenshot(\"seen\")])";
        let tour: Tour = ron::from_str(text).unwrap();
        world.app.insert_resource(TourRun::new(tour, Some(folder.path().to_owned()), false));
        assert_eq!(world.take_tour().unwrap(), Vec::<String>::new());
        let picture = Picture::read(&folder.path().join("seen.png"));
        // The land is there, or the test would show nothing.
        let land: std::collections::HashSet<_> =
            (0..40).map(|at| picture.at([300.0 + 16.0 * f64::from(at), 400.0])).collect();
        assert!(land.len() > 5, "{theme:?}: weights are seen, not {land:?}");
        // Below the caption's only line and within its frame; left of the minimap and within its
        // panel.
        let caption = (0..30).map(|at| [600.0 + 2.0 * f64::from(at), 706.0]);
        let panel = (0..30).map(|at| [10.0, 600.0 + 3.0 * f64::from(at)]);
        let first = picture.at([600.0, 706.0]);
        for point in caption.chain(panel) {
            let found = picture.at(point);
            let is_near = found.iter().zip(first).all(|(a, b)| a.abs_diff(b) <= 2);
            assert!(is_near, "{theme:?}: {found:?} at {point:?}, expected {first:?}");
        }
        let is_dark = first.iter().all(|channel| *channel < 60);
        assert_eq!(is_dark, theme == Theme::Dark, "{theme:?}: {first:?}");
    }
}

#[test]
fn what_is_seen_whole_is_neither_under_the_bar_nor_under_the_prompt() {
    let Some(mut world) = open_world(seedling(), [1280, 720]) else { return };
    world.update(4);
    let view = world.app.world().resource::<MapCamera>().view;
    let bounds = world.app.world().resource::<Atlas>().bounds();
    let [_, top] = view.to_screen([bounds.x as f64, bounds.y as f64]);
    let [_, bottom] = view.to_screen([0.0, (bounds.y + bounds.height) as f64]);
    assert!(top > 50.0 && bottom < 612.0, "{top} to {bottom}");
}

#[test]
fn a_lit_frame_at_rest_is_few_triangles() {
    let mut models = vec![("Seedling", seedling())];
    if let Some(path) = crate::common::smollm2() {
        models.push(("SmolLM2", Arc::new(crate::common::forward::open(&path))));
    }
    for (name, model) in models {
        let Some(mut world) = open_world(model, [1280, 720]) else { return };
        world.app.init_resource::<Drawn>();
        world.app.add_systems(PostUpdate, count.after(EguiPostUpdateSet::ProcessOutput));
        world.update(4);
        let corners = drawn(&world, &format!("{name}, nothing thought"));
        assert!(corners > 500, "{name}: {corners}, so that something was counted");
        let app = world.app.world_mut();
        let model = Arc::clone(app.resource::<Atlas>().model());
        app.resource_mut::<Generation>().ask(&model, "Once upon a time", false, 4, 0.0);
        let mut frames = 0;
        while world.app.world().resource::<Generation>().is_busy() && frames < 2000 {
            world.update(1);
            frames += 1;
        }
        world.update(2);
        assert!(
            world.app.world().resource::<Generation>().latest().is_some(),
            "{name}: it thought"
        );
        let corners = drawn(&world, &format!("{name}, lit"));
        assert!(corners <= MOST_CORNERS, "{name}: {corners} corners");
        go_to(&mut world, &Place::Layer(1));
        world.update(3);
        let corners = drawn(&world, &format!("{name}, a lit layer"));
        assert!(corners <= MOST_CORNERS, "{name}: {corners} corners");
    }
}
