//! The forward pass on the CPU against figures of a float64 oracle, on whole models.
//!
//! The models are not part of the repository: a test whose model is not there says so and passes.

mod common;

use common::forward::{next, one_by_one, open, prefill};
use common::golden::{MARGIN, decode_greedily, seedling_cases, smollm2_cases};
use common::{shared, smollm2};
use pixel_llm::passes::reference::{CpuModel, CpuOptions, KvCache};

#[test]
fn smollm2_has_the_oracles_probabilities_and_continuations() {
    let Some(path) = smollm2() else { return };
    let model = CpuModel::new(open(&path), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, 128);
    for case in smollm2_cases() {
        // A token alone meets the weights with its activations rounded to 16 bits.
        case.check("one by one", &one_by_one(&model, &mut cache, &case.ids), 4e-3);
        let rows = prefill(&model, &mut cache, &case.ids);
        case.check("together", &rows, 1e-3);
        let step = |token| next(&model, &mut cache, token);
        decode_greedily(rows.last().unwrap(), &case.greedy, MARGIN, &case.name, step);
    }
}

#[test]
fn the_seedling_has_pytorchs_logits_and_continuations() {
    let Some(folder) = shared("models/seedling") else { return };
    // The goldens are for F32; rounding the weights to halves and bytes moves logits by what is seen here.
    for (file, tolerance) in
        [("seedling-f32.gguf", 1e-3), ("seedling-f16.gguf", 0.05), ("seedling-q8_0.gguf", 0.5)]
    {
        let model = CpuModel::new(open(&folder.join(file)), CpuOptions::default()).unwrap();
        let mut cache = KvCache::new(model.config(), 1, 512);
        let mut worst = 0f32;
        for case in seedling_cases(&folder) {
            let rows = prefill(&model, &mut cache, &case.ids);
            let last = rows.last().unwrap();
            worst = worst.max(case.check(file, last, tolerance));
            if tolerance < 0.01 {
                let step = |token| next(&model, &mut cache, token);
                decode_greedily(last, &case.greedy, 0.005, &case.prompt, step);
            }
        }
        println!("{file}: largest error of a logit {worst}");
    }
}
