//! Every family, encoding and kind of RoPE on tiny models, against the figures of a float64 oracle
//! (tests/vectors/make_models.py); and what must hold between passes: batches, sequences,
//! interventions and hooks.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::common::forward::{one_by_one, open, prefill};
use crate::common::tiny::Tiny;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, ForwardError, KvCache};
use pixel_llm::forward::{Hook, HookAction, HookPoint, Hooks, Interventions};
use serde::Deserialize;

#[derive(Deserialize)]
struct ResidencyMetrics {
    name: String,
    ids: Vec<u32>,
    logits: Vec<(usize, Vec<f32>)>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/models")
}

fn tiny(name: &str) -> CpuModel {
    CpuModel::new(open(&vectors().join(format!("{name}.gguf"))), CpuOptions::default()).unwrap()
}

fn figures() -> Vec<ResidencyMetrics> {
    serde_json::from_str(&std::fs::read_to_string(vectors().join("figures.json")).unwrap()).unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn columns(ids: &[u32], slot: u32, first: u32) -> Vec<Column> {
    let position = first..;
    ids.iter()
        .zip(position)
        .map(|(&token, position)| Column { token, slot, position, wants_logits: true })
        .collect()
}

#[test]
fn logits_are_the_oracles_in_one_pass_and_token_by_token() {
    let all = figures();
    assert_eq!(all.len(), 11);
    for ResidencyMetrics { name, ids, logits } in all {
        let model = tiny(&name);
        let mut cache = KvCache::new(model.config(), 1, ids.len());
        let together = prefill(&model, &mut cache, &ids);
        let alone = one_by_one(&model, &mut cache, &ids);
        for (position, expected) in logits {
            // A token alone meets quantised weights with its activations rounded to 16 bits.
            for (how, found, budget) in [("together", &together, 1e-4), ("alone", &alone, 1e-3)] {
                let error = largest_difference(&found[position], &expected);
                assert!(error < budget, "{name} {how}, position {position}: {error}");
            }
        }
    }
}

#[test]
fn sequences_in_one_pass_do_not_see_one_another() {
    for name in ["q4_1", "q8_0"] {
        let model = tiny(name);
        let ids: [&[u32]; 3] = [&[1, 2, 3, 4, 5], &[60, 50, 40], &[7; 9]];
        let mut cache = KvCache::new(model.config(), 3, 16);
        let alone: Vec<_> = ids.iter().map(|ids| prefill(&model, &mut cache, ids)).collect();
        cache.truncate(0, 0);
        // Interleaved by position, as a batch of running sequences is.
        let mut mixed: Vec<Column> =
            ids.iter().enumerate().flat_map(|(slot, ids)| columns(ids, slot as u32, 0)).collect();
        mixed.sort_by_key(|column| (column.position, column.slot));
        let logits = model.forward(&mut cache, &mixed, &Interventions::default(), None).unwrap();
        for (index, column) in mixed.iter().enumerate() {
            let expected = &alone[column.slot as usize][column.position as usize];
            assert!(
                largest_difference(logits.column(index).unwrap(), expected) < 1e-4,
                "{name} {column:?}"
            );
        }
        assert_eq!([cache.length(0), cache.length(1), cache.length(2)], [5, 3, 9]);
    }
}

#[test]
fn long_passes_are_the_same_in_pieces_of_any_size() {
    let model = tiny("q4_0");
    let ids: Vec<u32> = (0..430).map(|i| i * 31 % 70).collect();
    let mut cache = KvCache::new(model.config(), 1, ids.len());
    let whole = prefill(&model, &mut cache, &ids);
    for size in [1, 3, 64, 200] {
        cache.truncate(0, 0);
        for (index, piece) in ids.chunks(size).enumerate() {
            let piece = columns(piece, 0, (index * size) as u32);
            let logits =
                model.forward(&mut cache, &piece, &Interventions::default(), None).unwrap();
            for (column, row) in logits.iter() {
                assert!(
                    largest_difference(row, &whole[index * size + column]) < 2e-3,
                    "pieces of {size}"
                );
            }
        }
    }
}

#[test]
fn a_rewritten_position_forgets_what_came_after_and_a_copy_goes_its_own_way() {
    let model = tiny("f16");
    let mut cache = KvCache::new(model.config(), 2, 80);
    let expected = prefill(&model, &mut cache, &[5, 6, 9, 10]);
    prefill(&model, &mut cache, &[5, 6, 7, 8, 8, 8]);
    cache.copy(0, 1);
    for slot in [0, 1] {
        assert_eq!(cache.length(slot as usize), 6);
        let logits = model
            .forward(&mut cache, &columns(&[9, 10], slot, 2), &Interventions::default(), None)
            .unwrap();
        assert_eq!(cache.length(slot as usize), 4);
        for (column, row) in logits.iter() {
            assert!(largest_difference(row, &expected[2 + column]) < 1e-4);
        }
    }
}

#[test]
fn only_columns_that_want_logits_get_them() {
    let model = tiny("q5_1");
    let mut cache = KvCache::new(model.config(), 1, 8);
    let all = prefill(&model, &mut cache, &[3, 1, 4, 1]);
    let mut some = columns(&[3, 1, 4, 1], 0, 0);
    (some[0].wants_logits, some[2].wants_logits) = (false, false);
    let logits = model.forward(&mut cache, &some, &Interventions::default(), None).unwrap();
    assert_eq!(logits.iter().map(|(column, _)| column).collect::<Vec<_>>(), [1, 3]);
    assert!(logits.column(0).is_none() && logits.column(2).is_none());
    assert!(largest_difference(logits.column(1).unwrap(), &all[1]) < 1e-4);
    assert!(largest_difference(logits.last().unwrap(), &all[3]) < 1e-4);
}

fn run(model: &CpuModel, interventions: &Interventions, hooks: Option<&mut Hooks>) -> Vec<f32> {
    let mut cache = KvCache::new(model.config(), 1, 8);
    let logits =
        model.forward(&mut cache, &columns(&[10, 20, 30], 0, 0), interventions, hooks).unwrap();
    logits.last().unwrap().to_vec()
}

#[test]
fn hooks_see_every_place_once_and_watching_changes_nothing() {
    let model = tiny("q5_1");
    let config = model.config().clone();
    let mut hooks = Hooks::watching(HookPoint::all(&config), 3);
    let watched = run(&model, &Interventions::default(), Some(&mut hooks));
    assert!(largest_difference(&watched, &run(&model, &Interventions::default(), None)) < 1e-5);

    let [width, query, kv, hidden] =
        [config.embedding_size, config.query_size(), config.kv_size(), config.hidden_size]
            .map(|size| size as usize);
    let mut expected = vec![(HookPoint::Embedding, 3, width)];
    for layer in 0..config.layer_count {
        expected.extend([
            (HookPoint::AttentionNorm(layer), 3, width),
            (HookPoint::Query(layer), 3, query),
            (HookPoint::Key(layer), 3, kv),
            (HookPoint::Value(layer), 3, kv),
            (HookPoint::HeadOutput(layer), 3, query),
            (HookPoint::AttentionOutput(layer), 3, width),
            (HookPoint::FeedForwardNorm(layer), 3, width),
            (HookPoint::Gate(layer), 3, hidden),
            (HookPoint::Up(layer), 3, hidden),
            (HookPoint::Hidden(layer), 3, hidden),
            (HookPoint::FeedForwardOutput(layer), 3, width),
            (HookPoint::Residual(layer), 3, width),
        ]);
    }
    expected.extend([
        (HookPoint::FinalNorm, 3, width),
        (HookPoint::Logits, 3, config.vocab_size as usize),
    ]);
    let seen: Vec<_> = hooks
        .watched()
        .iter()
        .map(|seen| (seen.point, seen.columns.len(), seen.features))
        .collect();
    assert_eq!(seen, expected);
    for seen in hooks.watched() {
        assert_eq!(seen.values.len(), 3 * seen.features, "{}: seen once", seen.point);
    }
    assert_eq!(seen.iter().map(|(point, ..)| point).collect::<HashSet<_>>().len(), expected.len());
}

#[test]
fn hooks_find_their_columns_in_a_pass_of_several_batches_and_act_in_their_order() {
    let model = tiny("q8_0");
    let config = model.config();
    let width = config.embedding_size as usize;
    let column = |position: u32| Column {
        token: position % config.vocab_size,
        slot: 0,
        position,
        wants_logits: position % 2 == 1,
    };
    let columns: Vec<Column> = (0..200).map(column).collect();
    let point = HookPoint::Residual(0);
    let hook = |action| Hook { point, columns: 190..195, action };
    let added = (0..5 * width).map(|index| (index / width) as f32).collect();
    let mut hooks = Hooks::new([
        Hook::watch(point, 0..200),
        hook(HookAction::Replace(vec![0.5; 5 * width])),
        hook(HookAction::Scale(4.0)),
        hook(HookAction::Add(added)),
        Hook::watch(point, 189..196),
        Hook::watch(HookPoint::Logits, 90..100),
    ]);
    let mut cache = KvCache::new(config, 1, columns.len());
    let none = Interventions::default();
    let logits = model.forward(&mut cache, &columns, &none, Some(&mut hooks)).unwrap();
    let [before, after, of_logits] = hooks.watched() else { panic!("three hooks watch") };
    assert_eq!((&before.columns[..], &after.columns[..]), (&columns[..], &columns[189..196]));
    assert_eq!((after.column(0), after.column(6)), (before.column(189), before.column(195)));
    for changed in 0..5 {
        assert_eq!(after.column(changed + 1), vec![2.0 + changed as f32; width]);
    }
    // Every second column wants logits, from column 1 on.
    for row in 0..10 {
        assert_eq!(of_logits.column(row), logits.column(2 * (90 + row) + 1).unwrap());
    }

    let mut outside = Hooks::watching([HookPoint::Residual(config.layer_count)], 1);
    let error = model.forward(&mut cache, &columns, &none, Some(&mut outside)).unwrap_err();
    assert!(matches!(error, ForwardError::Hook(_)), "{error}");
}

#[test]
fn a_muted_head_is_a_head_whose_output_a_hook_clears() {
    let model = tiny("q4_1");
    let config = model.config().clone();
    let (heads, size) = (config.head_count as usize, config.head_size as usize);
    let plain = run(&model, &Interventions::default(), None);
    let mut interventions = Interventions { heads: vec![1.0; heads * 2], layers: Vec::new() };
    interventions.heads[heads + 4] = 0.0;
    let muted = run(&model, &interventions, None);
    let point = HookPoint::HeadOutput(1);
    let mut hooks = Hooks::watching([point], 3);
    run(&model, &Interventions::default(), Some(&mut hooks));
    let mut values = hooks.seen(point).unwrap().values.clone();
    for row in values.chunks_exact_mut(heads * size) {
        row[4 * size..5 * size].fill(0.0);
    }
    let mut hooks =
        Hooks::new([Hook { point, columns: 0..3, action: HookAction::Replace(values) }]);
    let cleared = run(&model, &Interventions::default(), Some(&mut hooks));
    assert!(largest_difference(&muted, &cleared) < 1e-6);
    assert!(largest_difference(&muted, &plain) > 1e-2);
}

#[test]
fn a_layer_at_zero_adds_nothing() {
    let model = tiny("q8_0");
    let interventions = Interventions { heads: Vec::new(), layers: vec![0.0, 1.0] };
    let without = run(&model, &interventions, None);

    let scale = |point, factor| Hook { point, columns: 0..3, action: HookAction::Scale(factor) };
    let outputs = [HookPoint::AttentionOutput(0), HookPoint::FeedForwardOutput(0)];
    let mut clear = Hooks::new(outputs.map(|point| scale(point, 0.0)));
    assert_eq!(without, run(&model, &Interventions::default(), Some(&mut clear)));
    assert!(largest_difference(&without, &run(&model, &Interventions::default(), None)) > 1e-2);
    let mut twice = Hooks::new([scale(HookPoint::Embedding, 2.0)]);
    assert!(largest_difference(&without, &run(&model, &interventions, Some(&mut twice))) > 1e-2);
}

/// Adds a vector of its own to what some places give, in each of three columns.
fn adding(adds: &HashMap<HookPoint, Vec<f32>>) -> Hooks {
    Hooks::new(adds.iter().map(|(&point, numbers)| Hook {
        point,
        columns: 0..3,
        action: HookAction::Add(numbers.repeat(3)),
    }))
}

#[test]
fn biases_are_added_where_a_hook_would_add_them() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |tiny: &Tiny| {
        let path = folder.path().join("tiny.gguf");
        tiny.write(&path);
        CpuModel::new(open(&path), CpuOptions::default()).unwrap()
    };
    // Those of query and key come before the turn by RoPE, where no hook is: they are in both.
    for (name, mut tiny) in Tiny::biased() {
        let with = opened(&tiny);
        let mut adds = HashMap::new();
        tiny.tensors.retain(|(info, bytes)| {
            let Some((layer, name)) =
                info.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))
            else {
                return true;
            };
            let layer = layer.parse().unwrap();
            let point = match name {
                "attn_output.bias" => HookPoint::AttentionOutput(layer),
                "ffn_gate.bias" => HookPoint::Gate(layer),
                "ffn_up.bias" => HookPoint::Up(layer),
                "ffn_down.bias" => HookPoint::FeedForwardOutput(layer),
                _ => return true,
            };
            adds.insert(
                point,
                bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
            );
            false
        });
        let without = opened(&tiny);
        let (has, lacks) = (with.config(), without.config());
        assert!(has.output_biases && has.feed_forward_biases && has.qkv_biases, "{name}");
        assert!(!lacks.output_biases && !lacks.feed_forward_biases && lacks.qkv_biases, "{name}");

        // A layer's factor is for what its biases add as well.
        for layer_scale in [Vec::new(), vec![0.5, 0.0], vec![0.0, 2.0]] {
            let interventions = Interventions { heads: Vec::new(), layers: layer_scale };
            let expected = run(&without, &interventions, Some(&mut adding(&adds)));
            let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            let error = largest_difference(&run(&with, &interventions, None), &expected) / largest;
            assert!(error < 1e-4, "{name} {interventions:?}: {error}");
        }
        let plain = run(&without, &Interventions::default(), None);
        let change = largest_difference(&run(&with, &Interventions::default(), None), &plain);
        assert!(change > 1e-3, "{name}: {change}");
    }
}

#[test]
fn what_cannot_be_is_refused_and_leaves_no_position() {
    let model = tiny("f32");
    let mut cache = KvCache::new(model.config(), 2, 4);
    let column = |token, slot, position| Column { token, slot, position, wants_logits: true };
    let mut refused = |columns: &[Column]| {
        let error =
            model.forward(&mut cache, columns, &Interventions::default(), None).unwrap_err();
        assert_eq!([cache.length(0), cache.length(1)], [0, 0], "{error}");
        error
    };
    assert!(matches!(
        refused(&[column(70, 0, 0)]),
        ForwardError::Token { token: 70, vocab_size: 70, .. }
    ));
    assert!(matches!(refused(&[column(1, 2, 0)]), ForwardError::Slot { slot: 2, slots: 2, .. }));
    let gap = refused(&[column(1, 0, 0), column(1, 1, 0), column(1, 1, 2)]);
    assert!(matches!(gap, ForwardError::Position { column: 2, slot: 1, position: 2, length: 1 }));
    let long: Vec<Column> = (0..5).map(|position| column(1, 0, position)).collect();
    assert!(matches!(refused(&long), ForwardError::Full { column: 4, position: 4, capacity: 4 }));

    let interventions = Interventions { heads: vec![1.0; 5], layers: Vec::new() };
    let error = model.forward(&mut cache, &[column(1, 0, 0)], &interventions, None).unwrap_err();
    assert!(matches!(error, ForwardError::Interventions { name: "head", found: 5, expected: 6 }));
    let mut other = KvCache::new(tiny("q8_0").config(), 1, 4);
    let error =
        model.forward(&mut other, &[column(1, 0, 0)], &Interventions::default(), None).unwrap_err();
    assert!(matches!(error, ForwardError::Cache { .. }), "{error}");
}

#[test]
fn an_empty_pass_gives_nothing() {
    let model = tiny("q4_k");
    let mut cache = KvCache::new(model.config(), 1, 4);
    let logits = model.forward(&mut cache, &[], &Interventions::default(), None).unwrap();
    assert_eq!((logits.iter().count(), logits.last()), (0, None));
}
