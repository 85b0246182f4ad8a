//! Refits of the built-in model from F32 beside the figures that were measured with llama.cpp's own
//! encoders, at the same bytes, and a refitted file in llama.cpp.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use pixel_llm::batch::ModelText;
use pixel_llm::forward::cpu::{CpuModel, CpuOptions};
use pixel_llm::model::Encoding::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::tokenizer::EncodeOptions;
use pixel_llm::model::{Encoding, PixelModel, convert};
use pixel_llm::refit::{RefitProgress, RefitReport, RefitTask, RefitText};

use crate::common::shared;

/// Bytes that all tensors may take, and the divergence of the measured choice at them in
/// `self-seedling.json`: those of uniform Q4_1, Q5_0, Q5_1 and of llama.cpp's own mix for Q4_0,
/// which has the embedding in Q8_0.
const GOALS: [(&str, u64, f64); 4] = [
    ("Q4_1", 1_469_184, 0.00537),
    ("embedding Q8_0, rest Q4_0", 1_421_568, 0.00673),
    ("Q5_0", 1_615_104, 0.00306),
    ("Q5_1", 1_761_024, 0.00153),
];

/// The encodings that were chosen from then: rows of 192 are no whole blocks of 256.
const ENCODINGS: [Encoding; 5] = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0];

struct Told;

impl RefitProgress for Told {
    fn begins(&self, what: &'static str, steps: usize) {
        println!("{what}: {steps}");
    }
    fn done(&self, _: usize) {}
}

/// The text of the figures: the corpus of another seed, 16 windows to look at and 32 others.
fn texts(model: &PixelModel, make: &Path, folder: &Path) -> (RefitText, RefitText) {
    let made = Command::new("python3")
        .arg(make)
        .args(["--seed", "424242", "--bytes", "1500000", "--out"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(made.success());
    let text = std::fs::read_to_string(folder.join("train.txt")).unwrap();
    let text: String = text.chars().take(260_000).collect();
    let options = EncodeOptions { add_special: false, parse_special: true };
    let tokens = ModelText::new(model).unwrap().tokenizer().encode(&text, options);
    let mut calibration = RefitText::cut(&tokens, 256, 48);
    let gate = RefitText { windows: calibration.windows.split_off(16) };
    (calibration, gate)
}

#[test]
#[ignore = "hundreds of children are measured: minutes"]
fn a_refit_from_floats_is_as_near_as_the_figures_say() {
    let (Some(gguf), Some(make)) =
        (shared("models/seedling/seedling-f32.gguf"), shared("models/seedling/make_corpus.py"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let pixels = folder.path().join("parent.pxi");
    convert::convert(&Gguf::open(&gguf).unwrap(), &pixels, &|_| ()).unwrap();
    let model = Arc::new(PixelModel::open(&pixels).unwrap());
    let parent = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let (calibration, gate) = texts(&model, &make, folder.path());
    let kept = folder.path().join("kept.json");
    for (name, most_bytes, golden) in GOALS {
        let task = RefitTask {
            parent: &parent,
            calibration: &calibration,
            gate: &gate,
            most_bytes,
            encodings: &ENCODINGS,
            kept: Some(&kept),
            text_name: "the corpus of seed 424242",
            folder: folder.path(),
        };
        let report: RefitReport = task.run(&Told).unwrap().report;
        let (mix, uniform) = (report.mix, report.uniform.unwrap());
        println!(
            "{name}: {} bytes, mix {:.5} \u{b1}{:.5} (figure {golden}), foretold {:.5}, best {:.1} \
             %, uniform {:?} {:.5}",
            mix.bytes,
            mix.found.mean,
            mix.found.standard_error,
            report.foretold,
            100.0 * mix.found.same_best,
            report.uniform_encoding,
            uniform.found.mean,
        );
        assert!(mix.bytes <= most_bytes && report.is_mix, "{name}");
        assert!(mix.found.mean <= golden * 1.05, "{name}: {} for {golden}", mix.found.mean);
    }
}

/// The folder with `llama_lora.mjs` of `../shared/peers` and node-llama-cpp beside it, as its head
/// says.
fn llama_cpp() -> Option<PathBuf> {
    let folder = std::env::var_os("PIXEL_LLM_PEERS").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("llama_lora.mjs").is_file());
    if folder.is_none() {
        eprintln!("SKIPPED: no llama.cpp: name the folder of llama_lora.mjs in PIXEL_LLM_PEERS");
    }
    folder
}

#[test]
fn a_refitted_file_answers_in_llama_cpp_as_it_does_here() {
    let Some(peers) = llama_cpp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("pixel-llm").unwrap();
        command.current_dir(folder.path()).env("XDG_CACHE_HOME", folder.path());
        command.args(arguments).assert().success().get_output().stdout.clone()
    };
    run(&["refit", "--tokens", "512", "--bits", "5.2", "--output", "small.gguf"]);
    let prompts =
        ["Once upon a time", "Mila the fox has a pink kite.\nQ: Who has the pink kite? A:"];
    let lines: Vec<String> = prompts
        .iter()
        .map(|prompt| format!("{}\n", serde_json::json!({ "prompt": prompt })))
        .collect();
    let asked = folder.path().join("prompts.jsonl");
    std::fs::write(&asked, lines.concat()).unwrap();
    let output = Command::new("node")
        .arg(peers.join("llama_lora.mjs"))
        .args([&folder.path().join("small.gguf"), Path::new("-"), &asked])
        .arg("12")
        .env("THREADS", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).unwrap();
    for (prompt, line) in prompts.iter().zip(theirs.lines()) {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        let theirs = answer["completion"].as_str().unwrap();
        let ours = run(&[
            "run",
            "small.gguf",
            "--raw",
            "--prompt",
            prompt,
            "--temperature",
            "0",
            "--max-tokens",
            "12",
            "--device",
            "cpu",
            "--quiet",
        ]);
        let ours = String::from_utf8(ours).unwrap();
        let same = theirs.trim().chars().zip(ours.trim().chars()).take_while(|(a, b)| a == b);
        let same = same.count();
        assert!(same >= 12, "{prompt}: {theirs:?} there, {ours:?} here");
    }
}
