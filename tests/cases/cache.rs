//! Conversions that are kept: right, bounded, and healed.
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::Case;

/// A case whose model is `model.gguf`.
fn with_model() -> Option<Case> {
    Case::of("no-home-to-write-in")
}

const PROMPT: [&str; 7] = ["run", "--raw", "--prompt", "hi", "--max-tokens", "2", "--device"];

fn answer(case: &Case, model: &str) -> (String, String) {
    let args = [&[PROMPT[0], model][..], &PROMPT[1..], &["cpu"]].concat();
    let output = case.program(&args).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn cache(case: &Case) -> PathBuf {
    case.home().join(".cache/pixel-llm/models")
}

fn conversions(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache(case)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "pxi")).collect()
}

#[test]
fn a_part_that_is_replaced_is_noticed() {
    let Some(case) = Case::of("split-part-replaced") else { return };
    let expected = case.json("expected.json");
    let run = |output: &str| {
        let args = [
            "run",
            "m-00001-of-00002.gguf",
            "--input",
            "in.jsonl",
            "--output",
            output,
            "--device",
            "cpu",
        ];
        let said = case.program(&args).assert().success().get_output().stderr.clone();
        let text = fs::read_to_string(case.file(output)).unwrap();
        let first = serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
        (first, String::from_utf8(said).unwrap())
    };
    let (first, _) = run("one.jsonl");
    // Of the same size and time as the one before.
    let part = case.file("m-00002-of-00002.gguf");
    let time = part.metadata().unwrap().modified().unwrap();
    fs::copy(case.file("second/m-00002-of-00002.gguf"), &part).unwrap();
    fs::File::options().write(true).open(&part).unwrap().set_modified(time).unwrap();
    let (second, said) = run("two.jsonl");
    assert!(said.contains("1 outdated conversion is removed"), "{said}");
    for (result, name) in [(&first, "first_run"), (&second, "after_the_second_part_was_replaced")] {
        let found = numbers(result);
        for wanted in expected[name]["log_probability_of_each_next_id"].as_array().unwrap() {
            let wanted = wanted.as_f64().unwrap();
            let near = found.iter().any(|found| (found - wanted).abs() < 2e-3);
            assert!(near, "{name}: {wanted} is not in {result}");
        }
    }
    assert_eq!(conversions(&case).len(), 1, "the old conversion is gone");
}

/// All numbers in a document.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_flipped_bit_is_healed_from_the_source() {
    let Some(case) = with_model() else { return };
    let (text, said) = answer(&case, "model.gguf");
    assert!(said.contains("is converted once"), "{said}");
    let path = conversions(&case).remove(0);
    let whole = fs::read(&path).unwrap();
    // The first bytes, the head, and tiles.
    for at in [3, 100, whole.len() / 2, whole.len() - 3000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (again, said) = answer(&case, "model.gguf");
        assert_eq!(again, text, "byte {at}");
        assert!(said.contains("damaged") || fs::read(&path).unwrap() == whole, "{said}");
        assert!(fs::read(&path).unwrap() == whole, "byte {at}");
    }
    let (_, said) = answer(&case, "model.gguf");
    assert!(!said.contains("converted") && !said.contains("damaged"), "{said}");
}

#[test]
fn leftovers_of_processes_that_are_gone_go() {
    let Some(case) = with_model() else { return };
    fs::create_dir_all(cache(&case)).unwrap();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let left = cache(&case).join(format!(".pixel-llm-{}-0.tmp", gone.id()));
    let alive = cache(&case).join(format!(".pixel-llm-{}-0.tmp", std::process::id()));
    fs::write(&left, "left").unwrap();
    fs::write(&alive, "alive").unwrap();
    let (_, said) = answer(&case, "model.gguf");
    assert!(!left.exists() && alive.exists(), "{said}");
    assert!(said.contains("1 unfinished conversion of runs that were killed is removed"), "{said}");
    // Also where `convert` writes to, and several.
    for number in 0..2 {
        fs::write(case.file(&format!(".pixel-llm-{}-{number}.tmp", gone.id())), "left").unwrap();
    }
    let output =
        case.program(&["convert", "model.gguf", "own.pxi"]).assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("2 unfinished conversions of runs that were killed are removed"),
        "{said}"
    );
    assert_eq!(temporary_files(&case.folder()), Vec::<String>::new());
}

fn temporary_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".tmp")).collect()
}

#[cfg(unix)]
#[test]
fn leftovers_among_temporary_files_go_too() {
    let Some(case) = with_model() else { return };
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let left = case.file("tmp/pixel-llm-killed");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join(format!(".pixel-llm-{}-0.tmp", gone.id())), "left").unwrap();
    // What others have there is theirs.
    fs::create_dir(case.file("tmp/pixel-llm-alive")).unwrap();
    let args = [&["run", "model.gguf"], &PROMPT[1..], &["cpu"]].concat();
    let mut program = case.program(&args);
    let run =
        program.env("HOME", "/proc/nohome").env("TMPDIR", case.file("tmp")).assert().success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(said.contains("1 unfinished conversion of runs"), "{said}");
    assert!(!left.exists() && case.file("tmp/pixel-llm-alive").exists());
}

#[cfg(unix)]
#[test]
fn a_model_and_a_link_to_it_have_one_conversion() {
    let Some(case) = with_model() else { return };
    std::os::unix::fs::symlink("model.gguf", case.file("link.gguf")).unwrap();
    answer(&case, "model.gguf");
    for name in ["link.gguf", "model.gguf", "./link.gguf"] {
        let (_, said) = answer(&case, name);
        assert!(!said.contains("converted") && !said.contains("removed"), "{name}: {said}");
    }
    assert_eq!(conversions(&case).len(), 1);
    // It is another model once it leads to another file.
    fs::copy(case.file("model.gguf"), case.file("other.gguf")).unwrap();
    fs::remove_file(case.file("link.gguf")).unwrap();
    std::os::unix::fs::symlink("other.gguf", case.file("link.gguf")).unwrap();
    let (_, said) = answer(&case, "link.gguf");
    assert!(said.contains("is converted once") && !said.contains("removed"), "{said}");
    assert_eq!(conversions(&case).len(), 2);
}

/// Everything about the files of the cache, down to their times.
fn snapshot(case: &Case) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(cache(case))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.clone(), fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Changes a byte of the one conversion.
fn damage(case: &Case, at: impl Fn(usize) -> usize) -> PathBuf {
    let path = conversions(case).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn who_only_reads_changes_nothing() {
    let Some(case) = with_model() else { return };
    answer(&case, "model.gguf");
    let verify = |code: i32| {
        let text = case.program(&["verify", "model.gguf"]).assert().code(code).get_output().clone();
        let json = case
            .program(&["verify", "model.gguf", "--json"])
            .assert()
            .code(code)
            .get_output()
            .clone();
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(
            json["sound"], true,
            "the model is sound whatever became of its conversion: {json}"
        );
        (String::from_utf8(text.stdout).unwrap(), json["conversion"].clone())
    };
    let (text, conversion) = verify(0);
    assert!(conversion["sound"] == true && text.contains("conversion"), "{text}");
    let inspected = |root_is_known: bool| {
        let json = case
            .program(&["inspect", "model.gguf", "--json"])
            .assert()
            .success()
            .get_output()
            .clone();
        let document: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(document["root"].is_string(), root_is_known, "{document}");
        String::from_utf8(json.stderr).unwrap()
    };
    inspected(true);
    // A tile, then the head.
    damage(&case, |length| length - 3000);
    let before = snapshot(&case);
    let (text, conversion) = verify(1);
    assert_eq!(conversion["sound"], false);
    assert_eq!(conversion["damaged"].as_array().unwrap().len(), 1, "{conversion}");
    assert!(
        text.contains("model.gguf: sound") && text.contains("damaged (1 tile), not the model"),
        "{text}"
    );
    inspected(true);
    assert!(snapshot(&case) == before);
    damage(&case, |_| 100);
    let before = snapshot(&case);
    let (text, conversion) = verify(1);
    assert!(conversion["error"].is_string() && text.contains("damaged (its head)"), "{text}");
    let said = inspected(false);
    assert!(said.contains("damaged") && said.contains("makes it anew"), "{said}");
    assert!(snapshot(&case) == before);
    // The next use heals it.
    let (_, said) = answer(&case, "model.gguf");
    assert!(said.contains("was damaged; it is made anew"), "{said}");
    verify(0);
}

/// Damages a tile of the conversion as a medium does, which tells no time of it.
#[cfg(unix)]
fn rot(case: &Case) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let path = damage(case, |length| length - 3000);
    let note =
        path.with_file_name(format!(".{}.used", path.file_name().unwrap().to_str().unwrap()));
    let mut noted: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    let about = path.metadata().unwrap();
    let time = about.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let changed = (about.ctime(), about.ctime_nsec(), about.ino());
    noted["sound"] = format!("{} {time} {changed:?}", about.len()).into();
    fs::write(&note, noted.to_string()).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn rot_that_no_time_tells_of_is_healed() {
    let Some(case) = with_model() else { return };
    let (text, _) = answer(&case, "model.gguf");
    let whole = fs::read(&conversions(&case)[0]).unwrap();
    rot(&case);
    let (again, said) = answer(&case, "model.gguf");
    assert_eq!(again, text);
    assert!(
        said.contains("was damaged; it is made anew") && said.contains("is converted once"),
        "{said}"
    );
    assert!(fs::read(&conversions(&case)[0]).unwrap() == whole);
    rot(&case);
    let painted = case.program(&["inspect", "model.gguf", "--png", "p.png"]).assert().success();
    let said = String::from_utf8(painted.get_output().stderr.clone()).unwrap();
    assert!(said.contains("was damaged; it is made anew"), "{said}");
    let (_, said) = answer(&case, "model.gguf");
    assert!(!said.contains("damaged") && !said.contains("converted"), "{said}");
}

#[cfg(unix)]
#[test]
fn rot_that_is_met_on_the_way_is_told_and_healed_by_the_next_start() {
    use pixel_llm::model::Cache;
    use pixel_llm::model::resolve::{CacheNote, TileCheck};
    let Some(case) = with_model() else { return };
    answer(&case, "model.gguf");
    let whole = fs::read(&conversions(&case)[0]).unwrap();
    rot(&case);
    let open = || {
        let mut notes = Vec::new();
        let mut note = |note: CacheNote| notes.push(note.to_string());
        let start = |_| Box::new(|_| ()) as Box<dyn Fn(u64) + Sync>;
        let model = Cache::new(cache(&case)).open(
            &case.file("model.gguf"),
            TileCheck::Quick,
            &mut note,
            start,
        );
        (model.unwrap(), notes)
    };
    let (model, notes) = open();
    assert!(notes.is_empty(), "{notes:?}");
    let error =
        (0..model.tile_count()).find_map(|tile| model.tile(tile).err()).unwrap().to_string();
    assert!(error.contains("made anew from its GGUF model at the next start"), "{error}");
    drop(model);
    let (model, notes) = open();
    assert!(notes[0].contains("was damaged"), "{notes:?}");
    model.check_tiles().unwrap();
    assert!(fs::read(&conversions(&case)[0]).unwrap() == whole);
}

#[test]
fn what_has_no_room_in_the_bound_is_not_kept_and_removes_nothing() {
    let Some(case) = with_model() else { return };
    fs::copy(case.file("model.gguf"), case.file("other.gguf")).unwrap();
    let (text, _) = answer(&case, "model.gguf");
    let kept = conversions(&case);
    let args =
        ["run", "other.gguf", "--raw", "--prompt", "hi", "--max-tokens", "2", "--device", "cpu"];
    for limit in ["0", "1k"] {
        let run = case.program(&args).env("PIXEL_LLM_CACHE_LIMIT", limit).assert().success();
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(said.contains("it is not kept, unless PIXEL_LLM_CACHE_LIMIT is raised"), "{said}");
        assert!(!said.contains("removed"), "{said}");
        assert_eq!(run.get_output().stdout, text.as_bytes());
        assert_eq!(conversions(&case), kept);
    }
    // What is in use stays, so that removing another would not help.
    let held = fs::File::open(&kept[0]).unwrap();
    held.lock_shared().unwrap();
    let size = held.metadata().unwrap().len();
    let run =
        case.program(&args).env("PIXEL_LLM_CACHE_LIMIT", (size + 1).to_string()).assert().success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(said.contains("of which are in use"), "{said}");
    assert_eq!(conversions(&case), kept);
}

#[test]
fn a_size_means_the_same_everywhere() {
    let case = Case::empty();
    for (limit, bytes) in
        [("500M", 500 << 20), ("500MiB", 500 << 20), ("500MB", 500_000_000), ("1.5k", 1536)]
    {
        let list =
            case.program(&["cache", "list", "--json"]).env("PIXEL_LLM_CACHE_LIMIT", limit).assert();
        let list: Value = serde_json::from_slice(&list.success().get_output().stdout).unwrap();
        assert_eq!(list["limit_in_bytes"], bytes, "{limit}");
    }
    for command in ["cache", "run"] {
        let help =
            case.program(&[command, "--help"]).assert().success().get_output().stdout.clone();
        let help =
            String::from_utf8(help).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("powers of 1024"), "{command}: {help}");
    }
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let Some(case) = with_model() else { return };
    let args = ["inspect", "model.gguf", "--png", "p.png"];
    case.program(&args).env("PIXEL_LLM_CACHE", "").env("PIXEL_LLM_CONFIG", "").assert().success();
    let names: Vec<_> =
        fs::read_dir(case.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names.iter().any(|name| Path::new(name).extension().is_some_and(|e| e == "pxi")),
        "{names:?}"
    );
    assert_eq!(conversions(&case).len(), 1);
}

#[cfg(unix)]
#[test]
fn no_writable_home_is_no_obstacle() {
    let Some(case) = with_model() else { return };
    let temporary = case.folder().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let nowhere = |args: &[&str]| {
        let mut program = case.program(args);
        program.env("HOME", "/proc/nohome").env("TMPDIR", &temporary);
        let output = program.assert().success().get_output().clone();
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (text, said) = nowhere(&[&["run", "model.gguf"], &PROMPT[1..], &["cpu"]].concat());
    assert!(!text.is_empty());
    assert!(said.contains("not kept") && said.contains("PIXEL_LLM_CACHE"), "{said}");
    for command in ["inspect", "verify"] {
        let (_, said) = nowhere(&[command, "model.gguf"]);
        assert!(
            !said.contains("PIXEL_LLM_CACHE") && !said.contains("converted"),
            "{command}: {said}"
        );
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left");
    // Who names a folder wants it and no other.
    let mut named = case.program(&["inspect", "model.gguf", "--png", "p.png"]);
    let said =
        named.env("PIXEL_LLM_CACHE", "/proc/nohome").assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("PIXEL_LLM_CACHE"));
}

#[test]
fn the_cache_is_bounded_listed_and_cleared() {
    let Some(case) = with_model() else { return };
    fs::copy(case.file("model.gguf"), case.file("other.gguf")).unwrap();
    let list = || -> Value {
        let output =
            case.program(&["cache", "list", "--json"]).assert().success().get_output().clone();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 0);
    answer(&case, "model.gguf");
    answer(&case, "other.gguf");
    let listed = list();
    let made_of: Vec<_> =
        listed["conversions"].as_array().unwrap().iter().map(|e| &e["made_of"][0]).collect();
    assert!(
        made_of[0].as_str().unwrap().ends_with("model.gguf"),
        "the one used before comes first"
    );
    assert_eq!(made_of.len(), 2);
    // A file of the user's own in the folder is nobody's to remove.
    fs::write(cache(&case).join("mine.pxi"), "mine").unwrap();
    fs::copy(case.file("model.gguf"), case.file("third.gguf")).unwrap();
    let size = listed["size_in_bytes"].as_u64().unwrap() + 1;
    let args = ["inspect", "third.gguf", "--png", "p.png"];
    let bounded =
        case.program(&args).env("PIXEL_LLM_CACHE_LIMIT", size.to_string()).assert().success();
    let said = String::from_utf8(bounded.get_output().stderr.clone()).unwrap();
    assert!(
        said.contains("1 old conversion is removed") && said.contains("/model.gguf)"),
        "{said}"
    );
    let files: Vec<_> =
        list()["conversions"].as_array().unwrap().iter().map(|e| e["file"].to_string()).collect();
    assert!(files.len() == 2 && !files.iter().any(|file| file.contains("/model-")), "{files:?}");
    let wrong =
        case.program(&["cache", "list"]).env("PIXEL_LLM_CACHE_LIMIT", "much").assert().code(2);
    assert!(
        String::from_utf8(wrong.get_output().stderr.clone())
            .unwrap()
            .contains("PIXEL_LLM_CACHE_LIMIT")
    );
    let cleared = case.program(&["cache", "clear", "other.gguf"]).assert().success();
    let said = String::from_utf8(cleared.get_output().stdout.clone()).unwrap();
    assert!(said.starts_with("1 conversion and 0 leftovers removed"), "{said}");
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 1);
    case.program(&["cache", "clear", "other.gguf"]).assert().code(2);
    case.program(&["cache", "clear"]).assert().success();
    assert_eq!(list()["conversions"].as_array().unwrap().len(), 0);
    assert!(cache(&case).join("mine.pxi").exists() && case.file("other.gguf").exists());
}

#[test]
fn what_is_in_use_stays() {
    let Some(case) = with_model() else { return };
    answer(&case, "model.gguf");
    let held = fs::File::open(&conversions(&case)[0]).unwrap();
    held.lock_shared().unwrap();
    case.program(&["cache", "clear"]).assert().code(1);
    assert_eq!(conversions(&case).len(), 1);
    drop(held);
    case.program(&["cache", "clear"]).assert().success();
    assert_eq!(conversions(&case).len(), 0);
}

#[test]
fn two_processes_may_convert_one_model_at_once() {
    let Some(case) = with_model() else { return };
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let spawn = |_| {
        let args = [&["run", "model.gguf"][..], &PROMPT[1..], &["cpu"]].concat();
        let mut command = std::process::Command::new(&program);
        command.args(&args).current_dir(case.folder()).env("HOME", case.home());
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
            command.env_remove(name);
        }
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(spawn).collect();
    let outputs: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(
        outputs.iter().all(|output| output.status.success() && output.stdout == outputs[0].stdout)
    );
    let converted = |output: &&std::process::Output| {
        String::from_utf8_lossy(&output.stderr).contains("is converted once")
    };
    assert_eq!(outputs.iter().filter(converted).count(), 1);
    assert_eq!(conversions(&case).len(), 1);
}
