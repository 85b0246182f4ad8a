//! The same seed, the same text: a sequence's numbers are the same bits whatever is computed beside
//! it.

use std::collections::BTreeMap;
use std::path::Path;

use pixel_llm::forward::Interventions;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::model::Encoding;
use proptest::prelude::*;
use serde_json::Value;

use super::support::Case;
use super::support::common::forward::{one_by_one, open};
use super::support::common::tiny::{Random, Shape, Tiny};

/// Positions of every sequence.
const LENGTH: u32 = 9;
const VOCAB: u64 = 70;

/// A small model whose rows fill no whole number of row groups.
fn model(encoding: Encoding) -> CpuModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let shape = Shape {
        width: 256,
        vocab: VOCAB,
        hidden: 256,
        heads: 4,
        kv_heads: 1,
        head_size: 64,
        layers: 1,
    };
    Tiny::shaped("llama", encoding, 5, shape).write(&path);
    CpuModel::new(open(&path), CpuOptions::default()).unwrap()
}

/// The token of a sequence at a position.
fn token(slot: u32, position: u32) -> u32 {
    (position * position * 7 + position * 3 + slot * 31) % VOCAB as u32
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|value| value.to_bits()).collect()
}

/// The logits of every position of a sequence that is computed a token at a time, alone.
fn alone(model: &CpuModel, slot: u32) -> Vec<Vec<u32>> {
    let mut cache = KvCache::new(model.config(), 1, LENGTH as usize);
    let ids: Vec<u32> = (0..LENGTH).map(|position| token(slot, position)).collect();
    one_by_one(model, &mut cache, &ids).iter().map(|row| bits(row)).collect()
}

/// Computes the rest of every slot in passes of random pieces of random slots, some of whose logits
/// nobody wants, and holds each row to that of the sequence alone.
fn mix(
    model: &CpuModel,
    cache: &mut KvCache,
    expected: &[Vec<Vec<u32>>],
    random: &mut Random,
    of: &[u32],
) {
    let is_over = |cache: &KvCache| (0..of.len()).all(|slot| cache.length(slot) == LENGTH as usize);
    while !is_over(cache) {
        let mut columns = Vec::new();
        for slot in 0..of.len() as u32 {
            let length = cache.length(slot as usize) as u32;
            let piece = random.below(u64::from(LENGTH - length) + 1) as u32;
            columns.extend((length..length + piece).map(|position| Column {
                token: token(of[slot as usize], position),
                slot,
                position,
                wants_logits: random.below(3) > 0,
            }));
        }
        let found = model.forward(cache, &columns, &Interventions::default(), None).unwrap();
        for (index, row) in found.iter() {
            let Column { slot, position, .. } = columns[index];
            let expected = &expected[of[slot as usize] as usize][position as usize];
            assert!(
                bits(row) == *expected,
                "position {position} of {slot} among {}",
                columns.len()
            );
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_beside_others_in_every_encoding() {
    for encoding in Encoding::ALL {
        let model = model(encoding);
        let of: Vec<u32> = (0..3).collect();
        let expected: Vec<_> = of.iter().map(|&slot| alone(&model, slot)).collect();
        assert!(expected[0] != expected[1], "{encoding}: the sequences differ");
        for seed in 0..3 {
            let mut cache = KvCache::new(model.config(), 3, LENGTH as usize);
            mix(&model, &mut cache, &expected, &mut Random(seed), &of);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Any number of sequences, some of which begin with a copy of what another has, on any number
    /// of threads.
    #[test]
    fn shared_beginnings_and_threads_change_no_bit(
        encoding in prop::sample::select(Encoding::ALL.to_vec()),
        others in 1u32..8, copied in 1usize..LENGTH as usize, threads in 1usize..4, seed: u64,
    ) {
        let model = model(encoding);
        let expected = [alone(&model, 0), alone(&model, 1)];
        let mut cache = KvCache::new(model.config(), others as usize + 1, LENGTH as usize);
        let columns: Vec<Column> = (0..copied as u32)
            .map(|position| {
                let token = token(0, position);
                Column { token, slot: 0, position, wants_logits: false }
            })
            .collect();
        model.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
        // The last has another text; the first goes on; the rest begin with what the first has.
        let mut of = vec![0; others as usize + 1];
        of[others as usize] = 1;
        (1..others as usize).for_each(|slot| cache.copy(0, slot));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| mix(&model, &mut cache, &expected, &mut Random(seed), &of));
    }
}

/// What is answered to each id.
fn texts(output: &Path) -> BTreeMap<String, Value> {
    let lines = std::fs::read_to_string(output).unwrap();
    let results = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answer = |result: Value| {
        let text = &result["response"]["body"]["choices"][0]["text"];
        assert!(text.is_string(), "{result}");
        (result["custom_id"].as_str().unwrap().to_owned(), text.clone())
    };
    results.map(answer).collect()
}

fn run(case: &Case, input: &str, output: &str, more: &[&str]) -> BTreeMap<String, Value> {
    let common = ["--no-window", "--device", "cpu", "--input", input, "--output", output];
    case.program(&[&common, more].concat()).assert().success();
    texts(&case.file(output))
}

#[test]
fn the_same_seed_is_the_same_text_alone_and_beside_others() {
    let Some(case) = Case::of("seed-beside-others") else { return };
    let alone = run(&case, "alone.jsonl", "a.jsonl", &["--parallel", "1"]);
    let beside = run(&case, "beside.jsonl", "b.jsonl", &["--parallel", "4"]);
    assert!(alone["asked"].as_str().is_some_and(|text| text.len() > 100), "{alone:?}");
    assert_eq!(alone["asked"], beside["asked"]);
}

#[test]
fn a_resumed_run_answers_as_one_that_was_not_stopped() {
    let case = Case::empty();
    let request = |at: usize| {
        let prompt = ["the tile", "Once upon a time, the tile"][at % 2];
        let seed = 200 + at;
        format!(
            "{{\"id\": \"{at}\", \"prompt\": \"{prompt}\", \"max_tokens\": 16, \
             \"temperature\": 1.3, \"seed\": {seed}}}"
        )
    };
    let requests: Vec<String> = (0..8).map(request).collect();
    std::fs::write(case.file("requests.jsonl"), requests.join("\n")).unwrap();
    let whole = run(&case, "requests.jsonl", "whole.jsonl", &["--parallel", "8"]);
    // What a run that was stopped has: some results, in some order.
    let lines = std::fs::read_to_string(case.file("whole.jsonl")).unwrap();
    let kept: String = lines.lines().step_by(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(case.file("stopped.jsonl"), kept).unwrap();
    let resumed = run(&case, "requests.jsonl", "stopped.jsonl", &["--parallel", "1", "--resume"]);
    assert_eq!(whole.len(), 8);
    assert_eq!(whole, resumed);
}
