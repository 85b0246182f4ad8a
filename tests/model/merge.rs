//! Adapters merged into a model's weights.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::adapter::adapter;
use crate::common::forward::{log_softmax, open};
use crate::common::tiny::Tiny;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::{AdapterSet, Interventions};
use pixel_llm::model::adapter::merge::merge;
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::{Adapter, Encoding};

fn log_probabilities(model: &CpuModel, set: &AdapterSet) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(model.config(), 1, 32);
    cache.set_adapters(0, set);
    let column = |position: u32| Column {
        token: position * 11 % 300,
        slot: 0,
        position,
        wants_logits: true,
    };
    let columns: Vec<Column> = (0..24).map(column).collect();
    let logits = model.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
    logits.iter().map(|(_, row)| log_softmax(row)).collect()
}

/// The mean difference of log-probabilities: where one of these models of random numbers is very
/// sure, a single one may be far off by rounding alone.
fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let (count, sum) = pairs.fold((0.0, 0.0), |(n, sum), (a, b)| (n + 1.0, sum + (a - b).abs()));
    sum / count
}

/// A model and two adapters, weak enough that the update is a few hundredths of the weights.
fn adapters() -> Vec<(Adapter, f32)> {
    vec![(Adapter { alpha: 2.0, ..adapter(2) }, 0.5), (Adapter { alpha: 0.0, ..adapter(1) }, -0.1)]
}

#[test]
fn a_merged_model_says_what_the_model_with_its_adapters_says() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, merged) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
    for base in [Encoding::Q4_1, Encoding::Q6_K, Encoding::F32] {
        Tiny::new("llama", base, 1).write(&gguf);
        let pixels = open(&gguf);
        let mut model = CpuModel::new(pixels, CpuOptions::default()).unwrap();
        let factors = adapters()
            .into_iter()
            .map(|(adapter, factor)| (model.add_adapter(&adapter).unwrap(), factor));
        let set = AdapterSet::new(factors.collect::<Vec<_>>());
        let with = log_probabilities(&model, &set);
        assert!(difference(&with, &log_probabilities(&model, &AdapterSet::NONE)) > 0.05);
        // Weights of 11 bits move these models of random numbers by a hundredth, with adapters or
        // without: a fifth of what the adapters do.
        for (encoding, budget) in [(Encoding::F32, 1e-3), (Encoding::F16, 2e-2)] {
            let made = merge(model.model(), &adapters(), Some(encoding), &merged, &|_| ()).unwrap();
            assert!(!merged.exists() || encoding == Encoding::F16, "not before it is finished");
            let done = made.finish().unwrap();
            assert_eq!(done.tensors.len(), 14);
            // These weights of Q6_K are a thousand times their update, of which 11 bits lose a
            // quarter: that is told, and then the two models need not say the same.
            let is_lossy = (base, encoding) == (Encoding::Q6_K, Encoding::F16);
            let share = done.total.share();
            assert_eq!(share < 0.95, is_lossy, "{base} {encoding}: {:?}", done.total);
            let written = Gguf::open(&merged).unwrap();
            assert_eq!(written.tensor("blk.1.ffn_up.weight").unwrap().encoding, encoding);
            assert_eq!(written.tensor("token_embd.weight").unwrap().encoding, base);
            let alone = CpuModel::new(open(&merged), CpuOptions::default()).unwrap();
            let error = difference(&log_probabilities(&alone, &AdapterSet::NONE), &with);
            println!("{base} merged as {encoding}: {error}");
            assert!(error < budget || is_lossy, "{base} {encoding}: {error}");
        }
        std::fs::remove_file(&merged).unwrap();
    }
}

#[test]
fn what_survives_in_few_bits_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, merged) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
    let survives = |base, factor| {
        Tiny::new("llama", base, 1).write(&gguf);
        let adapters: Vec<_> = adapters().into_iter().map(|(a, f)| (a, f * factor)).collect();
        let made = merge(&open(&gguf), &adapters, None, &merged, &|_| ()).unwrap();
        let done = made.finish().unwrap();
        assert!(done.tensors.iter().all(|tensor| tensor.after == base));
        let encoding = Gguf::open(&merged).unwrap().tensors().to_vec();
        assert!(
            encoding.iter().filter(|tensor| tensor.dims.len() == 2).all(|t| t.encoding == base)
        );
        println!("{base} x {factor}: {:?}, {}", done.total, done.total.share());
        done.total
    };
    let eight = survives(Encoding::Q8_0, 1.0);
    let four = survives(Encoding::Q4_1, 1.0);
    assert!(eight.share() > 0.5 && four.share() < eight.share(), "{eight:?} {four:?}");
    assert!(survives(Encoding::Q4_0, 0.02).share() < 0.5, "smaller than its steps");
    // Nothing to add is nothing lost, to the bit.
    Tiny::new("llama", Encoding::Q4_K, 1).write(&gguf);
    let nothing = vec![(adapter(2), 0.0)];
    merge(&open(&gguf), &nothing, None, &merged, &|_| ()).unwrap().finish().unwrap();
    assert!(std::fs::read(&gguf).unwrap() == std::fs::read(&merged).unwrap());
}
