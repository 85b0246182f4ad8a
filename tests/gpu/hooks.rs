//! Values are watched and changed on the GPU as the CPU twin's hooks watch and change them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::ops::Range;
use std::sync::Arc;

use crate::common::engine::{batch, cpu, largest_difference, on_cpu, on_gpu, tiny};
use crate::common::gpu::engine;
use pixel_llm::forward::{Hook, HookAction, HookPoint, Hooks, Interventions};
use pixel_llm::model::{Encoding, ModelConfig};

/// What values on their way may differ from the twin's, relative to the largest at their place:
/// both add the same products in another order, so a place that is some thousand additions deep is
/// within a few thousand half-units (2^-24) of the largest.
const RELATIVE: f32 = 1e-4;
const IDS: [u32; 6] = [3, 14, 15, 9, 26, 5];
/// With nothing, biases, and norms per head between the matrices and query, key and value.
const FAMILIES: [(&str, Encoding); 3] =
    [("llama", Encoding::F32), ("qwen2", Encoding::Q8_0), ("qwen3", Encoding::Q4_K)];

/// Every place that has a buffer on the GPU.
fn places(config: &ModelConfig) -> Vec<HookPoint> {
    let of_layer = |layer| {
        [
            HookPoint::Query(layer),
            HookPoint::Key(layer),
            HookPoint::Value(layer),
            HookPoint::HeadOutput(layer),
            HookPoint::Hidden(layer),
            HookPoint::Residual(layer),
        ]
    };
    let mut places = vec![HookPoint::Embedding];
    places.extend((0..config.layer_count).flat_map(of_layer));
    places.push(HookPoint::Logits);
    places
}

/// Hooks that watch every column of [`IDS`] at every place.
fn watched(config: &ModelConfig) -> Hooks {
    Hooks::watching(places(config), IDS.len())
}

/// What the twin had at a place.
fn seen(hooks: &Hooks, point: HookPoint) -> &[f32] {
    &hooks.seen(point).unwrap().values
}

/// Values that are not all alike, of the size of those at a place.
fn values(count: usize, size: f32) -> Vec<f32> {
    (0..count).map(|index| ((index * 37 + 11) % 64) as f32 / 32.0 * size - size).collect()
}

fn largest<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0f32, |most, value| most.max(value.abs()))
}

fn check_seen(point: HookPoint, found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "{point}");
    let largest = largest(expected);
    let error = largest_difference(&[found.to_vec()], &[expected.to_vec()]) / largest;
    assert!(error < RELATIVE, "{point}: {error} of {largest}");
    error
}

#[test]
fn every_place_with_a_buffer_is_watched_and_watching_changes_no_bit() {
    for (name, encoding) in FAMILIES {
        let model = tiny(name, encoding);
        let Some(mut gpu) = engine(Arc::clone(&model), 2) else { return };
        let mut twin = watched(model.config());
        on_cpu(&cpu(&model), &IDS, &Interventions::default(), Some(&mut twin));

        // Slot 1, so that keys and values are not at the start of their buffers.
        let batch = batch(&IDS, 1, 0);
        let all: Vec<u32> = (0..IDS.len() as u32).collect();
        let plain = on_gpu(&mut gpu, &batch);
        let points = places(model.config());
        let hooks: Vec<Hook> =
            points.iter().map(|&point| Hook::watch(point, 0..IDS.len() as u32)).collect();
        let hooked = gpu.logits_with_hooks(&batch, &all, &hooks).unwrap();
        assert_eq!(hooked.logits, plain, "watching changes nothing");
        assert_eq!(hooked.watched.len(), points.len());
        let mut most = 0f32;
        for (point, watched) in points.iter().zip(&hooked.watched) {
            assert_eq!(watched.point, *point);
            let columns: Vec<_> =
                watched.columns.iter().map(|at| (at.token, at.slot, at.position)).collect();
            assert_eq!(
                columns,
                IDS.iter().zip(0..).map(|(&id, at)| (id, 1, at)).collect::<Vec<_>>()
            );
            most = most.max(check_seen(*point, &watched.values, seen(&twin, *point)));
        }
        println!("{name}: {most} of the largest");
        assert_eq!(on_gpu(&mut gpu, &batch), plain, "the hooks were for one step");
    }
}

#[test]
fn some_columns_are_watched_in_a_step_that_continues_a_sequence() {
    let model = tiny("llama", Encoding::F32);
    let Some(mut gpu) = engine(Arc::clone(&model), 3) else { return };
    let mut twin = watched(model.config());
    on_cpu(&cpu(&model), &IDS, &Interventions::default(), Some(&mut twin));
    on_gpu(&mut gpu, &batch(&IDS[..3], 2, 0));
    let rest = batch(&IDS[3..], 2, 3);
    let hooks = [
        Hook::watch(HookPoint::Key(1), 1..3),
        Hook::watch(HookPoint::Residual(0), 2..3),
        Hook::watch(HookPoint::Logits, 0..1),
    ];
    let hooked = gpu.logits_with_hooks(&rest, &[2], &hooks).unwrap();
    let part = |point: HookPoint, columns: Range<usize>| {
        let features = point.features(model.config()) as usize;
        &seen(&twin, point)[columns.start * features..columns.end * features]
    };
    check_seen(HookPoint::Key(1), &hooked.watched[0].values, part(HookPoint::Key(1), 4..6));
    check_seen(
        HookPoint::Residual(0),
        &hooked.watched[1].values,
        part(HookPoint::Residual(0), 5..6),
    );
    check_seen(HookPoint::Logits, &hooked.watched[2].values, part(HookPoint::Logits, 5..6));
    assert_eq!(hooked.watched[2].values, hooked.logits[0]);
    assert_eq!(
        hooked.watched[0].column(1),
        &hooked.watched[0].values[hooked.watched[0].features..]
    );
}

/// One column may go through a layer in one dispatch, and where it is changed it does not.
#[test]
fn a_single_column_is_watched_at_every_place_and_changed() {
    for (name, encoding) in FAMILIES {
        let model = tiny(name, encoding);
        let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
        let twin = cpu(&model);
        on_gpu(&mut gpu, &batch(&IDS[..5], 0, 0));
        let last = batch(&IDS[5..], 0, 5);
        let plain = on_gpu(&mut gpu, &last);
        let points = places(model.config());
        let hooks: Vec<Hook> = points.iter().map(|&point| Hook::watch(point, 0..1)).collect();
        let hooked = gpu.logits_with_hooks(&last, &[0], &hooks).unwrap();
        let error = largest_difference(&hooked.logits, &plain) / largest(&plain[0]);
        println!("{name}: in one dispatch or several, logits within {error}");
        assert!(error < RELATIVE, "{name}: {error}");
        let mut unchanged = watched(model.config());
        on_cpu(&twin, &IDS, &Interventions::default(), Some(&mut unchanged));
        for (point, watched) in points.iter().zip(&hooked.watched) {
            let expected = seen(&unchanged, *point);
            check_seen(*point, &watched.values, &expected[expected.len() - watched.features..]);
        }

        let point = HookPoint::Residual(0);
        let features = point.features(model.config()) as usize;
        let size = largest(seen(&unchanged, point)) / 2.0;
        let hook = |column: u32| {
            [Hook {
                point,
                columns: column..column + 1,
                action: HookAction::Add(values(features, size)),
            }]
        };
        let found = gpu.logits_with_hooks(&last, &[0], &hook(0)).unwrap().logits;
        let mut changes = Hooks::new(hook(5));
        let expected = on_cpu(&twin, &IDS, &Interventions::default(), Some(&mut changes));
        let error = largest_difference(&found, &expected[5..]) / largest(&plain[0]);
        assert!(error < RELATIVE, "{name}: {error}");
        assert_eq!(on_gpu(&mut gpu, &last), plain);
    }
}

#[test]
fn a_change_at_every_place_gives_the_logits_of_the_twin_with_the_same_change() {
    for (name, encoding) in FAMILIES {
        let model = tiny(name, encoding);
        let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
        let twin = cpu(&model);
        let batch = batch(&IDS, 0, 0);
        let all: Vec<u32> = (0..IDS.len() as u32).collect();
        let plain = on_gpu(&mut gpu, &batch);
        let mut unchanged = watched(model.config());
        on_cpu(&twin, &IDS, &Interventions::default(), Some(&mut unchanged));
        let largest_logit = largest(plain.iter().flatten());
        let mut most = 0f32;
        for point in places(model.config()).into_iter().filter(|&point| point != HookPoint::Logits)
        {
            let features = point.features(model.config()) as usize;
            let size = largest(seen(&unchanged, point)) / 2.0;
            let actions = [
                HookAction::Replace(values(features * 2, size)),
                HookAction::Scale(-1.5),
                HookAction::Add(values(features * 2, size)),
            ];
            for action in actions {
                let hooks = [Hook { point, columns: 2..4, action }];
                let found = gpu.logits_with_hooks(&batch, &all, &hooks).unwrap().logits;
                let mut changes = Hooks::new(hooks.clone());
                let expected = on_cpu(&twin, &IDS, &Interventions::default(), Some(&mut changes));
                let error = largest_difference(&found, &expected) / largest_logit;
                most = most.max(error);
                assert!(error < RELATIVE, "{name}, {hooks:?}: {error} of {largest_logit}");
                assert_eq!(found[..2], plain[..2], "{point}: columns before it see nothing of it");
                assert!(
                    largest_difference(&found, &plain) > 10.0 * RELATIVE * largest_logit,
                    "{name}, {point}: the change matters"
                );
            }
        }
        println!("{name}: changed logits within {most} of {largest_logit}");
        assert_eq!(on_gpu(&mut gpu, &batch), plain, "the changes were for one step");
    }
}

#[test]
fn hooks_at_one_place_act_in_their_order() {
    let model = tiny("llama", Encoding::F32);
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let width = model.config().embedding_size as usize;
    let point = HookPoint::Residual(0);
    let hook = |action| Hook { point, columns: 1..2, action };
    let hooks = [
        Hook::watch(point, 1..2),
        hook(HookAction::Replace(vec![0.5; width])),
        Hook::watch(point, 1..2),
        hook(HookAction::Scale(4.0)),
        hook(HookAction::Add(vec![1.0; width])),
        Hook::watch(point, 0..3),
    ];
    let watched = gpu.logits_with_hooks(&batch(&IDS, 0, 0), &[5], &hooks).unwrap().watched;
    assert_ne!(watched[0].values, watched[1].values);
    assert_eq!(watched[1].values, vec![0.5; width]);
    assert_eq!(watched[2].column(1), vec![3.0; width]);
    assert_ne!(
        watched[2].column(0),
        watched[2].column(1),
        "the columns beside it are as they were"
    );
}

#[test]
fn what_cannot_be_hooked_is_told_and_the_next_step_is_as_ever() {
    let model = tiny("llama", Encoding::F32);
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let batch = batch(&IDS, 0, 0);
    let plain = on_gpu(&mut gpu, &batch);
    let layers = model.config().layer_count;
    let watch = Hook::watch;
    let change = |point, action| Hook { point, columns: 0..1, action };
    let wrong = [
        (watch(HookPoint::AttentionNorm(0), 0..1), "attention norm of layer 0"),
        (watch(HookPoint::Gate(1), 0..1), "residual"),
        (watch(HookPoint::FinalNorm, 0..1), "--device cpu"),
        (watch(HookPoint::Residual(layers), 0..1), "layers"),
        (watch(HookPoint::Query(0), 5..7), "the step has 6"),
        (watch(HookPoint::Query(0), 3..3), "3 to 3"),
        (watch(HookPoint::Logits, 0..2), "the step has 1"),
        (change(HookPoint::Query(0), HookAction::Add(vec![1.0; 3])), "3 values"),
        (change(HookPoint::Logits, HookAction::Scale(2.0)), "biases"),
    ];
    for (hook, part) in wrong {
        let hooks = [watch(HookPoint::Embedding, 0..1), hook];
        let error = gpu.logits_with_hooks(&batch, &[5], &hooks).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    // The batch is what is wrong here, and the hook must not outlive it.
    let outside = crate::common::engine::batch(&IDS, 7, 0);
    assert!(
        gpu.logits_with_hooks(
            &outside,
            &[5],
            &[change(HookPoint::Residual(0), HookAction::Scale(0.0))]
        )
        .is_err()
    );
    assert_eq!(on_gpu(&mut gpu, &batch), plain);
}
