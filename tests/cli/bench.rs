//! `pixel-llm bench` as a person uses it, on the built-in model and the processor.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use assert_cmd::Command;
use serde_json::Value;

fn bench(args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.args(["bench", "--device", "cpu", "--prompt-length", "150"]).args(args).assert()
}

#[test]
fn the_figures_agree_with_one_another() {
    let assert =
        bench(&["--tokens", "4", "--repetitions", "2", "--parallel", "1,3", "--json"]).success();
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));

    let speeds = report["speeds"].as_array().unwrap();
    let shape: Vec<_> =
        speeds.iter().map(|s| (s["what"].as_str().unwrap(), number(&s["parallel"]))).collect();
    assert_eq!(shape, [("prefill", 1.0), ("decode", 1.0), ("decode", 3.0)]);
    for speed in speeds {
        let [least, median, most] =
            ["least", "median", "most"].map(|n| number(&speed["tokens_per_second"][n]));
        assert!(0.0 < least && least <= median && median <= most, "{speed}");
    }
    // 6 layers of 5 kernels, the embedding, the logits and the choice.
    assert_eq!(report["dispatches_per_token"], 33.0);
    let bytes = number(&report["weight_bytes_per_token"]);
    assert!((2.3e6..2.7e6).contains(&bytes), "2.3 M weights of 8 bits and their scales: {bytes}");
    let rate = number(&speeds[1]["tokens_per_second"]["median"]) * bytes / 1e9;
    assert!((number(&speeds[1]["gigabytes_per_second"]) / rate - 1.0).abs() < 1e-9);

    for (passes, count) in
        [(&report["decode"], 4), (&report["decode_together"], 4), (&report["prefill"], 2)]
    {
        assert_eq!(passes["passes"], count);
        let stages = passes["stages"].as_array().unwrap();
        let names: Vec<_> = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["embed", "qkv", "attend", "project", "gate_up", "down", "logits", "sample"]
        );
        let sum: f64 = stages.iter().map(|stage| number(&stage["microseconds"])).sum();
        let total = number(&passes["microseconds"]);
        assert!(sum + number(&passes["rest_microseconds"]) - total < 1e-6 * total, "{passes}");
    }
    // All that a token reads but its embedding's row group is in the stages too.
    let stages = report["decode"]["stages"].as_array().unwrap();
    let read: f64 =
        stages.iter().filter(|s| s["name"] != "embed").map(|s| number(&s["weight_bytes"])).sum();
    assert_eq!(read, bytes);
    for step in ["open_model_seconds", "engine_ready_seconds", "first_token_seconds"] {
        assert!(number(&report["startup"][step]) > 0.0, "{step}");
    }
    if cfg!(target_os = "linux") {
        assert!(number(&report["peak_memory_in_bytes"]) > 1e6);
    }
}

#[test]
fn the_page_reads_well() {
    let assert = bench(&["--tokens", "4", "--repetitions", "1", "--parallel", "2"]).success();
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    for part in [
        "Seedling: llama, 2,337,216 parameters, mostly Q8_0",
        "decode, 2 at once",
        "gate_up",
        "peak memory",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
}

#[test]
fn what_does_not_fit_the_model_is_told_before_it_runs() {
    let assert = bench(&["--tokens", "400"]).code(2);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        error.contains("--prompt-length 150 and --tokens 400 need a context of 552"),
        "{error}"
    );
    assert!(error.contains("made for 512"), "{error}");
}

#[test]
fn keys_and_values_may_be_kept_in_16_bits_on_the_processor_alone() {
    let few = ["--tokens", "2", "--repetitions", "1", "--parallel", "1", "--json"];
    let assert = bench(&[&few[..], &["--cache-type", "f16"]].concat()).success();
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let device = report["device"].as_str().unwrap();
    assert!(device.ends_with("keys and values in F16"), "{device}");

    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    let args = ["run", "--device", "gpu", "--cache-type", "f16", "--prompt", "Once"];
    let assert = command.args(args).assert().failure();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("--cache-type") && said.contains("--device cpu"), "{said}");
}

#[test]
fn activations_may_be_of_fewer_bits_on_the_processor_alone() {
    let few = ["--tokens", "2", "--repetitions", "1", "--parallel", "1", "--json"];
    for bits in ["8", "16"] {
        let assert = bench(&[&few[..], &["--activation-bits", bits]].concat()).success();
        let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        let device = report["device"].as_str().unwrap();
        assert!(device.ends_with(&format!("activations of {bits} bits")), "{device}");
    }

    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    let args = ["run", "--device", "gpu", "--activation-bits", "8", "--prompt", "Once"];
    let assert = command.args(args).assert().failure();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("--activation-bits") && said.contains("--device cpu"), "{said}");
}
