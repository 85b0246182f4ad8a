//! Mods and queues.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::time::Duration;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::support::Case;

const MANIFEST: &str = "(id: \"m\", name: \"M\", version: \"0.1.0\", pixel_llm: \">=0.1\", \
    author: \"A\", licence: \"CC0-1.0\")";
const WORLD: &str = "(name: \"x\")";

/// An archive of these entries; those that end with a slash are folders.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Cursor::new(Vec::new());
    let mut zip = ZipWriter::new(&mut archive);
    for (name, bytes) in entries {
        if name.ends_with('/') {
            zip.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
    }
    zip.finish().unwrap();
    archive.into_inner()
}

/// What `mods check` says of an archive.
fn check(case: &Case, archive: &[u8]) -> (bool, String) {
    fs::write(case.file("m.zip"), archive).unwrap();
    let output = case.program(&["mods", "check", "m.zip"]).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn archives_of_file_managers_are_mods() {
    let case = Case::empty();
    let (manifest, world) = (MANIFEST.as_bytes(), WORLD.as_bytes());
    let archives: [&[(&str, &[u8])]; 6] = [
        // The Finder: a folder, and what it knows of each file in another one.
        &[
            ("m/", b""),
            ("m/mod.ron", manifest),
            ("m/x.world.ron", world),
            ("m/.DS_Store", b"x"),
            ("__MACOSX/", b""),
            ("__MACOSX/._m", b"x"),
            ("__MACOSX/m/._mod.ron", b"x"),
        ],
        &[
            (".DS_Store", b"x"),
            ("__MACOSX/._mod.ron", b"x"),
            ("mod.ron", manifest),
            ("x.world.ron", world),
        ],
        // Windows, of today and of old.
        &[
            ("m/mod.ron", manifest),
            ("m/Thumbs.db", b"x"),
            ("m/desktop.ini", b"x"),
            ("m/worlds/x.world.ron", world),
        ],
        &[("m\\mod.ron", manifest), ("m\\worlds\\x.world.ron", world), ("m\\THUMBS.DB", b"x")],
        // GNOME and others: every folder has an entry.
        &[
            ("m/", b""),
            ("m/worlds/", b""),
            ("m/worlds/x.world.ron", world),
            ("m/mod.ron", manifest),
        ],
        &[("worlds/", b""), ("worlds/x.world.ron", world), ("mod.ron", manifest)],
    ];
    for entries in archives {
        let (is_sound, text) = check(&case, &zip(entries));
        assert!(is_sound, "{entries:?}: {text}");
        let output = case.program(&["--json", "mods", "check", "m.zip"]).output().unwrap().stdout;
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("world/x"), "{entries:?}: {text}");
    }
    // A name in some encoding of its own, without a word on which; and UTF-8 without that word.
    for name in [b"m/r\x82sum.txt".as_slice(), "m/résum.txt".as_bytes()] {
        let stand_in = "m/".to_owned() + &"Q".repeat(name.len() - 2 - 4) + ".txt";
        let mut archive =
            zip(&[("m/mod.ron", manifest), (&stand_in, b"x"), ("m/x.world.ron", world)]);
        while let Some(at) =
            archive.windows(name.len()).position(|bytes| bytes == stand_in.as_bytes())
        {
            archive[at..at + name.len()].copy_from_slice(name);
        }
        let (is_sound, text) = check(&case, &archive);
        assert!(is_sound, "{text}");
    }
}

#[test]
fn names_that_lead_out_of_a_mod_are_refused_in_any_spelling() {
    let case = Case::empty();
    for name in [
        "m\\..\\..\\x.world.ron",
        "..\\x.world.ron",
        "C:\\x.world.ron",
        "\\x.world.ron",
        "m/../x.world.ron",
    ] {
        let (is_sound, text) =
            check(&case, &zip(&[("mod.ron", MANIFEST.as_bytes()), (name, WORLD.as_bytes())]));
        assert!(!is_sound, "{name}: {text}");
    }
}

#[test]
fn what_file_managers_leave_in_folders_is_no_part_of_a_mod() {
    let case = Case::empty();
    fs::create_dir_all(case.file("mods/m/__MACOSX")).unwrap();
    for (name, text) in [
        ("mod.ron", MANIFEST),
        ("x.world.ron", WORLD),
        ("Thumbs.db", "x"),
        ("desktop.ini", "x"),
        ("__MACOSX/x.exe", "x"),
    ] {
        fs::write(case.file("mods/m").join(name), text).unwrap();
    }
    fs::write(case.file("mods/Thumbs.db"), "x").unwrap();
    case.program(&["--mods", "mods", "mods", "check"]).assert().success();
    let packed = case.program(&["mods", "pack", "mods/m", "-o", "m.zip"]).assert().success();
    let text = String::from_utf8(packed.get_output().stdout.clone()).unwrap();
    assert_eq!(
        text,
        "wrote m.zip: 2 files\nleft out Thumbs.db\nleft out __MACOSX\nleft out desktop.ini\n"
    );
}

#[test]
fn a_packed_mod_has_all_its_files() {
    let Some(case) = Case::of("mods-pack-leaves-files-out") else { return };
    case.program(&["mods", "pack", "m", "-o", "m.zip"])
        .assert()
        .success()
        .stdout("wrote m.zip: 5 files\n");
    let mut archive = zip::ZipArchive::new(File::open(case.file("m.zip")).unwrap()).unwrap();
    for name in ["mod.ron", "tiny.model.ron", "tiny.pxi", "README.md", "LICENCE"] {
        let mut bytes = Vec::new();
        std::io::copy(&mut archive.by_name(name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, fs::read(case.file("m").join(name)).unwrap(), "{name}");
    }
    case.program(&["mods", "check", "m.zip"]).assert().success();
    case.program(&["mods", "check", "m"]).assert().success();
    // Another file than the one that was meant, and none.
    fs::write(case.file("m/tiny.pxi"), "x").unwrap();
    case.program(&["mods", "check", "m"])
        .assert()
        .code(1)
        .stdout(predicates::str::contains("SHA-256"));
    fs::remove_file(case.file("m/tiny.pxi")).unwrap();
    let misses = || predicates::str::contains("the mod has no file \"tiny.pxi\"");
    case.program(&["mods", "check", "m"]).assert().code(1).stdout(misses());
    case.program(&["mods", "pack", "m", "-o", "n.zip"]).assert().code(1).stdout(misses());
    let (is_sound, text) = check(
        &case,
        &zip(&[
            ("mod.ron", &fs::read(case.file("m/mod.ron")).unwrap()),
            ("tiny.model.ron", &fs::read(case.file("m/tiny.model.ron")).unwrap()),
        ]),
    );
    assert!(!is_sound && text.contains("the mod has no file"), "{text}");
}

#[test]
fn very_many_fields_are_read_in_time() {
    let case = Case::empty();
    fs::create_dir(case.file("m")).unwrap();
    fs::write(case.file("m/mod.ron"), MANIFEST).unwrap();
    let many = |field: fn(usize) -> String| (0..150_000).map(field).collect::<String>();
    for fields in [
        many(|at| format!("f{at}: 1, ")),
        // The same ones again.
        many(|at| format!("f{}: 1, ", at / 2)),
        many(|at| format!("name: {at}, ")),
    ] {
        fs::write(case.file("m/x.world.ron"), format!("(name: \"x\", {fields})")).unwrap();
        // The square of the number would take minutes.
        let output =
            case.program(&["mods", "check", "m"]).timeout(Duration::from_secs(60)).assert().code(1);
        let problems =
            String::from_utf8(output.get_output().stdout.clone()).unwrap().lines().count();
        assert!((2..200).contains(&problems), "{problems}");
    }
}

/// A plan of one task that any model can do.
fn with_plan(case: &Case) {
    let plan = "(name: \"p\", phases: [(name: \"one\", tasks: [(id: \"t\", title: \"T\", action: \
        verify_tiles, priority: 5)])])";
    fs::write(case.file("p.plan.ron"), plan).unwrap();
}

#[test]
fn a_queue_shows_no_model_the_work_of_another() {
    let Some(case) = Case::of("terminal-escapes-elsewhere") else { return };
    with_plan(&case);
    let run = |args: &[&str]| {
        let run = ["coach", "run", "--plan", "./p.plan.ron"];
        let output = case.program(&[&run[..], args].concat()).output().unwrap();
        let text =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    // A queue that was named is refused to another model, in words.
    let (code, text) = run(&["--queue", "q/coach.json"]);
    assert!(code == 0 && text.contains("1 of 1 tasks completed"), "{text}");
    let before = fs::read(case.file("q/coach.json")).unwrap();
    let (code, text) = run(&["say.gguf", "--queue", "q/coach.json"]);
    assert!(code == 2 && text.contains("is that of") && text.contains("--queue"), "{text}");
    assert!(
        !text.contains("tasks completed") && fs::read(case.file("q/coach.json")).unwrap() == before
    );
    assert_eq!(run(&["--queue", "q/coach.json"]).0, 0, "its own model goes on");
    // The usual one has a neighbour for each further model.
    assert!(run(&[]).1.contains("1 of 1 tasks completed"));
    let (code, text) = run(&["say.gguf"]);
    assert!(
        code == 0 && text.contains("the usual queue is that of") && text.contains("✓ "),
        "{text}"
    );
    let (_, again) = run(&["say.gguf", "--max-tasks", "0"]);
    assert!(again.contains("1 of 1 tasks completed"), "{again}");
    // One of an earlier version says nothing: it is taken, with a word.
    let mut queue = case.json("q/coach.json");
    assert!(queue.as_object_mut().unwrap().remove("model").is_some());
    fs::write(case.file("q/coach.json"), queue.to_string()).unwrap();
    let (code, text) = run(&["say.gguf", "--queue", "q/coach.json"]);
    assert!(code == 0 && text.contains("does not say whose work it is"), "{text}");
    assert_eq!(run(&["--queue", "q/coach.json"]).0, 2);
    // The usual one that says nothing is nobody's: what is done in it is shown as no model's.
    let usual = case.home().join(".local/share/pixel-llm/coach/coach.json");
    let mut queue: serde_json::Value = serde_json::from_slice(&fs::read(&usual).unwrap()).unwrap();
    assert!(queue.as_object_mut().unwrap().remove("model").is_some());
    fs::write(&usual, queue.to_string()).unwrap();
    let (code, text) = run(&[]);
    assert!(code == 0 && text.contains("is that of a model that it does not name"), "{text}");
    assert!(text.contains("✓ "), "it does its own work: {text}");
}

#[cfg(unix)]
#[test]
fn a_queue_behind_a_link_is_the_queue_itself() {
    let case = Case::empty();
    fs::create_dir(case.file("real")).unwrap();
    case.program(&["coach", "init", "--queue", "real/coach.json"]).assert().success();
    std::os::unix::fs::symlink("real/coach.json", case.file("coach.json")).unwrap();
    let action = "ask_person(question: \"x\")";
    let add =
        ["coach", "add", "new-task", "--title", "t", "--action", action, "--queue", "coach.json"];
    case.program(&add).assert().success();
    assert!(case.file("coach.json").is_symlink() && !case.file("coach.json.lock").exists());
    case.program(&["coach", "show", "new-task", "--queue", "real/coach.json"]).assert().success();
}
