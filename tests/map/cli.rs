//! `pixel-llm map` as a person uses it.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

fn map_command(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pixel-llm"));
    command.current_dir(folder.path()).arg("map").args(args);
    command
}

fn succeed(folder: &TempDir, args: &[&str]) -> String {
    let output = map_command(folder, args).assert().success().get_output().clone();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(folder: &TempDir, args: &[&str]) -> Value {
    serde_json::from_str(&succeed(folder, &[args, &["--json"]].concat())).unwrap()
}

/// The one line that a failing command prints.
fn fail(folder: &TempDir, args: &[&str]) -> String {
    let output = map_command(folder, args).assert().code(2).get_output().clone();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line:?}");
    line
}

#[test]
fn the_demo_writes_near_and_far_and_looks_around() {
    let folder = TempDir::new().unwrap();
    let report = json(&folder, &["demo"]);
    let far = 1_i64 << 40;
    let places: Vec<_> = report["written"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| (place["x"].clone(), place["y"].clone()))
        .collect();
    for (x, y) in [
        (0, 0),
        (10_000, 20_000),
        (far, far),
        (far + 10_000, far + 20_000),
        (-far, -far),
        (10_000 - far, 20_000 - far),
    ] {
        assert!(places.contains(&(x.into(), y.into())), "{places:?}");
    }
    assert_eq!(report["around"].as_array().unwrap().len(), 3);
    for around in report["around"].as_array().unwrap() {
        let known: Vec<_> = around["neighbours"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pixel| !pixel["colour"].is_null())
            .collect();
        let y = around["y"].as_i64().unwrap();
        // The row above is in another tile, and nothing is there; 2^40 is a multiple of the tiles'
        // side.
        assert_eq!(known, [false, false, false, true, true, true, true, true], "{y}");
    }
    let again = succeed(&folder, &["demo"]);
    assert!(again.contains("Hello, infinite map! This was written at (10000, 20000)."), "{again}");
    assert!(again.contains("unallocated"), "{again}");
    assert!(succeed(&folder, &["verify", "demo.map"]).contains("sound"));
    // Every file of a map is one that PixelFS knows.
    let mut verify = Command::new(assert_cmd::cargo::cargo_bin!("pixel-llm"));
    verify.current_dir(folder.path()).args(["fs", "verify"]);
    for entry in fs::read_dir(folder.path().join("demo.map")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            verify.arg(path);
        }
    }
    verify.assert().success();
}

#[test]
fn pixels_are_set_got_and_found() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["set", "a.map", "-5,-7", "ff8800"]);
    succeed(&folder, &["set", "a.map", "-2^40,2^40,64,64", "#00f"]);
    assert_eq!(succeed(&folder, &["get", "a.map", "-5,-7"]), "#ff8800\n");
    assert_eq!(succeed(&folder, &["get", "a.map", "-6,-7"]), "#000000\n");
    assert_eq!(succeed(&folder, &["get", "a.map", "5,7"]), "unallocated\n");
    let pixel = json(&folder, &["get", "a.map", "-1099511627776,0x10000000000"]);
    assert_eq!(
        (&pixel["colour"], &pixel["rgb"]),
        (&"#0000ff".into(), &serde_json::json!([0, 0, 255]))
    );
    assert_eq!(json(&folder, &["get", "a.map", "5,7"])["colour"], Value::Null);
    let all = json(&folder, &["query", "a.map"]);
    assert_eq!(all["found"], 2);
    let near = json(&folder, &["query", "a.map", "-64,-64,64,64"]);
    assert_eq!(
        (&near["items"][0]["x"], &near["items"][0]["kind"]),
        (&(-64).into(), &"pixels".into())
    );
    assert_eq!(json(&folder, &["query", "a.map", "0,0,64,64"])["found"], 0);
    let ray = json(&folder, &["query", "a.map", "--ray", "0,0,-1,1"]);
    assert_eq!((&ray["found"], &ray["items"][0]["y"]), (&1.into(), &(1_i64 << 40).into()));
    let nearest = json(&folder, &["near", "a.map", "0,0", "--count", "9"]);
    assert_eq!(nearest["nearest"].as_array().unwrap().len(), 2);
    assert_eq!(nearest["tile_neighbours"], serde_json::json!([{ "x": -1, "y": -1 }]));
    assert_eq!(nearest["nearest"][0]["distance"], f64::sqrt(2.0));
    let text = succeed(&folder, &["near", "a.map", "-5,-7"]);
    assert!(text.contains("  #000000      *            #000000\n"), "{text}");
    assert!(succeed(&folder, &["stats", "a.map"]).contains("  tiles       2 of 64 x 64 pixels\n"));
}

#[test]
fn bytes_have_names_or_places() {
    let folder = TempDir::new().unwrap();
    let payload: Vec<u8> = (0..50_000_u32).map(|i| (i / 7) as u8).collect();
    fs::write(folder.path().join("in.bin"), &payload).unwrap();
    succeed(&folder, &["write", "a.map", "first", "in.bin"]);
    map_command(&folder, &["write", "a.map", "second"]).write_stdin("short").assert().success();
    succeed(&folder, &["write", "a.map", "--at", "-1000,2^40", "--width", "33", "in.bin"]);
    for args in [&["first"][..], &["--at", "-1000,2^40", "--width", "33", "--length", "50000"]] {
        let output = map_command(&folder, &[&["read", "a.map"], args].concat())
            .assert()
            .success()
            .get_output()
            .clone();
        assert!(output.stdout == payload);
    }
    assert_eq!(succeed(&folder, &["read", "a.map", "second"]), "short");
    let report = json(&folder, &["read", "a.map", "first", "--output", "out.bin"]);
    assert_eq!(report["length"], 50_000);
    assert!(fs::read(folder.path().join("out.bin")).unwrap() == payload);
    let stats = json(&folder, &["stats", "a.map"]);
    assert_eq!(
        (&stats["named"][0]["name"], &stats["named"][0]["length"]),
        (&"first".into(), &50_000.into())
    );
    assert!(
        fail(&folder, &["read", "a.map", "third"])
            .contains("no region \"third\"; there are first, second")
    );
    assert!(
        fail(&folder, &["write", "a.map", "second", "in.bin"])
            .contains("number of bytes for the region is 50000")
    );
    assert!(
        fail(&folder, &["read", "a.map", "--at", "5000,5000", "--length", "9"])
            .contains("nothing was ever written")
    );
    assert!(fail(&folder, &["write", "a.map"]).contains("give the name of a region"));
}

#[test]
fn lists_are_flushed_as_they_come() {
    let folder = TempDir::new().unwrap();
    let list = "0,0 ff0000\n-1,-1 00ff00\n64,64,10,10 0000ff\n";
    let output = map_command(&folder, &["set", "a.map", "--from", "-", "--flush-every", "2"])
        .write_stdin(list)
        .assert()
        .success()
        .get_output()
        .clone();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "flushed 2\nflushed 3\n");
    assert_eq!(succeed(&folder, &["get", "a.map", "73,73"]), "#0000ff\n");
    // What came before a bad line and was flushed stays.
    let bad = "0,0 111111\n1,1 222222\n2,2 nocolour\n";
    let output = map_command(&folder, &["set", "a.map", "--from", "-", "--flush-every", "2"])
        .write_stdin(bad)
        .assert()
        .code(2)
        .get_output()
        .clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 3 of the list"), "{output:?}");
    assert_eq!(succeed(&folder, &["get", "a.map", "1,1"]), "#222222\n");
}

#[test]
fn pictures_tell_black_from_nothing() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["set", "a.map", "--tile-size", "8", "-1,-1", "ff0000"]);
    let report = json(&folder, &["png", "a.map", "-2,-2,4,4"]);
    assert_eq!((&report["png"], &report["width"]), (&"a.map.png".into(), &4.into()));
    let file = fs::File::open(folder.path().join("a.map.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut rgba = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut rgba).unwrap();
    let pixels = rgba.as_chunks::<4>().0;
    assert_eq!(pixels[0], [0, 0, 0, 255]);
    assert_eq!(pixels[5], [255, 0, 0, 255]);
    assert!(
        pixels
            .iter()
            .enumerate()
            .all(|(index, pixel)| (pixel[3] == 255) == (index % 4 < 2 && index < 8))
    );
    assert_eq!(json(&folder, &["png", "a.map", "--force"])["width"], 8);
    succeed(&folder, &["set", "a.map", "2^40,0", "ff0000"]);
    assert!(fail(&folder, &["png", "a.map", "--force"]).contains("too large"));
}

#[test]
fn what_cannot_run_exits_with_2_and_one_line() {
    let folder = TempDir::new().unwrap();
    assert!(fail(&folder, &["get", "missing.map", "0,0"]).contains("missing.map: no map is here"));
    assert!(!folder.path().join("missing.map").exists());
    succeed(&folder, &["set", "a.map", "0,0", "fff"]);
    assert!(
        fail(&folder, &["get", "a.map", "0,0", "--tile-size", "128"])
            .contains("tiles of 64 x 64 pixels")
    );
    assert!(fail(&folder, &["get", "a.map", "2^63,0"]).contains("leaves the plane"));
    assert!(fail(&folder, &["set", "a.map", "2^63,0,1,1", "fff"]).contains("leaves the plane"));
    assert!(fail(&folder, &["query", "a.map", "0,0,0,5"]).contains("empty"));
    assert!(fail(&folder, &["query", "a.map", "--ray", "0,0,0,0"]).contains("direction"));
    for args in [
        &["get", "a.map", "0"][..],
        &["get", "a.map", "a,b"],
        &["get", "a.map", "0,0", "--tile-size", "65"],
        &["set", "a.map", "0,0", "red"],
        &["set", "a.map", "0,0"],
        &["near", "a.map"],
        &[],
    ] {
        map_command(&folder, args).assert().code(2);
    }
    for command in
        ["demo", "get", "set", "write", "read", "near", "query", "stats", "verify", "png"]
    {
        let help = succeed(&folder, &[command, "--help"]);
        assert!(help.contains("pixel-llm map ") && help.contains("Example"), "{help}");
    }
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    assert!(fail(&folder, &["set", ".", "0,0", "fff"]).contains("no map can be made here"));
}

#[test]
fn verify_names_what_is_damaged() {
    let folder = TempDir::new().unwrap();
    for (place, colour) in [("0,0", "ff0000"), ("1000,0", "00ff00")] {
        succeed(&folder, &["set", "a.map", place, colour]);
    }
    let path = fs::read_dir(folder.path().join("a.map"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("tiles"))
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output =
        map_command(&folder, &["verify", "a.map", "--json"]).assert().code(1).get_output().clone();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tiles: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| !problem["tile"].is_null())
        .collect();
    assert_eq!(
        (tiles.len(), &tiles[0]["tile"], &report["ok"]),
        (1, &serde_json::json!({ "x": 0, "y": 0 }), &false.into())
    );
    assert!(fail(&folder, &["get", "a.map", "0,0"]).contains("tile (0, 0)"));
    assert_eq!(succeed(&folder, &["get", "a.map", "1000,0"]), "#00ff00\n");
    // Both copies of the index damaged is damage too, and said as such.
    for name in ["index.pxi", "index-copy.pxi"] {
        fs::write(folder.path().join("a.map").join(name), "no").unwrap();
    }
    map_command(&folder, &["verify", "a.map"]).assert().code(1);
    map_command(&folder, &["verify", "missing.map"]).assert().code(2);
}
