//! What the window tells of a thought is what the CPU twin computes: norms, attention and the logit
//! lens; a long prompt comes in pieces, and thinking keeps the pace that is set.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::forward::open;
use crate::common::world::open_world;
use bevy::prelude::Mut;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::{HookPoint, Hooks, Interventions};
use pixel_llm::model::PixelModel;
use pixel_llm::model::edits::Tiles;
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::settings::Settings;
use pixel_llm::world::think::Generation;
use pixel_llm::world::think::lens::{Lens, TOLD};

/// The kernels' budget for products of weights of 16 bits, with the norms of many values.
const RELATIVE: f32 = 3e-3;
/// Of the picture, at which nobody looks.
const SIZE: [u32; 2] = [320, 240];

fn ask(world: &mut Offscreen, prompt: &str, tokens: u32) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), prompt, false, tokens, 0.0);
        assert_eq!(mind.problem, None);
    });
}

fn mind(world: &Offscreen) -> &Generation {
    world.app.world().resource::<Generation>()
}

/// Frames until the answer is whole.
fn answer(world: &mut Offscreen) -> u32 {
    for frame in 0..3000 {
        if !mind(world).is_busy() {
            return frame;
        }
        world.update(1);
    }
    panic!("the answer does not come: {:?}", mind(world).problem);
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn compare_with_twin(model: Arc<PixelModel>, prompt: &str) {
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    ask(&mut world, prompt, 6);
    answer(&mut world);
    let mind = mind(&world);
    assert_eq!(mind.problem, None);
    let (config, count) = (model.config(), mind.thoughts.len());
    let twin = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(config, 1, count);
    let columns: Vec<Column> = (0..)
        .zip(&mind.thoughts)
        .map(|(position, thought)| Column {
            token: thought.token,
            slot: 0,
            position,
            wants_logits: true,
        })
        .collect();
    let points = HookPoint::all(config).filter(|point| *point != HookPoint::Logits);
    let mut values = Hooks::watching(points, columns.len());
    let logits =
        twin.forward(&mut cache, &columns, &Interventions::default(), Some(&mut values)).unwrap();
    let size = config.head_size as usize;
    let close = |found: f32, expected: f32, what: &str| {
        let budget = RELATIVE * expected.abs().max(1.0);
        assert!((found - expected).abs() <= budget, "{what}: {found}, the twin has {expected}");
    };
    let mut strongest = 0f32;
    for (at, thought) in mind.thoughts.iter().enumerate() {
        for layer in 0..config.layer_count {
            let after = values.seen(HookPoint::Residual(layer)).unwrap().column(at);
            let before = match layer.checked_sub(1) {
                Some(before) => values.seen(HookPoint::Residual(before)).unwrap().column(at),
                None => values.seen(HookPoint::Embedding).unwrap().column(at),
            };
            let place = format!("token {at}, layer {layer}");
            let added: Vec<f32> = after.iter().zip(before).map(|(a, b)| a - b).collect();
            let hidden = norm(values.seen(HookPoint::Hidden(layer)).unwrap().column(at));
            let l = layer as usize;
            close(thought.residual_norms[l], norm(after), &format!("{place}: stream"));
            close(thought.added_norms[l], norm(&added), &format!("{place}: added"));
            close(thought.hidden_norms[l], hidden, &format!("{place}: fields"));
            for head in 0..config.head_count {
                let out = values.seen(HookPoint::HeadOutput(layer)).unwrap().column(at);
                let out = &out[head as usize * size..][..size];
                let told = thought.head_norms[(layer * config.head_count + head) as usize];
                close(told, norm(out), &format!("{place}, head {head}"));
                // Where a head looked is told truly if the values there, so weighted, are what the
                // head gave.
                let shares = mind.attention(config, at, layer, head).unwrap();
                assert_eq!(shares.len(), at + 1);
                let group = (head / config.heads_per_kv()) as usize * size;
                let rows = values.seen(HookPoint::Value(layer)).unwrap();
                for dimension in 0..size {
                    let made: f32 = shares
                        .iter()
                        .zip(rows.values.chunks_exact(rows.features))
                        .map(|(share, value)| share * value[group + dimension])
                        .sum();
                    close(made, out[dimension], &format!("{place}, head {head}: attention"));
                }
                strongest = shares[..at].iter().copied().fold(strongest, f32::max);
            }
        }
    }
    assert!(strongest > 0.2, "some head looks back: {strongest}");

    // The lens of the last layer is what the model says, and that of every layer what the twin
    // makes of the twin's own stream.
    let at = count - 2;
    world.app.world_mut().resource_scope(|world, mut lens: Mut<Lens>| {
        let mind = world.resource::<Generation>();
        let start = Instant::now();
        while lens.look(&model, mind, at).is_none() {
            assert!(start.elapsed().as_secs() < 60, "the lens shows nothing: {:?}", lens.problem);
            std::thread::yield_now();
        }
        let view = lens.look(&model, mind, at).unwrap();
        assert_eq!((view.at, view.layers.len()), (at, config.layer_count as usize + 1));
        let mut states = values.seen(HookPoint::Embedding).unwrap().column(at).to_vec();
        for layer in 0..config.layer_count {
            states.extend(values.seen(HookPoint::Residual(layer)).unwrap().column(at));
        }
        let expected = twin.unembed(&states, &Tiles::new());
        for ((state, row), told) in expected.iter().zip(&view.layers) {
            let probabilities = softmax(row);
            assert_eq!(told.len(), TOLD);
            for &(token, probability) in told {
                let twin = probabilities[token as usize];
                assert!(
                    (probability - twin).abs() < 5e-3,
                    "state {state}, token {token}: {probability}, {twin}"
                );
            }
            let most = probabilities.iter().copied().fold(0.0, f32::max);
            assert!(
                (told[0].1 - most).abs() < 5e-3,
                "state {state}: the most probable comes first"
            );
        }
        let said = softmax(logits.column(at).unwrap());
        let last = view.layers.last().unwrap();
        assert!((last[0].1 - said[last[0].0 as usize]).abs() < 5e-3);
        assert_eq!(last[0].0, mind.thoughts[at + 1].token, "the last layer says what came");
        assert_ne!(view.layers[0], view.layers[config.layer_count as usize], "the layers differ");
    });
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits.iter().map(|logit| (logit - most).exp() / sum).collect()
}

#[test]
fn norms_attention_and_lens_of_the_built_in_model_are_the_twins() {
    compare_with_twin(
        Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap()),
        "Once upon a time there was a",
    );
}

#[test]
fn norms_attention_and_lens_of_smollm2_are_the_twins() {
    let Some(path) = crate::common::smollm2() else { return };
    compare_with_twin(Arc::new(open(&path)), "The capital of France is");
}

#[test]
fn a_long_prompt_comes_in_pieces_and_says_the_same() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(model, SIZE) else { return };
    let prompt = "Once upon a time there was a little girl who had a red ball. ".repeat(4);
    ask(&mut world, &prompt, 4);
    let prompt_len = mind(&world).prompt_len;
    assert!(prompt_len > 40, "{prompt_len}");
    world.update(1);
    let mut pieces = Vec::new();
    while mind(&world).latest_place().is_none_or(|at| at + 1 < prompt_len) {
        world.update(1);
        pieces.push(mind(&world).latest_place().map_or(0, |at| at + 1));
        assert!(pieces.len() < 1000, "{pieces:?}");
    }
    answer(&mut world);
    let pieces_answer = mind(&world).answer();
    let norms = mind(&world).thoughts[prompt_len - 1].residual_norms.clone();
    // One token at a time, by hand.
    world.app.world_mut().resource_mut::<Generation>().paused = true;
    ask(&mut world, &prompt, 4);
    let (mut took, since) = (Duration::ZERO, Instant::now());
    for step in 0..prompt_len + 4 {
        world.app.world_mut().resource_mut::<Generation>().single = true;
        for _ in 0..20 {
            world.update(1);
            if mind(&world).latest_place() == Some(step) {
                break;
            }
        }
        assert_eq!(mind(&world).latest_place(), Some(step), "one token for each step");
        took += mind(&world).last_step.unwrap().0;
    }
    // A software adapter computes while a step is submitted: that is part of what it took.
    let all = since.elapsed();
    assert!(took > all / 20 && took < all, "steps took {took:?} of {all:?}");
    assert_eq!(mind(&world).answer(), pieces_answer);
    for (one, other) in mind(&world).thoughts[prompt_len - 1].residual_norms.iter().zip(&norms) {
        assert!((one - other).abs() < RELATIVE * other.max(1.0), "{one}, {other}");
    }
}

#[test]
fn a_speed_is_kept_and_pause_stops_at_once() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(model, SIZE) else { return };
    // A frame is 33 ms off-screen, so a token comes every sixth.
    world.app.world_mut().resource_mut::<Settings>().tokens_per_second = 5.0;
    ask(&mut world, "Once", 40);
    world.update(60);
    let made = mind(&world).thoughts.len() - mind(&world).prompt_len;
    assert!((8..=12).contains(&made), "{made} tokens in two seconds");
    world.app.world_mut().resource_mut::<Generation>().paused = true;
    world.update(3);
    let paused = mind(&world).thoughts.len();
    world.update(30);
    assert_eq!(mind(&world).thoughts.len(), paused);
    // A prompt in the middle of another takes its place.
    world.app.world_mut().resource_mut::<Generation>().paused = false;
    world.app.world_mut().resource_mut::<Settings>().tokens_per_second = 0.0;
    ask(&mut world, "Once upon a time", 3);
    answer(&mut world);
    let mind = mind(&world);
    assert_eq!(mind.thoughts.len(), mind.prompt_len + 3);
    assert!(mind.thoughts.iter().all(|thought| thought.trace.is_some()));
}

#[test]
fn an_answer_forks_at_another_token_and_both_answers_stay() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    ask(&mut world, "Once upon a time", 8);
    answer(&mut world);
    let tokens = |world: &Offscreen| -> Vec<u32> {
        mind(world).thoughts.iter().map(|thought| thought.token).collect()
    };
    let first = tokens(&world);
    let at = mind(&world).prompt_len + 2;
    let thought = &mind(&world).thoughts[at];
    let other = thought.alternatives.iter().find(|other| other.token != thought.token).unwrap();
    let (other, probability) = (other.token, other.probability);
    world.app.world_mut().resource_mut::<Generation>().fork(&model, at, other);
    answer(&mut world);
    let forked = tokens(&world);
    assert_eq!((&forked[..at], forked[at]), (&first[..at], other));
    assert_eq!(mind(&world).thoughts[at].probability, Some(probability));
    assert!(forked.len() > at + 1 && mind(&world).thoughts[at].trace.is_some(), "it goes on");
    // What comes after the fork is what the twin says there.
    let twin = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, forked.len());
    let columns: Vec<Column> = (0..)
        .zip(&forked[..=at])
        .map(|(position, &token)| Column { token, slot: 0, position, wants_logits: true })
        .collect();
    let logits = twin.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
    let last = logits.column(at).unwrap();
    let most = last.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert!(last[forked[at + 1] as usize] > most - 0.01);

    assert_eq!(mind(&world).branches(), (2, 1));
    world.app.world_mut().resource_mut::<Generation>().show_branch(&model, 0);
    answer(&mut world);
    assert_eq!((tokens(&world), mind(&world).branches()), (first, (2, 0)));
    assert!(mind(&world).thoughts.iter().all(|thought| thought.trace.is_some()), "all is shown");
}

#[test]
fn a_chat_goes_on_and_an_answer_stops() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    let say = |world: &mut Offscreen, text: &str, tokens: u32| {
        let mut mind = world.app.world_mut().resource_mut::<Generation>();
        mind.say(&model, text, tokens, 0.0);
        assert_eq!(mind.problem, None);
    };
    say(&mut world, "Hello", 24);
    answer(&mut world);
    let first = mind(&world).answer();
    assert!(!first.trim().is_empty() && mind(&world).turns() == 1);
    say(&mut world, "Who are you?", 24);
    assert!(mind(&world).latest_place().is_some(), "what both share is not computed again");
    answer(&mut world);
    let prompt: String =
        mind(&world).thoughts[..mind(&world).prompt_len].iter().map(|t| t.text.as_str()).collect();
    assert!(prompt.contains("Hello") && prompt.contains(first.trim()), "{prompt}");
    assert_eq!(mind(&world).turns(), 2);
    // What was said stays what was said: answered again, it is a message of the same conversation.
    let asked = mind(&world).asked().cloned();
    world.app.world_mut().resource_mut::<Generation>().end_conversation();
    assert_eq!((mind(&world).turns(), mind(&world).asked().cloned()), (0, asked));
    // At a speed of its own, or a quick device may have told the story within six frames.
    world.app.world_mut().resource_mut::<Settings>().tokens_per_second = 5.0;
    say(&mut world, "Tell me a story.", 400);
    assert_eq!(mind(&world).turns(), 1);
    world.update(6);
    assert!(mind(&world).is_busy());
    world.app.world_mut().resource_mut::<Generation>().stop();
    let stopped = mind(&world).thoughts.len();
    world.update(10);
    assert!(!mind(&world).is_busy() && mind(&world).thoughts.len() == stopped);
}
