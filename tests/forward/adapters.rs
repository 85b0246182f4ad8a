//! Adapters in the forward pass on the processor, against a float64 oracle and against the model
//! without them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use serde::Deserialize;

use crate::common::forward::{log_softmax, open};
use crate::common::tiny::{Random, Tiny};
use crate::common::{shared, smollm2};
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::sampling::Key;
use pixel_llm::forward::{AdapterSet, Interventions};
use pixel_llm::model::adapter::TARGETS;
use pixel_llm::model::{Adapter, Encoding, LowRank, PixelModel};

/// What the oracle says of a model with an adapter.
#[derive(Deserialize)]
struct Golden {
    rank: usize,
    alpha: f32,
    sequences: Vec<GoldenSequence>,
    lora: GoldenLoss,
}

#[derive(Deserialize)]
struct GoldenSequence {
    ids: Vec<u32>,
    first: usize,
}

#[derive(Deserialize)]
struct GoldenLoss {
    loss_without: f64,
    loss: f64,
}

/// The numbers of a stream as the oracle draws them, in (-bound, bound).
fn uniform(seed: u64, name: &str, count: usize, bound: f64) -> Vec<f32> {
    let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let key = Key::new(seed, name.bytes().fold(0xcbf2_9ce4_8422_2325, hash));
    let words = (0..count.div_ceil(4) as u32).flat_map(|group| key.noise(0, group));
    let number = |word| bound * (2.0 * (f64::from(word) + 0.5) * 2f64.powi(-32) - 1.0);
    words.take(count).map(|word| number(word) as f32).collect()
}

/// An adapter for all matrices of a model, drawn from names.
fn drawn(model: &PixelModel, seed: u64, rank: usize, alpha: f32) -> Adapter {
    let mut updates = Vec::new();
    for layer in 0..model.config().layer_count {
        for target in TARGETS {
            let tensor = format!("blk.{layer}.{target}.weight");
            let tiling = model.tensor(&tensor).unwrap().tiling;
            let (outputs, inputs) = (tiling.rows as usize, tiling.columns as usize);
            let half =
                |half: &str, count, bound| uniform(seed, &format!("{tensor}{half}"), count, bound);
            updates.push(LowRank {
                inputs,
                outputs,
                rank,
                a: half(".lora_a", rank * inputs, (inputs as f64).powf(-0.5)),
                b: half(".lora_b", outputs * rank, 0.05),
                tensor,
            });
        }
    }
    let architecture = model.config().architecture;
    Adapter { architecture, alpha, updates, base: None, run: None }
}

/// The columns of some slots, each with the same tokens.
fn columns(slots: &[u32], ids: &[u32]) -> Vec<Column> {
    let of = |&slot: &u32| {
        let column = move |(position, &token): (usize, &u32)| Column {
            token,
            slot,
            position: position as u32,
            wants_logits: true,
        };
        ids.iter().enumerate().map(column).collect::<Vec<_>>()
    };
    slots.iter().flat_map(of).collect()
}

/// The logits of a text with some adapters.
fn logits(model: &CpuModel, set: &AdapterSet, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(model.config(), 1, ids.len());
    cache.set_adapters(0, set);
    let logits =
        model.forward(&mut cache, &columns(&[0], ids), &Interventions::default(), None).unwrap();
    logits.iter().map(|(_, row)| row.to_vec()).collect()
}

fn loss(model: &CpuModel, set: &AdapterSet, sequences: &[GoldenSequence]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for GoldenSequence { ids, first } in sequences {
        let rows = logits(model, set, &ids[..ids.len() - 1]);
        for (row, &next) in rows.iter().zip(&ids[1..]).skip(first.max(&1) - 1) {
            sum -= f64::from(log_softmax(row)[next as usize]);
            count += 1;
        }
    }
    sum / f64::from(count)
}

fn check_golden(model: PixelModel, golden: &Path, budget: f64) {
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let mut model = CpuModel::new(model, CpuOptions::default()).unwrap();
    let adapter = drawn(model.model(), 7, golden.rank, golden.alpha);
    let with = AdapterSet::new([(model.add_adapter(&adapter).unwrap(), 1.0)]);
    for (set, expected) in [(AdapterSet::NONE, golden.lora.loss_without), (with, golden.lora.loss)]
    {
        let found = loss(&model, &set, &golden.sequences);
        println!("{} {set:?}: {found} for {expected}", model.model().path().display());
        assert!((found - expected).abs() < budget, "{set:?}: {found} for {expected}");
    }
    assert!((golden.lora.loss - golden.lora.loss_without).abs() > 100.0 * budget, "it matters");
}

#[test]
fn small_models_have_the_oracles_loss_with_an_adapter() {
    let Some(folder) = shared("golden") else { return };
    for name in ["llama", "qwen2", "qwen3", "llama-q8_0", "llama-q4_1"] {
        let model = open(&folder.join(format!("train-{name}.gguf")));
        check_golden(model, &folder.join(format!("train-{name}.json")), 1e-5);
    }
}

#[test]
fn smollm2_has_the_oracles_loss_with_an_adapter() {
    let (Some(folder), Some(path)) = (shared("golden"), smollm2()) else { return };
    check_golden(open(&path), &folder.join("train-smollm2.json"), 5e-5);
}

/// A tiny model of a family, of matrices in an encoding.
fn tiny(family: &str, encoding: Encoding) -> CpuModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    Tiny::new(family, encoding, 1).write(&path);
    CpuModel::new(open(&path), CpuOptions::default()).unwrap()
}

#[test]
fn a_factor_of_zero_and_an_adapter_of_zeros_leave_every_bit() {
    for encoding in [Encoding::F32, Encoding::Q4_K] {
        let mut model = tiny("qwen2", encoding);
        let ids: Vec<u32> = (0..20).map(|at| at * 7 % 300).collect();
        let without = logits(&model, &AdapterSet::NONE, &ids);
        let mut adapter = drawn(model.model(), 1, 8, 16.0);
        let drawn = model.add_adapter(&adapter).unwrap();
        adapter.updates.iter_mut().for_each(|update| update.b.fill(0.0));
        let zeros = model.add_adapter(&adapter).unwrap();
        assert!(logits(&model, &AdapterSet::new([(drawn, 0.0)]), &ids) == without);
        assert!(logits(&model, &AdapterSet::new([(zeros, 1.0)]), &ids) == without);
        assert!(logits(&model, &AdapterSet::new([(drawn, 1.0)]), &ids) != without);
    }
}

/// Requests of several sets share a pass, and a pass may have any columns: neither changes a bit.
#[test]
fn columns_of_several_sets_share_a_pass() {
    for (family, encoding) in [("llama", Encoding::Q4_1), ("qwen3", Encoding::BF16)] {
        let mut model = tiny(family, encoding);
        // A rank that fills no block, and one that has a matrix less.
        let first = drawn(model.model(), 1, 3, 4.0);
        let mut second = drawn(model.model(), 2, 8, 0.0);
        second.updates.retain(|update| !update.tensor.contains("attn_k"));
        let first = model.add_adapter(&first).unwrap();
        let second = model.add_adapter(&second).unwrap();
        let sets = [
            AdapterSet::NONE,
            AdapterSet::new([(first, 1.0)]),
            AdapterSet::new([(second, -0.5), (first, 0.25)]),
            AdapterSet::new([(second, 1.0)]),
        ];
        let mut random = Random(5);
        let ids: Vec<u32> = (0..23).map(|_| random.below(300) as u32).collect();
        let alone = sets.each_ref().map(|set| logits(&model, set, &ids));
        for (at, one) in alone.iter().enumerate() {
            assert!(alone[..at].iter().all(|other| other != one), "each set says something else");
        }
        let mut cache = KvCache::new(model.config(), 4, 64);
        (0..).zip(&sets).for_each(|(slot, set)| cache.set_adapters(slot, set));
        let columns = columns(&[0, 1, 2, 3], &ids);
        let interventions = Interventions::default();
        let together = model.forward(&mut cache, &columns, &interventions, None).unwrap();
        let rows: Vec<Vec<f32>> = together.iter().map(|(_, row)| row.to_vec()).collect();
        assert!(rows == alone.concat(), "{family}: together and alone, bit for bit");
        // One token at a time.
        for slot in 0..4 {
            cache.truncate(slot, 0);
        }
        for position in 0..ids.len() {
            let of_position: Vec<Column> =
                columns.iter().filter(|c| c.position as usize == position).copied().collect();
            let step = model.forward(&mut cache, &of_position, &interventions, None).unwrap();
            for ((_, row), alone) in step.iter().zip(&alone) {
                assert!(row == alone[position], "{family}, position {position}");
            }
        }
    }
}

#[test]
fn what_was_computed_with_another_set_is_forgotten() {
    let mut model = tiny("llama", Encoding::Q8_0);
    let adapter = drawn(model.model(), 1, 4, 8.0);
    let set = AdapterSet::new([(model.add_adapter(&adapter).unwrap(), 1.0)]);
    let mut cache = KvCache::new(model.config(), 2, 64);
    let interventions = Interventions::default();
    model.forward(&mut cache, &columns(&[0], &[1, 2, 3]), &interventions, None).unwrap();
    cache.set_adapters(0, &AdapterSet::NONE);
    assert_eq!(cache.length(0), 3, "the same set");
    cache.set_adapters(0, &set);
    assert_eq!(cache.length(0), 0);
    model.forward(&mut cache, &columns(&[0], &[1, 2, 3]), &interventions, None).unwrap();
    cache.copy(0, 1);
    assert_eq!((cache.length(1), cache.adapters(1)), (3, &set), "a copy is of the same set");

    cache.set_adapters(1, &AdapterSet::new([(1, 1.0)]));
    let error = model
        .forward(&mut cache, &columns(&[1], &[1]), &interventions, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("slot 1 has adapter 1, but the model has 1 of them"), "{error}");
    let mut narrow = adapter.clone();
    narrow.updates[3].inputs -= 1;
    let error = model.add_adapter(&narrow).unwrap_err().to_string();
    assert!(error.contains("attn_output"), "{error}");
}

/// A muted layer gives nothing with an adapter either, and one of half strength half of both.
#[test]
fn the_factors_of_heads_and_layers_act_on_both() {
    let mut model = tiny("llama", Encoding::F32);
    let adapter = drawn(model.model(), 1, 4, 8.0);
    let set = AdapterSet::new([(model.add_adapter(&adapter).unwrap(), 1.0)]);
    let ids = [5, 6, 7];
    let with = |set: &AdapterSet, interventions: &Interventions| {
        let mut cache = KvCache::new(model.config(), 1, 8);
        cache.set_adapters(0, set);
        let logits = model.forward(&mut cache, &columns(&[0], &ids), interventions, None).unwrap();
        logits.iter().map(|(_, row)| row.to_vec()).collect::<Vec<_>>()
    };
    let muted = Interventions { layers: vec![0.0; 2], ..Interventions::default() };
    assert!(with(&set, &muted) == with(&AdapterSet::NONE, &muted), "nothing is left of either");
    let heads = Interventions { heads: vec![0.0; 8], ..Interventions::default() };
    assert!(with(&set, &heads) != with(&AdapterSet::NONE, &heads), "feed-forwards still differ");
}
