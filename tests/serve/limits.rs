//! Keys, a full queue, and the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Server, code, program, story};

#[test]
fn without_a_key_only_the_health_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "sesame\n").unwrap();
    let server = Server::start(&["--api-key-file", keys.to_str().unwrap()]);
    for (path, body) in [("/v1/completions", story(1)), ("/tokenize", json!({"prompt": "x"}))] {
        let (status, body) = server.post(path, &body);
        assert_eq!((status, code(&body)), (401, "invalid_api_key"));
    }
    assert_eq!(server.get("/v1/models").0, 401);
    assert_eq!(server.get("/metrics").0, 401);
    assert_eq!(server.get("/health").0, 200);
    let with = |key: &str| {
        let body = story(1).to_string();
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.raw(request.as_bytes(), Duration::from_secs(30))
    };
    assert!(with("sesame").starts_with("HTTP/1.1 200"), "{}", with("sesame"));
    assert!(with("open").starts_with("HTTP/1.1 401"));
}

#[test]
fn an_address_for_others_wants_a_key_or_a_word() {
    let output = program().args(["serve", "--host", "0.0.0.0", "--port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--api-key-file") && error.contains("--no-key"), "{error}");
}

#[test]
fn a_full_queue_says_so_and_loses_nobody() {
    let server = Server::start(&["--queue", "4", "--parallel", "2"]);
    let counts = std::thread::scope(|scope| {
        let ask = || {
            let mut body = story(24);
            body["n"] = json!(16);
            let response = server.send("/v1/completions", &body);
            let status = response.status().as_u16();
            if status == 429 {
                assert_eq!(response.headers()["retry-after"], "1");
            }
            status
        };
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        let mut counts = BTreeMap::<u16, usize>::new();
        for thread in threads {
            *counts.entry(thread.join().unwrap()).or_default() += 1;
        }
        counts
    });
    assert_eq!(counts.values().sum::<usize>(), 64);
    assert!(counts[&200] >= 5 && counts[&429] >= 1 && counts.len() == 2, "{counts:?}");
    let answered = server.metric("pixel_llm_requests_total{outcome=\"answered\"}");
    assert_eq!(answered, counts[&200] as f64);
    let refused = server.metric("pixel_llm_requests_total{outcome=\"refused\"}");
    assert_eq!(refused, counts[&429] as f64);
}

#[test]
fn told_to_end_it_answers_what_it_has_and_takes_nothing() {
    let mut server = Server::start(&["--parallel", "8"]);
    let long = |index: u64| {
        json!({"prompt": "Once upon a time", "seed": index, "max_tokens": 400, "n": 4,
            "ignore_eos": true})
    };
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let server = &server;
        let asking: Vec<_> = (0..8)
            .map(|index| scope.spawn(move || server.post("/v1/completions", &long(index))))
            .collect();
        server.wait_for_metric("pixel_llm_requests_running", 8.0);
        server.terminate();
        server.wait_for("/health", |status, body| status == 503 && body["status"] == "stopping");
        let (status, body) = server.post("/v1/completions", &story(1));
        assert_eq!((status, code(&body)), (503, "server_stopping"));
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (status, body) in answers {
        assert_eq!((status, &body["usage"]["completion_tokens"]), (200, &json!(1600)), "{body}");
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_takes_longer_than_the_grace_is_cut_off_in_words() {
    let mut server = Server::start(&["--grace", "0"]);
    let long = json!({"prompt": "Once upon a time", "max_tokens": 500, "n": 64,
        "ignore_eos": true});
    let (status, body) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.post("/v1/completions", &long));
        server.wait_for_metric("pixel_llm_requests_running", 8.0);
        server.terminate();
        asking.join().unwrap()
    });
    assert_eq!((status, code(&body)), (503, "server_stopping"));
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

/// The memory of a process that is its own, in KiB.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "ten thousand requests take a minute"]
fn ten_thousand_requests_leave_memory_as_it_was() {
    let server = Server::start(&["--queue", "64", "--context", "256"]);
    let since = Instant::now();
    let ask = |count: usize| {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                let server = &server;
                scope.spawn(move || {
                    for _ in 0..count / 16 {
                        assert_eq!(server.post("/v1/completions", &story(1)).0, 200);
                    }
                });
            }
        });
    };
    ask(1600);
    let before = resident(server.child.id());
    ask(10_000);
    let after = resident(server.child.id());
    eprintln!("{before} KiB before, {after} KiB after, {:.0?}", since.elapsed());
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
}
