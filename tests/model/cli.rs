//! `pixel-llm convert`, `inspect` and `verify` as a person uses them.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::Path;

use crate::common::tiny::Tiny;
use assert_cmd::Command;
use pixel_llm::model::{Encoding, PixelModel};
use serde_json::Value;
use tempfile::TempDir;

/// The program in a folder of its own, with a cache of its own.
fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command
        .current_dir(folder.path())
        .env("PIXEL_LLM_CACHE", folder.path().join("cache"))
        .args(args);
    command
}

fn json(folder: &TempDir, args: &[&str]) -> Value {
    let output = program(folder, args).arg("--json").assert().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

fn error(folder: &TempDir, args: &[&str]) -> String {
    let assert = program(folder, args).assert().code(2);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
    error
}

fn folder_with_model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    Tiny::new("qwen2", Encoding::Q4_1, 5).write(&folder.path().join("a.gguf"));
    folder
}

#[test]
fn there_and_back() {
    let folder = folder_with_model();
    let report = json(&folder, &["convert", "a.gguf", "a.pxi"]);
    assert_eq!((&report["tensors"], &report["output"]), (&26.into(), &"a.pxi".into()));
    program(&folder, &["verify", "a.pxi"])
        .assert()
        .success()
        .stdout(predicates::str::contains("sound"));
    program(&folder, &["fs", "verify", "a.pxi"]).assert().success();
    program(&folder, &["convert", "a.pxi", "b.gguf"]).assert().success();
    assert!(
        fs::read(folder.path().join("a.gguf")).unwrap()
            == fs::read(folder.path().join("b.gguf")).unwrap()
    );
}

#[test]
fn verify_names_the_tile_and_where_it_lies() {
    let folder = folder_with_model();
    program(&folder, &["convert", "a.gguf", "a.pxi"]).assert().success();
    let path = folder.path().join("a.pxi");
    let tile = PixelModel::open(&path).unwrap().tensor("blk.1.attn_v.weight").unwrap().first_tile;
    let at = PixelModel::open(&path).unwrap().tile_range(tile).start + 64 + 1000;
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 4;
    fs::write(&path, bytes).unwrap();
    let assert = program(&folder, &["verify", "a.pxi"]).assert().code(1);
    let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let expected =
        format!("damaged: tile {tile} of blk.1.attn_v.weight (rows 0..128, columns 0..256)");
    assert!(text.contains(&expected) && text.contains("1 damaged"), "{text}");
    let report = json(&folder, &["verify", "a.pxi"]);
    assert_eq!((&report["sound"], &report["damaged"][0]["tile"]), (&false.into(), &tile.into()));
    assert_eq!(report["damaged"].as_array().unwrap().len(), 1);
    assert!(
        error(&folder, &["convert", "a.pxi", "b.gguf"])
            .contains(&format!("tile {tile} of blk.1.attn_v.weight"))
    );
    assert!(!folder.path().join("b.gguf").exists());
}

#[test]
fn what_stood_there_stands_when_a_conversion_fails() {
    let folder = folder_with_model();
    let whole = fs::read(folder.path().join("a.gguf")).unwrap();
    fs::write(folder.path().join("cut.gguf"), &whole[..whole.len() - 1000]).unwrap();
    fs::write(folder.path().join("a.pxi"), "old").unwrap();
    let message = error(&folder, &["convert", "cut.gguf", "a.pxi", "--force"]);
    assert!(message.contains("cut.gguf"), "{message}");
    assert_eq!(fs::read_to_string(folder.path().join("a.pxi")).unwrap(), "old");
    assert!(error(&folder, &["convert", "none.gguf", "b.pxi"]).contains("none.gguf"));
    assert!(
        error(&folder, &["convert", "a.gguf", "no/such/folder/b.pxi"])
            .contains("no/such/folder/b.pxi")
    );
    assert!(error(&folder, &["verify", "a.pxi"]).contains("a.pxi"));
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_gguf_is_taken_for_a_model_and_converted_once() {
    let folder = folder_with_model();
    let first = json(&folder, &["inspect", "a.gguf"]);
    assert_eq!((&first["name"], &first["config"]["qkv_biases"]), (&"Tiny".into(), &true.into()));
    program(&folder, &["verify", "a.gguf"]).assert().success();
    assert!(!folder.path().join("cache").exists(), "what only reads leaves nothing");
    let poster = ["inspect", "a.gguf", "--png", "poster.png", "--force"];
    let first = json(&folder, &poster);
    let cached = |folder: &TempDir| -> Vec<_> {
        let entries =
            fs::read_dir(folder.path().join("cache")).unwrap().map(|entry| entry.unwrap());
        entries
            .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pxi"))
            .map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap()))
            .collect()
    };
    let before = cached(&folder);
    assert_eq!(before.len(), 1);
    program(&folder, &poster).assert().success();
    assert_eq!(cached(&folder), before, "the second use finds the first's conversion");
    assert_eq!(json(&folder, &["inspect", "a.gguf"])["root"], first["root"]);
    // A damaged cache is made anew, a changed file converted anew in the old one's place.
    let path = folder.path().join("cache").join(&before[0].0);
    fs::write(&path, "nonsense").unwrap();
    assert_eq!(json(&folder, &poster)["root"], first["root"]);
    Tiny::new("qwen2", Encoding::Q4_1, 6).write(&folder.path().join("a.gguf"));
    assert_ne!(json(&folder, &poster)["root"], first["root"]);
    assert_eq!(cached(&folder).len(), 1);
}

#[test]
fn the_built_in_model_is_found_from_anywhere_and_can_be_stood_in_for() {
    let folder = folder_with_model();
    let report = json(&folder, &["inspect"]);
    assert_eq!((&report["name"], &report["licence"]), (&"Seedling".into(), &"CC0-1.0".into()));
    program(&folder, &["verify"]).assert().success();
    fs::create_dir_all(folder.path().join("mine/models")).unwrap();
    program(&folder, &["convert", "a.gguf", "mine/models/seedling.pxi"]).assert().success();
    assert_eq!(json(&folder, &["inspect", "--assets", "mine"])["name"], "Tiny");
}

#[test]
fn inspect_lists_tensors_and_paints_a_poster() {
    let folder = folder_with_model();
    let report = json(&folder, &["inspect", "--tensors", "--png", "poster.png", "--side", "300"]);
    let tensors = report["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), report["tensor_count"].as_u64().unwrap() as usize);
    let bytes: u64 = report["encodings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(bytes, report["model_size_in_bytes"].as_u64().unwrap());
    let (width, height, rgb) = picture(&folder.path().join("poster.png"));
    assert_eq!(width.max(height), 300);
    // A picture of 300 pixels has no room for words: land and sea between margins of 4 pixels.
    let [across, down] = [0, 1].map(|side| report["map"][side].as_f64().unwrap());
    let scale = (300.0 - 8.0) / across.max(down);
    let at = |x: f64, y: f64| {
        let pixel = ((y * scale + 4.0) as usize * width as usize + (x * scale + 4.0) as usize) * 3;
        [rgb[pixel], rgb[pixel + 1], rgb[pixel + 2]]
    };
    let ground = at(-1.0, -1.0);
    for tensor in
        tensors.iter().filter(|tensor| tensor["dimensions"].as_array().unwrap().len() == 2)
    {
        let side = |name: &str| tensor["map"][name].as_f64().unwrap();
        let (x, y, w, h) = (side("x"), side("y"), side("width"), side("height"));
        let places = (0..100).map(|i| [f64::from(i % 10) / 10.0, f64::from(i / 10) / 10.0]);
        let lit = places.filter(|[i, j]| at(x + w * i, y + h * j) != ground).count();
        assert!(lit > 40, "{}: {lit}", tensor["name"]);
    }
    // With words it is taller by them.
    program(&folder, &["inspect", "--png", "words.png", "--side", "900"]).assert().success();
    let (width, height, rgb) = picture(&folder.path().join("words.png"));
    let [land, words] = [across / down, f64::from(width) / f64::from(height)];
    assert!(width == 900 && words < land, "{width} x {height}");
    // Above the land are title and numbers, whose letters have soft edges.
    let head = &rgb.as_chunks::<3>().0[..900 * 20];
    let written = head.iter().filter(|pixel| u32::from(pixel[0]) > 60).count();
    assert!(written > 200, "{written} pixels of words");
    let text = program(&folder, &["inspect"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("2,337,216") && text.contains("6 of 32, sharing 2 keys and values"),
        "{text}"
    );
}

fn picture(path: &Path) -> (u32, u32, Vec<u8>) {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgb).unwrap();
    (info.width, info.height, rgb)
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin("pixel-llm");
    let script =
        format!("{} inspect --tensors | head -1; echo ${{PIPESTATUS[0]}}", binary.display());
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Seedling\n0\n");
}
