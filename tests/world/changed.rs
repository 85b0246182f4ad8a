//! What a change came to, on the land: what heads and fields give is compared value by value, the
//! land's light is that figure through the palette, and it is gone with the comparison.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::{Picture, go_to, open_world, shoot};
use bevy::prelude::{Mut, World};
use pixel_llm::app::explore::Offscreen;
use pixel_llm::model::PixelModel;
use pixel_llm::model::plan::Rect;
use pixel_llm::panel::{Scrubbed, WhatChanged};
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::draw::Lights;
use pixel_llm::world::lab::{Comparison, ComparisonStage};
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::palette::Palettes;
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::Settings;
use pixel_llm::world::think::Generation;

const SIZE: [u32; 2] = [1280, 720];
/// Few enough tokens for one step: two ways of cutting a prompt may round otherwise.
const PROMPT: &str = "Once upon a time";
const MUTED: (u32, u32) = (2, 1);

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

fn until(world: &mut Offscreen, holds: impl Fn(&World) -> bool) {
    for _ in 0..3000 {
        if holds(world.app.world()) {
            return;
        }
        world.update(1);
    }
    panic!("it does not come: {:?}", world.app.world().resource::<Generation>().problem);
}

fn ask(world: &mut Offscreen, prompt: &str) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), prompt, false, 8, 0.0);
        assert_eq!(mind.problem, None);
    });
    until(world, |world| !world.resource::<Generation>().is_busy());
}

/// Answers a prompt, mutes a head and waits until both answers are there; gives the norms of what
/// heads gave before, token by token.
fn change(world: &mut Offscreen) -> Vec<Vec<f32>> {
    ask(world, PROMPT);
    let mind = world.app.world().resource::<Generation>();
    let norms = mind.thoughts.iter().map(|thought| thought.head_norms.clone()).collect();
    let head = world.app.world().resource::<ModelIndex>().head(MUTED.0, MUTED.1).unwrap();
    world.app.world_mut().entity_mut(head).insert(Muted);
    until(world, |world| world.resource::<Comparison>().stage == ComparisonStage::Done);
    world.update(2);
    norms
}

#[test]
fn a_muted_head_gives_all_less_that_it_gave_and_nothing_before_it_differs() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let norms = change(&mut world);
    let world = world.app.world();
    let (atlas, comparison) = (world.resource::<Atlas>(), world.resource::<Comparison>());
    let config = atlas.model().config();
    let mind = world.resource::<Generation>();
    let rows = comparison.rows();
    let fork = rows.iter().position(|row| !row.same).unwrap_or(rows.len());
    assert!(comparison.differences.at.len() >= mind.prompt_len + fork.min(1));
    assert!(comparison.differences.at.len() <= mind.prompt_len + fork, "no token of other texts");
    let heads = config.head_count as usize;
    let muted = MUTED.0 as usize * heads + MUTED.1 as usize;
    for (at, before) in norms.iter().enumerate().take(comparison.differences.at.len()) {
        let difference = comparison.differences.get(at).unwrap();
        for (head, &norm) in difference.heads.iter().enumerate() {
            match head {
                head if head == muted => assert_eq!(norm, before[head], "token {at}"),
                // What it reads is the same for all heads of its layer.
                head if head / heads <= MUTED.0 as usize => assert_eq!(norm, 0.0, "{head}"),
                _ => assert!(norm > 0.0, "token {at}, head {head} reads what is missing"),
            }
        }
        for (layer, &norm) in difference.fields.iter().enumerate() {
            assert_eq!(norm > 0.0, layer >= MUTED.0 as usize, "token {at}, field {layer}: {norm}");
        }
    }
    let at = comparison.place(None).unwrap();
    assert!(fork == rows.len() || at == mind.prompt_len + fork - 1, "before the fork, not {at}");
    let most = comparison.most_changed(at, atlas).unwrap();
    let difference = comparison.differences.get(at).unwrap();
    let largest = difference.heads.iter().copied().fold(0.0, f32::max);
    let Place::Head(layer, head) = most[0].0 else { panic!("{most:?}") };
    assert_eq!(difference.heads[layer as usize * heads + head as usize], largest);
    assert!(most[0].1.starts_with(&format!("layer {layer} head {head} by ")), "{most:?}");
    assert!(most.iter().any(|(place, _)| matches!(place, Place::FeedForward(_))), "{most:?}");
}

/// The colour of the light that fills a rectangle of cells.
fn light_of(world: &World, cells: Rect) -> Option<[u8; 4]> {
    let view = world.resource::<MapCamera>().view;
    let corner = |x: i64, y: i64| view.to_screen([x as f64, y as f64]);
    let ends = [corner(cells.x, cells.y), corner(cells.x + cells.width, cells.y + cells.height)];
    let lights = world.resource::<Lights>();
    let is_at = |place: [f32; 2], wanted: [f64; 2]| {
        (0..2).all(|i| (f64::from(place[i]) * view.size[i] - wanted[i]).abs() < 0.01)
    };
    let mut quads = lights.corners.chunks(4);
    let quad = quads.find(|quad| is_at(quad[0].place, ends[0]) && is_at(quad[3].place, ends[1]));
    quad.map(|quad| quad[0].colour)
}

#[test]
fn the_light_of_a_place_is_its_figure_through_the_palette() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    assert!(go_to(&mut world, &Place::Model));
    change(&mut world);
    let looked = [None, Some(1)];
    for looked_at in looked {
        world.app.world_mut().resource_mut::<Scrubbed>().0 = looked_at;
        world.update(2);
        let world = world.app.world();
        let comparison = world.resource::<Comparison>();
        let at = comparison.place(looked_at).unwrap();
        assert!(looked_at.is_none_or(|looked| looked == at));
        let difference = comparison.differences.get(at).unwrap();
        let plan = world.resource::<Atlas>().model().plan();
        let palettes = world.resource::<Palettes>();
        let palette = palettes.named(&world.resource::<Settings>().palette);
        let heads = plan.heads.iter().map(|head| head.rect).zip(&difference.heads);
        let fields = plan.layers.iter().map(|layer| layer.feed_forward);
        let fields = fields.zip(&difference.fields);
        let mut seen = 0;
        for (places, norms) in
            [(heads.collect::<Vec<_>>(), &difference.heads), (fields.collect(), &difference.fields)]
        {
            let most = norms.iter().copied().fold(0.0, f32::max);
            for (cells, norm) in places {
                let wanted = palette.change(norm / most);
                match light_of(world, cells) {
                    Some(found) => {
                        let is_near = (0..4).all(|i| found[i].abs_diff(wanted[i]) <= 1);
                        assert!(is_near, "{found:?}, not {wanted:?}, at {cells:?}");
                        seen += 1;
                    }
                    None => assert!(wanted.iter().all(|part| *part <= 1), "dark: {cells:?}"),
                }
            }
        }
        assert!(seen > plan.layers.len(), "{seen} places are lit");
    }
}

/// The middle of a picture, where neither panels nor words are.
fn middle(picture: &Picture) -> Vec<[u8; 3]> {
    let places = (150..260).flat_map(|y| (300..700).map(move |x| y * picture.width + x));
    places.map(|at| picture.pixels[at]).collect()
}

#[test]
fn it_is_never_over_cells_and_gone_when_it_is_turned_off_closed_or_another_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    change(&mut world);
    let is_shown =
        |world: &Offscreen| !world.app.world().resource::<WhatChanged>().layers.is_empty();
    assert!(is_shown(&world));
    // A head of a later layer, so that it differs, from where its cells are seen.
    let head = world.app.world().resource::<Atlas>().rect(&Place::Head(MUTED.0 + 1, 0)).unwrap();
    let shots = |world: &mut Offscreen| {
        let app = world.app.world_mut();
        app.resource_mut::<Selection>().0 = None;
        let mut camera = app.resource_mut::<MapCamera>();
        camera.view.scale = 24.0;
        camera.view.centre = [head.x as f64 + 20.0, head.y as f64 + 20.0];
        middle(&shoot(world, folder.path()))
    };
    let lit = shots(&mut world);
    world.app.world_mut().resource_mut::<WhatChanged>().wanted = false;
    world.update(2);
    assert!(!is_shown(&world), "the switch");
    let dark = shots(&mut world);
    assert!(dark.iter().collect::<std::collections::HashSet<_>>().len() > 4, "cells are seen");
    assert_eq!(dark.iter().zip(&lit).filter(|(dark, lit)| dark != lit).count(), 0);

    world.app.world_mut().resource_mut::<WhatChanged>().wanted = true;
    world.update(2);
    assert!(is_shown(&world));
    let kept = world.app.world().resource::<Comparison>().clone();
    *world.app.world_mut().resource_mut::<Comparison>() = Comparison::default();
    world.update(2);
    assert!(!is_shown(&world), "closed");
    *world.app.world_mut().resource_mut::<Comparison>() = kept;
    world.update(2);
    assert!(is_shown(&world));
    ask(&mut world, "The cat");
    world.update(2);
    assert!(!is_shown(&world), "the land shows another answer");
}
