//! The river's pixels are the residual stream: each of them the twin's value through the palette.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::{open_world, shoot};
use bevy::prelude::*;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::{HookPoint, Hooks, Interventions};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::palette::{Palettes, Theme};
use pixel_llm::world::tabs::{Drawer, Tab};
use pixel_llm::world::think::Generation;
use pixel_llm::world::view::View;

/// Points across a value: each of them is several pixels, whose middle is looked at.
const SCALE: f64 = 6.0;
const LAYER: u32 = 3;

#[test]
fn its_pixels_are_the_twins_values_through_the_palette() {
    compare(None);
}

#[test]
fn beside_an_open_drawer_they_are_too() {
    compare(Some(Tab::Timings));
}

fn compare(drawer: Option<Tab>) {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), [1280, 720]) else { return };
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), "Once upon a time", false, 2, 0.0);
        assert_eq!(mind.problem, None);
    });
    let channel = model.plan().layers[LAYER as usize].channels[0];
    let middle = [channel.x as f64 + 60.0, channel.y as f64 + channel.height as f64 / 2.0];
    world.app.world_mut().resource_mut::<Drawer>().0 = drawer;
    world.update(3);
    // What the drawer leaves of the screen.
    let size = world.app.world().resource::<MapCamera>().view.size;
    assert_eq!(size[0] < 1280.0, drawer.is_some());
    let view = View { centre: middle, scale: SCALE, size };
    let bounds = world.app.world().resource::<Atlas>().bounds();
    world.app.world_mut().resource_mut::<MapCamera>().fly(view, Some(0.0), bounds);
    for _ in 0..3000 {
        if !world.app.world().resource::<Generation>().is_busy() {
            break;
        }
        world.update(1);
    }
    let folder = tempfile::tempdir().unwrap();
    let picture = shoot(&mut world, folder.path());

    let mind = world.app.world().resource::<Generation>();
    let tokens: Vec<u32> = mind.thoughts.iter().map(|thought| thought.token).collect();
    let values = residual(&model, &tokens, LAYER);
    let palettes = world.app.world().resource::<Palettes>();
    let palette = palettes.named("");
    let rows = tokens.len().min(16);
    let tall = channel.height as f64 / (2 * rows - 1) as f64;
    let (mut compared, mut differ) = (0, Vec::new());
    // The newest token in the middle, and two that came before on both sides of it.
    for (age, side) in [(0, 1.0), (1, 1.0), (1, -1.0), (3, -1.0)] {
        let row = &values[tokens.len() - 1 - age];
        let spread = (row.iter().map(|value| value * value).sum::<f32>() / row.len() as f32).sqrt();
        let y = middle[1] + side * age as f64 * tall;
        for (column, value) in row.iter().enumerate().take(120) {
            let at = view.to_screen([channel.x as f64 + column as f64 + 0.5, y]);
            let wanted = palette.weight(Theme::Dark, value / spread);
            let wanted = wanted.map(|part| (part * 255.0).round() as i32);
            let found = picture.at(at).map(i32::from);
            compared += 1;
            // Both paths differ by the rounding of their products.
            if found.iter().zip(wanted).any(|(found, wanted)| (found - wanted).abs() > 3) {
                differ.push((age, column, found, wanted));
            }
        }
    }
    assert!(compared == 480 && differ.is_empty(), "{} of {compared}: {differ:?}", differ.len());
}

/// The residual stream after a layer, of every token, as the twin has it.
fn residual(
    model: &Arc<pixel_llm::model::PixelModel>,
    tokens: &[u32],
    layer: u32,
) -> Vec<Vec<f32>> {
    let twin = CpuModel::new(Arc::clone(model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, tokens.len());
    let column = |(position, &token)| Column { token, slot: 0, position, wants_logits: false };
    let columns: Vec<Column> = (0..).zip(tokens).map(column).collect();
    let mut hooks = Hooks::watching([HookPoint::Residual(layer)], columns.len());
    twin.forward(&mut cache, &columns, &Interventions::default(), Some(&mut hooks)).unwrap();
    let seen = hooks.seen(HookPoint::Residual(layer)).unwrap();
    (0..tokens.len()).map(|at| seen.column(at).to_vec()).collect()
}
