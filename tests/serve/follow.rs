//! `run --input - --follow`: lines that are answered when they come.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::program;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Following {
    child: Child,
    lines: ChildStdin,
    results: Receiver<Value>,
}

impl Following {
    fn start(args: &[&str]) -> Self {
        let mut child = program()
            .args(["run", "--device", "cpu", "--quiet", "--max-tokens", "2"])
            .args(["--input", "-", "--follow"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, results) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let result = serde_json::from_str(&line.unwrap()).unwrap();
                if sender.send(result).is_err() {
                    return;
                }
            }
        });
        let lines = child.stdin.take().unwrap();
        Self { child, lines, results }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.lines, "{line}").unwrap();
    }

    fn result(&self) -> Value {
        self.results.recv_timeout(PATIENCE).unwrap()
    }

    /// Ends the input; gives what still comes, and the exit code.
    fn finish(self) -> (Vec<Value>, Option<i32>) {
        let Self { mut child, lines, results } = self;
        drop(lines);
        let rest = results.iter().collect();
        (rest, child.wait().unwrap().code())
    }
}

#[test]
fn each_line_is_answered_while_the_input_goes_on() {
    let mut following = Following::start(&[]);
    for index in 0..1000 {
        following.line(&json!({"id": index, "prompt": "x", "max_tokens": 1}).to_string());
        let result = following.result();
        assert_eq!(result["custom_id"], index.to_string());
        assert_eq!(result["response"]["status_code"], 200, "{result}");
    }
    assert_eq!(following.finish(), (Vec::new(), Some(0)));
}

#[test]
fn a_bad_line_has_a_result_that_says_so_and_the_others_have_theirs() {
    let mut following = Following::start(&["--parallel", "2"]);
    let lines = [
        r#"{"id": "a", "prompt": "x"}"#,
        r#"{"id": "b", "prompt": "x", "temperature": -1}"#,
        "rubbish",
        "",
        r#"{"id": "c", "prompt": "x"}"#,
        // An id may come again, where each line is answered by itself.
        r#"{"id": "a", "prompt": "x"}"#,
    ];
    lines.iter().for_each(|line| following.line(line));
    let (results, code) = following.finish();
    assert_eq!(code, Some(1), "something failed");
    let of = |id: Value| -> Vec<&Value> {
        results.iter().filter(|result| result["custom_id"] == id).collect()
    };
    assert_eq!((results.len(), of(json!("a")).len(), of(json!("c")).len()), (5, 2, 1));
    let error = |id: Value| of(id)[0]["error"].clone();
    assert_eq!(error(json!("b"))["param"], "temperature");
    let message = error(Value::Null)["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("line 3, column 1"), "{message}");
}

#[test]
fn results_of_followed_lines_go_to_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut following = Following::start(&["--output", path.to_str().unwrap()]);
    following.line(r#"{"id": "a", "prompt": "x"}"#);
    let since = std::time::Instant::now();
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    while !read().ends_with('\n') {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(read().contains("\"custom_id\":\"a\""));
    assert_eq!(following.finish(), (Vec::new(), Some(0)));
}
