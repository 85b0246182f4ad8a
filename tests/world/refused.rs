//! A model that the kernels cannot compute: the window opens all the same and says so in words,
//! where the map would be.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::path::Path;
use std::process::Command;

use crate::common::display::Display;
use crate::common::tiny::{Shape, Tiny};
use crate::common::world::Picture;
use pixel_llm::model::Encoding;

/// Pixels of the picture, row by row, in the middle half of it.
fn middle(path: &Path) -> Vec<[u8; 3]> {
    let picture = Picture::read(path);
    let rows =
        picture.pixels.chunks(picture.width).skip(picture.height / 4).take(picture.height / 2);
    rows.flat_map(|row| row.iter().skip(picture.width / 4).take(picture.width / 2))
        .copied()
        .collect()
}

#[test]
fn a_model_that_the_kernels_refuse_is_told_in_the_window() {
    let Some(display) = Display::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let tour = "(title: \"t\", steps: [Wait(1.0), Screenshot(\"refused\")])";
    // Heads of 12 are no whole number of the kernels' lanes.
    let shape = Shape {
        width: 48,
        vocab: 300,
        hidden: 96,
        heads: 4,
        kv_heads: 2,
        head_size: 12,
        layers: 1,
    };
    let model = folder.path().join("odd.gguf");
    Tiny::shaped("llama", Encoding::F32, 5, shape).write(&model);
    let odd = |program: &mut Command| {
        program.arg(&model).env("PIXEL_LLM_CACHE", folder.path());
    };
    let Some(_) = display.take_tour(tour, folder.path(), odd) else { return };
    let pixels = middle(&folder.path().join("refused.png"));
    // The frame around the words has the colour of what is selected, and there are some lines of
    // light text in it.
    let of = |colour: [u8; 3]| {
        pixels
            .iter()
            .filter(|pixel| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 24))
            .count()
    };
    assert!(of([0xFF, 0xD9, 0x66]) > 600, "the frame has {} pixels", of([0xFF, 0xD9, 0x66]));
    assert!(of([0xE8, 0xEC, 0xF2]) > 600, "the text has {} pixels", of([0xE8, 0xEC, 0xF2]));
}
