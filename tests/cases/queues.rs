//! Queues of tasks, one for each model.
#![allow(clippy::unwrap_used, reason = "these are steps of tests, which fail by panicking")]

use serde_json::Value;

use super::support::Case;

/// Standard output and standard error of a command that succeeds.
fn done(case: &Case, args: &[&str]) -> (String, String) {
    let output = case.program(args).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn plain_commands_say_whose_queue_they_read_and_others_can_be_named() {
    let Some(case) = Case::of("no-home-to-write-in") else { return };
    done(&case, &["coach", "run", "--max-tasks", "1"]);
    let (_, said) = done(&case, &["coach", "status"]);
    assert!(!said.contains("others have their own"), "there is one queue: {said}");
    done(&case, &["coach", "run", "model.gguf", "--max-tasks", "1"]);
    let name = |args: &[&str]| {
        let (queue, said) = done(&case, args);
        let queue: Value = serde_json::from_str(&queue).unwrap();
        (queue["model"]["name"].as_str().unwrap().to_owned(), said)
    };
    let (first, said) = name(&["coach", "status", "--json"]);
    assert!(said.contains("this is the queue of") && said.contains("--model MODEL"), "{said}");
    let (other, said) = name(&["coach", "status", "--json", "--model", "model.gguf"]);
    assert!(other != first && other.starts_with("model-"), "{other}: {said}");
    for command in [&["next"][..], &["allow"]] {
        let (_, said) = done(&case, &[&["coach"], command].concat());
        assert!(said.contains("this is the queue of"), "{command:?}: {said}");
        let of_other = [&["coach"], command, &["--model", "model.gguf"]].concat();
        let (_, said) = done(&case, &of_other);
        assert!(
            said.contains("coach.json") && !said.contains("others have"),
            "{command:?}: {said}"
        );
    }
    let both = ["coach", "status", "--model", "model.gguf", "--queue", "q.json"];
    case.program(&both).assert().code(2);
    let two = ["coach", "run", "model.gguf", "--model", "other.gguf"];
    let said = case.program(&two).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("two models are named"));
}
