//! What a person first tries: a prompt as a message, a conversation, a text through a pipe, and
//! names mistyped.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::borrow::BorrowMut;
use std::fs;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// The program in a folder that is its home too.
fn program(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).env("HOME", folder.path()).args(args);
    command
}

/// Exit code, standard output and standard error.
fn said(mut command: impl BorrowMut<Command>) -> (i32, String, String) {
    let output = command.borrow_mut().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A chat on the processor that takes the most probable tokens.
fn chat(folder: &TempDir, lines: &str, more: &[&str]) -> (i32, String, String) {
    let args = [&["chat", "--device", "cpu", "--temperature", "0"], more].concat();
    said(program(folder, &args).write_stdin(lines))
}

const ASK: [&str; 6] = ["--device", "cpu", "--temperature", "0", "--max-tokens", "24"];

#[test]
fn a_prompt_is_a_message_unless_it_is_raw() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |more: &[&str]| said(program(&folder, &[&ASK[..], more].concat()));
    // No window opens, though nobody has said so.
    let (code, answer, error) = ask(&["--prompt", "Who are you?"]);
    assert!(code == 0 && answer.contains("I am Seedling"), "{answer}{error}");
    assert!(!answer.contains("<|") && answer.ends_with('\n'), "{answer}");
    assert!(error.contains("tokens/s"), "{error}");
    assert_eq!(ask(&["--chat", "--prompt", "Who are you?"]).1, answer);
    let (_, raw, error) = ask(&["--raw", "--quiet", "--prompt", "Once upon a time"]);
    assert!(raw.starts_with(", there was"), "{raw}");
    assert_eq!(error, "", "quiet is quiet");
    let (_, _, error) = ask(&["--raw", "--prompt", "Once", "--system", "x"]);
    assert!(error.contains("--system has no effect"), "{error}");
    // A line of a file is a document: it says itself when it is a message.
    let document = "{\"id\": \"a\", \"prompt\": \"Once upon a time\"}\n";
    let (_, line, _) = said(
        program(&folder, &[&["run", "--input", "-"], &ASK[..]].concat()).write_stdin(document),
    );
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        line["response"]["body"]["choices"][0]["text"].as_str().unwrap(),
        raw.trim_end_matches('\n')
    );
}

#[test]
fn a_text_through_a_pipe_is_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let expected = said(program(&folder, &[&ASK[..], &["--prompt", "Who are you?"]].concat())).1;
    for before in ["run", "--no-window"] {
        for piped in ["Who are you?", "Who are you?\n", "Who are you?\r\n"] {
            let (code, answer, _) =
                said(program(&folder, &[&[before], &ASK[..]].concat()).write_stdin(piped));
            assert_eq!((code, &answer), (0, &expected), "{before}: {piped:?}");
        }
    }
    for (piped, why) in [(&b""[..], "nothing to answer"), (b"\xff\xfe", "UTF-8")] {
        let (code, _, error) =
            said(program(&folder, &["run", "--device", "cpu"]).write_stdin(piped));
        assert!(code == 2 && error.contains(why) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn an_answer_without_a_word_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let stop = [&ASK[..], &["--prompt", "Who are you?", "--stop", "I"]].concat();
    let (code, answer, error) = said(&mut program(&folder, &stop));
    assert_eq!((code, answer.as_str()), (0, "\n"));
    assert!(error.contains("prompt-1: a --stop text came before any other"), "{error}");
    // What is complete is ended at once.
    let ask = ["--device", "cpu", "--temperature", "0", "--prompt"];
    let (_, answer, _) = said(program(&folder, &ask).arg("Who are you?"));
    let turns = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n";
    let complete = format!("{turns}{}", answer.trim_end());
    let (_, answer, error) = said(program(&folder, &ask).args([&complete, "--raw"]));
    assert_eq!(answer, "\n");
    assert!(error.contains("ended at once, without a word") && error.contains("--chat"), "{error}");
}

#[test]
fn answers_to_several_prompts_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let two = ["--prompt", "Hello", "--prompt", "Who\nare you?"];
    let (_, both, _) = said(program(&folder, &[&ASK[..], &two].concat()));
    let alone: Vec<String> = ["Hello", "Who\nare you?"]
        .map(|one| said(program(&folder, &[&ASK[..], &["--prompt", one]].concat())).1)
        .into();
    assert_eq!(both, format!("==> Hello <==\n{}\n==> Who\\nare you? <==\n{}", alone[0], alone[1]));
}

#[test]
fn texts_may_begin_with_a_hyphen() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        [&["run"], &ASK[..], &["--prompt", "-5 + 3", "--stop", "--", "--system", "-x"]].concat();
    let (code, _, error) = said(&mut program(&folder, &args));
    assert_eq!(code, 0, "{error}");
}

#[test]
fn a_conversation_keeps_what_was_said_and_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "Hello\n\nWho are you?\n/save talk.jsonl\n/undo\n/system Be kind.\n/save \
        two.jsonl\n/save two.jsonl\n";
    let (code, answers, error) = chat(&folder, lines, &[]);
    assert_eq!(answers.lines().count(), 2, "an answer is a line, and nothing else is: {answers}");
    assert!(answers.contains("Seedling") && !answers.contains("<|"), "{answers}");
    assert_eq!(error.matches("tokens/s, the first after").count(), 2, "{error}");
    assert!(error.contains("taken back: Who are you?"), "{error}");
    // What is there is not replaced, and that is an error of the run.
    assert!(code == 1 && error.contains("two.jsonl: not saved"), "{error}");
    let saved = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.path().join(name)).unwrap()).unwrap()
    };
    let roles = |value: &Value| -> Vec<String> {
        let messages = value["messages"].as_array().unwrap();
        messages.iter().map(|message| message["role"].as_str().unwrap().to_owned()).collect()
    };
    let whole = saved("talk.jsonl");
    assert_eq!(roles(&whole), ["user", "assistant", "user", "assistant"]);
    let answer = whole["messages"][3]["content"].as_str().unwrap();
    assert_eq!(answers.lines().nth(1), Some(answer));
    assert_eq!(roles(&saved("two.jsonl")), ["system", "user", "assistant"]);
    // The saved line is a request, whose answer comes from the same model.
    let again = ["run", "--input", "talk.jsonl", "--device", "cpu", "--quiet"];
    assert_eq!(said(&mut program(&folder, &again)).0, 0);
}

#[test]
fn a_turn_is_answered_as_the_whole_conversation_is() {
    let folder = tempfile::tempdir().unwrap();
    let (_, answers, _) = chat(&folder, "Hello\nWho are you?\n", &["--system", "You are kind."]);
    let first = answers.lines().next().unwrap();
    let request = serde_json::json!({"id": "a", "temperature": 0, "messages": [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "Who are you?"},
    ]});
    let args = ["run", "--input", "-", "--device", "cpu"];
    let (_, line, _) = said(program(&folder, &args).write_stdin(format!("{request}\n")));
    let line: Value = serde_json::from_str(&line).unwrap();
    let content = &line["response"]["body"]["choices"][0]["message"]["content"];
    assert_eq!(
        content.as_str(),
        answers.lines().nth(1),
        "what is kept of earlier turns changes no answer"
    );
}

#[test]
fn what_cannot_be_done_in_a_conversation_is_told_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let (code, answers, error) =
        chat(&folder, "/celar\n/undo\n/retry\n/dance\nHello\n/exit\nHello\n", &["--quiet"]);
    assert_eq!((code, answers.lines().count()), (1, 1), "{error}");
    assert!(error.contains("there is no /celar; did you mean /clear?"), "{error}");
    for words in ["nothing to take back", "no answer to give anew", "no /dance; /help"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!error.contains("tokens/s"), "{error}");
    let (code, _, error) = chat(&folder, "", &["--json"]);
    assert!(code == 2 && error.contains("pixel-llm run --json"), "{error}");
}

#[test]
fn a_full_context_is_told_and_the_conversation_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "Hello\nWho are you?\nHello\nWho are you?\nHello\n/save all.jsonl\n";
    let (code, answers, error) = chat(&folder, lines, &["--context", "96"]);
    assert_eq!((code, answers.lines().count()), (0, 5), "{error}");
    assert!(
        error.contains("the context of 96 tokens is full: the model no longer sees the oldest"),
        "{error}"
    );
    let saved = fs::read_to_string(folder.path().join("all.jsonl")).unwrap();
    assert_eq!(saved.matches("\"user\"").count(), 5, "the whole conversation is kept");
    // A message that is too long by itself is refused, and the next is answered.
    let lines = format!("{}\nHello\n", "word ".repeat(200));
    let (code, answers, error) = chat(&folder, &lines, &["--context", "96"]);
    assert_eq!((code, answers.lines().count()), (1, 1), "{error}");
    assert!(error.contains("the context holds 96"), "{error}");
    // An answer that is cut off says so.
    let (_, _, error) = chat(&folder, "Who are you?\n", &["--max-tokens", "3"]);
    assert!(error.contains("cut off at 3 tokens"), "{error}");
}

#[test]
fn an_instruct_model_answers() {
    let Some(model) = crate::common::smollm2() else { return };
    let folder = tempfile::tempdir().unwrap();
    let model = model.to_str().unwrap();
    let question = "What is the capital of France?";
    let args = [&["--no-window", model, "--prompt", question], &ASK[..]].concat();
    let (code, answer, error) = said(&mut program(&folder, &args));
    assert!(code == 0 && answer.contains("Paris"), "{answer}{error}");
    let lines = format!("{question}\nAnd of Italy?\n");
    let (_, answers, error) = chat(&folder, &lines, &[model, "--max-tokens", "24"]);
    assert!(answers.contains("Paris") && answers.contains("Rome"), "{answers}{error}");
    assert!(!answers.contains("<|"), "{answers}");
}

#[test]
fn mistyped_names_are_answered_with_near_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("story.txt"), "Once").unwrap();
    fs::write(folder.path().join("model.gguf"), "none").unwrap();
    let cases: [(&[&str], &str); 6] = [
        (
            &["covnert", "a.gguf", "b.pxi"],
            "no file or command \"covnert\"; did you mean `convert`?",
        ),
        (&["--device", "cpu", "chta"], "did you mean `chat`?"),
        (&["modle.gguf", "--prompt", "x"], "did you mean `model.gguf`?"),
        (&["perplexity", "stoyr.txt"], "did you mean story.txt?"),
        (&["run", "--input", "stoyr.txt"], "did you mean story.txt?"),
        (&["inspect", "modle.gguf"], "did you mean model.gguf?"),
    ];
    for (args, expected) in cases {
        let (code, _, error) = said(&mut program(&folder, args));
        assert!(
            code == 2 && error.contains(expected) && error.lines().count() == 1,
            "{args:?}: {error}"
        );
    }
    let (code, _, error) =
        said(&mut program(&folder, &["run", "--device", "cpuu", "--prompt", "x"]));
    assert!(code == 2 && error.contains("'cpu'"), "{error}");
}

#[test]
fn shells_and_man_are_told_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = said(&mut program(&folder, &["completions", shell]));
        assert!(
            code == 0 && script.contains("perplexity") && script.contains("temperature"),
            "{shell}"
        );
    }
    let (code, page, _) = said(&mut program(&folder, &["man"]));
    assert!(code == 0 && page.contains(".TH pixel-llm 1"), "{page}");
    assert_eq!(said(&mut program(&folder, &["man", "pages"])).0, 0);
    let chat = fs::read_to_string(folder.path().join("pages/pixel-llm-chat.1")).unwrap();
    assert!(chat.contains("probabilities"), "{chat}");
}

/// The chat on a terminal of its own, by way of `script`.
#[cfg(target_os = "linux")]
mod on_a_terminal {
    use std::io::{Read, Write};
    use std::process::{Child, ChildStdin, Command, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    struct Terminal {
        child: Child,
        keys: ChildStdin,
        screen: Arc<Mutex<String>>,
        _home: tempfile::TempDir,
    }

    impl Terminal {
        /// `None` with a loud word where there is no `script`.
        fn open(args: &str, variables: &[(&str, &str)]) -> Option<Self> {
            let home = tempfile::tempdir().unwrap();
            let program = assert_cmd::cargo::cargo_bin("pixel-llm");
            // A shell that stays in between would take the keys too, and end with 130 for them.
            let line = format!("exec {} chat --device cpu {args}", program.display());
            let mut command = Command::new("script");
            command
                .args(["-qec", &line, "/dev/null"])
                .env("HOME", home.path())
                .env("TERM", "xterm-256color");
            command.env_remove("NO_COLOR").envs(variables.iter().copied());
            for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PIXEL_LLM_CACHE"] {
                command.env_remove(name);
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let Ok(mut child) = command.spawn() else {
                eprintln!("SKIPPED: there is no `script` to make a terminal");
                return None;
            };
            let (keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let screen = Arc::new(Mutex::new(String::new()));
            let copy = Arc::clone(&screen);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(len @ 1..) = shown.read(&mut bytes) {
                    copy.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
                }
            });
            Some(Self { child, keys, screen, _home: home })
        }

        fn press(&mut self, keys: &str) {
            self.keys.write_all(keys.as_bytes()).unwrap();
            self.keys.flush().unwrap();
        }

        fn count(&self, text: &str) -> usize {
            self.screen.lock().unwrap().matches(text).count()
        }

        /// The program ends, and as if nothing were wrong.
        fn ends_well(&mut self) {
            let status = self.child.wait().unwrap();
            assert!(status.success(), "{status}: {:?}", self.screen.lock().unwrap());
        }

        /// Sends the program what the keys send it while it answers.
        fn interrupt_from_outside(&self) {
            let mut pid = self.child.id().to_string();
            loop {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
                if name.trim() == "pixel-llm" {
                    break;
                }
                let children =
                    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
                pid = children.split_whitespace().next().expect("it runs").to_string();
            }
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }

        /// Waits until a text was shown so often; the time is only there so that a fault ends.
        fn wait(&self, text: &str, times: usize) {
            let start = Instant::now();
            while self.count(text) < times {
                let screen = || self.screen.lock().unwrap().clone();
                assert!(
                    start.elapsed() < Duration::from_secs(300),
                    "{text:?} never came: {:?}",
                    screen()
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    #[test]
    fn an_interrupt_ends_the_answer_and_not_the_program() {
        let sure = "--temperature 0 --show-probabilities";
        let Some(mut terminal) = Terminal::open(sure, &[]) else { return };
        terminal.wait("A chat with", 1);
        let mut answers = 0;
        // An answer may end by itself before the key arrives; then the next is interrupted.
        while terminal.count("stopped") == 0 {
            assert!(answers < 50, "no answer could be interrupted");
            let shades = terminal.count("\x1b[38;5;");
            terminal.press("Tell me a story.\r");
            terminal.wait("\x1b[38;5;", shades + 1);
            terminal.press("\x03");
            answers += 1;
            terminal.wait(" after ", answers);
            // The editor drops what is typed before it shows its prompt again.
            std::thread::sleep(Duration::from_millis(500));
        }
        // The conversation goes on, and keys that were pressed as the answer came to its end do not
        // end it.
        terminal.press("Hello\r");
        terminal.wait(" after ", answers + 1);
        terminal.interrupt_from_outside();
        std::thread::sleep(Duration::from_millis(500));
        // Nor does one that comes much later, at the prompt.
        let prompts = terminal.count("\x1b[?2004h");
        terminal.press("Hello\r");
        terminal.wait(" after ", answers + 2);
        // The editor asks for what is pasted as it begins to read.
        terminal.wait("\x1b[?2004h", prompts + 1);
        std::thread::sleep(Duration::from_millis(1500));
        let told = terminal.count("ends the chat");
        terminal.interrupt_from_outside();
        terminal.wait("ends the chat", told + 1);
        terminal.press("/exit\r");
        terminal.ends_well();
    }

    #[test]
    fn colours_are_left_out_where_nobody_wants_them() {
        let wild = "--temperature 2 --max-tokens 20 --show-probabilities";
        let Some(mut terminal) = Terminal::open(wild, &[("NO_COLOR", "1")]) else { return };
        terminal.wait("probabilities are not shown", 1);
        terminal.press("Hello\r");
        terminal.wait(" after ", 1);
        assert_eq!(terminal.count("\x1b[38;5;"), 0);
        // Ctrl-D at the prompt ends it.
        terminal.press("\x04");
        terminal.ends_well();
    }
}

#[test]
fn options_about_answers_open_no_window() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["--temperature", "0"][..], &["--raw"], &["--system", "Be brief."]] {
        let (code, _, error) = said(program(&folder, args));
        assert!(code == 2 && error.contains(args[0]) && error.contains("--prompt TEXT"), "{error}");
    }
}

/// A signal that ends programs ends a conversation, also while it answers; the one of a closed
/// terminal does not where the program is started to outlive it, as `nohup` does.
#[cfg(unix)]
#[test]
fn a_conversation_ends_when_it_is_told_to() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let kill = |signal: &str, pid: &str| {
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    };
    let cases = [("-TERM", false, 143), ("-TERM", true, 143), ("-HUP", false, 129)];
    for (signal, answers, code) in cases {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("pixel-llm"))
            .args(["chat", "--device", "cpu", "--max-tokens", "100000"])
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        if answers {
            input.write_all(b"Tell me a long story\n").unwrap();
            input.flush().unwrap();
        }
        std::thread::sleep(Duration::from_millis(1500));
        kill(signal, &child.id().to_string());
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the conversation goes on");
            std::thread::sleep(Duration::from_millis(20));
        };
        // At the prompt it is what a shell says of the signal; an answer is first ended.
        let ended = status.code();
        assert!(ended == Some(code) || (answers && ended == Some(1)), "{signal}: {status}");
        drop(input);
    }
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" chat --device cpu"])
        .arg(program)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    kill("-HUP", &child.id().to_string());
    child.stdin.take().unwrap().write_all(b"Hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}
