//! `train`, `evaluate` and `corpus` as a person runs them, on the built-in model.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use pixel_llm::model::adapter::LowRank;
use pixel_llm::model::{Adapter, Encoding};
use serde_json::Value;

/// A folder with data of the corpus `record`.
struct Place(tempfile::TempDir);

impl Place {
    fn new(lines: usize) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let folder = place.path("").display().to_string();
        let (lines, valid) = (lines.to_string(), "6".to_owned());
        program(&[
            "corpus",
            "record",
            "--lines",
            &lines,
            "--valid-lines",
            &valid,
            "--out",
            &folder,
        ])
        .assert()
        .success();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    /// The arguments of a run of some steps.
    fn run(&self, output: &str, more: &[&str]) -> Vec<String> {
        let own = [
            "train",
            &self.text("record-train.jsonl"),
            "--valid",
            &self.text("record-valid.jsonl"),
            "--output",
            &self.text(output),
            "--device",
            "cpu",
            "--batch-tokens",
            "120",
            "--lr",
            "2e-3",
        ];
        own.iter().chain(more.iter()).map(|word| (*word).to_owned()).collect()
    }
}

fn program(words: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.args(words).env_remove("PIXEL_LLM_MODS");
    command
}

fn refused(words: &[impl AsRef<std::ffi::OsStr>]) -> String {
    let output = program(words).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn lines_that_cannot_be_learnt_are_told_before_any_work() {
    let place = Place::new(8);
    for (name, text, expected) in [
        ("a.jsonl", "{\"prompt\": \"a\", \"completion\": \"\"}\n", "line 1, column 31"),
        ("b.jsonl", "{\"text\": \"a b\"}\n{\"text\": 5}\n", "line 2, column 10: `text`"),
        ("c.jsonl", "{\"story\": 5}\n", "none of them is there"),
        ("d.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"\n", "not valid JSON"),
        ("e.jsonl", "\n", "there is no line in it"),
    ] {
        let data = place.write(name, text);
        let output = place.text("a.gguf");
        let said = refused(&["train", &data, "--output", &output]);
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!place.path("a.gguf").exists() && !place.path("a.gguf.checkpoints").exists());
    }
    let said = refused(&["train", &place.text("none.jsonl"), "-o", &place.text("a.gguf")]);
    assert!(said.contains("cannot read"), "{said}");
}

#[test]
fn a_context_that_is_too_short_is_refused_or_cuts() {
    let place = Place::new(8);
    let said = refused(&place.run("a.gguf", &["--context", "12"]));
    assert!(said.contains("--context is 12") && said.contains("--truncate"), "{said}");
    let said = refused(&place.run("a.gguf", &["--context", "1000000"]));
    assert!(said.contains("the model was made for at most"), "{said}");
    let long = place.write("long.jsonl", &format!("{{\"text\": \"{}\"}}", "red ball ".repeat(60)));
    let output =
        program(&["train", &long, "--context", "12", "--truncate", "--dry-run"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("1 of 1 lines were cut to 12"), "{said}");
}

#[test]
fn memory_that_does_not_suffice_is_told_with_settings_that_fit() {
    let place = Place::new(8);
    let said = refused(&place.run("a.gguf", &["--memory", "12M", "--rank", "512"]));
    assert!(said.contains("there are 12 MiB") && said.contains(" fits"), "{said}");
    // What is said to fit does.
    let rank = said.split("--rank ").nth(1).unwrap().split(' ').next().unwrap();
    let words = place.run("a.gguf", &["--memory", "12M", "--rank", rank, "--dry-run", "--json"]);
    let output = program(&words).output().unwrap();
    assert!(json(&output)["memory_in_bytes"].as_u64().unwrap() <= 12 << 20, "{output:?}");
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let place = Place::new(8);
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let tiling = &model.tensor("blk.0.attn_q.weight").unwrap().tiling;
    let (inputs, outputs) = (tiling.columns as usize, tiling.rows as usize);
    let update = LowRank {
        tensor: "blk.0.attn_q.weight".into(),
        inputs,
        outputs,
        rank: 1,
        a: vec![0.0; inputs],
        b: vec![0.0; outputs],
    };
    let adapter = Adapter {
        architecture: model.config().architecture,
        alpha: 1.0,
        updates: vec![update],
        base: Some([7; 32]),
        run: None,
    };
    adapter.write(place.path("other.gguf").as_path(), Encoding::F32).unwrap();
    let other = place.text("other.gguf");
    let said = refused(&place.run("a.gguf", &["--lora", &other]));
    assert!(said.contains("was trained on the model with root hash 0707"), "{said}");
    assert!(!place.path("a.gguf.checkpoints").exists());
}

#[test]
fn what_is_learnt_and_looked_at_is_told() {
    let place = Place::new(8);
    let same = place.text("record-train.jsonl");
    let output = program(&["train", &same, "--valid", &same, "--dry-run"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("8 of 8 lines") && said.contains("line 1 is line 1"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("time    not measured"));
}

#[test]
fn answers_of_a_conversation_are_what_is_learnt() {
    let place = Place::new(8);
    // The same words stand in the question: a search for them would find the wrong place.
    let turn = |role: &str, said: &str| serde_json::json!({"role": role, "content": said});
    let turns = [
        turn("user", "say ball"),
        turn("assistant", "ball"),
        turn("user", "ball"),
        turn("assistant", "say"),
    ];
    let chat = place.write("chat.jsonl", &serde_json::json!({"messages": turns}).to_string());
    let shown = |words: &[&str]| {
        let words = [&["train", chat.as_str(), "--show", "1", "--json"][..], words].concat();
        let lines = json(&program(&words).output().unwrap());
        let parts = lines[0]["parts"].as_array().unwrap().clone();
        let learnt = parts.iter().filter(|part| part["learnt"] == true);
        learnt.map(|part| part["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let with_end = shown(&[]);
    assert_eq!(with_end.len(), 2, "{with_end:?}");
    assert!(with_end[0].starts_with("ball") && with_end[1].starts_with("say"), "{with_end:?}");
    assert!(with_end.iter().all(|it| it.len() > 4), "an end token follows: {with_end:?}");
    assert_eq!(shown(&["--no-end"]), ["ball", "say"]);
    let all = shown(&["--loss", "all"]);
    assert_eq!(all.len(), 1, "{all:?}");
}

#[test]
fn a_run_learns_and_says_so() {
    let place = Place::new(40);
    let log = place.text("log.jsonl");
    let curve = place.text("curve.svg");
    let words = place.run(
        "a.gguf",
        &["--steps", "12", "--json", "--log", &log, "--curve", &curve, "--eval-every", "4"],
    );
    let output = program(&words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let number = |name: &str| report[name].as_f64().unwrap();
    assert!(number("valid_loss") < 0.9 * number("valid_loss_before"), "{report}");
    assert_eq!((report["end"].as_str(), number("steps")), (Some("done"), 12.0));
    let lines: Vec<Value> = fs::read_to_string(place.path("log.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let looks: Vec<u64> = lines
        .iter()
        .filter(|line| line.get("valid_loss").is_some())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!((lines.len(), looks), (16, vec![0, 4, 8, 12]));
    assert!(lines.iter().all(|line| line.get("loss").is_none_or(|loss| loss.is_number())));
    assert!(fs::read_to_string(place.path("curve.svg")).unwrap().contains("valid"));
    // Nothing else stays: nobody asked for checkpoints.
    assert!(!place.path("a.gguf.checkpoints").exists());
    // With what was learnt the model is as good as was told.
    let data = place.text("record-valid.jsonl");
    let again = ["evaluate", &data, "--lora", &place.text("a.gguf"), "--json"];
    let evaluated = json(&program(&again).output().unwrap());
    let loss = evaluated["loss"].as_f64().unwrap();
    assert!((loss - number("valid_loss")).abs() < 1e-3, "{evaluated} {report}");
    assert_eq!(evaluated["right"], report["right"]);
    let adapter = Adapter::read(&place.path("a.gguf")).unwrap();
    assert!(adapter.updates.iter().all(|update| update.rank == 8));
    assert!(adapter.updates.iter().any(|update| update.b.iter().any(|it| *it != 0.0)));
    assert!(adapter.run.unwrap().contains("12 steps"));
    // The same again is the same, bit for bit; and nothing is replaced without leave.
    let said = refused(&words);
    assert!(said.contains("--force"), "{said}");
    let first = fs::read(place.path("a.gguf")).unwrap();
    program(&place.run("b.gguf", &["--steps", "12", "--eval-every", "4"])).assert().success();
    assert!(first == fs::read(place.path("b.gguf")).unwrap());
}

#[test]
fn a_rate_that_is_too_high_ends_at_the_last_checkpoint_and_names_step_and_line() {
    let place = Place::new(8);
    let checkpoints = place.text("kept");
    let mut words =
        place.run("a.gguf", &["--checkpoint", &checkpoints, "--every", "1", "--clip", "0"]);
    let rate = words.iter().position(|word| word == "2e-3").unwrap();
    words[rate] = "1e30".into();
    let output = program(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("record-train.jsonl: the ") && said.contains("step "), "{said}");
    assert!(said.contains("--lr"), "{said}");
    assert!(!place.path("a.gguf").exists());
}

/// Starts a run and gives it some time.
fn start(words: &[String]) -> std::process::Child {
    Process::new(assert_cmd::cargo::cargo_bin("pixel-llm"))
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn steps_in(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"gradient_norm\"")).count()
}

fn wait_for(steps: usize, log: &Path) {
    let begun = Instant::now();
    while steps_in(log) < steps {
        assert!(begun.elapsed() < Duration::from_secs(120), "no step {steps}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
fn signal(child: &std::process::Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, signal).unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    let place = Place::new(40);
    let log = place.text("log.jsonl");
    let same = ["--steps", "16", "--eval-every", "5"];
    program(&place.run("whole.gguf", &same)).assert().success();
    let words = place.run("a.gguf", &[&same[..], &["--log", &log]].concat());
    let child = start(&words);
    wait_for(3, &place.path("log.jsonl"));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("stopped after step ") && said.contains("--resume"), "{said}");
    // What was begun is not begun anew by mistake, and not with other settings.
    let said = refused(&place.run("a.gguf", &same));
    assert!(said.contains("--resume"), "{said}");
    let said = refused(&[&words[..], &["--resume", "--rank", "4"].map(String::from)[..]].concat());
    assert!(said.contains("--rank was 8 and is 4"), "{said}");
    program(&[&words[..], &["--resume".to_owned()]].concat()).assert().success();
    let [whole, gone_on] = ["whole.gguf", "a.gguf"].map(|name| fs::read(place.path(name)).unwrap());
    assert!(whole == gone_on);
    // The log has every step once.
    assert_eq!(steps_in(&place.path("log.jsonl")), 16);
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_ten_times_goes_on_bit_for_bit() {
    let place = Place::new(40);
    let same = ["--steps", "40", "--eval-every", "0", "--every", "1"];
    program(&place.run("whole.gguf", &same)).assert().success();
    let log = place.text("log.jsonl");
    let mut words = place.run("a.gguf", &[&same[..], &["--log", &log]].concat());
    // Moments that follow from nothing in the program.
    let mut word = u64::from(std::process::id());
    for round in 0..10 {
        let child = start(&words);
        // Each gets on by a step at least, so that the end is reached.
        wait_for(3 * round + 2, &place.path("log.jsonl"));
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(word >> 57));
        signal(&child, nix::sys::signal::Signal::SIGKILL);
        let _ = child.wait_with_output().unwrap();
        if round == 0 {
            words.push("--resume".into());
        }
        let _ = fs::remove_file(place.path("log.jsonl"));
    }
    program(&words).assert().success();
    let [whole, gone_on] = ["whole.gguf", "a.gguf"].map(|name| fs::read(place.path(name)).unwrap());
    assert!(whole == gone_on);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let place = Place::new(40);
    let kept = place.text("kept");
    let same = ["--steps", "8", "--eval-every", "0", "--every", "4", "--checkpoint", &kept];
    let log = place.text("log.jsonl");
    let words = place.run("a.gguf", &[&same[..], &["--log", &log]].concat());
    let child = start(&words);
    wait_for(5, &place.path("log.jsonl"));
    signal(&child, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait_with_output().unwrap();
    assert!(place.path("kept/step-0000004").is_dir());
    // No file may grow beyond 100 KiB: writing fails as on a full disk.
    let program_file = assert_cmd::cargo::cargo_bin("pixel-llm").display().to_string();
    let output = Process::new("bash")
        .args(["-c", "ulimit -f 100; exec \"$@\"", "bash", &program_file])
        .args(&words)
        .arg("--resume")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot be written") && said.contains("step-0000004 is whole"), "{said}");
    program(&[&words[..], &["--resume".to_owned()]].concat()).assert().success();
    assert!(place.path("a.gguf").is_file());
}

#[test]
fn a_model_is_evaluated() {
    let place = Place::new(8);
    let data = place.text("record-valid.jsonl");
    let answers = place.text("answers.jsonl");
    let words = ["evaluate", &data, "--device", "cpu", "--json", "--answers", &answers];
    let output = program(&words).output().unwrap();
    let report = json(&output);
    assert!(report["loss"].as_f64().unwrap() > 0.5, "{report}");
    assert_eq!((report["asked"].as_u64(), report["right"].as_u64()), (Some(6), Some(0)));
    assert_eq!(fs::read_to_string(&answers).unwrap().lines().count(), 6);
    // The loss is the trainer's before its first step.
    let train = program(&place.run("a.gguf", &["--steps", "1", "--json"])).output().unwrap();
    let before = json(&train)["valid_loss_before"].as_f64().unwrap();
    assert!((before - report["loss"].as_f64().unwrap()).abs() < 1e-3, "{before} {report}");
}

#[test]
fn a_corpus_is_written_and_checked() {
    let place = Place::new(20);
    let list = program(&["corpus"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    for name in ["facts", "land", "record", "self", "sums"] {
        assert!(list.contains(name), "{list}");
    }
    let folder = place.text("");
    let said = refused(&["corpus", "record", "--out", &folder]);
    assert!(said.contains("--force"), "{said}");
    let said = refused(&["corpus", "recrod", "--out", &folder]);
    assert!(said.contains("record"), "{said}");
    let said = refused(&["corpus", "facts", "--model", "x.gguf", "--out", &folder]);
    assert!(said.contains("asks about no model"), "{said}");
    program(&["corpus", "self", "--lines", "30", "--out", &folder]).assert().success();
    // Its lines can be learnt, checkers and all.
    let own = place.text("self-train.jsonl");
    let output = program(&["train", &own, "--dry-run", "--json"]).output().unwrap();
    assert_eq!(json(&output)["lines"], 30);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("is not read"));
}

#[test]
fn what_this_version_cannot_is_refused_by_name() {
    let place = Place::new(8);
    let said = refused(&place.run("a.gguf", &["--gpu-memory", "1G"]));
    assert!(said.contains("--device gpu"), "{said}");
    let mut words = place.run("a.gguf", &["--dropout", "0.1"]);
    on_gpu(&mut words);
    // Without the world there is no GPU at all, which is refused first.
    let expected = if cfg!(feature = "world") { "dropout" } else { "--device gpu" };
    assert!(refused(&words).contains(expected));
    let mut words = place.run("a.gguf", &["--full"]);
    on_gpu(&mut words);
    assert!(refused(&words).contains("--full --device gpu"));
    assert!(
        refused(&place.run("a.gguf", &["--full", "--memory", "20M"])).contains("without --full")
    );
    let data = place.text("record-train.jsonl");
    let said = refused(&["train", &data, "--output", &data, "--force"]);
    assert!(said.contains("same file"), "{said}");
    let said = refused(&place.run("a.gguf", &["--curve", "losses.jpg"]));
    assert!(said.contains(".png or .svg"), "{said}");
}

#[test]
fn all_weights_are_trained_and_a_resumed_run_is_the_same_to_the_last_bit() {
    let place = Place::new(20);
    let checkpoints = place.text("kept");
    let all = ["--full", "--eval", "loss", "--steps", "6", "--every", "1", "--json"];
    let all = [&all[..], &["--checkpoint", &checkpoints]].concat();
    let run = |output: &str, more: &[&str]| {
        let output = program(&place.run(output, &[&all[..], more].concat())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        json(&output)
    };
    let report = run("a.gguf", &[]);
    let loss = |name: &str| report[name].as_f64().unwrap();
    assert!(loss("valid_loss") < 0.7 * loss("valid_loss_before"), "{report:#}");
    assert_eq!(report["learnt"], "model");
    // From the step before the last on: the same file.
    fs::remove_dir_all(place.path("kept").join("step-0000006")).unwrap();
    run("b.gguf", &["--resume"]);
    let [whole, resumed] = ["a.gguf", "b.gguf"].map(|name| fs::read(place.path(name)).unwrap());
    assert!(whole == resumed, "a resumed run is another one");
    // What was written is a model of floats, and answers as it did when it was learnt.
    let valid = place.text("record-valid.jsonl");
    let found = |model: &str| {
        let words = ["evaluate", &place.text(model), &valid, "--loss-only", "--json"];
        let output = program(&words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        json(&output)["loss"].as_f64().unwrap()
    };
    assert!((found("a.gguf") - loss("valid_loss")).abs() < 1e-4, "{report:#}");
    program(&["convert", &place.text("a.gguf"), &place.text("c.pxi")]).assert().success();
    program(&["verify", &place.text("c.pxi")]).assert().success();
    let model = pixel_llm::model::PixelModel::open(&place.path("c.pxi")).unwrap();
    assert!(model.tensors().iter().all(|tensor| tensor.encoding() == Encoding::F32));
    // Half precision, as pixels at once.
    let words =
        place.run("h.pxi", &["--full", "--steps", "1", "--eval", "loss", "--encoding", "f16"]);
    program(&words).assert().success();
    let model = pixel_llm::model::PixelModel::open(&place.path("h.pxi")).unwrap();
    let halves = model.tensors().iter().filter(|tensor| tensor.encoding() == Encoding::F16);
    assert_eq!(halves.count(), 43, "all matrices");
    assert!(found("h.pxi").is_finite());
}

#[test]
fn a_model_is_made_from_weights_that_are_drawn() {
    let place = Place::new(20);
    let run = |output: &str, seed: &str| {
        let how = ["--full", "--from-scratch", "--loss", "all", "--steps", "8", "--json"];
        let words = place.run(output, &[&how[..], &["--seed", seed, "--eval", "loss"]].concat());
        let output = program(&words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        json(&output)
    };
    let report = run("a.gguf", "1");
    let loss = |name: &str| report[name].as_f64().unwrap();
    // It knows nothing yet: each of the 1,024 tokens is as likely as any other.
    assert!((loss("valid_loss_before") - 1024f64.ln()).abs() < 0.3, "{report:#}");
    assert!(loss("valid_loss") < loss("valid_loss_before") - 0.5, "{report:#}");
    run("b.gguf", "1");
    run("c.gguf", "2");
    let [a, b, c] = ["a.gguf", "b.gguf", "c.gguf"].map(|name| fs::read(place.path(name)).unwrap());
    assert!(a == b && a != c, "the seed decides");
    // All of it is drawn: nothing of the model whose shape it has is in it.
    let said = refused(&place.run("d.gguf", &["--from-scratch"]));
    assert!(said.contains("--full"), "{said}");
}

#[test]
fn how_much_is_learnt_follows_from_the_data_where_nothing_is_said() {
    let place = Place::new(200);
    let data = place.text("record-train.jsonl");
    let plan = |more: &[&str]| {
        let words = [&["train", &data, "--dry-run", "--json"], more].concat();
        json(&program(&words).output().unwrap())
    };
    let few = plan(&[]);
    let (batch, epochs) = (few["batch_tokens"].as_u64().unwrap(), few["epochs"].as_u64().unwrap());
    assert!((100..300).contains(&batch) && epochs > 3, "{few:#}");
    assert!(few["steps"].as_u64().unwrap() > 150, "{few:#}");
    let asked = plan(&["--epochs", "2", "--batch-tokens", "1024"]);
    assert_eq!((&asked["batch_tokens"], &asked["epochs"]), (&1024.into(), &2.into()));
    let words = ["train", &data, "--dry-run"];
    let said = String::from_utf8(program(&words).output().unwrap().stdout).unwrap();
    assert!(said.contains("chosen by the size of the data"), "{said}");
}

/// The same run on a GPU.
fn on_gpu(words: &mut [String]) {
    let device = words.iter().position(|word| word == "cpu").unwrap();
    words[device] = "gpu".into();
}

#[test]
#[cfg(feature = "world")]
fn a_gpu_learns_as_the_processor_does() {
    if !crate::common::gpu::has_adapter() {
        return;
    }
    let place = Place::new(20);
    let steps = ["--steps", "3", "--eval", "loss", "--json", "--every", "1"];
    let run = |output: &str, gpu: bool, more: &[&str]| {
        let mut words = place.run(output, &[&steps[..], more].concat());
        if gpu {
            on_gpu(&mut words);
        }
        let output = program(&words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        json(&output)
    };
    let [cpu, gpu] = [false, true].map(|gpu| run(if gpu { "g.gguf" } else { "c.gguf" }, gpu, &[]));
    assert_eq!(cpu["device"], "processor");
    assert_ne!(gpu["device"], "processor");
    for loss in ["valid_loss_before", "valid_loss"] {
        let [cpu, gpu] = [&cpu, &gpu].map(|report| report[loss].as_f64().unwrap());
        assert!((cpu - gpu).abs() < 1e-3, "{loss}: {cpu} and {gpu}");
    }
    let mut words = place.run("m.gguf", &[&steps[..], &["--gpu-memory", "1M"]].concat());
    on_gpu(&mut words);
    let said = refused(&words);
    assert!(said.contains("--gpu-memory 1") && said.contains("--batch-tokens"), "{said}");
}
