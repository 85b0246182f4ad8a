//! What `pixel-llm --no-window` does when something is wrong: with a request, with the model, with
//! where results go.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::common::tiny::Tiny;
use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use pixel_llm::model::gguf::{GgufString, Value as GgufValue};
use pixel_llm::model::{Encoding, PixelModel};
use serde_json::Value;
use tempfile::TempDir;

const BATCH: [&str; 4] = ["--input", "in.jsonl", "--output", "out.jsonl"];

/// The program in a folder of its own, with a cache of its own.
fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder.path()).env("PIXEL_LLM_CACHE", folder.path().join("cache"));
    command.args(["--no-window", "--device", "cpu"]).args(args);
    command
}

/// A folder with a file of short requests.
fn folder_with_requests(count: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = |index| {
        format!(
            "{{\"id\": \"{index}\", \"prompt\": \"The red tile {index}\", \"max_tokens\": 4}}\n"
        )
    };
    fs::write(folder.path().join("in.jsonl"), (0..count).map(line).collect::<String>()).unwrap();
    folder
}

fn stderr(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// The results in a file, each whole; panics where an id comes twice.
fn results(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let results: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<_> =
        results.iter().map(|result| result["custom_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), results.len(), "an id comes twice");
    results
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_bad_line_of_standard_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = "{\"id\": 1, \"prompt\": \"x\"}\n{\"id\": 2, \"prompt\": \"x\", \"top_p\": 3}\n\n\
        {\"id\": 1, \"prompt\": \"x\"}\n{";
    let args = ["--input", "-", "--output", "out.jsonl", "--max-tokens", "1"];
    let error = stderr(&program(&folder, &args).write_stdin(input).assert().code(2));
    for line in [
        "standard input: line 2, column 35: `top_p`: expected a number from 0 to 1, found 3",
        "standard input: line 4, column 8: the id \"1\" was already used on line 1",
        "standard input: line 5, column 1: not valid JSON: EOF while parsing an object",
        "3 of 4 lines cannot be run",
        "leave such lines out by --skip-bad",
    ] {
        assert!(error.contains(line), "{line}\n{error}");
    }
    assert!(!folder.path().join("out.jsonl").exists());
    let assert = program(&folder, &args).arg("--skip-bad").write_stdin(input).assert().code(1);
    assert!(stderr(&assert).contains("left out: line 5, column 1"));
    // The answer, and the error of the bad line that has an id of its own.
    let results = results(&folder.path().join("out.jsonl"));
    let errors = results.iter().filter(|result| !result["error"].is_null()).count();
    assert_eq!((results.len(), errors), (2, 1));
}

#[test]
fn a_prompt_that_does_not_fit_fails_alone() {
    let folder = folder_with_requests(3);
    let path = folder.path().join("in.jsonl");
    let long = format!("{{\"id\": \"long\", \"prompt\": \"{}\"}}\n", "word ".repeat(600));
    fs::write(&path, fs::read_to_string(&path).unwrap() + &long).unwrap();
    program(&folder, &BATCH).assert().code(1);
    let results = results(&folder.path().join("out.jsonl"));
    let (failed, answered): (Vec<_>, Vec<_>) =
        results.iter().partition(|result| !result["error"].is_null());
    assert_eq!((failed.len(), answered.len()), (1, 3));
    assert_eq!(
        (&failed[0]["custom_id"], &failed[0]["error"]["code"]),
        (&"long".into(), &"context_length_exceeded".into())
    );
    let message = failed[0]["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("and the context holds 512"), "{message}");
    // On the command line the same is a warning and exit code 1.
    let assert =
        program(&folder, &["--context", "8", "--prompt", &"word ".repeat(20)]).assert().code(1);
    assert!(stderr(&assert).contains("and the context holds 8"), "{}", stderr(&assert));
}

/// Runs a batch on a model that cannot be used; nothing may be left of it, and nothing be lost. The
/// error.
fn refused(folder: &TempDir, model: &str) -> String {
    let before = names(folder.path());
    let error = stderr(&program(folder, &[&[model], &BATCH[..]].concat()).assert().code(2));
    assert_eq!(error.lines().count(), 1, "{error}");
    let mut after = names(folder.path());
    after.remove("cache");
    assert_eq!(after, before, "nothing is half-written");
    let cache = folder.path().join("cache");
    assert!(
        !cache.exists() || names(&cache).is_empty(),
        "nothing is half-converted: {:?}",
        names(&cache)
    );

    let old = folder.path().join("old.jsonl");
    let torn = concat!(
        r#"{"id":"batch_req_0","custom_id":"0","response":{"status_code":200},"error":null}"#,
        "\n{\"id\":\"ba",
    );
    fs::write(&old, torn).unwrap();
    let bytes = fs::read(&old).unwrap();
    for how in ["--resume", "--overwrite"] {
        let args = [model, "--input", "in.jsonl", "--output", "old.jsonl", how];
        program(folder, &args).assert().code(2);
        assert_eq!(fs::read(&old).unwrap(), bytes, "{how}: earlier results stay as they were");
    }
    fs::remove_file(old).unwrap();
    error
}

#[test]
fn an_unknown_family_is_named_beside_the_known_ones() {
    let folder = folder_with_requests(2);
    let mut tiny = Tiny::new("llama", Encoding::Q8_0, 1);
    *tiny.pair("general.architecture") = GgufValue::String(GgufString::from("mamba"));
    tiny.write(&folder.path().join("a.gguf"));
    let error = refused(&folder, "a.gguf");
    assert!(
        error.contains("a.gguf") && error.contains("mamba") && error.contains("qwen3"),
        "{error}"
    );
}

#[test]
fn an_unknown_encoding_is_named_with_its_tensor() {
    let folder = folder_with_requests(2);
    let path = folder.path().join("a.gguf");
    Tiny::new("llama", Encoding::Q8_0, 1).write(&path);
    let mut bytes = fs::read(&path).unwrap();
    let name = b"blk.0.attn_q.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    // Behind the name: the number of dimensions, two dimensions, the type.
    bytes[at + name.len() + 4 + 16] = 16;
    fs::write(&path, bytes).unwrap();
    let error = refused(&folder, "a.gguf");
    assert!(
        error.contains("a.gguf") && error.contains("blk.0.attn_q.weight") && error.contains("16"),
        "{error}"
    );
}

#[test]
fn a_damaged_tile_is_named_before_anything_is_answered() {
    let folder = folder_with_requests(2);
    let path = folder.path().join("a.pxi");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/seedling.pxi"), &path)
        .unwrap();
    let model = PixelModel::open(&path).unwrap();
    let tile = model.tensor("blk.3.ffn_down.weight").unwrap().first_tile;
    let at = model.tile_range(tile).start + pixel_llm::pxi::HEADER_LEN + 77;
    drop(model);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = refused(&folder, "a.pxi");
    assert!(
        error.contains(&format!("a.pxi: tile {tile} of blk.3.ffn_down.weight (rows 0..")),
        "{error}"
    );
    assert!(error.contains("the tile is damaged"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_ends_the_run_with_a_word() {
    let folder = folder_with_requests(2);
    let args = ["--input", "in.jsonl", "--output", "/dev/full"];
    let error = stderr(&program(&folder, &args).assert().code(2));
    assert!(error.contains("the run ended early; 0 results were given"), "{error}");
    assert!(error.contains("cannot write results: No space left on device"), "{error}");
}

/// Runs a batch in a shell that allows files of 8 KiB.
#[cfg(target_os = "linux")]
fn run_with_small_files(folder: &TempDir, before: &str) -> std::process::Output {
    let program = cargo_bin("pixel-llm");
    let script = format!(
        "{before} ulimit -f 8; exec {} --no-window --quiet --device cpu {} --resume",
        program.display(),
        BATCH.join(" ")
    );
    std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_what_was_finished_and_says_how_to_go_on() {
    let folder = folder_with_requests(40);
    let out = folder.path().join("out.jsonl");
    let ended = run_with_small_files(&folder, "trap '' XFSZ;");
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{error}");
    let kept = results(&out).len();
    assert!(kept > 3, "{kept}");
    let expected =
        format!("the run ended early; {kept} results are kept in out.jsonl, go on by --resume");
    assert!(
        error.contains(&expected) && error.contains("cannot write results: File too large"),
        "{error}"
    );

    // As long as there is no room, going on says the same and loses nothing.
    let before = fs::read(&out).unwrap();
    assert_eq!(run_with_small_files(&folder, "trap '' XFSZ;").status.code(), Some(2));
    assert!(fs::read(&out).unwrap().starts_with(&before));
    // Nor does it with the signal that comes with the limit and would end another program.
    let signalled = run_with_small_files(&folder, "");
    assert_eq!(signalled.status.code(), Some(2), "{signalled:?}");
    assert!(fs::read(&out).unwrap().starts_with(&before));

    program(&folder, &BATCH).arg("--resume").assert().success();
    assert_eq!(results(&out).len(), 40);
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_ends_the_run_quietly() {
    let folder = folder_with_requests(20);
    let program = cargo_bin("pixel-llm");
    for what in ["--input in.jsonl", "--prompt Once --prompt The --prompt One --max-tokens 400"] {
        let script = format!(
            "{} --no-window --quiet --device cpu --parallel 1 {what} | head -c 1 > /dev/null; \
             echo ${{PIPESTATUS[0]}}",
            program.display()
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder.path())
            .output();
        let output = output.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{what}: {output:?}");
        assert!(output.stderr.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
