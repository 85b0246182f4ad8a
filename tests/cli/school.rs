//! `pixel-llm school`: children, controls and a report; the same twice; what cannot be is refused.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::Value;

fn school(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder).env("HOME", folder).env("XDG_CACHE_HOME", folder);
    command.arg("school").args(arguments);
    command
}

const SMALL: [&str; 12] = [
    "--rounds",
    "1",
    "--exercises",
    "24",
    "--held-out",
    "32",
    "--k",
    "2",
    "--steps",
    "2",
    "--batch-tokens",
    "128",
];

#[test]
fn a_round_writes_a_child_that_answers_and_a_report_of_all_three() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&["--subject", "who", "--output", "taught"][..], &SMALL].concat();
    let output = school(folder.path(), &arguments).arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // 0 where a child passed and 1 where none did: the report says which.
    let passed = !report["kept_round"].is_null();
    assert_eq!(output.status.code(), Some(i32::from(!passed)), "{report:#}");
    let written = std::fs::read(folder.path().join("taught/school.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), report);
    let candidates = report["rounds"][0]["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 3);
    for candidate in candidates {
        let verdict = candidate["verdict"].as_array().unwrap();
        let holds = verdict.iter().all(|line| line["holds"] == Value::Bool(true));
        assert_eq!(candidate["passed"], Value::Bool(holds));
    }
    let files: Vec<String> = std::fs::read_dir(folder.path().join("taught"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    // The child is an adapter like any other, and the same settings give the same bytes.
    let child = folder.path().join("taught/who-round-1.gguf");
    let mut run = Command::cargo_bin("pixel-llm").unwrap();
    run.current_dir(folder.path()).args(["run", "--prompt", "Once upon a time", "--device", "cpu"]);
    run.args(["--temperature", "0", "--max-tokens", "4", "--lora"]).arg(&child);
    run.assert().success();
    let bytes = std::fs::read(&child).unwrap();
    let again = [&["--subject", "who", "--output", "again"][..], &SMALL].concat();
    let again = school(folder.path(), &again).output().unwrap();
    let table = String::from_utf8(again.stdout).unwrap();
    for word in ["VERIFIED", "UNCHECKED", "TRUE ANSWERS", "exact_match.who", "gate"] {
        assert!(table.contains(word), "{table}");
    }
    assert!(std::fs::read(folder.path().join("again/who-round-1.gguf")).unwrap() == bytes);
    // What is there is not replaced unless somebody says so.
    school(folder.path(), &arguments)
        .assert()
        .code(2)
        .stderr(predicate::str::contains("who-round-1.gguf"));
}

#[test]
fn what_cannot_be_is_refused_and_subjects_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    school(folder.path(), &[])
        .assert()
        .success()
        .stdout(predicate::str::contains("sums").and(predicate::str::contains("letters")));
    let text = "{\"text\": \"Once upon a time there was a bird.\"}\n".repeat(9);
    std::fs::write(folder.path().join("a.jsonl"), &text).unwrap();
    std::fs::write(folder.path().join("b.jsonl"), &text).unwrap();
    let refused: [(&[&str], &str); 6] = [
        (&["--subject", "sumz"], "did you mean \"sums\"?"),
        (&["--subject", "sums", "--replay", "1"], "a share from 0 to below 1"),
        (&["--subject", "sums", "--rate", "0"], "a number above 0"),
        (&["--subject", "sums", "--exercises", "4"], "exercises to learn"),
        (&["--subject", "sums", "--text", "a.jsonl"], "--check"),
        (
            &["--subject", "sums", "--text", "a.jsonl", "--check", "b.jsonl"],
            "a document is in two texts",
        ),
    ];
    for (arguments, why) in refused {
        school(folder.path(), arguments).assert().code(2).stderr(predicate::str::contains(why));
    }
}
