//! What the cases share: a copy of a case's folder, and the program in a home of its own.
#![allow(dead_code, reason = "each file uses its part")]
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

#[path = "../common/mod.rs"]
pub mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder to work in, and a home beside it.
pub struct Case {
    root: TempDir,
}

impl Case {
    /// An empty folder.
    pub fn empty() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["home", "work"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    /// A copy of `../shared/cases/NAME`, or `None` with a loud word where it is absent.
    pub fn of(name: &str) -> Option<Self> {
        let from = common::shared(&format!("cases/{name}"))?;
        let case = Self::empty();
        copy(&from, &case.folder());
        Some(case)
    }

    /// Where the case's files are.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// One of its files as JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// The home of the programs that [`program`](Self::program) makes.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The program in the case's folder, with an empty home.
    pub fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("pixel-llm").unwrap();
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
            command.env_remove(name);
        }
        command.current_dir(self.folder()).env("HOME", self.home()).args(args);
        command
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            // Not `fs::copy`: the shared folder is read-only, and a case may change its files.
            std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
