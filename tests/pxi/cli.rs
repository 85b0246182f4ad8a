//! `pixel-llm fs` as a person uses it.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use assert_cmd::Command;
use serde_json::Value;
use std::{fs, path::Path};
use tempfile::TempDir;

/// The program, in a folder of its own.
fn fs_command(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder.path()).arg("fs").args(args);
    command
}

fn succeed(folder: &TempDir, args: &[&str]) -> Vec<u8> {
    fs_command(folder, args).assert().success().get_output().stdout.clone()
}

fn json(folder: &TempDir, args: &[&str]) -> Value {
    serde_json::from_slice(&succeed(folder, &[args, &["--json"]].concat())).unwrap()
}

/// The one line that a failing command prints.
fn fail(folder: &TempDir, args: &[&str], code: i32) -> String {
    let output = fs_command(folder, args).assert().code(code).get_output().clone();
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(
        line.starts_with("error: ") && line.ends_with('\n') && line.lines().count() == 1,
        "{line:?}"
    );
    line
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[70] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn bytes_go_in_and_come_out_through_files_and_pipes() {
    let folder = TempDir::new().unwrap();
    let payload: Vec<u8> = (0..100_000_u32).map(|i| (i / 100) as u8).collect();
    fs::write(folder.path().join("in.bin"), &payload).unwrap();
    for compression in ["none", "rle", "lz4"] {
        succeed(
            &folder,
            &[
                "write",
                "in.bin",
                "a.pxi",
                "--force",
                "--compression",
                compression,
                "--width",
                "100",
            ],
        );
        assert!(succeed(&folder, &["read", "a.pxi"]) == payload);
        succeed(&folder, &["read", "a.pxi", "--output", "out.bin", "--force"]);
        assert!(fs::read(folder.path().join("out.bin")).unwrap() == payload);
        assert_eq!(
            succeed(&folder, &["read", "a.pxi", "--offset", "0x64", "--length", "3"]),
            [1, 1, 1]
        );
        assert_eq!(succeed(&folder, &["read", "a.pxi", "--offset", "99999"]), [payload[99_999]]);
        fs_command(
            &folder,
            &["write", "-", "b.pxi", "--force", "--compression", compression, "--width", "100"],
        )
        .write_stdin(payload.clone())
        .assert()
        .success();
        assert!(
            fs::read(folder.path().join("a.pxi")).unwrap()
                == fs::read(folder.path().join("b.pxi")).unwrap()
        );
    }
    assert_eq!(names(folder.path()), ["a.pxi", "b.pxi", "in.bin", "out.bin"]);
}

#[test]
fn the_demo_is_described_in_text_and_in_json() {
    let folder = TempDir::new().unwrap();
    let text = String::from_utf8(succeed(&folder, &["demo"])).unwrap();
    for part in [
        "demo.pxi\n",
        "  payload      3,600 bytes\n",
        "  picture      1024 x 2 pixels\n",
        "Hello, Pixel World!",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let info = json(&folder, &["info", "demo.pxi"]);
    let expected = serde_json::json!({ "files": [{
        "file": "demo.pxi", "file_len": 6208, "version": "1.0", "payload_len": 3600,
        "width": 1024, "height": 2,
        "compression": "none", "error": null,
        "sha256": "5d27a9b0b299222c2929b16bbb0332e8fbecca4cc4956ceebc5dd606caa6b8a6",
    }]});
    assert_eq!(info, expected);
    assert_eq!(json(&folder, &["list"])["files"][0]["file"], "demo");
    assert_eq!(json(&folder, &["demo"])["sha256"], expected["files"][0]["sha256"]);
}

#[test]
fn verify_tells_good_damaged_and_missing_files_apart() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo", "good.pxi"]);
    succeed(&folder, &["demo", "bad.pxi"]);
    damage(&folder.path().join("bad.pxi"));
    fs_command(&folder, &["verify", "good.pxi"])
        .assert()
        .success()
        .stdout("ok          good.pxi\n");
    let output = fs_command(&folder, &["verify", "bad.pxi", "good.pxi"])
        .assert()
        .code(1)
        .get_output()
        .clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("damaged     bad.pxi: header field `checksum`"), "{text}");
    assert!(text.ends_with("ok          good.pxi\n"), "{text}");
    let output = fs_command(&folder, &["verify", "bad.pxi", "missing.pxi", "good.pxi", "--json"]);
    let report: Value =
        serde_json::from_slice(&{ output }.assert().code(2).get_output().stdout).unwrap();
    let statuses: Vec<_> =
        report["files"].as_array().unwrap().iter().map(|file| &file["status"]).collect();
    assert_eq!(statuses, ["damaged", "unreadable", "ok"]);
    assert_eq!(report["ok"], false);
}

#[test]
fn a_damaged_file_is_read_only_on_request() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo", "a.pxi"]);
    damage(&folder.path().join("a.pxi"));
    assert!(fail(&folder, &["read", "a.pxi"], 2).contains("a.pxi: header field `checksum`"));
    fail(&folder, &["read", "a.pxi", "--output", "out"], 2);
    assert_eq!(names(folder.path()), ["a.pxi"]);
    assert_eq!(succeed(&folder, &["read", "a.pxi", "--unverified"]).len(), 3600);
    assert_eq!(succeed(&folder, &["read", "a.pxi", "--offset", "7", "--length", "5"]), b"Pixel");
}

#[test]
fn what_cannot_run_exits_with_2_and_one_line() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo"]);
    assert!(fail(&folder, &["read", "missing.pxi"], 2).contains("missing.pxi: cannot open"));
    assert!(fail(&folder, &["read", "demo.pxi", "--offset", "3601"], 2).contains("range"));
    assert!(
        fail(&folder, &["read", "demo.pxi", "--offset", "1", "--length", "3600"], 2)
            .contains("3600")
    );
    assert!(fail(&folder, &["info", "."], 2).contains("not a regular file"));
    assert!(
        fail(&folder, &["write", "missing.bin", "a.pxi"], 2).contains("missing.bin: cannot open")
    );
    assert!(fail(&folder, &["write", "demo.pxi", "missing/a.pxi"], 2).contains("missing/a.pxi"));
    assert!(fail(&folder, &["list", "missing"], 2).contains("missing"));
    fs_command(&folder, &["write", "demo.pxi", "a.pxi", "--width", "0"]).assert().code(2);
    fs_command(&folder, &["write", "demo.pxi", "a.pxi", "--compression", "zip"]).assert().code(2);
    fs_command(&folder, &[]).assert().code(2);
    assert_eq!(names(folder.path()), ["demo.pxi"]);
}

#[test]
fn pictures_are_written() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo"]);
    let view = json(&folder, &["view", "demo.pxi"]);
    assert_eq!((&view["width"], &view["height"]), (&1024.into(), &2.into()));
    let picture = fs::read(folder.path().join("demo.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(succeed(&folder, &["view", "demo.pxi", "--output", "-"]) == picture);
    succeed(&folder, &["read", "demo.pxi", "--output", "demo.txt"]);
    let report = json(&folder, &["write", "demo.txt", "twin.pxi", "--png"]);
    assert_eq!(report["png"], "twin.png");
    assert!(fs::read(folder.path().join("twin.png")).unwrap() == picture);
}

#[test]
fn a_list_lines_up_and_marks_damage() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo", "long-name.pxi"]);
    fs::write(folder.path().join("bad.pxi"), "x").unwrap();
    let text = String::from_utf8(succeed(&folder, &["list"])).unwrap();
    let expected = "\
NAME       PAYLOAD   FILE   PICTURE  KIND     SHA-256
bad              -      1         -  damaged
long-name    3,600  6,208  1024 x 2  none     5d27a9b0b299222c
";
    assert_eq!(text, expected);
}

#[test]
fn a_store_keeps_its_names_inside() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    succeed(&folder, &["demo", "outside.pxi"]);
    succeed(&folder, &["--store", "store", "demo", "sub/inside"]);
    assert!(folder.path().join("store/sub/inside.pxi").exists());
    assert_eq!(json(&folder, &["--store", "store", "list"])["files"][0]["file"], "sub/inside");
    succeed(&folder, &["--store", "store", "verify", "sub/inside"]);
    let absolute = folder.path().join("outside.pxi");
    for name in
        ["../outside", "../outside.pxi", "sub/../../outside", absolute.to_str().unwrap(), "..", ""]
    {
        for command in ["info", "read", "delete", "demo", "view"] {
            let line = fail(&folder, &["--store", "store", command, name], 2);
            assert!(line.contains("name "), "{line}");
        }
    }
    succeed(&folder, &["--store", "store", "delete", "sub/inside"]);
    assert_eq!(names(&folder.path().join("store/sub")), Vec::<String>::new());
    assert!(absolute.exists());
}

#[test]
fn only_pxi_files_are_deleted() {
    let folder = TempDir::new().unwrap();
    succeed(&folder, &["demo"]);
    fs::write(folder.path().join("notes.txt"), "keep").unwrap();
    assert!(fail(&folder, &["delete", "notes.txt"], 2).contains("not a .pxi file"));
    succeed(&folder, &["delete", "demo.pxi"]);
    fail(&folder, &["delete", "demo.pxi"], 2);
    assert_eq!(names(folder.path()), ["notes.txt"]);
}

#[test]
fn every_help_has_an_example() {
    let folder = TempDir::new().unwrap();
    for command in ["", "write", "read", "info", "verify", "list", "view", "delete", "demo"] {
        let args: Vec<_> = [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        let help = String::from_utf8(succeed(&folder, &args)).unwrap();
        assert!(help.contains("Example") && help.contains("pixel-llm fs "), "{help}");
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::{
        fs::File,
        io::{Read, Write},
        process::{Child, Command as Process, Stdio},
        thread,
        time::Duration,
    };

    fn spawn(folder: &TempDir, args: &[&str], stdin: Stdio, stdout: Stdio) -> Child {
        let program = assert_cmd::cargo::cargo_bin("pixel-llm");
        let mut process = Process::new(program);
        process.current_dir(folder.path()).arg("fs").args(args);
        process.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn an_existing_file_survives_a_failed_write() {
        let folder = TempDir::new().unwrap();
        succeed(&folder, &["demo", "a.pxi"]);
        let before = fs::read(folder.path().join("a.pxi")).unwrap();
        // Reading a directory fails after the temporary file has been made.
        let directory = File::open(folder.path()).unwrap();
        let output =
            spawn(&folder, &["write", "a.pxi", "--force"], directory.into(), Stdio::piped())
                .wait_with_output()
                .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read"), "{output:?}");
        assert_eq!(names(folder.path()), ["a.pxi"]);
        assert!(fs::read(folder.path().join("a.pxi")).unwrap() == before);
    }

    #[test]
    fn an_interrupt_leaves_no_temporary_file() {
        let folder = TempDir::new().unwrap();
        succeed(&folder, &["demo", "a.pxi"]);
        let before = fs::read(folder.path().join("a.pxi")).unwrap();
        let mut child =
            spawn(&folder, &["write", "a.pxi", "--force"], Stdio::piped(), Stdio::null());
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&[1; 100_000]).unwrap();
        for _ in 0..1000 {
            if names(folder.path()).len() == 2 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(names(folder.path()).len(), 2, "no temporary file appeared");
        Process::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(names(folder.path()), ["a.pxi"]);
        assert!(fs::read(folder.path().join("a.pxi")).unwrap() == before);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("in.bin"), vec![5; 3_000_000]).unwrap();
        succeed(&folder, &["write", "in.bin", "a.pxi"]);
        let mut child = spawn(&folder, &["read", "a.pxi"], Stdio::null(), Stdio::piped());
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported() {
        let folder = TempDir::new().unwrap();
        succeed(&folder, &["demo"]);
        for args in
            [&["read", "demo.pxi"][..], &["info", "demo.pxi"], &["view", "demo.pxi", "-o", "-"]]
        {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let output =
                spawn(&folder, args, Stdio::null(), full.into()).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{output:?}");
        }
        assert!(fail(&folder, &["read", "demo.pxi", "-o", "/dev/full"], 2).contains("/dev/full"));
        // A device is written to, and never replaced.
        succeed(&folder, &["read", "demo.pxi", "-o", "/dev/null"]);
        assert!(
            fail(&folder, &["write", "demo.pxi", "/dev/full"], 2).contains("not a regular file")
        );
    }
}
