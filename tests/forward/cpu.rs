//! The forward pass on the CPU against figures of a float64 oracle, on whole models.
//!
//! The models of the oracle are not part of the repository: a test whose model is not there says so
//! and passes. The output matrix with edited tiles is compared with a saved copy.

use std::sync::Arc;

use crate::common::forward::{next, one_by_one, open, prefill};
use crate::common::golden::{MARGIN, decode_greedily, seedling_cases, smollm2_cases};
use crate::common::tiny::{Random, Tiny, VOCAB, WIDTH};
use crate::common::{shared, smollm2};
use pixel_llm::forward::cpu::{ActivationBits, CacheType, CpuModel, CpuOptions, KvCache};
use pixel_llm::model::edits::{Brush, Region, Tiles, WeightEdits, save_copy};
use pixel_llm::model::{Encoding, PixelModel};

#[test]
fn smollm2_has_the_oracles_probabilities_and_continuations() {
    let Some(path) = smollm2() else { return };
    let model = CpuModel::new(open(&path), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, 128);
    for case in smollm2_cases() {
        let alone = one_by_one(&model, &mut cache, &case.ids);
        case.check("one by one", &alone, 1e-3);
        let rows = prefill(&model, &mut cache, &case.ids);
        assert!(rows == alone, "{}: together and one by one, bit for bit", case.name);
        case.check("together", &rows, 1e-3);
        let step = |token| next(&model, &mut cache, token);
        decode_greedily(rows.last().unwrap(), &case.greedy, MARGIN, &case.name, step);
    }
}

/// Keys and values of 16 bits move what is said by less than a fiftieth of a nat, and as the same
/// bits however a text is cut.
#[test]
fn keys_and_values_of_16_bits_keep_the_oracles_continuations() {
    let Some(path) = smollm2() else { return };
    let model = CpuModel::new(open(&path), CpuOptions::default()).unwrap();
    let mut cache = KvCache::of_type(model.config(), 1, 128, CacheType::F16);
    let mut exact = KvCache::new(model.config(), 1, 128);
    for case in smollm2_cases() {
        let alone = one_by_one(&model, &mut cache, &case.ids);
        let rows = prefill(&model, &mut cache, &case.ids);
        assert!(rows == alone, "{}: together and one by one, bit for bit", case.name);
        case.check("16 bits", &rows, 0.02);
        prefill(&model, &mut exact, &case.ids);
        for (rounded, exact) in cache.rows(3, 0).iter().zip(&exact.rows(3, 0)) {
            assert_eq!(rounded.len(), exact.len());
            assert!(rounded != exact, "rounded");
            let largest = exact.iter().fold(0f32, |most, number| most.max(number.abs()));
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= largest * 2e-3;
            assert!(rounded.iter().zip(exact).all(near), "the same rows but for rounding");
        }
        let step = |token| next(&model, &mut cache, token);
        decode_greedily(rows.last().unwrap(), &case.greedy, MARGIN, &case.name, step);
    }
}

/// Keys and values of 8 bits move what is said by what the specification allows, and as the same
/// bits however a text is cut.
#[test]
fn keys_and_values_of_8_bits_keep_their_budget() {
    let Some(path) = smollm2() else { return };
    let model = CpuModel::new(open(&path), CpuOptions::default()).unwrap();
    let mut cache = KvCache::of_type(model.config(), 1, 128, CacheType::Q8);
    let mut exact = KvCache::new(model.config(), 1, 128);
    let mut worst = 0f32;
    for case in smollm2_cases() {
        let alone = one_by_one(&model, &mut cache, &case.ids);
        let rows = prefill(&model, &mut cache, &case.ids);
        assert!(rows == alone, "{}: together and one by one, bit for bit", case.name);
        worst = worst.max(case.check("8 bits", &rows, 1.0));
        prefill(&model, &mut exact, &case.ids);
        // Of the first layer, whose keys and values come of the same numbers.
        let size = model.config().head_size as usize;
        for (rounded, exact) in cache.rows(0, 0).iter().zip(&exact.rows(0, 0)) {
            assert!(rounded != exact, "rounded");
            for (rounded, exact) in rounded.chunks(size).zip(exact.chunks(size)) {
                for (rounded, exact) in rounded.chunks(32).zip(exact.chunks(32)) {
                    let most = exact.iter().fold(0f32, |most, number| most.max(number.abs()));
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= most / 250.0;
                    assert!(rounded.iter().zip(exact).all(near), "half a step of the largest");
                }
            }
        }
    }
    println!("worst {worst}");
}

/// Activations of fewer bits move what is said by what the specification allows, and as the same
/// bits however a text is cut.
#[test]
fn activations_of_fewer_bits_keep_their_budgets() {
    let Some(path) = smollm2() else { return };
    for (activation_bits, budget) in [(ActivationBits::Sixteen, 0.01), (ActivationBits::Eight, 2.0)]
    {
        let options = CpuOptions { activation_bits, ..CpuOptions::default() };
        let model = CpuModel::new(open(&path), options).unwrap();
        let mut cache = KvCache::new(model.config(), 1, 128);
        let mut worst = 0f32;
        for case in smollm2_cases() {
            let alone = one_by_one(&model, &mut cache, &case.ids);
            let rows = prefill(&model, &mut cache, &case.ids);
            assert!(rows == alone, "{}: together and one by one, bit for bit", case.name);
            worst = worst.max(case.check(&format!("{activation_bits:?}"), &rows, budget));
            let step = |token| next(&model, &mut cache, token);
            let margin = MARGIN.max(2.0 * budget);
            decode_greedily(rows.last().unwrap(), &case.greedy, margin, &case.name, step);
        }
        // Another way of rounding than the usual one, or nothing was tested.
        assert!(worst > 1e-3, "{activation_bits:?}: {worst}");
    }
}

#[test]
fn the_seedling_has_pytorchs_logits_and_continuations() {
    let Some(folder) = shared("models/seedling") else { return };
    // The goldens are for F32; rounding the weights to halves and bytes moves logits by what is
    // seen here.
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

#[test]
fn the_output_with_edited_tiles_is_that_of_a_saved_copy() {
    let folder = tempfile::tempdir().unwrap();
    for (encoding, is_tied) in Encoding::ALL.into_iter().zip([true, false].into_iter().cycle()) {
        let gguf = folder.path().join(format!("{encoding}.gguf"));
        let mut tiny = Tiny::new("llama", encoding, 3);
        if !is_tied {
            tiny.add(&mut Random(4), "output.weight", &[WIDTH, VOCAB], encoding);
        }
        tiny.write(&gguf);
        let model = Arc::new(open(&gguf));
        let states: Vec<f32> =
            (0..3 * WIDTH).map(|at| ((at * 37 % 101) as f32 - 50.0) * 0.02).collect();
        let twin = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
        let plain = twin.unembed(&states, &Tiles::new());
        let output = if is_tied { "token_embd.weight" } else { "output.weight" };
        let mut overlay = WeightEdits::default();
        // A weight in every group of rows, the last included, and the norm.
        for (name, row) in [
            (output, 0),
            (output, 70),
            (output, 130),
            (output, VOCAB - 1),
            ("output_norm.weight", 0),
        ] {
            let tensor = model.tensor_index(name).unwrap();
            let region = Region { tensor, rows: row..row + 1, columns: 0..32 };
            let painted = overlay.paint(&model, &[region], Brush::Scale(-3.0)).unwrap();
            assert!(painted.changed > 0, "{encoding} {name} {row}");
        }
        let copy = folder.path().join(format!("{encoding}.pxi"));
        save_copy(&model, &overlay, &copy, &|_| ()).unwrap();
        let copy = CpuModel::new(PixelModel::open(&copy).unwrap(), CpuOptions::default()).unwrap();
        let expected = copy.unembed(&states, &Tiles::new());
        let found = twin.unembed(&states, overlay.tiles());
        assert!(found == expected, "{encoding}, bit for bit");
        assert!(found != plain, "{encoding}: the edits matter");
    }
}
