//! The same request gives the same bytes, by whichever way it comes and whatever runs beside it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::client::{Server, program};

const COUNT: u64 = 200;

/// Bodies of two kinds, with seeds of their own and log-probabilities.
fn body(index: u64) -> (&'static str, Value) {
    let text = ["Once upon a time", "The old tree", "Nora", "A busy girl went"][index as usize % 4];
    let tokens = 4 + index % 13;
    if index.is_multiple_of(2) {
        let body = json!({"prompt": format!("{text} {}", index % 7), "max_tokens": tokens,
            "seed": index, "logprobs": 2, "temperature": 1.1});
        ("/v1/completions", body)
    } else {
        let messages = json!([{"role": "user", "content": text}]);
        let body = json!({"messages": messages, "max_tokens": tokens, "seed": index,
            "logprobs": true, "top_logprobs": 2});
        ("/v1/chat/completions", body)
    }
}

/// What has to be equal: all but times and ids.
fn kept(body: &Value) -> String {
    let usage = &body["usage"];
    let counts = [&usage["prompt_tokens"], &usage["completion_tokens"]];
    json!([body["choices"], counts]).to_string()
}

fn lines() -> String {
    let line = |index: u64| {
        let (url, body) = body(index);
        json!({"custom_id": index.to_string(), "method": "POST", "url": url, "body": body})
    };
    (0..COUNT).map(|index| format!("{}\n", line(index))).collect()
}

/// The results of a run over all lines, by id.
fn run(args: &[&str]) -> BTreeMap<u64, String> {
    let mut child = program()
        .args(["run", "--device", "cpu", "--quiet", "--input", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(lines().as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let result = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["custom_id"].as_str().unwrap().parse().unwrap();
        (id, kept(&line["response"]["body"]))
    };
    text.lines().map(result).collect()
}

fn serve(parallel: &str) -> BTreeMap<u64, String> {
    let server = Server::start(&["--parallel", parallel]);
    std::thread::scope(|scope| {
        let ask = |client: u64| {
            let server = &server;
            move || -> Vec<(u64, String)> {
                let mine = (0..COUNT).filter(|index| index % 8 == client);
                let answer = |index| {
                    let (url, body) = body(index);
                    let (status, answer) = server.post(url, &body);
                    assert_eq!(status, 200, "{answer}");
                    (index, kept(&answer))
                };
                mine.map(answer).collect()
            }
        };
        let clients: Vec<_> = (0..8).map(|client| scope.spawn(ask(client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn file_follow_and_http_agree_in_every_byte_at_any_number_of_slots() {
    let reference = run(&["--parallel", "1"]);
    assert_eq!(reference.len() as u64, COUNT);
    let different: std::collections::BTreeSet<&String> = reference.values().collect();
    assert!(different.len() as u64 > COUNT / 2, "{}", different.len());
    for parallel in ["1", "3", "8"] {
        assert_eq!(run(&["--parallel", parallel]), reference, "file, {parallel}");
        assert_eq!(run(&["--parallel", parallel, "--follow"]), reference, "follow, {parallel}");
        assert_eq!(serve(parallel), reference, "HTTP, {parallel}");
    }
}
