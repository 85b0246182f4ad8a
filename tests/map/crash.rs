//! Killed, out of space, or without the right to write: the stored map is always one that a flush
//! made.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::map::{Access, InfiniteMap, MapOptions, Point, Rect, TilePos};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

const KILLS: u64 = 50;
/// Tiles that are written round and round.
const TILES: u64 = 40;
/// Lines between flushes: no divisor of the number of tiles, so that flushes fall everywhere.
const FLUSH_EVERY: u64 = 7;

fn program() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pixel-llm"));
    command.arg("map");
    command
}

/// Line `step` of the list fills the whole tile `step % TILES` with the colour `step`; some tiles
/// lie far out.
fn tile_of(step: u64) -> TilePos {
    let index = (step % TILES) as i64;
    if index % 5 == 0 {
        TilePos::new(-(index + 1) << 30, (index + 1) << 30)
    } else {
        TilePos::new(index % 7 - 3, index / 7 - 3)
    }
}

fn line(step: u64) -> String {
    let TilePos { x, y } = tile_of(step);
    format!("{},{},64,64 {step:06x}\n", x * 64, y * 64)
}

/// A generator of numbers that are random enough for moments of death.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Writes from step `first` on until it is killed, and gives the last step whose flush was
/// acknowledged and the number of the last line that the program can have seen.
fn write_and_kill(folder: &Path, first: u64, delay: Duration) -> u64 {
    let mut child = program()
        .args(["set", "--from", "-", "--flush-every", &FLUSH_EVERY.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        // Ends when the program is dead and the pipe is broken.
        (first..).find(|step| input.write_all(line(*step).as_bytes()).is_err())
    });
    let output = BufReader::new(child.stdout.take().unwrap());
    let acknowledged = thread::spawn(move || {
        let mut last = 0;
        for line in output.lines().map_while(Result::ok) {
            last = line.strip_prefix("flushed ").unwrap().parse().unwrap();
        }
        last
    });
    thread::sleep(delay);
    // SIGKILL: the program gets no chance to tidy up.
    child.kill().unwrap();
    child.wait().unwrap();
    feeder.join().unwrap();
    let lines: u64 = acknowledged.join().unwrap();
    first + lines
}

#[test]
fn a_killed_writer_loses_nothing_that_was_flushed_and_tears_no_tile() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    let options = MapOptions { cache_in_bytes: 0, ..MapOptions::default() };
    drop(InfiniteMap::create(&folder, &options).unwrap());
    let mut random = 0x9E37_79B9_7F4A_7C15;
    // Step 0 would be black.
    let (mut next, mut flushes, mut left_overs) = (1, 0, 0);
    for kill in 0..KILLS {
        let delay = Duration::from_micros(2_000 + next_random(&mut random) % 150_000);
        let end = write_and_kill(&folder, next, delay);
        flushes += (end - next) / FLUSH_EVERY;
        let map = InfiniteMap::open(&folder, Access::Read, &options).unwrap();
        assert!(map.problems().is_empty(), "kill {kill}: {:?}", map.problems());
        let verified = map.verify(&|_| ());
        let only_copy = |problem: &str| problem.contains("index-copy.pxi");
        assert!(
            verified.problems.iter().all(|problem| only_copy(&problem.problem)),
            "kill {kill}: {verified:?}"
        );
        let mut newest = 0;
        for slot in 0..TILES {
            let Some(tile) = map.tile(tile_of(slot)).unwrap() else {
                assert!(
                    (1..end).all(|step| step % TILES != slot),
                    "kill {kill}: tile {slot} is gone"
                );
                continue;
            };
            let [red, green, blue] = tile.pixel((0, 0)).unwrap();
            assert!(
                tile.rgb().as_chunks().0.iter().all(|pixel| *pixel == [red, green, blue]),
                "a torn tile"
            );
            let step = u64::from(u32::from_be_bytes([0, red, green, blue]));
            assert_eq!(step % TILES, slot);
            // The last step on this tile that was acknowledged, or a later one.
            let acknowledged = (end.saturating_sub(TILES)..end).find(|step| step % TILES == slot);
            assert!(
                acknowledged.is_none_or(|acknowledged| step >= acknowledged),
                "kill {kill}: {slot} went back"
            );
            newest = newest.max(step);
        }
        // A flush is all of its lines or none: what is there is whole multiples of them, from this
        // run's start.
        assert!(newest + 1 >= end);
        assert!(
            newest < next || (newest + 1 - next).is_multiple_of(FLUSH_EVERY),
            "{next} {newest}"
        );
        let stats = map.stats();
        let files = fs::read_dir(&folder).unwrap().count();
        left_overs += usize::from(files > 2 * stats.packs + 3);
        next = newest + 1;
    }
    eprintln!(
        "{flushes} flushes acknowledged in {KILLS} lives; {left_overs} kills left files behind"
    );
    assert!(flushes > KILLS / 2, "{flushes} flushes: the kills came too early to mean anything");
    // The next writer tidies up.
    let mut map = InfiniteMap::open(&folder, Access::Write, &options).unwrap();
    map.set_pixel(Point::default(), [1; 3]).unwrap();
    map.flush().unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2 * map.stats().packs + 3);
    assert!(map.verify(&|_| ()).problems.is_empty());
}

/// Bytes of which no two tiles are equal, so that each takes room: 640 x 640 pixels of them.
fn noise() -> Vec<u8> {
    let mut random = 42;
    (0..640 * 640 * 3).map(|_| next_random(&mut random) as u8).collect()
}

fn make(folder: &Path) {
    let mut map = InfiniteMap::create(folder, &MapOptions::default()).unwrap();
    map.fill(&Rect::new(-100, -100, 200, 200).unwrap(), [1, 2, 3]).unwrap();
    map.write_region("notes", b"some notes").unwrap();
    map.close().unwrap();
}

fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn fails(output: &Output, said: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.starts_with("error: ") && error.lines().count() == 1 && error.contains(said),
        "{error}"
    );
}

#[test]
fn a_full_disk_leaves_the_map_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    make(&folder);
    let before = snapshot(&folder);
    let input = folder.with_file_name("noise");
    fs::write(&input, noise()).unwrap();
    // The limit on the size of files stands for the disk: writes beyond it fail, at some place of
    // some file.
    let program = program();
    for blocks in [0, 1, 2, 8, 40, 1000] {
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; \
             exec \"$0\" map write \"$1\" --at -3000,0 --width 640 \"$2\""
        );
        let mut shell = Command::new("sh");
        let output = shell
            .arg("-c")
            .arg(script)
            .arg(program.get_program())
            .args([&folder, &input])
            .output()
            .unwrap();
        fails(&output, "File too large");
        assert!(snapshot(&folder) == before, "at {blocks} blocks");
    }
    let map = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
    assert!(map.problems().is_empty());
    assert_eq!(map.read_region("notes").unwrap(), b"some notes");
}

#[test]
fn a_full_tmpfs_leaves_the_map_as_it_was() {
    let guard = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        Command::new("mount")
            .args(args)
            .arg(guard.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=400k", "tmpfs"]) {
        eprintln!("SKIPPED: this user may not mount a tmpfs");
        return;
    }
    let folder = guard.path().join("map");
    make(&folder);
    let before = snapshot(&folder);
    // More than fits in what is left, in one file.
    let input = tempfile::NamedTempFile::new().unwrap();
    fs::write(input.path(), noise()).unwrap();
    let output = program()
        .arg("write")
        .arg(&folder)
        .args(["--at", "-3000,0"])
        .arg(input.path())
        .output()
        .unwrap();
    let after = snapshot(&folder);
    let unmounted =
        Command::new("umount").arg(guard.path()).status().is_ok_and(|status| status.success());
    fails(&output, "No space left");
    assert!(after == before && unmounted);
}

#[test]
fn a_failed_flush_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    make(&folder);
    let mut map = InfiniteMap::open(&folder, Access::Write, &MapOptions::default()).unwrap();
    map.set_pixel(Point::default(), [9; 3]).unwrap();
    // A folder where the next pack's file would be is in the way, whoever writes.
    let in_the_way = folder.join("directory-0000000001.pxi");
    fs::create_dir(&in_the_way).unwrap();
    assert!(map.flush().is_err());
    assert_eq!(map.pixel(Point::default()).unwrap(), Some([9; 3]));
    let reader = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
    assert_eq!(reader.pixel(Point::default()).unwrap(), Some([1, 2, 3]));
    fs::remove_dir(&in_the_way).unwrap();
    map.flush().unwrap();
    let reader = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
    assert_eq!(reader.pixel(Point::default()).unwrap(), Some([9; 3]));
    assert!(reader.verify(&|_| ()).problems.is_empty());
}

#[test]
fn a_read_only_folder_can_be_read_and_stays_as_it_was() {
    let guard = tempfile::tempdir().unwrap();
    let folder = guard.path().join("map");
    make(&folder);
    let before = snapshot(&folder);
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(guard.path(), 0o755);
    mode(&folder, 0o555);
    mode(&folder.join("lock"), 0o444);
    // Permissions do not hold root back, so the program is run as somebody else.
    let is_root = fs::write(folder.join("probe"), "").is_ok();
    if is_root {
        fs::remove_file(folder.join("probe")).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = program();
        command.arg(args[0]).arg(&folder).args(&args[1..]);
        if is_root {
            const NOBODY: u32 = 65534;
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output()
    };
    match run(&["get", "0,0"]) {
        Err(error) => eprintln!("SKIPPED: another user cannot run the program: {error}"),
        Ok(output) => {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "#010203\n", "{output:?}");
            assert_eq!(run(&["read", "notes"]).unwrap().stdout, b"some notes");
            assert!(run(&["verify"]).unwrap().status.success());
            fails(&run(&["set", "0,0", "ff0000"]).unwrap(), "Permission denied");
        }
    }
    assert!(snapshot(&folder) == before);
    mode(&folder, 0o755);
}

#[test]
fn readers_see_whole_flushes_while_another_process_writes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("map");
    drop(InfiniteMap::create(&folder, &MapOptions::default()).unwrap());
    let mut child = program()
        .args(["set", "--from", "-", "--flush-every", "2"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        // Two far tiles get the same colour between flushes, two hundred times.
        for step in 1..=200 {
            write!(input, "0,0,64,64 {step:06x}\n-2^40,2^40,64,64 {step:06x}\n").unwrap();
        }
    });
    let (mut seen, mut last, mut round) = (0, [0; 3], 0);
    while last != [0, 0, 200] {
        round += 1;
        if round % 20 == 1 {
            // Readers of other processes too, some at once.
            let readers = ["0,0", "63,63", "-2^40,2^40"].map(|place| {
                program().arg("get").arg(&folder).arg(place).stdout(Stdio::null()).spawn().unwrap()
            });
            for mut reader in readers {
                assert!(reader.wait().unwrap().success());
            }
        }
        let map = InfiniteMap::open(&folder, Access::Read, &MapOptions::default()).unwrap();
        assert!(map.problems().is_empty(), "{:?}", map.problems());
        let colours = [Point::new(0, 0), Point::new(-1 << 40, 1 << 40)]
            .map(|point| map.pixel(point).unwrap());
        assert_eq!(colours[0], colours[1]);
        let colour = colours[0].unwrap_or_default();
        assert!(colour >= last);
        seen += usize::from(colour > last);
        last = colour;
    }
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(seen > 3, "{seen} states seen");
}
