//! `--prompt-cache`: answers are the same with what is kept as without, whatever became of it.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A text of more tokens than are worth a file, in words that the model knows.
const STORY: &str = "Once upon a time there was a little girl who had a red ball. She liked to \
    play in the park with her friend Tom. One day the ball went up into a big tree and did not \
    come down. The girl was sad. Tom said that he could help her. He got a long stick and";

fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pixel-llm"));
    for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).env("HOME", folder.path()).args(args);
    command.stdin(Stdio::null());
    command
}

const ASK: [&str; 7] = ["run", "--raw", "--max-tokens", "12", "--device", "cpu", "--prompt"];

/// What a run says: its answer, and what it tells beside it.
fn ask(folder: &TempDir, prompt: &str, more: &[&str]) -> (String, String) {
    let output = program(folder, &[&ASK[..], &[prompt], more].concat()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

const KEEP: [&str; 2] = ["--prompt-cache", "kept"];

fn kept(folder: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.path().join("kept"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn loaded(error: &str) -> Option<usize> {
    let before = error.split(" of ").next()?;
    error.contains("prompt tokens from disk").then(|| before.rsplit(' ').next()?.parse().ok())?
}

#[test]
fn a_kept_prompt_gives_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    for more in [&["--temperature", "0"][..], &["--seed", "7"], &["--cache-type", "f16"]] {
        let plain = ask(&folder, STORY, more).0;
        let (first, error) = ask(&folder, STORY, &[more, &KEEP].concat());
        assert_eq!(first, plain);
        let again = [more, &KEEP].concat();
        let (second, second_error) = ask(&folder, STORY, &again);
        assert_eq!(second, plain);
        assert!(loaded(&second_error).unwrap() > 40, "{error}{second_error}");
    }
    // One in 32 bits, whatever the seed, and one in 16.
    assert_eq!(kept(&folder).len(), 2);
    // A prompt that only begins alike takes the beginning.
    let other = STORY.replace("He got a long stick and", "They went home, and then");
    let plain = ask(&folder, &other, &[]).0;
    let (answer, error) = ask(&folder, &other, &KEEP);
    assert_eq!(answer, plain);
    assert!(loaded(&error).is_some(), "{error}");
    // A short one is not worth a file.
    let before = kept(&folder).len();
    ask(&folder, "The cat", &KEEP);
    assert_eq!(kept(&folder).len(), before);
    // Where all of the prompt is scored, all of it is computed.
    let scored = ["--json", "--prompt-logprobs", "1"];
    let choices = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["response"]["body"]["choices"].clone()
    };
    let plain = ask(&folder, STORY, &scored).0;
    let kept_too = ask(&folder, STORY, &[&scored[..], &KEEP].concat()).0;
    assert_eq!(choices(&plain), choices(&kept_too));
}

#[test]
fn what_is_of_other_settings_or_no_kept_prompt_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    ask(&folder, STORY, &KEEP);
    let muted = ["--mute", "0.0"];
    let plain = ask(&folder, STORY, &muted).0;
    let (answer, error) = ask(&folder, STORY, &[&muted[..], &KEEP].concat());
    assert_eq!((answer, loaded(&error)), (plain, None));
    assert_eq!(kept(&folder).len(), 2);
    // Another picture, and what is no picture.
    let path = folder.path().join("kept/other.pxi");
    fs::write(folder.path().join("text"), "some text").unwrap();
    let made = program(&folder, &["fs", "write", "text", "kept/other.pxi"]).output().unwrap();
    assert!(made.status.success() && path.exists());
    fs::write(folder.path().join("kept/noise.pxi"), "no").unwrap();
    let (_, error) = ask(&folder, STORY, &KEEP);
    assert!(error.contains("other.pxi: it is no kept prompt"), "{error}");
    assert!(error.contains("noise.pxi") && loaded(&error).is_some(), "{error}");
    let listed = program(&folder, &["cache", "list", "--prompt-cache", "kept"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(1), "two are bad");
    let cleared = program(&folder, &["cache", "clear", "--prompt-cache", "kept"]).output().unwrap();
    assert!(String::from_utf8_lossy(&cleared.stdout).starts_with("2 kept prompts removed"));
    assert_eq!(kept(&folder).len(), 2, "what is not ours stays");
}

/// Damages the file in one way, and says that it is told by name and computed anew.
fn damaged(folder: &TempDir, file: &Path, plain: &str, damage: &str, bytes: &[u8]) {
    fs::write(file, bytes).unwrap();
    let (answer, error) = ask(folder, STORY, &KEEP);
    assert_eq!(answer, plain, "{damage}");
    assert_eq!(loaded(&error), None, "{damage}: {error}");
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name), "{damage}: {error}");
}

#[test]
fn a_damaged_file_is_told_by_name_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let plain = ask(&folder, STORY, &KEEP).0;
    let file = kept(&folder).pop().unwrap();
    let whole = fs::read(&file).unwrap();
    let lens = [0, 10, 63, 64, 150, 192, 300, whole.len() / 2, whole.len() - 1];
    for len in lens {
        damaged(&folder, &file, &plain, &format!("cut to {len}"), &whole[..len]);
        assert_eq!(fs::read(&file).unwrap(), whole, "made anew after {len}");
    }
    let longer = [&whole[..], &[0]].concat();
    damaged(&folder, &file, &plain, "one byte more", &longer);
    // The magic, the length, the checksum; magic, version, sizes and count of the head; tokens;
    // rows, first and last.
    for at in [0, 13, 30, 64, 72, 80, 84, 88, 92, 200, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        damaged(&folder, &file, &plain, &format!("a bit at {at}"), &bytes);
    }
    assert!(loaded(&ask(&folder, STORY, &KEEP).1).is_some());
}

#[test]
fn several_writers_leave_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let args = [&ASK[..], &[STORY], &KEEP].concat();
    let running: Vec<_> = (0..4)
        .map(|_| {
            let mut command = program(&folder, &args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<Output> =
        running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success()));
    assert!(outputs.iter().all(|output| output.stdout == outputs[0].stdout));
    let files = kept(&folder);
    assert_eq!(files.len(), 1, "{files:?}");
    // It is pixels as any other such file.
    for tool in [&["fs", "verify"][..], &["fs", "info"]] {
        let args = [tool, &[files[0].to_str().unwrap()]].concat();
        assert!(program(&folder, &args).output().unwrap().status.success(), "{tool:?}");
    }
}

#[test]
fn what_cannot_be_kept_is_told_and_the_answer_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let plain = ask(&folder, STORY, &[]).0;
    let (answer, error) =
        ask(&folder, STORY, &[&KEEP[..], &["--prompt-cache-limit", "1000"]].concat());
    assert!(answer == plain && error.contains("--prompt-cache-limit"), "{error}");
    assert!(kept(&folder).is_empty());
    fs::write(folder.path().join("file"), "").unwrap();
    let args = [&ASK[..], &[STORY, "--prompt-cache", "file"]].concat();
    let refused = program(&folder, &args).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--prompt-cache file"));
    let args = ["run", "--device", "gpu", "--prompt", "x", "--prompt-cache", "kept"];
    let refused = program(&folder, &args).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("processor alone"));
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    ask(&folder, STORY, &KEEP);
    let first = kept(&folder);
    let size = fs::metadata(&first[0]).unwrap().len();
    let other = format!("Tom said: {STORY}");
    let limit = (size * 3 / 2).to_string();
    let (_, error) = ask(&folder, &other, &[&KEEP[..], &["--prompt-cache-limit", &limit]].concat());
    assert!(error.contains("removed to make room"), "{error}");
    let second = kept(&folder);
    assert!(second.len() == 1 && second != first, "{second:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("kept");
    fs::create_dir(&place).unwrap();
    let mount = |args: &[&str]| {
        let mut command = Command::new("mount");
        command.args(args).arg(&place).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=40k", "tmpfs"]) {
        eprintln!("SKIPPED: this user may not mount a tmpfs");
        return;
    }
    let plain = ask(&folder, STORY, &[]).0;
    let (answer, error) = ask(&folder, STORY, &KEEP);
    let left = kept(&folder);
    let unmounted =
        Command::new("umount").arg(&place).status().is_ok_and(|status| status.success());
    assert!(answer == plain && error.contains("not kept"), "{error}");
    assert!(left.is_empty() && unmounted, "{left:?}");
}

#[test]
fn requests_of_a_file_and_turns_of_a_chat_share_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let line = |id: usize| format!("{{\"id\": \"{id}\", \"prompt\": \"{STORY} {id}\"}}\n");
    fs::write(folder.path().join("in.jsonl"), (0..6).map(line).collect::<String>()).unwrap();
    let run = |more: &[&str]| {
        let base = ["run", "--device", "cpu", "--max-tokens", "8", "--input", "in.jsonl"];
        let output = program(&folder, &[&base[..], more].concat()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut texts: Vec<(String, String)> = text
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = value.pointer("/response/body/choices/0/text").unwrap();
                (value["custom_id"].to_string(), text.to_string())
            })
            .collect();
        texts.sort();
        (texts, String::from_utf8(output.stderr).unwrap())
    };
    let plain = run(&[]).0;
    for parallel in ["1", "3"] {
        let more = [&KEEP[..], &["--parallel", parallel]].concat();
        assert_eq!(run(&more).0, plain);
        let (again, error) = run(&more);
        assert_eq!(again, plain);
        assert!(error.contains("of them from disk"), "{error}");
    }
    assert_eq!(kept(&folder).len(), 1);
}
