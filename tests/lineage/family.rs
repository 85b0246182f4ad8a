//! Agents: a candidate that waits for leave, and a whole family that they make alone, twice.

use std::path::Path;

use serde_json::Value;

use super::pixel_llm;

/// A gate of small texts, and a plan that makes one child.
fn assets(folder: &Path) {
    for name in ["gates", "coach"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    let gate = "(tokens: 512, lines: [(figure: \"bytes\", better_than: parent), (figure: \
        \"divergence\", at_most: 0.1)])";
    std::fs::write(folder.join("gates/quick.gate.ron"), gate).unwrap();
    let plan = "Plan(name: \"quick\", phases: [Phase(name: \"a\", tasks: [
        Task(id: \"refit\", title: \"x\", action: refit(bits: 5.0, tokens: 512, gate: \"quick\"),
            priority: 5, attempts: 1),
        Task(id: \"promote\", title: \"x\", action: promote(made_by: \"refit\"), priority: 5,
            dependencies: [\"refit\"], acceptance: equals(metric: \"promoted\", value: 1)),
    ])])";
    std::fs::write(folder.join("coach/quick.plan.ron"), plan).unwrap();
}

fn coach(folder: &Path, args: &[&str]) -> Value {
    let mut command = pixel_llm(folder);
    command.arg("--assets").arg(folder.join("assets")).args(["--json", "coach", "--queue"]);
    command.arg(folder.join("coach.json")).args(args);
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

fn task<'a>(queue: &'a Value, id: &str) -> &'a Value {
    queue["tasks"].as_array().unwrap().iter().find(|task| task["id"] == id).unwrap()
}

fn lineage(folder: &Path) -> Value {
    let mut command = pixel_llm(folder);
    command.args(["--json", "lineage", "--folder"]).arg(folder);
    let output = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn what_passed_waits_for_a_person_and_is_promoted_with_leave() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assets(&folder.join("assets"));
    let queue = coach(folder, &["run", "--plan", "quick"]);
    let waiting = task(&queue, "promote");
    assert_eq!(waiting["status"], "pending", "{waiting:#}");
    let words = waiting["waiting"].as_str().unwrap();
    let name = words.rsplit("coach allow ").next().unwrap().to_owned();
    assert!(name.starts_with("promote-"), "{words}");
    let told = lineage(folder);
    assert_eq!(told["models"][1]["verdict"], "passed", "{told:#}");
    assert_eq!(told["models"][0]["is_current"], true);
    coach(folder, &["allow", &name]);
    let queue = coach(folder, &["run"]);
    assert_eq!(task(&queue, "promote")["status"], "completed", "{queue:#}");
    let told = lineage(folder);
    let child = &told["models"][1];
    assert_eq!((&child["verdict"], &child["is_current"]), (&"promoted".into(), &true.into()));
    assert_eq!(child["by"]["person"], "a person");
    assert!(child["by"]["agent"].is_string());
}

/// Children with their verdicts, in order.
fn children(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let models = told["models"].as_array().unwrap().iter();
    models.map(|model| (text(&model["child"]), text(&model["verdict"]))).collect()
}

#[test]
#[ignore = "some minutes: agents make a family of seven, twice"]
fn agents_make_a_family_alone_and_the_same_one_again() {
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("config")).unwrap();
        std::fs::write(folder.path().join("config/lineage.ron"), "(promote: on_gate)").unwrap();
        std::fs::create_dir_all(folder.path().join("assets")).unwrap();
        let queue = coach(folder.path(), &["run", "--plan", "family"]);
        for task in queue["tasks"].as_array().unwrap() {
            assert_eq!(task["status"], "completed", "{task:#}");
        }
        assert!(folder.path().join("lineage.png").is_file());
        children(&lineage(folder.path()))
    };
    let (first, second) = (make(), make());
    let count = |verdict: &str| first.iter().filter(|(_, is)| is == verdict).count();
    // The founder is promoted too.
    assert!(count("promoted") >= 4 && count("rejected") >= 2, "{first:#?}");
    assert_eq!(first, second);
}
