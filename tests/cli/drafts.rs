//! `--draft`: the same answers with drafts as without, by whatever they are made.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::smollm2;

fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pixel-llm"));
    for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).env("HOME", folder.path()).args(args);
    command.stdin(Stdio::null());
    command
}

/// Requests of several kinds, some of which say their prompt again.
fn write_input(folder: &TempDir) {
    let again = "The cat sat on the mat. The dog ran to the cat. The cat sat on the mat. The dog";
    let mut lines = String::new();
    for (index, prompt) in [again, "Once upon a time", "One two three one two"].iter().enumerate() {
        for (kind, knobs) in [
            r#""temperature":0"#,
            r#""temperature":0,"ignore_eos":true,"max_tokens":90"#,
            r#""seed":7,"logprobs":2"#,
            r#""temperature":0,"repeat_penalty":1.3,"stop":["."]"#,
            r#""seed":3,"min_tokens":20,"frequency_penalty":0.4"#,
        ]
        .iter()
        .enumerate()
        {
            let id = format!("{index}.{kind}");
            lines.push_str(&format!("{{\"id\":\"{id}\",\"prompt\":\"{prompt}\",{knobs}}}\n"));
        }
    }
    fs::write(folder.path().join("in.jsonl"), lines).unwrap();
}

/// Choices by id, and how many tokens were drafted and right.
fn run(folder: &TempDir, more: &[&str]) -> (Vec<(String, Value)>, [u64; 2]) {
    let base = ["run", "--device", "cpu", "--input", "in.jsonl", "--max-tokens", "40"];
    let output = program(folder, &[&base[..], more].concat()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{error}");
    let mut counts = [0; 2];
    let mut choices = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let body = &line["response"]["body"];
        for (count, name) in counts.iter_mut().zip(["draft_n", "draft_n_accepted"]) {
            *count += body["timings"][name].as_u64().unwrap_or(0);
        }
        let marked = body["timings"]["draft_accepted_at"].as_array().map_or(0, Vec::len);
        let right = body["timings"]["draft_n_accepted"].as_u64().unwrap_or(0);
        assert!(marked as u64 <= right, "{line}");
        let choice = body["choices"][0].clone();
        choices.push((line["custom_id"].to_string(), choice));
    }
    choices.sort_by(|a, b| a.0.cmp(&b.0));
    (choices, counts)
}

#[test]
fn answers_are_the_same_with_drafts_as_without() {
    let folder = tempfile::tempdir().unwrap();
    write_input(&folder);
    let seedling = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/models/seedling.pxi");
    for cache_type in ["f32", "f16"] {
        let (plain, none) =
            run(&folder, &["--draft", "off", "--parallel", "1", "--cache-type", cache_type]);
        assert_eq!((plain.len(), none), (15, [0, 0]));
        for draft in ["ngram", seedling] {
            for parallel in ["1", "4"] {
                let more = ["--draft", draft, "--parallel", parallel, "--cache-type", cache_type];
                let (drafted, [tokens, right]) = run(&folder, &more);
                assert_eq!(drafted, plain, "{draft}, {parallel} at once");
                // How many hangs on what passes cost: here little, so that drafts gain little.
                assert!(tokens > 0 && right <= tokens, "{draft}: {tokens} {right}");
            }
        }
        // What is the same model is nearly always right.
        let (_, [tokens, right]) = run(&folder, &["--draft", seedling, "--parallel", "1"]);
        assert!(right * 10 > tokens * 7, "{right} of {tokens}");
    }
}

#[test]
fn a_draft_model_of_another_vocabulary_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some(smollm2) = smollm2() else { return };
    let args = ["run", "--device", "cpu", "--prompt", "x", "--draft", smollm2.to_str().unwrap()];
    let output = program(&folder, &args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--draft") && error.contains("the same vocabulary"), "{error}");
    let args = ["run", "--device", "cpu", "--prompt", "x", "--draft", "ngrm"];
    let output = program(&folder, &args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("expected ngram, off"), "{error}");
}

#[test]
fn a_line_tells_what_came_of_drafts() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "run",
        "--raw",
        "--device",
        "cpu",
        "--temperature",
        "0",
        "--prompt",
        "red blue red blue red blue red blue red blue red",
    ];
    let output = program(&folder, &args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("drafted tokens right"), "{error}");
    let off = program(&folder, &[&args[..], &["--draft", "off"]].concat()).output().unwrap();
    assert_eq!(off.stdout, output.stdout);
    assert!(!String::from_utf8_lossy(&off.stderr).contains("drafted"));
}
