//! The forward pass on the CPU against figures of a float64 oracle, on whole models.
//!
//! The models are not part of the repository: a test whose model is not there says so and passes.

mod common;

use common::forward::{decode_greedily, log_softmax, one_by_one, open, prefill};
use common::{shared, smollm2};
use pixel_llm::passes::reference::{CpuModel, CpuOptions, KvCache};
use serde::Deserialize;

/// Where two tokens are closer than this, in nats, rounding may decide which comes first.
const MARGIN: f32 = 0.02;

#[derive(Deserialize)]
struct GoldenCase {
    name: String,
    ids: Vec<u32>,
    top: Vec<Vec<(u32, f32)>>,
    nll: f32,
    greedy: Vec<u32>,
}

#[test]
fn smollm2_has_the_oracles_probabilities_and_continuations() {
    let Some(path) = smollm2() else { return };
    let golden = include_str!("vectors/smollm2-135m-q4_1.json");
    let cases: Vec<GoldenCase> = serde_json::from_str(golden).unwrap();
    let model = CpuModel::new(open(&path), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, 128);
    for case in cases {
        let ways = [one_by_one(&model, &mut cache, &case.ids), prefill(&model, &mut cache, &case.ids)];
        let [alone, rows] = ways.map(|rows| rows.iter().map(|row| log_softmax(row)).collect::<Vec<_>>());
        // A token alone meets the weights with its activations rounded to 16 bits.
        for (how, rows, budget) in [("one by one", &alone, 4e-3), ("together", &rows, 1e-3)] {
            let mut worst = 0f32;
            for (position, (row, top)) in rows.iter().zip(&case.top).enumerate() {
                for &(token, expected) in top {
                    let error = (row[token as usize] - expected).abs();
                    worst = worst.max(error);
                    assert!(
                        error < budget,
                        "{} {how}, position {position}, token {token}: {error}",
                        case.name
                    );
                }
                if top[0].1 - top[1].1 > MARGIN {
                    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
                    assert_eq!(best as u32, top[0].0, "{} {how}, position {position}", case.name);
                }
            }
            println!("{} {how}: largest error of a log-probability {worst}", case.name);
        }
        let losses = rows.iter().zip(&case.ids[1..]).map(|(row, &next)| -row[next as usize]);
        let nll = losses.sum::<f32>() / (case.ids.len() - 1) as f32;
        assert!((nll - case.nll).abs() < 1e-3, "{}: {nll} for {}", case.name, case.nll);
        let start = rows.last().unwrap();
        decode_greedily(&model, &mut cache, start, &case.greedy, MARGIN, &case.name);
    }
}

#[derive(Deserialize)]
struct SeedlingGoldens {
    cases: Vec<SeedlingCase>,
}

#[derive(Deserialize)]
struct SeedlingCase {
    prompt: String,
    ids: Vec<u32>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
}

#[test]
fn the_seedling_has_pytorchs_logits_and_continuations() {
    let Some(folder) = shared("models/seedling") else { return };
    let goldens = std::fs::read_to_string(folder.join("goldens.json")).unwrap();
    let goldens: SeedlingGoldens = serde_json::from_str(&goldens).unwrap();
    // The goldens are for F32; rounding the weights to halves and bytes moves logits by what is seen here.
    for (file, tolerance) in
        [("seedling-f32.gguf", 1e-3), ("seedling-f16.gguf", 0.05), ("seedling-q8_0.gguf", 0.5)]
    {
        let model = CpuModel::new(open(&folder.join(file)), CpuOptions::default()).unwrap();
        let mut cache = KvCache::new(model.config(), 1, 512);
        let mut worst = 0f32;
        for case in &goldens.cases {
            let rows = prefill(&model, &mut cache, &case.ids);
            let last = rows.last().unwrap();
            for (token, (found, expected)) in last.iter().zip(&case.logits).enumerate() {
                worst = worst.max((found - expected).abs());
                assert!(
                    (found - expected).abs() < tolerance,
                    "{file} {:?} {token}: {found}, {expected}",
                    case.prompt
                );
            }
            if tolerance < 0.01 {
                decode_greedily(&model, &mut cache, last, &case.greedy, 0.005, &case.prompt);
            }
        }
        println!("{file}: largest error of a logit {worst}");
    }
}
