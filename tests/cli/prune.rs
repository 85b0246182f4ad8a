//! `pixel-llm prune`: what is gone is gone in the file that is written, and its cost is told beside
//! what the survey foretold.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn prune(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder).env("HOME", folder).env("XDG_CACHE_HOME", folder);
    command.arg("prune").args(arguments);
    command
}

fn report(folder: &Path, arguments: &[&str]) -> Value {
    let output = prune(folder, arguments).arg("--json").assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn inspect(folder: &Path, model: &str) -> Value {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder).env("XDG_CACHE_HOME", folder);
    let output = command.args(["inspect", model, "--json"]).assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn heads_are_muted_in_the_file_and_layers_are_not_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let heads = report(folder.path(), &["--heads", "2", "--output", "heads.gguf"]);
    let survey = heads["survey"].as_array().unwrap();
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let config = model.config();
    assert_eq!(survey.len(), (config.layer_count * config.head_count) as usize);
    let divergence = |part: &Value| part["divergence"].as_f64().unwrap();
    assert!(survey.windows(2).all(|pair| divergence(&pair[0]) <= divergence(&pair[1])));
    assert_eq!(heads["gone"].as_array().unwrap()[..], survey[..2]);
    let foretold = heads["foretold"].as_f64().unwrap();
    let sum = divergence(&survey[0]) + divergence(&survey[1]);
    assert!((foretold - sum).abs() < 1e-12, "{foretold} {sum}");
    // What the file says is what muting the same heads says.
    let measured = heads["measured"]["mean"].as_f64().unwrap();
    let error = heads["measured"]["standard_error"].as_f64().unwrap();
    assert!(measured > 0.0 && measured < 0.2 && error > 0.0, "{measured} {error}");
    assert_eq!(heads["bytes_before"], heads["bytes_after"]);
    assert_ne!(heads["survey_text"], heads["check_text"]);
    let answer = |arguments: &[&str]| {
        let mut run = Command::cargo_bin("pixel-llm").unwrap();
        run.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path());
        run.args(["run"]).args(arguments).args(["--prompt", "Once upon a time", "--device", "cpu"]);
        run.args(["--temperature", "0", "--max-tokens", "24", "--quiet"]);
        run.assert().success().get_output().stdout.clone()
    };
    let name = |part: &Value| format!("{}.{}", part["layer"], part["head"]);
    let muted = [name(&survey[0]), name(&survey[1])];
    let mute = ["--mute", &muted[0], "--mute", &muted[1]];
    assert_eq!(answer(&["heads.gguf"]), answer(&mute));

    let layers = report(folder.path(), &["--layers", "1", "--output", "layers.pxi"]);
    let before = layers["bytes_before"].as_u64().unwrap();
    assert!(layers["bytes_after"].as_u64().unwrap() < before, "{layers}");
    let found = inspect(folder.path(), "layers.pxi").to_string();
    assert!(!found.contains(&format!("blk.{}.", config.layer_count - 1)), "{found}");
    assert!(!answer(&["layers.pxi"]).is_empty());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    let is_rest = |name: &str| name.starts_with(".prune-");
    assert!(left.iter().all(|entry| !is_rest(&entry.file_name().to_string_lossy())), "{left:?}");
}

#[test]
fn what_cannot_be_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Once upon a time there was a bird. ".repeat(800);
    std::fs::write(folder.path().join("a.txt"), &text).unwrap();
    std::fs::write(folder.path().join("b.txt"), &text).unwrap();
    let refused: [(&[&str], &str); 6] = [
        (&["--heads", "0"], "take 1 to 35"),
        (&["--heads", "36"], "36 heads of 36"),
        (&["--layers", "6"], "6 layers of 6"),
        (&["--heads", "1", "--tokens", "512"], "4096 are the fewest"),
        (&["--heads", "1", "--calibrate", "a.txt", "--check", "b.txt"], "share text"),
        (&[], "required"),
    ];
    for (arguments, why) in refused {
        let arguments = [arguments, &["--output", "less.gguf"]].concat();
        prune(folder.path(), &arguments).assert().failure().stderr(predicate::str::contains(why));
        assert!(!folder.path().join("less.gguf").exists());
    }
}
