//! `pixel-llm mods` and `--experiment` as a person uses them, on the built-in model and the
//! processor.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use tempfile::TempDir;

fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.current_dir(folder.path()).args(["--mods", "mods"]).args(args);
    command
}

fn lines(folder: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_mod_is_made_checked_disabled_shown_and_packed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mods")).unwrap();
    program(&folder, &["mods", "new", "mods/mine", "--kind", "experiment"]).assert().success();
    program(&folder, &["mods", "new", "mods/mine"])
        .assert()
        .code(2)
        .stderr(contains("is there already"));
    program(&folder, &["mods", "check"])
        .assert()
        .success()
        .stdout(contains("1 mod checked, 0 with something wrong"));
    program(&folder, &["mods", "check", "mods/mine"]).assert().success();
    program(&folder, &["mods", "disable", "mine"])
        .assert()
        .success()
        .stdout("mine is now disabled\n");
    program(&folder, &["mods", "list"])
        .assert()
        .success()
        .stdout(contains("mine  0.1.0    disabled"));
    program(&folder, &["mods", "enable", "mine"])
        .assert()
        .success()
        .stdout("mine is now enabled\n");
    program(&folder, &["mods", "show", "mine"])
        .assert()
        .success()
        .stdout(contains("experiment/mine: brought by mine"));
    program(&folder, &["mods", "show", "mime"])
        .assert()
        .code(2)
        .stderr(contains("did you mean mine?"));
    program(&folder, &["mods", "disable", "core"])
        .assert()
        .code(2)
        .stderr(contains("always there"));
    program(&folder, &["mods", "pack", "mods/mine"])
        .assert()
        .success()
        .stdout("wrote mine-0.1.0.zip: 2 files\n");
    program(&folder, &["mods", "check", "mine-0.1.0.zip"]).assert().success();
    program(&folder, &["mods", "allow", "mine", "--command", "rm -r /"])
        .assert()
        .code(2)
        .stderr(contains("has no command"));

    fs::write(folder.path().join("mods/mine/mine.experiment.ron"), "(\n    titel: 3,\n)\n")
        .unwrap();
    let output = program(&folder, &["--json", "mods", "check", "mods/mine"])
        .assert()
        .code(1)
        .get_output()
        .stdout
        .clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    let mine =
        report["mods"].as_array().unwrap().iter().find(|report| report["label"] == "mine").unwrap();
    let first = mine["problems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|problem| problem["field"] == "titel")
        .unwrap();
    assert_eq!(
        (mine["state"].as_str(), first["line"].as_u64(), first["column"].as_u64()),
        (Some("broken"), Some(2), Some(5)),
        "{mine}"
    );
    program(&folder, &["mods", "pack", "mods/mine"])
        .assert()
        .code(1)
        .stdout(contains("did you mean `title`?"));
}

const EXPERIMENT: &str = r#"(
    title: "Small",
    prompts: [
        Text(id: "story", text: "Once upon a time, there was a", target: " busy", foil: " big"),
        Repeated(id: "copy", tokens: 8, seed: 3),
    ],
    interventions: [
        EachLayer(scale: 0.0),
        Heads(id: "same", heads: [(layer: 0, head: 0)], scale: 1.0),
    ],
    max_tokens: 6,
)"#;

fn with_experiment() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("mods/m");
    fs::create_dir_all(&inside).unwrap();
    let manifest =
        r#"(id: "m", name: "M", version: "1.0.0", pixel_llm: "*", author: "A", licence: "MIT")"#;
    fs::write(inside.join("mod.ron"), manifest).unwrap();
    fs::write(inside.join("small.experiment.ron"), EXPERIMENT).unwrap();
    folder
}

const RUN: [&str; 5] = ["--no-window", "--experiment", "small", "--output", "out.jsonl"];

#[test]
fn an_experiment_is_a_line_per_cell_and_goes_on_where_it_was_killed() {
    let folder = with_experiment();
    program(&folder, &RUN).assert().success();
    let whole = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let cells = lines(&folder, "out.jsonl");
    let find = |id: &str| cells.iter().find(|cell| cell["cell"] == id).unwrap();
    let number = |cell: &Value, path: &str| cell.pointer(path).and_then(Value::as_f64).unwrap();

    assert_eq!(find("small/story/baseline")["text_changed"], false);
    assert_eq!(number(find("small/story/baseline"), "/logit_difference/difference"), 0.0);
    // A factor of 1 is no intervention at all: the same bits come out.
    let same = find("small/story/same");
    assert_eq!(
        (same["text"].as_str(), same["next"].clone()),
        (
            find("small/story/baseline")["text"].as_str(),
            find("small/story/baseline")["next"].clone()
        )
    );
    // Without its first layer the model is another one.
    let muted = find("small/story/L0");
    assert!(
        muted["text_changed"] == true && number(muted, "/target/difference").abs() > 0.1,
        "{muted}"
    );
    let next = &find("small/story/baseline")["next"];
    assert_eq!(next.as_array().unwrap().len(), 10);
    assert!(
        number(next, "/0/logprob") >= number(next, "/1/logprob")
            && number(next, "/0/difference") == 0.0
    );
    assert!(number(find("small/copy/L0"), "/copy_score/difference").abs() > 0.01);
    let layers = cells.iter().filter(|cell| cell["layers"].is_array()).count() / 2;
    assert_eq!(cells.len(), 2 * (layers + 2));

    // Killed in the middle of a line, and resumed: the same file.
    fs::write(folder.path().join("out.jsonl"), &whole.as_bytes()[..whole.len() / 2]).unwrap();
    program(&folder, &RUN).assert().code(2).stderr(contains("go on with it by --resume"));
    program(&folder, &RUN).arg("--resume").assert().success();
    assert_eq!(fs::read_to_string(folder.path().join("out.jsonl")).unwrap(), whole);
    fs::write(folder.path().join("out.jsonl"), "mine\n").unwrap();
    program(&folder, &RUN).arg("--resume").assert().code(2).stderr(contains("line 1 is no cell"));
    assert_eq!(fs::read_to_string(folder.path().join("out.jsonl")).unwrap(), "mine\n");
}

#[test]
fn what_an_experiment_names_must_be_there() {
    let folder = with_experiment();
    program(&folder, &["--no-window", "--experiment", "smal"]).assert().code(2).stderr(contains(
        r#"there is no experiment "smal"; did you mean "small"?; there are: layers, small"#,
    ));
    let path = folder.path().join("mods/m/small.experiment.ron");
    fs::write(&path, EXPERIMENT.replace("head: 0", "head: 99")).unwrap();
    program(&folder, &RUN).assert().code(2).stderr(contains("head 99; the model has heads 0 to"));
    fs::write(&path, EXPERIMENT.replace("title", "titel")).unwrap();
    program(&folder, &RUN).assert().code(2).stderr(contains("did you mean `title`?"));
}

/// The program with the example mods of the repository.
fn with_examples(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    let mods = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mods");
    command.current_dir(folder.path()).arg("--mods").arg(mods).args(args);
    command
}

#[test]
fn the_plan_of_the_cartographers_is_done_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let coach = ["--json", "coach", "--queue", "map.json"];
    let run = |args: &[&str]| with_examples(&folder, &[&coach[..], args].concat());
    run(&["init", "--plan", "cartografy"])
        .assert()
        .code(2)
        .stderr(contains(r#"there is no plan "cartografy"; did you mean "cartography"?"#));
    run(&["init", "--plan", "cartography"]).assert().success();
    let output = run(&["run"]).assert().success().get_output().stdout.clone();
    let queue: Value = serde_json::from_slice(&output).unwrap();
    let tasks = queue["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 5);
    for task in tasks {
        assert_eq!(task["status"], "completed", "{task}");
    }
}

#[test]
#[cfg(feature = "world")]
fn the_cartographers_work_in_the_place_of_the_built_in_team() {
    let folder = tempfile::tempdir().unwrap();
    let trace = |ticks: &str| {
        let args = ["--no-window", "--ticks", ticks, "--jobs", "60", "--output", "-"];
        let output = with_examples(&folder, &args).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let text = trace("120");
    for agent in ["pathfinder 1", "pathfinder 4", "listener 2"] {
        assert!(text.contains(&format!("\"{agent}\"")), "{agent} does nothing");
    }
    assert!(
        !text.contains("surveyor") && !text.contains("writer"),
        "the built-in team stays at home"
    );
    assert_eq!(text, trace("120"), "the same world is the same each time");
}

#[test]
fn a_broken_mod_is_told_of_and_the_rest_goes_on() {
    let folder = with_experiment();
    fs::write(folder.path().join("mods/m/w.world.ron"), "(name: 3)").unwrap();
    program(&folder, &["coach", "--queue", "q.json", "init"]).assert().success().stderr(contains(
        "m is left out: m/w.world.ron:1:8: name: expected a text in quotes, found the number 3",
    ));
    // Plain prompts have nothing to do with mods.
    program(&folder, &["--no-window", "--prompt", "Once", "--max-tokens", "1", "--device", "cpu"])
        .assert()
        .success()
        .stderr(contains("left out").not());
}
