//! A step that takes longer than a frame may is cut into slices of layers: the front is told and
//! seen, and what comes of the step is the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::open_world;
use bevy::prelude::*;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::tiles::{HeadOf, Muted};
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::settings::{AfterChange, Settings};
use pixel_llm::world::think::{GeneratedToken, Generation};

const PROMPT: &str = "Once upon";

fn open(milliseconds: u32) -> Option<Offscreen> {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let mut world = open_world(model, [1280, 720])?;
    let mut settings = world.app.world_mut().resource_mut::<Settings>();
    settings.thinking_milliseconds = milliseconds;
    settings.after_change = AfterChange::Wait;
    world.update(3);
    Some(world)
}

fn ask(world: &mut Offscreen, tokens: u32) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, tokens, 0.0);
        assert_eq!(mind.problem, None);
    });
}

fn mind(world: &Offscreen) -> &Generation {
    world.app.world().resource::<Generation>()
}

/// The layers that were computed of a step under way, frame by frame, until the answer is whole.
fn fronts(world: &mut Offscreen) -> Vec<Option<usize>> {
    let mut seen = Vec::new();
    for _ in 0..3000 {
        if !mind(world).is_busy() {
            return seen;
        }
        world.update(1);
        seen.push(mind(world).front().map(|(layers, values)| {
            assert_eq!(values.residual_norms.len(), layers);
            assert!(values.residual_norms.iter().all(|norm| norm.is_finite() && *norm > 0.0));
            layers
        }));
    }
    panic!("the answer does not come: {:?}", mind(world).problem);
}

/// Frames until a step under way has come some way.
fn until_front(world: &mut Offscreen) {
    for _ in 0..300 {
        world.update(1);
        if mind(world).front().is_some() {
            return;
        }
    }
    panic!("no step was cut");
}

/// What a token was computed to be, to the bit.
fn values(thoughts: &[GeneratedToken]) -> Vec<(u32, Vec<u32>, Vec<u32>)> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    let of = |thought: &GeneratedToken| {
        (thought.token, bits(&thought.residual_norms), bits(&thought.head_norms))
    };
    thoughts.iter().map(of).collect()
}

#[test]
fn a_long_step_comes_slice_by_slice_and_to_the_same_end() {
    let Some(mut world) = open(1) else { return };
    ask(&mut world, 4);
    let seen = fronts(&mut world);
    let layers = seen.iter().flatten().copied();
    assert!(layers.clone().count() > 0, "no step was cut: {seen:?}");
    assert!(layers.clone().all(|layers| (1..=6).contains(&layers)), "{seen:?}");
    // Without fused layers, whose rounding is another, as a cut prompt has none.
    let cut = values(&mind(&world).thoughts);
    let Some(mut whole) = open(10_000) else { return };
    ask(&mut whole, 4);
    fronts(&mut whole);
    let of_whole = values(&mind(&whole).thoughts);
    let text =
        |values: &[(u32, Vec<u32>, Vec<u32>)]| values.iter().map(|v| v.0).collect::<Vec<_>>();
    assert_eq!(text(&cut), text(&of_whole));
    assert_eq!(cut[0], of_whole[0], "the same bits");
}

#[test]
fn a_change_between_two_slices_begins_the_step_again() {
    let Some(mut world) = open(1) else { return };
    ask(&mut world, 1);
    until_front(&mut world);
    let mute = |world: &mut Offscreen| {
        let world = world.app.world_mut();
        let head = world.query_filtered::<Entity, With<HeadOf>>().iter(world).next().unwrap();
        world.entity_mut(head).insert(Muted);
    };
    mute(&mut world);
    fronts(&mut world);
    let changed = values(&mind(&world).thoughts[..2]);
    let now = mind(&world).current_state();
    assert!(mind(&world).thoughts[..2].iter().all(|thought| Arc::ptr_eq(&thought.state, now)));

    let Some(mut other) = open(1) else { return };
    mute(&mut other);
    other.update(2);
    ask(&mut other, 1);
    fronts(&mut other);
    assert_eq!(changed, values(&mind(&other).thoughts[..2]));
}

#[test]
fn another_prompt_ends_a_step_between_two_slices() {
    let Some(mut world) = open(1) else { return };
    ask(&mut world, 1);
    until_front(&mut world);
    ask(&mut world, 2);
    assert!(mind(&world).front().is_none(), "it was of the sequence before");
    fronts(&mut world);
    let again = values(&mind(&world).thoughts);
    let Some(mut other) = open(1) else { return };
    ask(&mut other, 2);
    fronts(&mut other);
    assert_eq!(again, values(&mind(&other).thoughts));
}
