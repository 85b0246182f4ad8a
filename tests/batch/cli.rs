//! `pixel-llm --no-window` as a person uses it, on the built-in model and the processor.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// The program in a folder of its own.
fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder.path()).args(["--no-window", "--device", "cpu"]).args(args);
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn a_prompt_is_answered_and_the_seed_decides() {
    let folder = tempfile::tempdir().unwrap();
    let story = ["--raw", "--prompt", "Once upon a time", "--max-tokens", "24"];
    let greedy = stdout(program(&folder, &story).args(["--temperature", "0"]));
    // The golden continuation of the F32 model, which the 8-bit one follows this far.
    assert!(greedy.contains(", there was a busy girl named Nora."), "{greedy}");
    let seeded = |seed: &str| {
        stdout(program(&folder, &story).args(["--temperature", "1.5", "--seed", seed]))
    };
    assert_eq!(seeded("3"), seeded("3"));
    assert_ne!(seeded("3"), seeded("4"));
}

#[test]
fn a_file_of_requests_becomes_a_file_of_results() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"id": "a", "prompt": "Once upon a time", "max_tokens": 8}"#,
        concat!(
            r#"{"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "#,
            r#""body": {"messages": [{"role": "user", "content": "Who are you?"}], "#,
            r#""temperature": 0}}"#,
        ),
    ];
    fs::write(folder.path().join("in.jsonl"), lines.join("\n")).unwrap();
    program(&folder, &["--input", "in.jsonl", "--output", "out.jsonl"]).assert().success();
    let text = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let results: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |id: &str| results.iter().find(|result| result["custom_id"] == id).unwrap();
    assert_eq!(find("a")["response"]["body"]["usage"]["completion_tokens"], 8);
    let answer =
        find("b")["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(answer.contains("I am Seedling"), "{answer}");
    // The file that is there is not touched unasked.
    program(&folder, &["--input", "in.jsonl", "--output", "out.jsonl"]).assert().code(2);
    assert_eq!(fs::read_to_string(folder.path().join("out.jsonl")).unwrap(), text);
}

#[test]
fn a_bad_line_is_named_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("in.jsonl"),
        "{\"id\": \"a\", \"prompt\": \"x\"}\n{\"id\": \"b\", \"promt\": \"x\"}\n",
    )
    .unwrap();
    let assert =
        program(&folder, &["--input", "in.jsonl", "--output", "out.jsonl"]).assert().code(2);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let expected = "in.jsonl: line 2, column 13: `promt`: no such field; did you mean `prompt`?";
    assert!(error.contains(expected), "{error}");
    assert!(!folder.path().join("out.jsonl").exists());
    let options =
        ["--input", "in.jsonl", "--output", "out.jsonl", "--skip-bad", "--max-tokens", "2"];
    program(&folder, &options).assert().code(1);
    // The bad line has a result too, which says what is wrong with it.
    let results = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    assert_eq!(results.lines().count(), 2, "{results}");
    assert!(results.contains("did you mean `prompt`?"), "{results}");
}

/// How many whole lines a file has.
fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

#[test]
fn killed_ten_times_it_finishes_with_each_id_once() {
    const COUNT: usize = 1000;
    const KILLS: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let line = |index| {
        format!(
            "{{\"id\": \"{index}\", \"prompt\": \"The red tile {index}\", \"max_tokens\": 8}}\n"
        )
    };
    fs::write(folder.path().join("in.jsonl"), (0..COUNT).map(line).collect::<String>()).unwrap();
    let args = ["--quiet", "--input", "in.jsonl", "--output", "out.jsonl", "--resume"];
    let out = folder.path().join("out.jsonl");
    for kill in 0..KILLS {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("pixel-llm"))
            .args(["--no-window", "--device", "cpu"])
            .args(args)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Every run gets some way before it is killed, at a moment that has nothing to do with its
        // lines. The first is killed at once, whatever it is doing.
        let enough = if kill == 0 { 0 } else { lines(&out) + 5 + kill };
        while lines(&out) < enough {
            assert!(
                child.try_wait().unwrap().is_none(),
                "run {kill} ended by itself with {} lines",
                lines(&out)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(kill as u64 * 1700 % 5000));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let finished = lines(&out);
    assert!((KILLS * 5..COUNT).contains(&finished), "the kills fell into the work: {finished}");
    program(&folder, &args).assert().success();
    let text = fs::read_to_string(&out).unwrap();
    let ids: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["custom_id"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected: BTreeSet<String> = (0..COUNT).map(|index| index.to_string()).collect();
    assert_eq!(ids.len(), COUNT, "none comes twice");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected, "none is lost");
}

#[test]
fn what_cannot_run_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let assert = program(&folder, &[]).assert().code(2);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(error.contains("--prompt TEXT"), "{error}");
    let assert = program(&folder, &["none.gguf", "--prompt", "x"]).assert().code(2);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(error.contains("none.gguf") && error.lines().count() == 1, "{error}");
}

#[test]
fn what_was_computed_for_a_prompt_can_be_looked_at_on_a_map() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["--raw", "--prompt", "Once upon a time", "--max-tokens", "12", "--temperature", "0"];
    let plain = stdout(&mut program(&folder, &args));
    let save = [&args[..], &["--save-activations", "thought.map"]].concat();
    assert_eq!(stdout(&mut program(&folder, &save)), plain, "saving changes no answer");
    let map = |args: &[&str]| {
        let mut command = Command::cargo_bin("pixel-llm").unwrap();
        command.current_dir(folder.path()).arg("map").args(args);
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    map(&["verify", "thought.map"]);
    let stats: Value = serde_json::from_str(&map(&["stats", "thought.map", "--json"])).unwrap();
    let regions = stats["named"].as_array().unwrap();
    let find = |name: &str| {
        regions
            .iter()
            .find(|region| region["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {stats}"))
    };
    let rows: Vec<&Value> =
        ["cache 0 keys", "cache 1 values", "activations 1 head output", "activations 0 residual"]
            .map(|name| &find(name)["height"])
            .to_vec();
    assert!(
        rows[0].as_u64().unwrap() > 12 && rows.iter().all(|row| *row == rows[0]),
        "a row per token: {rows:?}"
    );
    // A residual stream of zeros would be black.
    let residual = find("activations 0 residual");
    let place = format!("{},{}", residual["x"], residual["y"]);
    assert_ne!(map(&["get", "thought.map", &place]), "#000000\n");
    map(&["png", "thought.map", "--output", "thought.png"]);
    assert!(fs::metadata(folder.path().join("thought.png")).unwrap().len() > 10_000);

    let again = program(&folder, &save).assert().code(2);
    let error = String::from_utf8(again.get_output().stderr.clone()).unwrap();
    assert!(error.contains("\"cache 0 keys\" already"), "{error}");
    let two = [&save[..], &["--prompt", "And"]].concat();
    program(&folder, &two).assert().code(2);
}
