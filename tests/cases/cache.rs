//! Conversions that are kept: right, bounded, and healed.
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::Case;

/// A case whose model is `model.gguf`.
fn with_model() -> Option<Case> {
    Case::of("no-home-to-write-in")
}

const PROMPT: [&str; 7] = ["run", "--raw", "--prompt", "hi", "--max-tokens", "2", "--device"];

fn answer(case: &Case, model: &str) -> (String, String) {
    let args = [&[PROMPT[0], model][..], &PROMPT[1..], &["cpu"]].concat();
    let output = case.program(&args).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn cache(case: &Case) -> PathBuf {
    case.home().join(".cache/pixel-llm/models")
}

fn conversions(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache(case)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "pxi")).collect()
}

#[test]
fn a_part_that_is_replaced_is_noticed() {
    let Some(case) = Case::of("split-part-replaced") else { return };
    let expected = case.json("expected.json");
    let run = |output: &str| {
        let args =
            ["run", "m-00001-of-00002.gguf", "--input", "in.jsonl", "--output", output, "--device", "cpu"];
        case.program(&args).assert().success();
        let text = fs::read_to_string(case.file(output)).unwrap();
        serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()
    };
    let first = run("one.jsonl");
    // Of the same size and time as the one before.
    let part = case.file("m-00002-of-00002.gguf");
    let time = part.metadata().unwrap().modified().unwrap();
    fs::copy(case.file("second/m-00002-of-00002.gguf"), &part).unwrap();
    fs::File::options().write(true).open(&part).unwrap().set_modified(time).unwrap();
    let second = run("two.jsonl");
    for (result, name) in [(&first, "first_run"), (&second, "after_the_second_part_was_replaced")] {
        let found = numbers(result);
        for wanted in expected[name]["log_probability_of_each_next_id"].as_array().unwrap() {
            let wanted = wanted.as_f64().unwrap();
            let near = found.iter().any(|found| (found - wanted).abs() < 2e-3);
            assert!(near, "{name}: {wanted} is not in {result}");
        }
    }
    assert_eq!(conversions(&case).len(), 1, "the old conversion is gone");
}

/// All numbers in a document.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_flipped_bit_is_healed_from_the_source() {
    let Some(case) = with_model() else { return };
    let (text, said) = answer(&case, "model.gguf");
    assert!(said.contains("is converted once"), "{said}");
    let path = conversions(&case).remove(0);
    let whole = fs::read(&path).unwrap();
    // The first bytes, the head, and tiles.
    for at in [3, 100, whole.len() / 2, whole.len() - 3000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (again, said) = answer(&case, "model.gguf");
        assert_eq!(again, text, "byte {at}");
        assert!(said.contains("damaged") || fs::read(&path).unwrap() == whole, "{said}");
        assert!(fs::read(&path).unwrap() == whole, "byte {at}");
    }
    let (_, said) = answer(&case, "model.gguf");
    assert!(!said.contains("converted") && !said.contains("damaged"), "{said}");
}

#[test]
fn leftovers_of_processes_that_are_gone_go() {
    let Some(case) = with_model() else { return };
    fs::create_dir_all(cache(&case)).unwrap();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let left = cache(&case).join(format!(".pixel-llm-{}-0.tmp", gone.id()));
    let alive = cache(&case).join(format!(".pixel-llm-{}-0.tmp", std::process::id()));
    fs::write(&left, "left").unwrap();
    fs::write(&alive, "alive").unwrap();
    let (_, said) = answer(&case, "model.gguf");
    assert!(!left.exists() && alive.exists(), "{said}");
    assert!(said.contains("1 unfinished conversions"), "{said}");
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let Some(case) = with_model() else { return };
    let args = ["inspect", "model.gguf", "--png", "p.png"];
    case.program(&args).env("PIXEL_LLM_CACHE", "").env("PIXEL_LLM_CONFIG", "").assert().success();
    let names: Vec<_> =
        fs::read_dir(case.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| Path::new(name).extension().is_some_and(|e| e == "pxi")), "{names:?}");
    assert_eq!(conversions(&case).len(), 1);
}

#[cfg(unix)]
#[test]
fn no_writable_home_is_no_obstacle() {
    let Some(case) = with_model() else { return };
    let temporary = case.folder().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let nowhere = |args: &[&str]| {
        let mut program = case.program(args);
        program.env("HOME", "/proc/nohome").env("TMPDIR", &temporary);
        let output = program.assert().success().get_output().clone();
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (text, said) = nowhere(&[&["run", "model.gguf"], &PROMPT[1..], &["cpu"]].concat());
    assert!(!text.is_empty());
    assert!(said.contains("not kept") && said.contains("PIXEL_LLM_CACHE"), "{said}");
    for command in ["inspect", "verify"] {
        let (_, said) = nowhere(&[command, "model.gguf"]);
        assert!(!said.contains("PIXEL_LLM_CACHE") && !said.contains("converted"), "{command}: {said}");
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left");
    // Who names a folder wants it and no other.
    let mut named = case.program(&["inspect", "model.gguf", "--png", "p.png"]);
    let said = named.env("PIXEL_LLM_CACHE", "/proc/nohome").assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("PIXEL_LLM_CACHE"));
}

#[test]
fn the_cache_is_bounded_listed_and_cleared() {
    let Some(case) = with_model() else { return };
    fs::copy(case.file("model.gguf"), case.file("other.gguf")).unwrap();
    let list = || -> Value {
        let output = case.program(&["cache", "list", "--json"]).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 0);
    answer(&case, "model.gguf");
    answer(&case, "other.gguf");
    let listed = list();
    let made_of: Vec<_> =
        listed["conversions"].as_array().unwrap().iter().map(|e| &e["made_of"][0]).collect();
    assert!(made_of[0].as_str().unwrap().ends_with("model.gguf"), "the one used before comes first");
    assert_eq!(made_of.len(), 2);
    // A file of the user's own in the folder is nobody's to remove.
    fs::write(cache(&case).join("mine.pxi"), "mine").unwrap();
    fs::copy(case.file("model.gguf"), case.file("third.gguf")).unwrap();
    let size = listed["size_in_bytes"].as_u64().unwrap() + 1;
    let args = ["inspect", "third.gguf", "--png", "p.png"];
    let bounded = case.program(&args).env("PIXEL_LLM_CACHE_LIMIT", size.to_string()).assert().success();
    let said = String::from_utf8(bounded.get_output().stderr.clone()).unwrap();
    assert!(said.contains("1 old conversions are removed"), "{said}");
    let files: Vec<_> =
        list()["conversions"].as_array().unwrap().iter().map(|e| e["file"].to_string()).collect();
    assert!(files.len() == 2 && !files.iter().any(|file| file.contains("/model-")), "{files:?}");
    let wrong = case.program(&["cache", "list"]).env("PIXEL_LLM_CACHE_LIMIT", "much").assert().code(2);
    assert!(String::from_utf8(wrong.get_output().stderr.clone()).unwrap().contains("PIXEL_LLM_CACHE_LIMIT"));
    case.program(&["cache", "clear", "other.gguf"]).assert().success();
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 1);
    case.program(&["cache", "clear", "other.gguf"]).assert().code(2);
    case.program(&["cache", "clear"]).assert().success();
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 0);
    assert!(cache(&case).join("mine.pxi").exists() && case.file("other.gguf").exists());
}

#[test]
fn what_is_in_use_stays() {
    let Some(case) = with_model() else { return };
    answer(&case, "model.gguf");
    let held = fs::File::open(&conversions(&case)[0]).unwrap();
    held.lock_shared().unwrap();
    case.program(&["cache", "clear"]).assert().code(1);
    assert_eq!(conversions(&case).len(), 1);
    drop(held);
    case.program(&["cache", "clear"]).assert().success();
    assert_eq!(conversions(&case).len(), 0);
}

#[test]
fn two_processes_may_convert_one_model_at_once() {
    let Some(case) = with_model() else { return };
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let spawn = |_| {
        let args = [&["run", "model.gguf"][..], &PROMPT[1..], &["cpu"]].concat();
        let mut command = std::process::Command::new(&program);
        command.args(&args).current_dir(case.folder()).env("HOME", case.home());
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
            command.env_remove(name);
        }
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(spawn).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success() && output.stdout == outputs[0].stdout));
    let converted = |output: &&std::process::Output| {
        String::from_utf8_lossy(&output.stderr).contains("is converted once")
    };
    assert_eq!(outputs.iter().filter(converted).count(), 1);
    assert_eq!(conversions(&case).len(), 1);
}
