//! The first seconds of `pixel-llm --no-window` on a machine that has no GPU but a software
//! adapter, and on one that has: what a start leaves behind, and what it does not do again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a step that fails is a test that fails")]

use std::path::Path;
use std::process::Command;

use crate::common::gpu::has_adapter;

/// What a program says on standard error in a home of its own.
fn said(home: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pixel-llm"));
    command.current_dir(home).env("HOME", home).env_remove("XDG_CACHE_HOME").args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!output.stdout.is_empty(), "there is an answer");
    String::from_utf8(output.stderr).unwrap()
}

const SHORT: [&str; 5] = ["--no-window", "--prompt", "Once upon a time", "--max-tokens", "4"];
const TRIAL: &str = "by a short trial";
const DISTURBED: &str = "disturbed the trial";

#[test]
fn a_second_start_makes_no_trial() {
    if !has_adapter() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let args = [&SHORT[..], &["--device", "gpu"]].concat();
    // A trial that other programs disturbed is made again, as it says.
    let first = (0..20).map(|_| said(home.path(), &args)).find(|said| !said.contains(DISTURBED));
    let first = first.expect("one of twenty trials is left in peace");
    assert!(first.contains(TRIAL), "{first}");
    for _ in 0..2 {
        let later = said(home.path(), &args);
        assert!(!later.contains(TRIAL), "{later}");
    }
    // What a program is bound to after it has begun is no part of the key: the same adapter has one
    // entry.
    let kept = walk(home.path()).into_iter().find(|path| path.ends_with("trials.ron")).unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap().matches("adapter:").count(), 1);
}

#[test]
fn auto_keeps_a_software_adapter_for_bench() {
    let home = tempfile::tempdir().unwrap();
    let mut choice = pixel_llm::engine::gpu::headless::GpuChoice::default();
    if !choice.find().is_ok_and(|adapter| adapter.is_software()) {
        return eprintln!("SKIPPED, nothing was tested: there is no software adapter");
    }
    let auto = said(home.path(), &SHORT);
    assert!(!auto.contains(TRIAL) && !auto.contains("adapter"), "{auto}");
    assert!(
        !walk(home.path()).iter().any(|path| path.ends_with("trials.ron")),
        "nothing was tried"
    );
    let bench =
        ["bench", "--repetitions", "1", "--tokens", "2", "--prompt-length", "2", "--parallel", "1"];
    let bench = said(home.path(), &bench);
    assert!(bench.contains(TRIAL) && bench.contains("processor"), "{bench}");
}

/// All files under a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What `/proc` says of the threads of this program: name, and the processors that each may run on.
#[cfg(target_os = "linux")]
fn threads() -> Vec<(i32, String, String)> {
    let of_thread = |path: std::path::PathBuf| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some((id, name.trim().to_owned(), allowed.trim().to_owned()))
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| of_thread(task.unwrap().path())).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_trial_binds_no_thread_but_those_of_the_adapter() {
    use pixel_llm::engine::gpu::headless::GpuChoice;
    use pixel_llm::engine::gpu::trial;
    use std::sync::Arc;

    if !has_adapter() {
        return;
    }
    let early = threads();
    let allowed = early[0].2.clone();
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let mut choice = GpuChoice::default();
    choice.find().unwrap();
    let (verdict, engine) = trial::make(&model, (1, 256), &choice, true).unwrap();
    let mut engine = engine.expect("a context of 256 suits the built-in model");
    let bound =
        || -> Vec<_> { threads().into_iter().filter(|(_, _, list)| *list != allowed).collect() };
    let workers = std::thread::available_parallelism().unwrap().get();
    // Other programs may keep one of the adapter's threads from its work for a moment.
    for _ in 0..20 {
        trial::settle(&mut engine).unwrap();
        if bound().len() == workers {
            break;
        }
    }
    // Threads inherit what they may run on from the one that makes them.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let later =
        std::thread::Builder::new().name("later".into()).spawn(move || ended.recv()).unwrap();
    let bound = bound();
    drop(end);
    later.join().unwrap().unwrap_err();
    let expected = if engine.plan().fused_layers { workers } else { bound.len().min(workers) };
    assert_eq!(bound.len(), expected, "{bound:?}, {verdict:?}");
    for (id, name, list) in &bound {
        assert!(early.iter().all(|(known, ..)| known != id), "{name} was there before: {list}");
        let others = ["main", "later", "doing", "ctrl-c", "Task Po", "Async"];
        assert!(!others.iter().any(|other| name.contains(other)), "{name} is no adapter's: {list}");
    }
    assert_eq!(workers, processors_in(&allowed), "the program may still run on all of {allowed}");
}

/// Processors in a list such as `0-3,8`.
#[cfg(target_os = "linux")]
fn processors_in(list: &str) -> usize {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let span =
        |span: &str| span.split_once('-').map_or(1, |(from, to)| number(to) - number(from) + 1);
    list.split(',').map(span).sum()
}
