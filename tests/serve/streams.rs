//! Answers as they are made.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::client::{Server, story, text_of};

#[test]
fn a_stream_says_what_the_answer_in_one_piece_says() {
    let server = Server::start(&[]);
    let chat = json!({"messages": [{"role": "user", "content": "Tell me a story"}], "seed": 5,
        "max_tokens": 40, "logprobs": true, "top_logprobs": 2});
    let completion = json!({"prompt": "Once upon", "seed": 5, "max_tokens": 40, "logprobs": 2,
        "stop": [" the"]});
    for (path, body, object) in [
        ("/v1/chat/completions", chat, "chat.completion.chunk"),
        ("/v1/completions", completion, "text_completion"),
    ] {
        let (_, whole) = server.post(path, &body);
        let choice = &whole["choices"][0];
        let mut asked = body.clone();
        asked["stream"] = json!(true);
        asked["stream_options"] = json!({"include_usage": true});
        let mut chunks = server.stream(path, &asked);
        let last = chunks.pop().unwrap();
        assert_eq!(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
        assert_eq!(last["choices"], json!([]));
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null() && chunk["object"] == object));
        let text: String = chunks.iter().map(text_of).collect();
        let expected = choice["text"].as_str().or(choice["message"]["content"].as_str());
        assert_eq!(Some(text.as_str()), expected);
        let end = chunks.last().unwrap();
        assert_eq!(end["choices"][0]["finish_reason"], choice["finish_reason"]);
        let list = |name: &str| -> Vec<Value> {
            let of = |chunk: &Value| chunk["choices"][0]["logprobs"][name].as_array().cloned();
            chunks.iter().filter_map(of).flatten().collect()
        };
        let names: &[&str] = match path {
            "/v1/completions" => &["tokens", "token_logprobs", "top_logprobs", "text_offset"],
            _ => &["content"],
        };
        for name in names {
            assert_eq!(json!(list(name)), choice["logprobs"][*name], "{name}");
        }
        assert!(chunks.len() > 3, "it came in {} pieces", chunks.len());
    }
}

#[test]
fn choices_of_a_stream_are_told_apart() {
    let server = Server::start(&[]);
    let mut body = json!({"prompt": ["Once upon", "The old"], "n": 2, "seed": 3, "max_tokens": 10});
    let (_, whole) = server.post("/v1/completions", &body);
    body["stream"] = json!(true);
    let mut texts = vec![String::new(); 4];
    for chunk in server.stream("/v1/completions", &body) {
        let at = chunk["choices"][0]["index"].as_u64().unwrap() as usize;
        texts[at].push_str(&text_of(&chunk));
    }
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(whole["choices"][at]["text"], **text);
    }
}

#[test]
fn who_leaves_frees_a_slot_and_disturbs_nobody() {
    let server = Server::start(&["--parallel", "8"]);
    let ask = |index: u64, tokens: u32, choices: u32| {
        json!({"prompt": "Once upon a time", "seed": index, "max_tokens": tokens, "stream": true,
            "ignore_eos": true, "temperature": 1.2, "n": choices})
    };
    let undisturbed: Vec<String> = (0..4)
        .map(|index| {
            server.stream("/v1/completions", &ask(index, 300, 1)).iter().map(text_of).collect()
        })
        .collect();
    std::thread::scope(|scope| {
        let staying: Vec<_> = (0..4)
            .map(|index| {
                let ask = ask(index, 300, 1);
                let server = &server;
                scope.spawn(move || -> String {
                    server.stream("/v1/completions", &ask).iter().map(text_of).collect()
                })
            })
            .collect();
        let leaving: Vec<_> = (4..8)
            .map(|index| {
                let (ask, server) = (ask(index, 480, 40), &server);
                scope.spawn(move || {
                    let mut response = server.send("/v1/completions", &ask);
                    let mut lines = BufReader::new(response.body_mut().as_reader()).lines();
                    let events = lines
                        .by_ref()
                        .filter(|line| line.as_ref().is_ok_and(|line| line.starts_with("data: ")));
                    assert_eq!(events.take(5).count(), 5);
                })
            })
            .collect();
        leaving.into_iter().for_each(|thread| thread.join().unwrap());
        server.wait_for_metric("pixel_llm_requests_total{outcome=\"abandoned\"}", 4.0);
        for (text, undisturbed) in staying.into_iter().zip(&undisturbed) {
            assert_eq!(&text.join().unwrap(), undisturbed);
        }
    });
    server.wait_for_metric("pixel_llm_requests_running", 0.0);
    // Far fewer tokens were made than the 76,800 that those who left had asked for.
    let made = server.metric("pixel_llm_generation_tokens_total");
    assert!(made < 2.0 * 4.0 * 300.0 + 38_400.0, "{made}");
    assert_eq!(server.post("/v1/completions", &story(4)).0, 200);
}
