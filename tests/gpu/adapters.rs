//! Adapters in the forward pass on the GPU against its CPU twin.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::sync::Arc;

use crate::common::engine::{CONTEXT, batch, cpu, largest_difference, on_gpu, tiny};
use crate::common::gpu::engine;
use crate::common::tiny::Random;
use pixel_llm::engine::{Batch, Engine};
use pixel_llm::forward::cpu::{Column, CpuModel, KvCache};
use pixel_llm::forward::{AdapterSet, Interventions, PrefixCopy};
use pixel_llm::model::adapter::TARGETS;
use pixel_llm::model::{Adapter, Encoding, LowRank, PixelModel};

/// What the logits of the GPU may differ from those of the twin, as in `specs/forward.md`.
const BUDGET: f32 = 1e-3;

/// An adapter for some matrices, of ranks that are no multiples of four.
fn adapter(model: &PixelModel, seed: u64, targets: &[&str], rank: usize) -> Arc<Adapter> {
    let mut random = Random(seed);
    let mut numbers = |count: usize| -> Vec<f32> {
        (0..count).map(|_| 0.25 * (random.below(2001) as f32 / 1000.0 - 1.0)).collect()
    };
    let mut updates = Vec::new();
    for layer in 0..model.config().layer_count {
        for (at, target) in targets.iter().enumerate() {
            let tensor = format!("blk.{layer}.{target}.weight");
            let tiling = model.tensor(&tensor).unwrap().tiling;
            let (inputs, outputs) = (tiling.columns as usize, tiling.rows as usize);
            let rank = rank + at % 2;
            let (a, b) = (numbers(rank * inputs), numbers(outputs * rank));
            updates.push(LowRank { tensor, inputs, outputs, rank, a, b });
        }
    }
    let architecture = model.config().architecture;
    Arc::new(Adapter { architecture, alpha: 4.0, updates, base: None, run: None })
}

/// Logits of a text on the processor, with a set of adapters.
fn expected(model: &CpuModel, set: &AdapterSet, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(model.config(), 1, CONTEXT);
    cache.set_adapters(0, set);
    let column = |(&token, position)| Column { token, slot: 0, position, wants_logits: true };
    let columns: Vec<Column> = ids.iter().zip(0..).map(column).collect();
    let logits = model.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
    logits.iter().map(|(_, row)| row.to_vec()).collect()
}

/// Two adapters, one of them on few matrices, and the model with both on the processor.
fn two(model: &Arc<PixelModel>) -> (Vec<Arc<Adapter>>, CpuModel) {
    let adapters =
        vec![adapter(model, 1, &TARGETS, 5), adapter(model, 2, &["attn_k", "ffn_down"], 3)];
    let mut twin = cpu(model);
    adapters.iter().for_each(|adapter| _ = twin.add_adapter(adapter).unwrap());
    (adapters, twin)
}

#[test]
fn every_family_has_the_logits_of_the_twin_with_sets_of_adapters_side_by_side() {
    let kinds = [
        ("llama", Encoding::Q4_1),
        ("qwen2", Encoding::Q8_0),
        ("qwen3", Encoding::F32),
        ("llama", Encoding::F16),
    ];
    for (family, encoding) in kinds {
        let model = tiny(family, encoding);
        let Some(mut engine) = engine(Arc::clone(&model), 4) else { return };
        let (adapters, twin) = two(&model);
        engine.set_adapters(&model, &adapters, AdapterSet::new([(0, 1.0)])).unwrap();
        let sets = [
            AdapterSet::NONE,
            AdapterSet::new([(0, 1.0)]),
            AdapterSet::new([(1, -0.5)]),
            AdapterSet::new([(0, 0.75), (1, 2.0)]),
        ];
        let vocab = model.config().vocab_size;
        let ids: Vec<u32> = (0..12).map(|at| (at * 7 + 3) % vocab).collect();
        let expected = sets.clone().map(|set| expected(&twin, &set, &ids));
        let spread = largest_difference(&expected[0], &expected[1]);
        assert!(spread > 50.0 * BUDGET, "{family} {encoding:?}: it matters, {spread}");

        // All sequences in one pass; then a token of each at a time, which fuses layers.
        let mut together = Batch { steps: 1, ..Batch::default() };
        for (slot, set) in (0..).zip(&sets) {
            // Of the second nobody says anything: it has what the engine was opened with.
            if slot != 1 {
                together.adapters.push((slot, Some(set.clone())));
            }
            together.columns.extend(batch(&ids, slot, 0).columns);
        }
        let all = on_gpu(&mut engine, &together);
        let mut few: Vec<Vec<Vec<f32>>> = vec![Vec::new(); 4];
        for (position, &id) in (0..).zip(&ids) {
            let columns = (0..4).flat_map(|slot| batch(&[id], slot, position).columns).collect();
            let rows = on_gpu(&mut engine, &Batch { columns, steps: 1, ..Batch::default() });
            few.iter_mut().zip(rows).for_each(|(rows, row)| rows.push(row));
        }
        let mut alone = Vec::new();
        for (position, &id) in (0..).zip(&ids) {
            alone.extend(on_gpu(&mut engine, &batch(&[id], 3, position)));
        }
        for (slot, expected) in expected.iter().enumerate() {
            let errors = [&all[slot * ids.len()..][..ids.len()], &few[slot]]
                .map(|found| largest_difference(found, expected));
            println!("{family} {encoding:?} set {slot}: {errors:?}");
            assert!(errors.iter().all(|error| *error <= BUDGET), "{family} {slot}: {errors:?}");
        }
        let error = largest_difference(&alone, &expected[3]);
        assert!(error <= BUDGET, "{family} alone: {error}");
    }
}

#[test]
fn without_a_set_every_bit_is_the_models_and_a_copied_sequence_has_its_set() {
    let model = tiny("llama", Encoding::Q4_K);
    let Some(mut engine) = engine(Arc::clone(&model), 3) else { return };
    let ids: Vec<u32> = (0..10).collect();
    let before = on_gpu(&mut engine, &batch(&ids, 0, 0));
    let (adapters, twin) = two(&model);
    engine.set_adapters(&model, &adapters, AdapterSet::NONE).unwrap();
    assert_eq!(before, on_gpu(&mut engine, &batch(&ids, 0, 0)), "the model alone");
    assert!(engine.device().contains("2 adapters"), "{}", engine.device());

    let set = AdapterSet::new([(0, 1.0), (1, 1.0)]);
    let mut first = batch(&ids, 1, 0);
    first.adapters.push((1, Some(set.clone())));
    on_gpu(&mut engine, &first);
    let mut copied = batch(&[11], 2, 10);
    copied.copies.push(PrefixCopy { from: 1, to: 2, positions: 10 });
    let found = on_gpu(&mut engine, &copied);
    let expected = expected(&twin, &set, &[&ids[..], &[11]].concat());
    assert!(largest_difference(&found, &expected[10..]) <= BUDGET);

    let mut back = batch(&ids, 1, 0);
    back.adapters.push((1, None));
    assert_eq!(before, on_gpu(&mut engine, &back), "nobody's set is the usual one, which is none");
}

#[test]
fn an_adapter_of_another_model_is_refused_in_words() {
    let model = tiny("llama", Encoding::Q4_0);
    let Some(mut engine) = engine(Arc::clone(&model), 1) else { return };
    let mut other = Adapter::clone(&adapter(&model, 1, &["attn_q"], 4));
    other.updates[0].inputs -= 32;
    let refused = engine.set_adapters(&model, &[Arc::new(other)], AdapterSet::NONE);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("adapter"), "{error}");
}
