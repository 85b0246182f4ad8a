//! The window as a person opens it, on a virtual display: a tour leaves its pictures, a graphics
//! device that is lost is no end of it, and where there is no display one line says so.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::path::Path;

use crate::common::display::{Display, undisplayed};
use crate::common::world::Picture;

fn colours(path: &Path) -> (usize, usize, usize) {
    let picture = Picture::read(path);
    let distinct: std::collections::HashSet<_> = picture.pixels.iter().collect();
    (picture.width, picture.height, distinct.len())
}

#[test]
fn a_tour_in_a_window_leaves_its_pictures_and_ends() {
    let Some(display) = Display::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let tour = "(title: \"t\", steps: [Screenshot(\"whole\"), \
                Look(at: Head(0, 0), seconds: Some(0.1)), \
                Screenshot(\"head\")])";
    let Some(_) = display.take_tour(tour, folder.path(), |_| {}) else { return };
    for name in ["whole", "head"] {
        let (width, height, distinct) = colours(&folder.path().join(format!("{name}.png")));
        assert_eq!((width, height), (1280, 720), "{name}");
        assert!(distinct > 100, "{name} has only {distinct} colours");
    }
}

#[test]
fn a_window_lives_on_when_its_graphics_device_is_lost() {
    let Some(display) = Display::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    // Twice: at rest, and right after a prompt. The second device lived so short that another is
    // not opened at once.
    let tour = "(title: \"t\", steps: [Look(at: Layer(0), seconds: Some(0.1)), \
                Screenshot(\"before\"), \
                LoseDevice, Wait(1.0), Screenshot(\"told\"), Prompt(text: \"Once\", tokens: 4), \
                LoseDevice, Wait(6.0), Screenshot(\"after\"), \
                Prompt(text: \"Once\", tokens: 4)])";
    let Some(said) = display.take_tour(tour, folder.path(), |_| {}) else { return };
    assert_eq!(said.matches("edits, muted heads and settings are kept").count(), 2, "{said}");
    assert_eq!(said.matches("another graphics device was opened").count(), 2, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for name in ["before", "told", "after"] {
        let (width, height, distinct) = colours(&folder.path().join(format!("{name}.png")));
        assert_eq!((width, height), (1280, 720), "{name}");
        assert!(distinct > 100, "{name} has only {distinct} colours");
    }
    if let Some(kept) = std::env::var_os("PIXEL_LLM_SHOTS") {
        std::fs::copy(folder.path().join("told.png"), Path::new(&kept).join("lost-device.png"))
            .unwrap();
    }
}

#[test]
fn without_a_display_one_line_names_the_way_without_a_window() {
    for display in [None, Some(":4091")] {
        let mut command = undisplayed();
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
