//! `--lora`, `merge` and `convert` of adapters as a person uses them.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;

use crate::common::tiny::{Random, Tiny};
use assert_cmd::Command;
use pixel_llm::model::export::export;
use pixel_llm::model::{Adapter, Encoding, LowRank, PixelModel};
use serde_json::Value;
use tempfile::TempDir;

fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command
        .current_dir(folder.path())
        .env("PIXEL_LLM_CACHE", folder.path().join("cache"))
        .args(args);
    command
}

fn output(folder: &TempDir, args: &[&str]) -> String {
    let assert = program(folder, args).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn error(folder: &TempDir, code: i32, args: &[&str]) -> String {
    let assert = program(folder, args).assert().code(code);
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// A strong adapter for the feed-forward of a model's first layers.
fn adapter(model: &PixelModel, seed: u64, size: f32) -> Adapter {
    let mut random = Random(seed);
    let mut numbers = |count: usize| -> Vec<f32> {
        (0..count).map(|_| size * (random.below(2001) as f32 / 1000.0 - 1.0)).collect()
    };
    let update = |layer: usize| {
        let tensor = format!("blk.{layer}.ffn_down.weight");
        let tiling = model.tensor(&tensor).unwrap().tiling;
        let (inputs, outputs) = (tiling.columns as usize, tiling.rows as usize);
        let (a, b) = (numbers(4 * inputs), numbers(outputs * 4));
        LowRank { tensor, inputs, outputs, rank: 4, a, b }
    };
    let updates = (0..2).map(update).collect();
    let architecture = model.config().architecture;
    Adapter { architecture, alpha: 4.0, updates, base: None, run: None }
}

fn seedling() -> PixelModel {
    pixel_llm::app::kinds::assets().default_model().unwrap()
}

/// The seedling and two adapters.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = seedling();
    export(&model, folder.path().join("m.gguf"), &|_| ()).unwrap();
    for (name, seed) in [("a", 1), ("b", 2)] {
        let path = folder.path().join(format!("{name}.gguf"));
        adapter(&model, seed, 0.5).write(path, Encoding::F32).unwrap();
    }
    folder
}

const IDS: &str = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]";

/// Answers of requests, by id.
fn answers(folder: &TempDir, lines: &[String], args: &[&str]) -> Vec<(String, Value)> {
    fs::write(folder.path().join("in.jsonl"), lines.join("\n")).unwrap();
    let all = ["run", "m.gguf", "--input", "in.jsonl", "--quiet", "--temperature", "0"];
    let all = [&all[..], &["--max-tokens", "8", "--logprobs", "0"], args].concat();
    let mut answers: Vec<(String, Value)> = output(folder, &all)
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let body = &line["response"]["body"];
            assert!(body["choices"][0]["logprobs"].is_object(), "{line}");
            (line["custom_id"].as_str().unwrap().to_owned(), body["choices"][0].clone())
        })
        .collect();
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    answers
}

#[test]
fn requests_of_several_adapters_run_side_by_side_and_alone_alike() {
    let folder = folder();
    let line = |id: &str, lora: &str| format!(r#"{{"id": "{id}", "prompt": {IDS}{lora}}}"#);
    let lines = [
        line("1", ""),
        line("2", r#", "lora": [{"name": "x"}]"#),
        line("3", r#", "lora": [{"name": "y", "scale": 1}]"#),
        line("4", r#", "lora": [{"name": "x", "scale": 0.5}, {"name": "y", "scale": 0.5}]"#),
        line("5", r#", "lora": [{"name": "x"}]"#),
        line("6", r#", "lora": [{"name": "x", "scale": 0}]"#),
    ];
    let names = ["--lora", "x=a.gguf", "--lora", "y=b.gguf"];
    let together = answers(&folder, &lines, &[&names[..], &["--parallel", "6"]].concat());
    let by_twos = answers(&folder, &lines, &[&names[..], &["--parallel", "2"]].concat());
    assert_eq!(together, by_twos, "a shared beginning is shared within a set alone");
    let of = |answers: &[(String, Value)], id: usize| answers[id - 1].1.clone();
    assert_eq!(of(&together, 2), of(&together, 5), "the same set");
    assert_eq!(of(&together, 6), of(&together, 1), "a scale of 0 is the model");
    for (a, b) in [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)] {
        assert!(of(&together, a) != of(&together, b), "{a} and {b}");
    }
    // The same adapters for all lines, from the command line.
    let plain = answers(&folder, &lines[..1], &[]);
    assert_eq!(of(&plain, 1), of(&together, 1));
    let all_x = answers(&folder, &lines[..1], &["--lora", "a.gguf"]);
    assert_eq!(of(&all_x, 1), of(&together, 2));
    let both = ["--lora", "a.gguf:0.5", "--lora", "b.gguf:0.5"];
    assert_eq!(of(&answers(&folder, &lines[..1], &both), 1), of(&together, 4));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let folder = folder();
    let run = |args: &[&str]| {
        let all = [&["run", "m.gguf", "--raw", "--prompt", "Once", "--max-tokens", "1"], args];
        error(&folder, 2, &all.concat())
    };
    for (args, expected) in [
        (&["--lora", "none.gguf"][..], "none.gguf"),
        (&["--lora", "m.gguf"], "expected \"adapter\""),
        (&["--lora", "x=a.gguf"], "a name is for the lines of --input"),
        (&["--lora", "a.gguf:nan"], "the scale is NaN"),
        (&["--lora-any-base"], "--lora"),
    ] {
        let error = run(args);
        assert!(error.contains(expected), "{error}");
    }
    let bad = r#"{"id": "1", "prompt": [1], "lora": [{"name": "z", "strength": 1}]}"#;
    fs::write(folder.path().join("bad.jsonl"), bad).unwrap();
    let error = error(&folder, 2, &["run", "m.gguf", "--input", "bad.jsonl", "--lora", "x=a.gguf"]);
    assert!(error.contains("an adapter that the run has: x"), "{error}");
    assert!(error.contains("strength"), "{error}");
}

#[test]
fn an_adapter_of_another_model_is_taken_when_it_is_said() {
    let folder = folder();
    let path = folder.path().join("other.gguf");
    let other = Adapter { base: Some([7; 32]), ..adapter(&seedling(), 1, 0.5) };
    other.write(path, Encoding::F32).unwrap();
    let run = ["run", "m.gguf", "--raw", "--prompt", "Once", "--max-tokens", "1"];
    let refused = error(&folder, 2, &[&run[..], &["--lora", "other.gguf"]].concat());
    assert!(refused.contains("--lora-any-base") && refused.contains(&"07".repeat(32)), "{refused}");
    program(&folder, &[&run[..], &["--lora", "other.gguf", "--lora-any-base"]].concat())
        .assert()
        .success();
}

#[test]
fn a_merge_says_what_survives_and_stops_where_too_little_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    Tiny::new("qwen2", Encoding::Q8_0, 5).write(&at("m.gguf"));
    program(&folder, &["convert", "m.gguf", "m.pxi"]).assert().success();
    let model = PixelModel::open(&at("m.pxi")).unwrap();
    adapter(&model, 1, 0.5).write(at("a.gguf"), Encoding::F32).unwrap();
    let text = output(&folder, &["merge", "m.gguf", "--lora", "a.gguf:0.1", "--output", "f.gguf"]);
    assert!(text.contains("Q8_0 -> F16") && text.contains("survives"), "{text}");
    let pxi = ["merge", "m.gguf", "--lora", "a.gguf:0.1", "--output", "f.pxi", "--json"];
    let report: Value = serde_json::from_str(&output(&folder, &pxi)).unwrap();
    assert!(report["survives"].as_f64().unwrap() > 0.9, "{report}");
    assert_eq!(report["tensors"].as_array().unwrap().len(), 2);
    program(&folder, &["convert", "f.pxi", "g.gguf"]).assert().success();
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(bytes("f.gguf") == bytes("g.gguf"), "the same model");
    assert_eq!(PixelModel::open(&folder.path().join("f.pxi")).unwrap().tensors().len(), 26);

    let little = ["--lora", "a.gguf:0.0001", "--encoding", "keep", "--output", "k.gguf"];
    let little = [&["merge", "m.gguf"], &little[..]].concat();
    let stopped = error(&folder, 1, &little);
    assert!(stopped.contains("nothing was written") && stopped.contains("--force"), "{stopped}");
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("merge")), "{names:?}");
    assert!(!folder.path().join("k.gguf").exists());
    program(&folder, &[&little[..], &["--force"]].concat()).assert().success();
    assert!(folder.path().join("k.gguf").exists());
    let again = error(&folder, 2, &["merge", "m.gguf", "--lora", "a.gguf", "--output", "f.gguf"]);
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn other_commands_compute_with_an_adapter_too() {
    let folder = folder();
    let bench = ["bench", "m.gguf", "--prompt-length", "8", "--tokens", "2", "--repetitions", "1"];
    let bench = [&bench[..], &["--parallel", "1", "--device", "cpu", "--lora", "a.gguf"]].concat();
    let text = output(&folder, &bench);
    assert!(text.contains("1 adapter"), "{text}");
    fs::write(folder.path().join("t.txt"), "Once upon a time. ".repeat(40)).unwrap();
    let perplexity = |more: &[&str]| {
        let all = ["perplexity", "m.gguf", "t.txt", "--context", "16", "--json"];
        let report: Value =
            serde_json::from_str(&output(&folder, &[&all[..], more].concat())).unwrap();
        report["perplexity"].as_f64().unwrap()
    };
    assert!(perplexity(&[]) != perplexity(&["--lora", "a.gguf"]));
    assert_eq!(perplexity(&[]), perplexity(&["--lora", "a.gguf:0"]));
}
