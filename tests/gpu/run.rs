//! `pixel-llm --no-window --device gpu` as a person uses it: the texts of the processor, whatever
//! runs beside them, in little memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::forward::convert_to;
use crate::common::gpu::has_adapter;
use crate::common::smollm2;
use assert_cmd::assert::OutputAssertExt;
use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;

/// The program in a folder of its own.
fn program(folder: &Path, device: &str, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder).args(["--no-window", "--device", device]).args(args);
    command
}

fn stdout(mut command: Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn prompts_get_the_processors_answers() {
    if !has_adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "--raw",
        "--temperature",
        "0",
        "--max-tokens",
        "40",
        "--prompt",
        "Once upon a time",
        "--prompt",
        "Q: Where is the lamp? A:",
        "--prompt",
        "One day, a small robot named Zorvik",
    ];
    let [cpu, gpu] = ["cpu", "gpu"].map(|device| stdout(program(folder.path(), device, &args)));
    assert_eq!(cpu, gpu);
    assert!(cpu.len() > 200, "{cpu}");
}

fn texts(path: &Path) -> BTreeMap<String, String> {
    let lines = fs::read_to_string(path).unwrap();
    let of_line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line.pointer("/response/body/choices/0/text").unwrap();
        (line["custom_id"].to_string(), text.to_string())
    };
    lines.lines().map(of_line).collect()
}

#[test]
fn a_seed_gives_the_same_texts_whatever_the_parallelism() {
    if !has_adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let starts = [
        "Once upon a time",
        "The cat",
        "Once upon a time there was a small",
        "Q: Where is the lamp? A:",
        "She said",
    ];
    let line =
        |i: usize| format!("{{\"id\":\"{i}\",\"prompt\":\"{}\"}}\n", starts[i % starts.len()]);
    fs::write(folder.path().join("in.jsonl"), (0..12).map(line).collect::<String>()).unwrap();
    let results = ["1", "8"].map(|parallel| {
        let output = format!("{parallel}.jsonl");
        let args = [
            "--seed",
            "5",
            "--max-tokens",
            "24",
            "--input",
            "in.jsonl",
            "--output",
            output.as_str(),
            "--parallel",
            parallel,
        ];
        stdout(program(folder.path(), "gpu", &args));
        texts(&folder.path().join(&output))
    });
    assert_eq!(results[0], results[1]);
    let distinct: std::collections::BTreeSet<_> = results[0].values().collect();
    assert!(results[0].len() == 12 && distinct.len() > 9, "draws differ by request: {distinct:?}");
}

/// The most memory a program had, in bytes, by Linux's count; asked for until it has ended.
fn peak_of(mut command: Command) -> Option<u64> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = None;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = kib.map(|kib| kib * 1024).or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn a_run_of_smollm2_is_the_processors_and_keeps_one_copy_of_the_weights() {
    let Some(gguf) = smollm2() else { return };
    if !has_adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.pxi");
    convert_to(&gguf, &model);
    let args = [
        "model.pxi",
        "--temperature",
        "0",
        "--max-tokens",
        "24",
        "--context",
        "512",
        "--raw",
        "--prompt",
        "The capital of France is",
    ];
    let [cpu, gpu] = ["cpu", "gpu"].map(|device| stdout(program(folder.path(), device, &args)));
    assert_eq!(cpu, gpu);

    let size = fs::metadata(&model).unwrap().len();
    let [cpu, gpu] = ["cpu", "gpu"].map(|device| peak_of(program(folder.path(), device, &args)));
    println!("a file of {size} bytes; most memory {cpu:?} on the processor, {gpu:?} on the GPU");
    // The mapped file and, where the adapter is software, the texture; what else there is does not
    // grow with the model.
    let Some(gpu) = gpu else { return };
    assert!(gpu < 2 * size + 300_000_000, "{gpu} bytes for a file of {size}");
}
