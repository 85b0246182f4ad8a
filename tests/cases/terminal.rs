//! Nothing from a file reaches a terminal as a command.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::process::{Command, Stdio};

use super::support::Case;

/// What a terminal gets of a program: both streams, or one of them. `None` with a loud word without
/// `script`.
fn on_terminal(case: &Case, args: &[&str], redirect: &str) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let words: Vec<_> = args.iter().map(|text| quoted(text)).collect();
    let line =
        format!("exec {} {} {redirect}", quoted(&program.display().to_string()), words.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(case.folder()).stdin(Stdio::null());
    for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
        script.env_remove(name);
    }
    match script.env("HOME", case.home()).output() {
        // A terminal ends lines its own way.
        Ok(output) => Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")),
        Err(error) => {
            eprintln!("SKIPPED: there is no script(1) to be a terminal: {error}");
            None
        }
    }
}

fn is_safe(text: &str) -> bool {
    text.chars()
        .all(|letter| matches!(letter, '\n' | '\t') || !pixel_llm::terminal::is_unsafe(letter))
}

/// The same on a terminal and in a pipe: nothing to obey, and these words.
fn shows(case: &Case, args: &[&str], words: &str) {
    let Some(shown) = on_terminal(case, args, "") else { return };
    assert!(is_safe(&shown), "{args:?}: {shown:?}");
    assert!(shown.contains(words), "{args:?}: {shown}");
}

#[test]
fn an_answer_is_safe_on_a_terminal_and_whole_in_a_pipe() {
    let Some(case) = Case::of("terminal-escapes-elsewhere") else { return };
    let say = [
        "--no-window",
        "say.gguf",
        "--prompt",
        "hi",
        "--device",
        "cpu",
        "--max-tokens",
        "3",
        "--temperature",
        "0",
    ];
    // The conversion has its bar once.
    let piped = case.program(&say).output().unwrap().stdout;
    assert!(piped.contains(&0x1b), "{}", String::from_utf8_lossy(&piped));
    shows(&case, &say, "\\x1b");
}

#[test]
fn words_of_templates_fields_mods_and_tasks_are_safe_on_a_terminal() {
    let Some(case) = Case::of("terminal-escapes-elsewhere") else { return };
    let raise = ["--no-window", "raise.gguf", "--chat", "--prompt", "hi", "--device", "cpu"];
    case.program(&raise).output().unwrap();
    shows(&case, &raise, "\\x1b");
    let fields =
        ["--no-window", "--input", "fields.jsonl", "--device", "cpu", "--skip-bad", "--quiet"];
    shows(&case, &fields, "");
    shows(&case, &["--mods", "mods", "mods", "list"], "\\x1b");
    shows(&case, &["--mods", "mods", "mods", "show", "m"], "\\x1b");
    let queue = ["--queue", "q/coach.json"];
    shows(
        &case,
        &[&["--mods", "mods", "coach", "init", "--plan", "p"][..], &queue].concat(),
        "T\\x1b[31m",
    );
    shows(&case, &[&["coach", "show", "t"][..], &queue].concat(), "D\\x1b[31m");
    shows(&case, &[&["coach", "status"][..], &queue].concat(), "ph\\x1b[31m");
    shows(&case, &[&["coach", "next"][..], &queue].concat(), "T\\x1b[31m");
    // JSON stays JSON, also where it is shown.
    let json = [&["--json", "coach", "show", "t"][..], &queue].concat();
    let Some(shown) = on_terminal(&case, &json, "") else { return };
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["title"], "T\x1b[31m");
}

#[test]
fn tables_of_a_models_names_have_no_control_characters_even_in_a_pipe() {
    let Some(case) = Case::of("control-characters-in-names") else { return };
    let output = case.program(&["inspect", "model.gguf", "--tensors"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(is_safe(&text) && text.contains("\\x1b"), "{text:?}");
    let json =
        case.program(&["--json", "inspect", "model.gguf", "--tensors"]).output().unwrap().stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let tensors = json["tensors"].as_array().unwrap();
    let rows = text.split("Tensors\n").nth(1).unwrap().trim_end().lines().count();
    assert_eq!(rows, tensors.len(), "a row is a row");
    assert!(tensors.iter().any(|tensor| tensor["name"].as_str().unwrap().contains('\x1b')));
}

#[cfg(unix)]
#[test]
fn names_of_files_and_wrong_arguments_are_safe() {
    let case = Case::empty();
    let name = "a\x1b[31m\u{202e}\u{9b}2J\r.gguf";
    fs::write(case.file(name), "GGUF").unwrap();
    for args in [
        &["inspect", name][..],
        &["inspect", "b", name],
        &["inspect", "--x\x1b[31m"],
        &["verify", name],
        &["convert", name, "x.pxi"],
        &["fs", "info", name],
        &["map", "stats", name],
        &["mods", "check", name],
        &["coach", "status", "--queue", name],
        &["coach", "run", "--plan", name, "--queue", "q"],
        &["--no-window", "--prompt", "x", name],
        &["--no-window", "--input", name],
        &["--no-window", "--input", "x.jsonl", "--output", name],
    ] {
        let Some(shown) = on_terminal(&case, args, "") else { return };
        // The program's own colours are the one thing that a terminal may obey.
        let own = shown.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[4m", "");
        let own = ["\x1b[31m", "\x1b[32m", "\x1b[33m"]
            .iter()
            .fold(own, |text, colour| text.replace(colour, ""));
        assert!(is_safe(&own), "{args:?}: {shown:?}");
        assert!(!shown.contains("a\x1b") && !shown.contains("x\x1b[31m'"), "{args:?}: {shown:?}");
    }
}
