//! The whole forward pass on the GPU against its CPU twin.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::path::Path;
use std::sync::Arc;

use crate::common::engine::{batch, cpu, largest_difference, on_cpu, on_gpu, tiny, vectors};
use crate::common::forward::open;
use crate::common::gpu::{engine, engine_for};
use crate::common::tiny::Tiny;
use pixel_llm::engine::Batch;
use pixel_llm::engine::gpu::GpuEngine;
use pixel_llm::engine::gpu::headless::GpuChoice;
use pixel_llm::forward::Interventions;
use pixel_llm::model::Encoding;

#[test]
fn every_family_and_encoding_gives_the_logits_of_the_twin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/models");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_suffix(".gguf").map(Into::into)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 11);
    let ids = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32];
    let mut failures = Vec::new();
    for name in names {
        let model = vectors(&name);
        if !model.config().hidden_size.is_multiple_of(32) {
            // The GPU refuses such a width; the CPU computes it.
            let refused = GpuEngine::new(model, 1, 64, &GpuChoice::default()).err();
            assert!(
                refused.is_some_and(|error| error.to_string().contains("adapter")
                    || error.to_string().contains("32"))
            );
            continue;
        }
        let vocab = model.config().vocab_size;
        let ids: Vec<u32> = ids.iter().map(|id| id % vocab).collect();
        let expected = on_cpu(&cpu(&model), &ids, &Interventions::default(), None);
        let Some(mut engine) = engine(Arc::clone(&model), 2) else { return };
        let together = on_gpu(&mut engine, &batch(&ids, 1, 0));
        let mut alone = Vec::new();
        for column in batch(&ids, 0, 0).columns {
            alone.extend(on_gpu(
                &mut engine,
                &Batch { columns: vec![column], steps: 1, ..Batch::default() },
            ));
        }
        // Few columns at once, which may be computed as whole layers too.
        let few: Vec<_> = (0..)
            .step_by(5)
            .zip(ids.chunks(5))
            .flat_map(|(first, piece)| on_gpu(&mut engine, &batch(piece, 0, first)))
            .collect();
        let errors = [&together, &alone, &few].map(|found| largest_difference(found, &expected));
        println!("{name}: {errors:?}");
        if errors.iter().any(|error| *error > 1e-3) {
            failures.push((name, errors));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn eight_sequences_at_once_are_the_same_in_whole_layers_and_kernel_by_kernel() {
    const LENGTH: u32 = 300;
    let model = tiny("llama", Encoding::Q4_1);
    let Some(mut engine) = engine_for(Arc::clone(&model), 8, 512) else { return };
    let vocab = model.config().vocab_size;
    for slot in 0..8 {
        let ids: Vec<u32> = (0..LENGTH).map(|i| (i * 7 + slot * 13) % vocab).collect();
        for (piece, first) in ids.chunks(32).zip((0..).step_by(32)) {
            on_gpu(&mut engine, &batch(piece, slot, first));
        }
    }
    let columns =
        (0..8).flat_map(|slot| batch(&[slot + 5], slot, LENGTH - 9 * slot).columns).collect();
    let step = Batch { columns, steps: 1, ..Batch::default() };
    let whole = on_gpu(&mut engine, &step);
    engine.set_fused_layers(false);
    let plain = on_gpu(&mut engine, &step);
    let error = largest_difference(&whole, &plain);
    println!("eight sequences: {error}");
    assert!(error <= 1e-4, "{error}");
}

/// A position attends to the keys of those before it, which a layer in one dispatch has no barrier
/// for. One in five short prompts came out wrong without a word.
#[test]
fn a_short_prompt_beside_other_sequences_is_the_same_each_time() {
    // With few KV heads a column's keys are written just before the next one reads them.
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut engine) = engine_for(model, 2, 64) else { return };
    let prompt = batch(&[3, 14, 15, 9, 26, 5, 35, 8], 0, 0);
    engine.set_fused_layers(false);
    let expected = on_gpu(&mut engine, &prompt);
    engine.set_fused_layers(true);
    for round in 0..100 {
        // What the step before has left in the cache may not be what it needs.
        on_gpu(&mut engine, &batch(&[40 + round; 8], 0, 0));
        let error = largest_difference(&on_gpu(&mut engine, &prompt), &expected);
        assert!(error <= 1e-4, "round {round}: {error}");
    }
}

#[test]
fn a_flipped_pixel_on_the_gpu_changes_the_logits_as_the_twin_predicts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let mut tiny = Tiny::new("llama", Encoding::F32, 7);
    tiny.write(&path);
    let model = Arc::new(open(&path));
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let ids = [1, 2, 3];
    let before = on_gpu(&mut gpu, &batch(&ids, 0, 0));

    // Weights 8 to 11 of row 5 of the first layer's gate: texel 5 of line 2 of its first tile.
    let name = "blk.0.ffn_gate.weight";
    let tensor = model.tensor(name).unwrap();
    let texel = [2.5f32, -1.5, 0.75, 3.0];
    let (network, _, queue) = gpu.network();
    let line = network.pages.first_line(tensor.first_tile) + 2;
    network.pages.write_texel(queue, 5, line, texel.map(f32::to_bits));
    let bytes = &mut tiny.tensor(name).1;
    for (index, weight) in texel.iter().enumerate() {
        let at = (5 * 256 + 8 + index) * 4;
        bytes[at..at + 4].copy_from_slice(&weight.to_le_bytes());
    }
    tiny.write(&path);
    let expected = on_cpu(&cpu(&Arc::new(open(&path))), &ids, &Interventions::default(), None);
    let after = on_gpu(&mut gpu, &batch(&ids, 0, 0));
    assert!(largest_difference(&before, &after) > 1e-2, "the pixel matters");
    let error = largest_difference(&after, &expected);
    assert!(error < 1e-3, "{error}");
}

#[test]
fn a_muted_head_is_as_its_columns_of_the_output_matrix_zeroed() {
    let model = vectors("q8_0");
    let Some(mut gpu) = engine(Arc::clone(&model), 1) else { return };
    let ids = [1, 2, 3, 4];
    let config = model.config();
    let sizes = [config.layer_count, config.head_count];
    let interventions = Interventions::new(sizes, [([0, 1], 0.0)], []);
    let before = on_gpu(&mut gpu, &batch(&ids, 0, 0));
    let (network, _, queue) = gpu.network();
    network.set_interventions(queue, &interventions);
    let after = on_gpu(&mut gpu, &batch(&ids, 0, 0));
    assert!(largest_difference(&before, &after) > 1e-4, "the head matters");
    let error = largest_difference(&after, &on_cpu(&cpu(&model), &ids, &interventions, None));
    assert!(error < 1e-3, "{error}");
}

#[test]
fn biases_of_every_matrix_are_the_twins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    for (name, tiny) in Tiny::biased() {
        tiny.write(&path);
        let model = Arc::new(open(&path));
        let Some(mut gpu) = engine(Arc::clone(&model), 2) else { return };
        let ids: Vec<u32> = (0..12).map(|i| i * 23 % 300).collect();
        let expected = on_cpu(&cpu(&model), &ids, &Interventions::default(), None);
        let together = on_gpu(&mut gpu, &batch(&ids, 1, 0));
        // Few columns of a sequence at once, and one, which may be computed as a whole layer.
        let [few, one]: [Vec<Vec<f32>>; 2] = [4, 1].map(|count: usize| {
            let pieces = ids.chunks(count).zip((0..).step_by(count));
            pieces.flat_map(|(piece, at)| on_gpu(&mut gpu, &batch(piece, 0, at))).collect()
        });
        gpu.set_fused_layers(false);
        let plain = on_gpu(&mut gpu, &batch(&ids[..4], 0, 0));
        let largest = expected.iter().flatten().fold(1.0, |most: f32, value| most.max(value.abs()));
        let ways = [("together", &together), ("few", &few), ("one", &one), ("plain", &plain)];
        for (how, found) in ways {
            let error = largest_difference(found, &expected[..found.len()]) / largest;
            assert!(error < 1e-3, "{name} {how}: {error}");
        }
    }
}
