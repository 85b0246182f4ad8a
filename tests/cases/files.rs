//! No file is lost: what is read is never written, what exists is not replaced without leave, and
//! what is no file where one belongs is said at once.
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::support::Case;

/// No command here takes so long unless it waits for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The one line of a command that must be refused with exit code 2.
fn refused(case: &Case, args: &[&str]) -> String {
    let assert = case.program(args).timeout(PATIENCE).assert().code(2);
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{args:?}: {said}");
    said
}

fn done(case: &Case, args: &[&str]) {
    case.program(args).timeout(PATIENCE * 6).assert().success();
}

/// The built-in model as a file `model.pxi`.
fn with_model() -> Case {
    let case = Case::empty();
    let seedling = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/seedling.pxi");
    fs::copy(seedling, case.file("model.pxi")).unwrap();
    case
}

const REQUESTS: &str = "{\"id\": \"1\", \"prompt\": \"Once\", \"max_tokens\": 2}\n";

fn keeps_requests(case: &Case, file: &str) {
    let before = fs::read(case.file(file)).unwrap();
    fs::hard_link(case.file(file), case.file("hard.jsonl")).unwrap();
    let mut names = vec![file.to_owned(), format!("./{file}"), "hard.jsonl".into()];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(file, case.file("soft.jsonl")).unwrap();
        names.push("soft.jsonl".into());
    }
    for name in &names {
        for leave in ["--overwrite", "--resume"] {
            for first in ["run", "--no-window"] {
                let said = refused(case, &[first, "--input", file, "--output", name, leave]);
                assert!(said.contains(&format!("{file} and {name} are the same file")), "{said}");
            }
        }
        // The shell's own redirection is a name of the file too.
        #[cfg(unix)]
        for input in [&["--input", "-"][..], &["--input", "/dev/stdin"], &[]] {
            let args = [&["run"], input, &["--output", name, "--overwrite"]].concat();
            let program = assert_cmd::cargo::cargo_bin("pixel-llm");
            let output = std::process::Command::new(program)
                .args(&args)
                .current_dir(case.folder())
                .env("HOME", case.home())
                .stdin(fs::File::open(case.file(file)).unwrap())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("are the same file"), "{args:?}: {said}");
        }
        assert_eq!(fs::read(case.file(file)).unwrap(), before, "{name}");
    }
}

#[test]
fn requests_outlive_being_named_as_results() {
    if let Some(case) = Case::of("output-is-the-input") {
        fs::copy(case.file("in.jsonl"), case.file("work.jsonl")).unwrap();
        keeps_requests(&case, "work.jsonl");
    }
    let case = Case::empty();
    fs::write(case.file("mine.jsonl"), REQUESTS).unwrap();
    keeps_requests(&case, "mine.jsonl");
}

#[test]
fn a_model_outlives_being_named_as_output() {
    let case = with_model();
    fs::hard_link(case.file("model.pxi"), case.file("twin")).unwrap();
    let before = fs::metadata(case.file("model.pxi")).unwrap().len();
    fs::write(case.file("in.jsonl"), REQUESTS).unwrap();
    let from = ["run", "model.pxi", "--input", "in.jsonl", "--overwrite", "--output"];
    assert!(refused(&case, &[&from[..], &["twin"]].concat()).contains("are the same file"));
    assert!(refused(&case, &[&from[..], &["x.gguf"]].concat()).contains("ends in .gguf"));
    for command in [
        &["convert", "model.pxi", "twin", "--force"][..],
        &["convert", "model.pxi", "./model.pxi", "--force"],
        &["inspect", "model.pxi", "--png", "twin", "--force"],
        &["fs", "read", "model.pxi", "--output", "twin", "--force"],
        &["fs", "view", "model.pxi", "--output", "twin", "--force"],
        &["fs", "write", "model.pxi", "twin", "--force"],
    ] {
        let said = refused(&case, command);
        assert!(said.contains("are the same file"), "{command:?}: {said}");
    }
    assert_eq!(fs::metadata(case.file("model.pxi")).unwrap().len(), before);
    assert_eq!(fs::metadata(case.file("twin")).unwrap().len(), before);
}

#[test]
fn nothing_is_replaced_without_leave() {
    let case = with_model();
    fs::write(case.file("notes.txt"), "notes").unwrap();
    done(&case, &["fs", "write", "notes.txt", "notes.pxi"]);
    done(&case, &["map", "set", "a.map", "0,0", "ff0000"]);
    done(&case, &["map", "write", "a.map", "region", "notes.txt"]);
    for (command, output) in [
        (&["convert", "model.pxi", "old.gguf"][..], "old.gguf"),
        (&["inspect", "model.pxi", "--side", "64", "--png", "old.png"], "old.png"),
        (&["fs", "read", "notes.pxi", "--output", "old.txt"], "old.txt"),
        (&["fs", "view", "notes.pxi", "--output", "view.png"], "view.png"),
        (&["map", "read", "a.map", "region", "--output", "map.txt"], "map.txt"),
        (&["map", "png", "a.map", "--output", "map.png"], "map.png"),
    ] {
        fs::write(case.file(output), "precious").unwrap();
        let said = refused(&case, command);
        assert!(said.contains(output) && said.contains("give --force to replace it"), "{said}");
        assert_eq!(fs::read(case.file(output)).unwrap(), b"precious", "{command:?}");
        done(&case, &[command, &["--force"]].concat());
        assert_ne!(fs::read(case.file(output)).unwrap(), b"precious", "{command:?}");
    }
    // A map is a folder of files, and none of them is an output.
    let inside =
        refused(&case, &["map", "read", "a.map", "region", "--output", "a.map/x", "--force"]);
    assert!(inside.contains("is inside a.map"), "{inside}");
}

#[test]
fn fs_write_takes_input_first_and_replaces_only_pixels() {
    let case = Case::empty();
    fs::write(case.file("notes.txt"), "notes").unwrap();
    fs::write(case.file("other.txt"), "other").unwrap();
    done(&case, &["fs", "write", "notes.txt", "notes.pxi"]);
    let stored = fs::read(case.file("notes.pxi")).unwrap();
    let said = refused(&case, &["fs", "write", "other.txt", "notes.pxi"]);
    assert!(said.contains("give --force to replace it"), "{said}");
    // The order of other tools, or of this one once: the text is not replaced by pixels of pixels.
    for force in [&[][..], &["--force"]] {
        let said = refused(&case, &[&["fs", "write", "notes.pxi", "notes.txt"], force].concat());
        assert!(said.contains("notes.txt"), "{said}");
        fs::write(case.file("notes.dat"), "data").unwrap();
        let said = refused(&case, &[&["fs", "write", "notes.pxi", "notes.dat"], force].concat());
        assert!(said.contains("notes.dat exists and is no .pxi file"), "{said}");
    }
    assert_eq!(fs::read(case.file("notes.txt")).unwrap(), b"notes");
    assert_eq!(fs::read(case.file("notes.pxi")).unwrap(), stored);
    done(&case, &["fs", "write", "other.txt", "notes.pxi", "--force"]);
    assert_ne!(fs::read(case.file("notes.pxi")).unwrap(), stored);
    // A picture beside the pixels may be the input.
    fs::write(case.file("photo.png"), "photo").unwrap();
    let said = refused(&case, &["fs", "write", "photo.png", "photo.pxi", "--png", "--force"]);
    assert!(said.contains("are the same file"), "{said}");
    assert_eq!(fs::read(case.file("photo.png")).unwrap(), b"photo");
    assert!(!case.file("photo.pxi").exists(), "refused before anything is written");
    // Standard input needs no name.
    case.program(&["fs", "write", "piped.pxi"]).write_stdin("piped").assert().success();
    case.program(&["fs", "write", "-", "dash.pxi"]).write_stdin("piped").assert().success();
    assert_eq!(fs::read(case.file("piped.pxi")).unwrap(), fs::read(case.file("dash.pxi")).unwrap());
    fs::write(case.file("demo.pxi"), &stored).unwrap();
    assert!(refused(&case, &["fs", "demo"]).contains("is not the demo"));
}

#[test]
fn an_ending_that_says_another_format_is_refused() {
    let case = with_model();
    fs::write(case.file("notes.txt"), "notes").unwrap();
    let before = fs::read_dir(case.folder()).unwrap().count();
    for (command, outputs) in [
        (&["convert", "model.pxi"][..], &["a.png", "a.zip", "a.pxi", "a.safetensors", "A.JPG"][..]),
        (&["inspect", "model.pxi", "--png"], &["a.pxi", "a.gguf", "a.jpg", "a.txt"]),
        (&["fs", "write", "notes.txt"], &["a.gguf", "a.png", "a.json"]),
    ] {
        for output in outputs {
            let said = refused(&case, &[command, &[output]].concat());
            assert!(said.contains(output) && said.contains("would be written"), "{said}");
        }
    }
    assert_eq!(fs::read_dir(case.folder()).unwrap().count(), before);
}

#[test]
fn a_folder_is_no_output() {
    let case = with_model();
    fs::write(case.file("notes.txt"), "notes").unwrap();
    fs::create_dir(case.file("folder")).unwrap();
    for command in [
        &["convert", "model.pxi", "folder"][..],
        &["inspect", "model.pxi", "--png", "folder"],
        &["fs", "read", "model.pxi", "--output", "folder"],
        &["fs", "write", "notes.txt", "folder"],
    ] {
        let said = refused(&case, command);
        assert!(said.contains("folder is a folder; name a file in it"), "{command:?}: {said}");
    }
    let said = refused(&case, &["convert", "model.pxi", "new/"]);
    assert!(said.contains("new/ is a folder; name a file in it"), "{said}");
    let said = refused(&case, &["convert", "model.pxi", "none/new.gguf"]);
    assert!(said.contains("there is no folder none; make it first"), "{said}");
    // A store makes the folders of its names.
    done(&case, &["fs", "--store", "folder", "write", "notes.txt", "sub/notes", "--png"]);
    assert!(case.file("folder/sub/notes.png").is_file());
}

#[test]
fn every_part_of_a_model_outlives_being_named_as_output() {
    let Some(case) = Case::of("split-part-replaced") else { return };
    let part = "m-00002-of-00002.gguf";
    let before = fs::read(case.file(part)).unwrap();
    for name in ["hard.jsonl", "hard.png", "hard.pxi"] {
        fs::hard_link(case.file(part), case.file(name)).unwrap();
    }
    let first = "m-00001-of-00002.gguf";
    for command in [
        &["run", first, "--input", "in.jsonl", "--output", "hard.jsonl", "--overwrite"][..],
        &["inspect", first, "--png", "hard.png", "--force"],
        &["convert", first, "hard.pxi", "--force"],
    ] {
        let said = refused(&case, command);
        assert!(said.contains("are the same file"), "{command:?}: {said}");
    }
    assert_eq!(fs::read(case.file(part)).unwrap(), before);
}

#[cfg(feature = "world")]
#[test]
fn a_model_outlives_being_named_for_frame_times() {
    let case = with_model();
    fs::hard_link(case.file("model.pxi"), case.file("twin")).unwrap();
    let before = fs::read(case.file("model.pxi")).unwrap();
    let tour = ["model.pxi", "--tour", "first-steps", "--no-window", "--screenshots", "shots"];
    let said = refused(&case, &[&tour[..], &["--frame-times", "twin"]].concat());
    assert!(said.contains("are the same file"), "{said}");
    let said = refused(&case, &[&tour[..], &["--frame-times", "times.pxi"]].concat());
    assert!(said.contains("ends in .pxi"), "{said}");
    assert_eq!(fs::read(case.file("twin")).unwrap(), before);
}

#[test]
fn what_comes_to_be_there_meanwhile_is_not_replaced() {
    use std::io::Write;
    let case = Case::empty();
    let mut writer = std::process::Command::new(assert_cmd::cargo::cargo_bin("pixel-llm"))
        .args(["fs", "write", "-", "out.pxi"])
        .current_dir(case.folder())
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    input.write_all(b"first").unwrap();
    // Its temporary file says that it has looked and begun.
    while fs::read_dir(case.folder()).unwrap().count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(case.file("out.pxi"), "precious").unwrap();
    drop(input);
    let output = writer.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("out.pxi: exists already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read(case.file("out.pxi")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(case.folder()).unwrap().count(), 1, "nothing else is left");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Each puts something that is no file at a place.
    const STRANGE: [fn(&Path); 3] = [
        make_pipe,
        |at| drop(UnixListener::bind(at).unwrap()),
        |at| symlink("/dev/zero", at).unwrap(),
    ];

    fn make_pipe(at: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
    }

    #[test]
    fn what_is_no_file_is_said_at_once() {
        let case = Case::of("pipe-in-the-place-of-a-file").unwrap_or_else(Case::empty);
        fs::create_dir(case.file("mods")).unwrap();
        fs::write(case.file("in.jsonl"), REQUESTS).unwrap();
        for make in STRANGE {
            for name in ["m.gguf", "m.pxi", "coach.json", "mods/x.zip", "mods/order.ron"] {
                make(&case.file(name));
            }
            for command in [
                &["inspect", "m.gguf"][..],
                &["inspect", "m.pxi"],
                &["verify", "m.gguf"],
                &["convert", "m.gguf", "new.pxi"],
                &["run", "m.gguf", "--input", "in.jsonl", "--output", "-"],
                &["perplexity", "m.pxi", "in.jsonl"],
                &["fs", "info", "m.pxi"],
                &["coach", "status", "--queue", "coach.json"],
            ] {
                let said = refused(&case, command);
                assert!(said.contains("not a regular file"), "{command:?}: {said}");
            }
            let listed = |args: &[&str]| {
                let output = case.program(args).timeout(PATIENCE).output().unwrap();
                let said = [output.stdout, output.stderr].concat();
                String::from_utf8(said).unwrap()
            };
            let said = listed(&["--mods", "mods", "mods", "list"]);
            assert!(said.contains("not a regular file"), "{said}");
            fs::remove_file(case.file("mods/order.ron")).unwrap();
            let said = listed(&["--mods", "mods", "mods", "list"]);
            assert!(said.contains("x.zip") && said.contains("not a regular file"), "{said}");
            for name in ["m.gguf", "m.pxi", "coach.json", "mods/x.zip"] {
                fs::remove_file(case.file(name)).unwrap();
            }
        }
        for folder in ["m.gguf", "m.pxi", "coach.json"] {
            fs::create_dir(case.file(folder)).unwrap();
        }
        for command in [
            &["inspect", "m.gguf"][..],
            &["inspect", "m.pxi"],
            &["coach", "status", "--queue", "coach.json"],
        ] {
            assert!(refused(&case, command).contains("not a regular file"), "{command:?}");
        }
    }

    #[test]
    fn settings_behind_a_link_are_written_where_it_leads() {
        use pixel_llm::coach::AllowedCommands;
        use pixel_llm::content::Settings;
        let case = Case::empty();
        fs::create_dir(case.file("real")).unwrap();
        fs::create_dir(case.file("mods")).unwrap();
        // One leads to a file, one ahead of it.
        fs::write(case.file("real/allowed.ron"), "()").unwrap();
        symlink("real/allowed.ron", case.file("allowed-commands.ron")).unwrap();
        symlink("../real/order.ron", case.file("mods/order.ron")).unwrap();
        let line = ["df".to_owned()];
        AllowedCommands::new(case.file("allowed-commands.ron"))
            .allow(&case.folder(), &line, true)
            .unwrap();
        let settings = Settings { order: vec!["a".into()], ..Settings::default() };
        settings.write(&case.file("mods")).unwrap();
        for link in ["allowed-commands.ron", "mods/order.ron"] {
            assert!(case.file(link).is_symlink(), "{link}");
        }
        assert!(
            AllowedCommands::new(case.file("real/allowed.ron"))
                .allows(&case.folder(), &line)
                .unwrap()
        );
        assert_eq!(Settings::read(&case.file("real")).unwrap(), settings);
    }

    #[test]
    fn a_link_to_nowhere_says_where_the_output_goes() {
        let case = with_model();
        fs::create_dir(case.file("real")).unwrap();
        symlink("real/new.gguf", case.file("link.gguf")).unwrap();
        done(&case, &["convert", "model.pxi", "link.gguf"]);
        assert!(case.file("link.gguf").is_symlink() && case.file("real/new.gguf").is_file());
        let said = refused(&case, &["convert", "model.pxi", "link.gguf"]);
        assert!(said.contains("give --force to replace it"), "{said}");
        symlink("none/new.gguf", case.file("lost.gguf")).unwrap();
        refused(&case, &["convert", "model.pxi", "lost.gguf"]);
        assert!(case.file("lost.gguf").is_symlink());
    }

    #[test]
    fn a_file_that_may_not_grow_is_told_and_leaves_nothing() {
        let case = with_model();
        done(&case, &["convert", "model.pxi", "model.gguf"]);
        let program = assert_cmd::cargo::cargo_bin("pixel-llm");
        for (input, output) in [("model.gguf", "new.pxi"), ("model.pxi", "new.gguf")] {
            let ended = std::process::Command::new("sh")
                .args(["-c", "ulimit -f 16; exec \"$0\" convert \"$1\" \"$2\""])
                .arg(&program)
                .args([input, output])
                .current_dir(case.folder())
                .output()
                .unwrap();
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{input}: {said}");
            assert!(said.contains(output) && said.contains("File too large"), "{said}");
        }
        assert_eq!(fs::read_dir(case.folder()).unwrap().count(), 2, "nothing is left");
    }

    #[test]
    fn requests_may_come_through_a_pipe() {
        let case = Case::empty();
        make_pipe(&case.file("p"));
        let pipe = case.file("p");
        let writer = std::thread::spawn(move || fs::write(pipe, REQUESTS).unwrap());
        done(&case, &["run", "--device", "cpu", "--input", "p", "--output", "out.jsonl"]);
        writer.join().unwrap();
        assert_eq!(fs::read_to_string(case.file("out.jsonl")).unwrap().lines().count(), 1);
    }
}
