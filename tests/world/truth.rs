//! What is shown is true of what is there: after a change an answer is of before it until the
//! prompt was answered again, which happens by itself; both answers are told; and no light lies on
//! weights.

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
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::keys::UserAction;
use pixel_llm::world::lab::{Comparison, ComparisonStage};
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::palette::Colouring;
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::{AfterChange, Settings};
use pixel_llm::world::think::Generation;
use pixel_llm::world::tour::{Tour, TourRun};

const SIZE: [u32; 2] = [640, 480];
const PROMPT: &str = "Once upon a time";

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

fn mind(world: &Offscreen) -> &Generation {
    world.app.world().resource::<Generation>()
}

fn until(world: &mut Offscreen, holds: impl Fn(&World) -> bool) {
    for _ in 0..2000 {
        if holds(world.app.world()) {
            return;
        }
        world.update(1);
    }
    panic!("it does not come: {:?}", mind(world).problem);
}

fn ask(world: &mut Offscreen, tokens: u32) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, tokens, 0.0);
    });
    until(world, |world| !world.resource::<Generation>().is_busy());
    assert_eq!(mind(world).problem, None);
}

/// Mutes all heads of a layer, or lets them speak again.
fn mute(world: &mut Offscreen, layer: u32, is_muted: bool) {
    let index = world.app.world().resource::<ModelIndex>();
    let heads: Vec<_> =
        (0..index.heads_per_layer()).filter_map(|head| index.head(layer, head)).collect();
    for head in heads {
        let mut head = world.app.world_mut().entity_mut(head);
        if is_muted {
            head.insert(Muted);
        } else {
            head.remove::<Muted>();
        }
    }
    world.update(2);
}

#[test]
fn after_a_change_the_prompt_is_answered_again_and_both_answers_are_told() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    ask(&mut world, 12);
    let first = mind(&world).answer();
    let generation = mind(&world).generation();
    assert!(!mind(&world).is_before_change());

    mute(&mut world, 0, true);
    assert!(mind(&world).is_before_change(), "what is shown was computed with all heads");
    until(&mut world, |world| world.resource::<Comparison>().stage == ComparisonStage::Done);
    assert!(!mind(&world).is_before_change() && mind(&world).generation() > generation);
    let second = mind(&world).answer();
    assert_ne!(first, second, "a layer without heads answers otherwise");

    let comparison = world.app.world().resource::<Comparison>();
    let texts = |answer: &pixel_llm::world::think::Answer| -> String {
        answer.tokens.iter().map(|token| token.text.as_str()).collect()
    };
    assert_eq!([texts(&comparison.without), texts(&comparison.with)], [first.clone(), second]);
    let rows = comparison.rows();
    let fork = rows.iter().position(|row| !row.same).unwrap();
    // Up to the fork the changed model's own probabilities are those of the first answer's tokens.
    for (row, expected) in rows[..fork].iter().zip(&comparison.expected) {
        assert_eq!(row.with.as_ref().unwrap().probability, *expected);
    }
    assert_eq!(comparison.expected.len(), fork + 1, "at the fork too, and no further");
    let at_fork = &comparison.without.tokens[fork];
    let known = comparison.with.tokens[fork].alternatives.iter();
    for other in known.filter(|other| other.token == at_fork.token) {
        assert!((other.probability - comparison.expected[fork]).abs() < 1e-6);
    }
    let story = comparison.story(world.app.world().resource::<Atlas>().model());
    assert!(story.starts_with("without ") && story.contains("it no longer says"), "{story}");
    assert!(story.contains(at_fork.text.trim()) && story.contains(" % to "), "{story}");

    mute(&mut world, 0, false);
    until(&mut world, |world| {
        let mind = world.resource::<Generation>();
        !mind.is_before_change() && !mind.is_busy()
    });
    assert_eq!(mind(&world).answer(), first, "the answer of before, and as such");
    world.update(2);
    let comparison = world.app.world().resource::<Comparison>();
    let story = comparison.story(world.app.world().resource::<Atlas>().model());
    assert!(story.starts_with("again with "), "{story}");
}

#[test]
fn who_waits_sees_what_was_before_the_change_until_they_ask() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    world.app.world_mut().resource_mut::<Settings>().after_change = AfterChange::Wait;
    ask(&mut world, 6);
    let generation = mind(&world).generation();
    mute(&mut world, 1, true);
    world.update(30);
    assert!(mind(&world).is_before_change() && mind(&world).generation() == generation);
    // What is taken back was never wrong.
    mute(&mut world, 1, false);
    assert!(!mind(&world).is_before_change());

    mute(&mut world, 1, true);
    world.app.world_mut().write_message(UserAction::AnswerAgain);
    world.update(1);
    until(&mut world, |world| !world.resource::<Generation>().is_busy());
    assert!(!mind(&world).is_before_change() && mind(&world).generation() > generation);
}

#[test]
fn a_tour_shows_nothing_of_before_a_change_as_if_it_were_of_after() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let steps = "(title: \"t\", steps: [Prompt(text: \"Once\", tokens: 6), Mute(Layer(0)), \
                 Select(None)])";
    let tour: Tour = ron::from_str(steps).unwrap();
    world.app.insert_resource(TourRun::new(tour, None, false));
    assert_eq!(world.take_tour().unwrap(), [""; 0]);
    assert!(!mind(&world).is_before_change() && !mind(&world).is_busy());
    assert!(mind(&world).thoughts.iter().all(|thought| !thought.state.is_as_in_file()));
}

/// The middle of a picture, where neither panels nor words are.
fn middle(picture: &Picture) -> Vec<[u8; 3]> {
    let places = (120..220).flat_map(|y| (80..560).map(move |x| y * picture.width + x));
    places.map(|at| picture.pixels[at]).collect()
}

#[test]
fn no_light_lies_on_weights_in_any_view() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let head = world.app.world().resource::<Atlas>().rect(&Place::Head(0, 1)).unwrap();
    assert!(go_to(&mut world, &Place::Head(0, 1)));
    let shots = |world: &mut Offscreen| {
        [Colouring::Weights, Colouring::Error, Colouring::Bytes].map(|colouring| {
            let app = world.app.world_mut();
            app.resource_mut::<Settings>().colouring = colouring;
            app.resource_mut::<Selection>().0 = None;
            let mut camera = app.resource_mut::<MapCamera>();
            // All of the screen is weights of one head.
            camera.view.scale = 24.0;
            camera.view.centre = [head.x as f64 + 20.0, head.y as f64 + 20.0];
            middle(&shoot(world, folder.path()))
        })
    };
    let dark = shots(&mut world);
    ask(&mut world, 4);
    let lit = shots(&mut world);
    for (view, (dark, lit)) in ["weights", "error", "bytes"].iter().zip(dark.iter().zip(&lit)) {
        let colours: std::collections::HashSet<_> = dark.iter().collect();
        assert!(colours.len() > 4, "{view} are seen");
        let differing = dark.iter().zip(lit).filter(|(dark, lit)| dark != lit).count();
        assert_eq!(differing, 0, "{view}: of {} pixels", dark.len());
    }
}
