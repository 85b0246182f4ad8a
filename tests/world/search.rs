//! The search box: what is typed finds tokens of the vocabulary and words of the answer, keys
//! choose among them, and what is told of heads and layers is what was computed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::open_world;
use bevy::prelude::{Entity, Mut, With, World};
use bevy_egui::input::EguiInputEvent;
use bevy_egui::{EguiContext, egui};
use egui::{Event, Key, Modifiers};
use pixel_llm::app::explore::Offscreen;
use pixel_llm::model::PixelModel;
use pixel_llm::panel::{Scrubbed, SearchBox};
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::keys::UserAction;
use pixel_llm::world::layout::{Atlas, Place};
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::search::{Findings, Found, Search};
use pixel_llm::world::settings::{AfterChange, Settings};
use pixel_llm::world::think::Generation;
use pixel_llm::world::think::lens::Lens;

const SIZE: [u32; 2] = [1280, 720];
const PROMPT: &str = "The cat sat. The cat";

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

fn until(world: &mut Offscreen, what: &str, holds: impl Fn(&World) -> bool) {
    for _ in 0..3000 {
        if holds(world.app.world()) {
            return;
        }
        world.update(1);
    }
    panic!("it does not come: {what}");
}

/// What is found of a text, once the vocabulary was read.
fn find(world: &mut Offscreen, text: &str) -> Findings {
    for _ in 0..3000 {
        let found = world.app.world_mut().resource_scope(|world, mut search: Mut<Search>| {
            let at = (world.resource::<Generation>(), world.resource::<Lens>());
            let looked_at = world.resource::<Scrubbed>().0;
            search.find(text, world.resource::<Atlas>(), at, looked_at).clone()
        });
        if !found.notes.iter().any(|note| note.starts_with("reading")) {
            return found;
        }
        world.update(1);
    }
    panic!("the vocabulary is not read");
}

fn ask(world: &mut Offscreen) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, 6, 0.0);
        assert_eq!(mind.problem, None);
    });
    until(world, "the answer", |world| !world.resource::<Generation>().is_busy());
}

/// Presses a key, or types a text, as the window would tell.
fn hand(world: &mut Offscreen, events: &[Event]) {
    let app = world.app.world_mut();
    let context = app.query_filtered::<Entity, With<EguiContext>>().single(app).unwrap();
    for event in events {
        app.write_message(EguiInputEvent { context, event: event.clone() });
    }
    world.update(2);
}

fn key(key: Key) -> Vec<Event> {
    let press = |pressed| Event::Key {
        key,
        physical_key: None,
        pressed,
        repeat: false,
        modifiers: Modifiers::NONE,
    };
    vec![press(true), press(false)]
}

fn token(found: &Found) -> Option<(u32, &str)> {
    match found {
        Found::Token { token, text } => Some((*token, text)),
        _ => None,
    }
}

#[test]
fn a_token_is_found_by_its_text_and_enter_marks_its_line_until_escape() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let found = find(&mut world, "the");
    let tokens: Vec<_> = found.found.iter().filter_map(token).collect();
    assert!(tokens.len() > 1 && tokens[0].1.trim() == "the", "{found:?}");
    assert!(tokens.iter().all(|(_, text)| text.trim().to_lowercase().starts_with("the")));

    world.app.world_mut().write_message(UserAction::Search);
    world.update(2);
    hand(&mut world, &[Event::Text("the".into())]);
    assert_eq!(world.app.world().resource::<SearchBox>().text, "the");
    hand(&mut world, &key(Key::ArrowDown));
    assert_eq!(world.app.world().resource::<SearchBox>().chosen, 1);
    hand(&mut world, &key(Key::ArrowUp));
    assert_eq!(world.app.world().resource::<SearchBox>().chosen, 0);
    hand(&mut world, &key(Key::ArrowDown));
    hand(&mut world, &key(Key::Enter));
    let second = Place::Token(token(&found.found[1]).unwrap().0);
    let selected = |world: &Offscreen| world.app.world().resource::<Selection>().0.clone();
    assert_eq!(selected(&world), Some(second.clone()));
    assert_eq!(world.app.world().resource::<SearchBox>().text, "");
    let atlas = world.app.world().resource::<Atlas>();
    let line = atlas.rect(&second).unwrap();
    assert!(atlas.rect(&Place::Embedding).unwrap().contains(&line), "in the sea of words");
    until(&mut world, "the flight", |world| {
        let camera = world.resource::<pixel_llm::world::camera::MapCamera>();
        camera.flight.is_none() && camera.view.visible().contains(&line)
    });
    world.app.world_mut().write_message(UserAction::Close);
    world.update(2);
    assert_eq!(selected(&world), None);
}

#[test]
fn a_word_is_found_in_the_text_with_the_heads_that_look_at_it_and_the_layers_that_say_it() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    let before = find(&mut world, "cat");
    assert!(
        before.found.iter().all(|found| matches!(found, Found::Place(_) | Found::Token { .. }))
    );
    ask(&mut world);
    let found = find(&mut world, "cat");
    let mind = world.app.world().resource::<Generation>();
    let config = world.app.world().resource::<Atlas>().model().config();
    let places: Vec<usize> = found
        .found
        .iter()
        .filter_map(|found| match found {
            Found::Word { at, is_prompt, around } => {
                assert!(around.to_lowercase().contains("cat"), "{around}");
                assert_eq!(*is_prompt, *at < mind.prompt_len);
                Some(*at)
            }
            _ => None,
        })
        .collect();
    let ends = |at: &usize| {
        let text: String =
            mind.thoughts[..=*at].iter().map(|thought| thought.text.as_str()).collect();
        text.trim_end_matches(char::is_alphabetic).len() < text.trim_end().len()
    };
    assert!(places.len() >= 2 && places.iter().all(ends), "{places:?}");

    let from = mind.latest_place().unwrap();
    let heads: Vec<_> = found
        .found
        .iter()
        .filter_map(|found| match found {
            Found::Head { head, share, from } => Some((*head, *share, *from)),
            _ => None,
        })
        .collect();
    assert_eq!(heads.len(), 3, "{found:?}");
    // Where the word is one token, its share is that of these tokens; else at least that.
    let share = |(layer, head)| -> f32 {
        let shares = mind.attention(config, from, layer, head).unwrap();
        places.iter().map(|&at| shares[at]).sum()
    };
    let all = (0..config.layer_count)
        .flat_map(|layer| (0..config.head_count).map(move |head| share((layer, head))));
    let most = all.fold(0.0, f32::max);
    assert!(heads.iter().all(|(head, told, at)| *told >= share(*head) - 1e-6 && *at == from));
    assert!(heads[0].1 >= most - 1e-6 && heads[0].1 >= heads[2].1, "{heads:?}, most {most}");

    // What was not computed is not told, and how it can be is.
    let is_layer = |found: &Found| matches!(found, Found::Layer { .. });
    assert!(!found.found.iter().any(is_layer));
    assert!(found.notes.iter().any(|note| note.contains("logit lens")), "{:?}", found.notes);
    world.app.world_mut().write_message(UserAction::Lens);
    until(&mut world, "the lens", |world| {
        let of = world.resource::<Lens>().view.as_ref().map(|view| view.at);
        of == Some(from)
    });
    let view = world.app.world().resource::<Lens>().view.clone().unwrap();
    let mind = world.app.world().resource::<Generation>();
    let mut told = view.layers.iter().enumerate().skip(1);
    let (layer, said, probability) = told
        .find_map(|(state, told)| {
            let said = mind.text_of(told[0].0);
            let is_word = said.trim().chars().all(char::is_alphabetic) && !said.trim().is_empty();
            is_word.then_some((state as u32 - 1, said, told[0].1))
        })
        .unwrap();
    let found = find(&mut world, said.trim());
    let layers: Vec<_> = found.found.iter().filter(|found| is_layer(found)).collect();
    let told = Found::Layer { layer: Some(layer), text: said.clone(), probability, after: from };
    assert!(!layers.is_empty() && layers.len() <= 4, "{said:?}: {found:?}");
    if layers.len() < 4 {
        assert!(layers.contains(&&told), "{said:?}: {layers:?}");
    }
}

#[test]
fn a_word_that_is_chosen_is_looked_at_and_an_old_answer_is_not_searched() {
    let Some(mut world) = open_world(seedling(), SIZE) else { return };
    world.app.world_mut().resource_mut::<Settings>().after_change = AfterChange::Wait;
    ask(&mut world);
    let found = find(&mut world, "sat");
    let is_word = |found: &Found| matches!(found, Found::Word { .. });
    let index = found.found.iter().position(is_word).unwrap();
    let Found::Word { at, .. } = found.found[index] else { panic!("it is a word") };
    world.app.world_mut().write_message(UserAction::Search);
    world.update(2);
    hand(&mut world, &[Event::Text("sat".into())]);
    for _ in 0..index {
        hand(&mut world, &key(Key::ArrowDown));
    }
    hand(&mut world, &key(Key::Enter));
    assert_eq!(world.app.world().resource::<Scrubbed>().0, Some(at));
    assert_eq!(world.app.world().resource::<SearchBox>().text, "sat", "the next one is a key away");

    let head = world.app.world().resource::<ModelIndex>().head(0, 0).unwrap();
    world.app.world_mut().entity_mut(head).insert(Muted);
    world.update(2);
    assert!(world.app.world().resource::<Generation>().is_before_change());
    let found = find(&mut world, "sat");
    assert!(!found.found.iter().any(is_word), "{found:?}");
    assert!(found.notes.iter().any(|note| note.contains("before the change")), "{found:?}");
}
