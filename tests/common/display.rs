//! A virtual display for tests of the window.
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;

/// A process that ends with its owner.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A virtual display of 1280 x 720, gone when dropped. Its server is started by itself: `xvfb-run`
/// wants a program more.
pub struct Display {
    _server: Guarded,
    /// What `DISPLAY` is to be.
    pub name: String,
}

impl Display {
    /// Starts one with more arguments of the server's, or says loudly that there is none to be had.
    pub fn start(more: &[&OsStr]) -> Option<Self> {
        let started = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut server) = started else {
            eprintln!("SKIPPED, nothing was tested: Xvfb is not installed");
            return None;
        };
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { _server: Guarded(server), name: format!(":{}", line.trim()) })
    }

    /// The program, to be opened on it and on no other.
    pub fn program(&self) -> Command {
        let mut command = undisplayed();
        command.env("DISPLAY", &self.name);
        command
    }

    /// Takes a tour in a window, which leaves its pictures in a folder, with more arguments and
    /// such of the program's. Gives what was said, or `None` with a loud word where there is no
    /// adapter.
    pub fn take_tour(
        &self,
        tour: &str,
        folder: &Path,
        more: impl FnOnce(&mut Command),
    ) -> Option<String> {
        std::fs::create_dir(folder.join("tours")).unwrap();
        std::fs::write(folder.join("tours/t.tour.ron"), tour).unwrap();
        let mut program = self.program();
        program.arg("--assets").arg(folder).args(["--tour", "t", "--screenshots"]).arg(folder);
        more(&mut program);
        let output = program.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("no graphics adapter")
            && std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none()
        {
            eprintln!("SKIPPED, nothing was tested: {said}");
            return None;
        }
        assert!(output.status.success(), "{said}");
        Some(said)
    }
}

/// The program without a display.
pub fn undisplayed() -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("DISPLAY");
    command
}
