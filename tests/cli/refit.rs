//! `pixel-llm refit`: within its bytes, the same twice, better than the uniform file or honest
//! about it, and nothing is written where it cannot be done.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn refit(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder).env("HOME", folder).env("XDG_CACHE_HOME", folder);
    command.args(["refit", "--tokens", "512"]).args(arguments);
    command
}

fn report(folder: &Path, arguments: &[&str]) -> Value {
    let output = refit(folder, arguments).arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_model_becomes_smaller_within_its_bytes_and_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["--sensitivity", "kept.json"];
    let goal = ["--bits", "5.2", "--output", "small.gguf"];
    let first = report(folder.path(), &[&goal[..], &kept[..]].concat());
    let number = |value: &Value| value.as_f64().unwrap();
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let weights: u64 = model.tensors().iter().map(|tensor| tensor.weight_count()).sum();
    let (most, mix) = (weights as f64 * 5.2 / 8.0, &first["mix"]);
    assert!(number(&mix["bytes"]) <= most, "{mix}");
    let (far, uniform) = (number(&mix["mean"]), number(&first["uniform"]["mean"]));
    assert!(far > 0.0 && far < 0.1, "{far}");
    // A uniform file of more bytes is a measure, and not to be had.
    let fits = number(&first["uniform"]["bytes"]) <= most;
    assert_eq!(first["is_mix"], Value::Bool(!fits || far <= uniform), "{far} {uniform}");
    // What was measured is not measured again, and the same is chosen and written.
    let kept = std::fs::read(folder.path().join("kept.json")).unwrap();
    let goal = ["--bits", "5.2", "--output", "again.gguf", "--sensitivity", "kept.json"];
    let again = report(folder.path(), &goal);
    assert_eq!(again["mix"], first["mix"]);
    assert_eq!(again["matrices"], first["matrices"]);
    assert_eq!(std::fs::read(folder.path().join("kept.json")).unwrap(), kept);
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(bytes("small.gguf") == bytes("again.gguf"));
    // It is a model like any other.
    let answer = |model: &str| {
        let mut run = Command::cargo_bin("pixel-llm").unwrap();
        run.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path());
        run.args(["run", model, "--prompt", "Once upon a time", "--temperature", "0"]);
        run.args(["--max-tokens", "4", "--device", "cpu"]);
        run.assert().success().get_output().stdout.clone()
    };
    assert!(!answer("small.gguf").is_empty());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    let is_rest = |name: &str| name.starts_with(".refit-");
    assert!(left.iter().all(|entry| !is_rest(&entry.file_name().to_string_lossy())), "{left:?}");
}

#[test]
fn what_cannot_be_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Once upon a time there was a bird. ".repeat(400);
    std::fs::write(folder.path().join("a.txt"), &text).unwrap();
    std::fs::write(folder.path().join("b.txt"), &text).unwrap();
    let refused: [(&[&str], &str); 4] = [
        (&["--size", "10K"], "are too few: with the smallest encodings its tensors take"),
        (&["--bits", "0.5"], "a weight takes 1 to 32 bits"),
        (&["--bits", "5", "--calibrate", "a.txt", "--check", "b.txt"], "share text"),
        (&[], "required"),
    ];
    for (arguments, why) in refused {
        let arguments = [arguments, &["--output", "small.gguf"]].concat();
        refit(folder.path(), &arguments).assert().failure().stderr(predicate::str::contains(why));
        assert!(!folder.path().join("small.gguf").exists());
    }
}
