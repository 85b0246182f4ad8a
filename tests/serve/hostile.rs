//! Bodies and connections that no well-meaning client sends.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::client::{Server, code, story};

fn post(body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn every_strange_body_gets_an_error_of_its_own() {
    let server = Server::start(&[]);
    let deep = format!("{{\"prompt\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let large = [b"{\"prompt\":\"".as_slice(), &vec![b'x'; 17 << 20], b"\"}"].concat();
    let cases: &[(&str, &[u8], &str, &str)] = &[
        ("empty", b"", "400", "invalid_request"),
        ("cut", b"{\"prompt\":\"x", "400", "invalid_request"),
        ("no object", b"[1,2]", "400", "invalid_request"),
        ("not UTF-8", b"{\"prompt\":\"\xff\xfe\"}", "400", "invalid_request"),
        ("a zero", b"\0", "400", "invalid_request"),
        ("deep", deep.as_bytes(), "400", "invalid_request"),
        ("17 MiB", &large, "413", "body_too_large"),
    ];
    for (name, body, status, expected) in cases {
        let answer = server.raw(&post(body, ""), Duration::from_secs(60));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
        let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let json = serde_json::from_str(json).unwrap_or_else(|_| panic!("{name}: {answer}"));
        assert_eq!(code(&json), *expected, "{name}");
    }
    let form = post(b"prompt=x", "Content-Type: application/x-www-form-urlencoded\r\n");
    assert!(server.raw(&form, Duration::from_secs(30)).starts_with("HTTP/1.1 415"));
    // Half a character in a string is no reason to refuse: as in a file of requests.
    let half = post(br#"{"prompt":"a\ud800b","max_tokens":1}"#, "");
    assert!(server.raw(&half, Duration::from_secs(30)).starts_with("HTTP/1.1 200"));
    for bytes in [b"\x16\x03\x01 TLS?".as_slice(), b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"GET / HTTP/9"]
    {
        server.raw(bytes, Duration::from_millis(300));
    }
    assert_eq!(server.post("/v1/completions", &story(2)).0, 200, "it still answers");
}

#[test]
fn slow_senders_and_those_who_hang_up_keep_nobody_waiting() {
    let server = Server::start(&["--parallel", "2"]);
    let body = story(1).to_string();
    let whole = post(body.as_bytes(), "");
    let slow: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            // Some send half a head, some half a body, and then nothing.
            stream.write_all(&whole[..whole.len() * (1 + index % 3) / 4]).unwrap();
            stream
        })
        .collect();
    for _ in 0..4 {
        let long =
            json!({"prompt": "x", "max_tokens": 500, "n": 64, "ignore_eos": true}).to_string();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(&post(long.as_bytes(), "")).unwrap();
    }
    assert_eq!(server.post("/v1/completions", &story(2)).0, 200);
    drop(slow);
    server.wait_for_metric("pixel_llm_requests_running", 0.0);
}

/// A generator of the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn bodies_that_were_gnawed_at_never_end_the_server() {
    let server = Server::start(&["--max-tokens", "1"]);
    let seconds = std::env::var("PIXEL_LLM_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(5));
    let whole = json!({"model": server.model, "prompt": ["a", "b"], "n": 2, "max_tokens": 1,
        "stop": ["x", "\u{e9}"], "logprobs": 2, "seed": 3, "logit_bias": {"5": -1.5},
        "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.5,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {
            "type": "object", "properties": {"a": {"type": "integer"}}}}}})
    .to_string();
    let (mut numbers, mut count, since) = (Numbers(1), 0, std::time::Instant::now());
    while since.elapsed() < time {
        let mut body = whole.clone().into_bytes();
        for _ in 0..1 + numbers.below(6) {
            let at = numbers.below(body.len().max(1));
            match numbers.below(5) {
                _ if body.is_empty() => break,
                0 => body[at] = numbers.below(256) as u8,
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"{}[],:\"0-e.\\\xff"[numbers.below(13)]),
                3 => {
                    let end = (at + numbers.below(20)).min(body.len());
                    let piece = body[at..end].to_vec();
                    body.splice(at..at, piece);
                }
                _ => body.truncate(at + 1),
            }
        }
        let answer = server.raw(&post(&body, ""), Duration::from_secs(60));
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(
            ["200", "400", "404", "429"].contains(&status),
            "{}\n{answer}",
            String::from_utf8_lossy(&body)
        );
        count += 1;
    }
    eprintln!("{count} bodies");
    assert!(count > 20, "{count}");
    assert_eq!(server.post("/v1/completions", &story(2)).0, 200, "it still answers");
}
