//! The window as a person opens it, on a virtual display: a tour leaves its pictures, and where there is no display one line says so.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use common::world::Picture;

/// A virtual display, gone when dropped.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// Starts one, or says loudly that there is none to be had.
    fn start() -> Option<Self> {
        let started = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut server) = started else {
            eprintln!("SKIPPED, nothing was tested: Xvfb is not installed");
            return None;
        };
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { server, name: format!(":{}", line.trim()) })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn program() -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("DISPLAY");
    command
}

fn colours(path: &Path) -> (usize, usize, usize) {
    let picture = Picture::read(path);
    let distinct: std::collections::HashSet<_> = picture.pixels.iter().collect();
    (picture.width, picture.height, distinct.len())
}

#[test]
fn a_tour_in_a_window_leaves_its_pictures_and_ends() {
    let Some(display) = Display::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tours")).unwrap();
    let tour =
        "(title: \"t\", steps: [Shot(\"whole\"), Look(at: Head(0, 0), seconds: Some(0.1)), Shot(\"head\")])";
    std::fs::write(folder.path().join("tours/t.tour.ron"), tour).unwrap();
    let output = program()
        .env("DISPLAY", &display.name)
        .arg("--assets")
        .arg(folder.path())
        .args(["--tour", "t", "--screenshots"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("no graphics adapter") && std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none() {
        eprintln!("SKIPPED, nothing was tested: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    for name in ["whole", "head"] {
        let (width, height, distinct) = colours(&folder.path().join(format!("{name}.png")));
        assert_eq!((width, height), (1280, 720), "{name}");
        assert!(distinct > 100, "{name} has only {distinct} colours");
    }
}

#[test]
fn without_a_display_one_line_names_the_way_without_a_window() {
    for display in [None, Some(":4091")] {
        let mut command = program();
        if let Some(display) = display {
            command.env("DISPLAY", display);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors: Vec<&str> = said.lines().filter(|line| line.contains("--no-window")).collect();
        assert_eq!(errors.len(), 1, "{display:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{display:?}: {said}");
    }
}
