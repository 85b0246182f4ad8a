//! `--serve` in the window: a client asks the model that is shown.
#![cfg(all(feature = "world", unix))]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::client::Server;
use crate::common::display::{Display, Guarded};

#[test]
fn the_window_answers_a_client_as_a_server_does() {
    let Some(display) = Display::start(&[]) else { return };
    let home = tempfile::tempdir().unwrap();
    let mut program = display.program();
    program.args(["--serve", "0", "--no-agents"]).env("HOME", home.path());
    program.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut window = Guarded(program.spawn().unwrap());
    let mut said = String::new();
    let mut stderr = BufReader::new(window.0.stderr.take().unwrap());
    let url = loop {
        if stderr.read_line(&mut said).unwrap() == 0 {
            assert!(std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none(), "{said}");
            assert!(said.contains("adapter"), "{said}");
            eprintln!("SKIPPED, nothing was tested: {said}");
            return;
        }
        if let Some((_, url)) = said.split_once("the window answers at ") {
            break url.trim().trim_end_matches("/v1").to_owned();
        }
    };
    // The rest is read, so that the window can say what it likes.
    std::thread::spawn(move || stderr.lines().count());
    let body = json!({
        "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "logprobs": 2,
    });
    let ask = |url: &str| -> Value {
        let request = ureq::post(format!("{url}/v1/completions"));
        let mut response = request.content_type("application/json").send(body.to_string()).unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    };
    let by_window = ask(&url);
    let by_server = ask(&Server::start(&[]).url);
    let text = |answer: &Value| answer["choices"][0]["text"].clone();
    assert_eq!(text(&by_window), text(&by_server), "{by_window}");
    let tokens = |answer: &Value| answer["choices"][0]["logprobs"]["tokens"].clone();
    assert_eq!(tokens(&by_window), tokens(&by_server));
    assert_eq!(by_window["usage"]["completion_tokens"], 8);
}
