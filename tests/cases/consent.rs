//! What is shown before a command runs is what runs, and nothing of it lives on.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::support::Case;

const QUEUE: [&str; 2] = ["--queue", "q/coach.json"];

/// What the program says on both streams.
fn said(case: &Case, args: &[&str]) -> String {
    let output = case.program(args).timeout(Duration::from_secs(120)).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

fn coach(case: &Case, args: &[&str]) -> String {
    said(case, &[&["--mods", "mods", "coach"], args, &QUEUE].concat())
}

/// A queue of one task that runs this command.
fn with_command(name: &str, words: &[&str], seconds: u32) -> Case {
    let case = Case::empty();
    let plan = format!(
        "(name: \"p\", phases: [(name: \"one\", tasks: [(id: \"t\", title: \"T\", action: \
         command(name: {name:?}), priority: 5, attempts: 1)])], commands: [(name: {name:?}, line: \
         {words:?}, seconds: {seconds})])"
    );
    fs::write(case.file("p.plan.ron"), plan).unwrap();
    coach(&case, &["init", "--plan", "./p.plan.ron"]);
    case
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|letter| letter == '\n' || !pixel_llm::terminal::is_unsafe(letter))
}

#[test]
fn a_command_is_shown_word_for_word_wherever_leave_is_asked_for() {
    let Some(case) = Case::of("consent-shows-another-line") else { return };
    coach(&case, &["init", "--plan", "p"]);
    let words = r##"["sh","-c","touch taken #\u001b[2K\rdf -h"]"##;
    for args in [&["run"][..], &["allow"], &["status"], &["show", "t"]] {
        let said = coach(&case, args);
        assert!(said.contains(words) && is_plain(&said), "{args:?}: {said}");
    }
    assert!(!case.file("taken").exists());
    let said = coach(&case, &["allow", "c"]);
    assert!(said.contains(words) && said.contains("c  allowed"), "{said}");
    coach(&case, &["run"]);
    assert!(case.file("taken").exists());
}

#[test]
fn divisions_of_words_and_letters_that_look_alike_stay_apart() {
    let lines: [&[&str]; 7] = [
        &["sh", "-c", "a b"],
        &["sh", "-c", "a", "b"],
        &["sh -c a b"],
        &["sh", "-c", "a\u{200b} b"],
        &["sh", "-c", "\u{430} b"],
        &["sh", "-c", "\u{202e}a b"],
        &["sh", "-c", "a b", ""],
    ];
    let shown = lines.map(|words| {
        let said = coach(&with_command("c", words, 5), &["run"]);
        said.split("leave to run ").nth(1).unwrap().lines().next().unwrap().to_owned()
    });
    for (at, one) in shown.iter().enumerate() {
        assert!(one.is_ascii() && is_plain(one), "{one}");
        assert!(shown[..at].iter().all(|other| other != one), "{one}");
    }
}

#[test]
fn a_name_that_is_no_plain_word_is_never_in_a_line_for_a_shell() {
    let case = with_command("x; touch taken; echo '", &["true"], 5);
    let said = coach(&case, &["run"]);
    let offered = said.split("coach allow ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(pixel_llm::terminal::is_plain_word(offered), "{said}");
    assert!(coach(&case, &["allow", offered]).contains("  allowed  [\"true\"]"));
    assert!(coach(&case, &["run"]).contains("1 of 1 tasks completed"));
}

#[test]
fn leave_is_for_the_folder_that_it_was_given_in() {
    let case = with_command("c", &["./x"], 5);
    assert!(coach(&case, &["allow", "c"]).contains("c  allowed"));
    fs::create_dir(case.file("other")).unwrap();
    let mut elsewhere = case.program(&["coach", "allow", "--queue", "../q/coach.json"]);
    let output = elsewhere.current_dir(case.file("other")).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("c  not allowed"));
}

#[cfg(unix)]
#[test]
fn the_line_that_is_offered_runs_nothing_of_the_mod() {
    let Some(case) = Case::of("consent-hint-runs-a-command") else { return };
    let agents = ["--mods", "mods", "--no-window", "--ticks", "1", "--jobs", "1", "--quiet"];
    let before = said(&case, &agents);
    let line = before.split("allow it with: ").nth(1).unwrap().lines().next().unwrap();
    assert!(
        line.chars().all(|letter| letter.is_ascii_alphanumeric() || " -".contains(letter)),
        "{line}"
    );
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let path =
        format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell
        .current_dir(case.folder())
        .env("HOME", case.home())
        .env("PATH", path)
        .env("PIXEL_LLM_MODS", "mods");
    assert!(shell.args(["-c", line]).stdout(Stdio::null()).status().unwrap().success());
    assert!(!case.file("taken").exists());
    assert!(!said(&case, &agents).contains("allow it with"));
    // Nobody is there to be asked: nothing is allowed, and what there is is named.
    said(&case, &["--mods", "mods", "mods", "allow", "m", "--forget"]);
    let asked = said(&case, &["--mods", "mods", "mods", "allow", "m"]);
    assert!(asked.contains("--command-id ") && is_plain(&asked), "{asked}");
    assert!(said(&case, &agents).contains("allow it with"));
}

/// The processes of a program that work in a folder.
#[cfg(target_os = "linux")]
fn at_work(folder: &Path, program: &str) -> usize {
    let folder = folder.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_one = |path: &std::path::PathBuf| {
        let runs =
            fs::read(path.join("cmdline")).is_ok_and(|line| line.starts_with(program.as_bytes()));
        runs && fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == folder)
    };
    processes.filter(is_one).count()
}

/// Waits until the system has cleared away what was killed.
#[cfg(target_os = "linux")]
fn nobody_is_left(case: &Case) -> bool {
    (0..500).any(|_| {
        sleep(Duration::from_millis(10));
        at_work(&case.folder(), "sleep") == 0
    })
}

#[cfg(target_os = "linux")]
#[test]
fn everything_that_a_command_began_ends_when_it_is_cut_off() {
    let Some(case) = Case::of("command-outlives-its-time") else { return };
    coach(&case, &["init", "--plan", "p"]);
    coach(&case, &["allow", "c"]);
    assert!(coach(&case, &["run"]).contains("cut off after 2 s"));
    assert!(nobody_is_left(&case));
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_that_has_ended_leaves_nothing_running_and_nobody_waiting() {
    let case =
        with_command("c", &["sh", "-c", "sleep 300 & sleep 301 >/dev/null & echo done"], 290);
    coach(&case, &["allow", "c"]);
    assert!(coach(&case, &["run"]).contains("1 of 1 tasks completed"));
    assert!(coach(&case, &["show", "t"]).contains("done"));
    assert!(nobody_is_left(&case));
    // One that leaves its group and keeps the pipe is not waited for.
    let case = with_command("c", &["sh", "-c", "setsid sleep 5 & echo done"], 290);
    coach(&case, &["allow", "c"]);
    assert!(coach(&case, &["run"]).contains("1 of 1 tasks completed"));
}

#[cfg(target_os = "linux")]
#[test]
fn everything_that_a_command_began_ends_with_the_program() {
    for signal in ["-INT", "-TERM"] {
        let case = with_command("c", &["sh", "-c", "sleep 302 & sleep 303"], 290);
        coach(&case, &["allow", "c"]);
        let mut program = Command::new(assert_cmd::cargo::cargo_bin("pixel-llm"));
        program
            .current_dir(case.folder())
            .env("HOME", case.home())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut program = program.args([&["coach", "run"][..], &QUEUE].concat()).spawn().unwrap();
        while at_work(&case.folder(), "sleep") < 2 {
            assert!(program.try_wait().unwrap().is_none(), "it runs");
            sleep(Duration::from_millis(10));
        }
        let id = program.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        program.wait().unwrap();
        assert!(nobody_is_left(&case), "{signal}");
    }
}
