//! What comes back: bodies, errors, lists.

use serde_json::{Value, json};

use crate::client::{Server, code, story};

#[test]
fn every_path_answers_in_the_shape_that_clients_read() {
    let server = Server::start(&["--name", "seed"]);
    let (status, body) = server.post("/v1/completions", &story(8));
    assert_eq!((status, &body["object"]), (200, &json!("text_completion")), "{body}");
    assert_eq!(body["usage"]["completion_tokens"], 8);
    assert!(body["choices"][0]["text"].as_str().unwrap().starts_with(", there was a"), "{body}");
    assert_eq!(
        (&body["model"], &body["choices"][0]["finish_reason"]),
        (&json!("seed"), &json!("length"))
    );
    let chat = json!({"model": "seed", "temperature": 0,
        "messages": [{"role": "user", "content": "Who are you?"}]});
    let (_, body) = server.post("/v1/chat/completions", &chat);
    let message = &body["choices"][0]["message"];
    assert_eq!(message["role"], "assistant");
    assert!(message["content"].as_str().unwrap().contains("I am Seedling"), "{body}");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let (_, list) = server.get("/v1/models");
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("seed")));
    assert!(list["data"][0]["max_model_len"].as_u64().unwrap() > 0);
    assert_eq!(server.get("/v1/models/seed").1["id"], "seed");
    let (status, body) = server.get("/v1/models/seeds");
    assert_eq!((status, code(&body)), (404, "model_not_found"));
    assert!(body["error"]["message"].as_str().unwrap().contains("did you mean \"seed\"?"));
    let (_, props) = server.get("/props");
    assert_eq!((&props["slots"], props["root"].as_str().unwrap().len()), (&json!(8), 64));
}

#[test]
fn tokens_and_text_are_turned_into_each_other() {
    let server = Server::start(&[]);
    let text = "Once upon a time";
    let body = json!({"prompt": text, "add_special_tokens": false});
    let (_, tokens) = server.post("/tokenize", &body);
    assert_eq!(tokens["count"], tokens["tokens"].as_array().unwrap().len());
    let (_, back) = server.post("/detokenize", &json!({"tokens": tokens["tokens"]}));
    assert_eq!(back["prompt"], text);
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let (_, opened) = server.post("/tokenize", &json!({"messages": messages}));
    let closed = json!({"messages": messages, "add_generation_prompt": false});
    let (_, closed) = server.post("/tokenize", &closed);
    assert!(opened["count"].as_u64() > closed["count"].as_u64(), "{opened} {closed}");
    let (_, info) = server.get("/tokenizer_info");
    for name in ["eos_token", "chat_template"] {
        assert!(info[name].is_string(), "{info}");
    }
    let (status, body) = server.post("/detokenize", &json!({"tokens": [4_000_000]}));
    assert_eq!((status, code(&body)), (400, "unknown_token"));
}

#[test]
fn what_is_wrong_is_told_with_its_status_code_and_field() {
    let server = Server::start(&["--context", "64"]);
    let long = "word ".repeat(200);
    let chat = |content: &str| json!({"messages": [{"role": "user", "content": content}]});
    for (path, body, status, expected, param) in [
        ("/v1/completions", json!({"prompt": long}), 400, "context_length_exceeded", "prompt"),
        ("/v1/chat/completions", chat(&long), 400, "context_length_exceeded", "messages"),
        (
            "/v1/completions",
            json!({"prompt": "x", "temperature": -1}),
            400,
            "invalid_request",
            "temperature",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x", "temprature": 1}),
            400,
            "invalid_request",
            "temprature",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x", "model": "gpt-4"}),
            404,
            "model_not_found",
            "model",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x", "logit_bias": {"9999999": 1}}),
            400,
            "unknown_token",
            "logit_bias",
        ),
        (
            "/v1/completions",
            json!({"prompt": [], "max_tokens": 1}),
            400,
            "invalid_request",
            "prompt",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x", "stream": true, "echo": true}),
            400,
            "unsupported",
            "echo",
        ),
        (
            "/v1/completions",
            json!({"prompt": "x", "stream_options": {}}),
            400,
            "invalid_request",
            "stream_options",
        ),
    ] {
        let (found, answer) = server.post(path, &body);
        assert_eq!((found, code(&answer)), (status, expected), "{body}: {answer}");
        assert_eq!(answer["error"]["param"], param, "{answer}");
    }
    let (status, body) = server.get("/nowhere");
    assert_eq!((status, code(&body)), (404, "not_found"));
    let (status, body) = server.get("/v1/completions");
    assert_eq!((status, code(&body)), (405, "method_not_allowed"));
    // What nothing here knows is told in a header, and the request is answered.
    let body = json!({"prompt": "x", "max_tokens": 1, "zzz_unknown": 1});
    let response = server.send("/v1/completions", &body);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-ignored-fields"], "zzz_unknown");
}

/// The choices of a completion.
fn choices(server: &Server, body: &Value) -> Vec<Value> {
    let (status, answer) = server.post("/v1/completions", body);
    assert_eq!(status, 200, "{answer}");
    answer["choices"].as_array().unwrap().clone()
}

#[test]
fn several_choices_are_those_of_requests_of_one() {
    let server = Server::start(&[]);
    let body = |prompt: Value, n: u32| {
        json!({"prompt": prompt, "n": n, "seed": 7, "max_tokens": 12, "temperature": 1.0,
            "logprobs": 2, "echo": true})
    };
    let together = choices(&server, &body(json!(["Once upon", "The old"]), 2));
    let indices: Vec<_> = together.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    let without_index = |choice: &Value| {
        let mut choice = choice.clone();
        choice["index"] = json!(0);
        choice
    };
    for (prompt, at) in [("Once upon", 0), ("The old", 2)] {
        let alone = choices(&server, &body(json!(prompt), 1));
        assert_eq!(without_index(&together[at]), alone[0]);
        assert!(alone[0]["text"].as_str().unwrap().starts_with(prompt));
        assert_ne!(together[at]["text"], together[at + 1]["text"], "both drew the same");
    }
    // Ids as the tokenizer gives them are the same prompts, and count once each.
    let ids = |text: &str| server.post("/tokenize", &json!({"prompt": text})).1["tokens"].clone();
    let lists = json!([ids("Once upon"), ids("The old")]);
    let (_, answer) = server.post("/v1/completions", &body(lists, 2));
    let usage = &answer["usage"];
    let texts = |choices: &[Value]| -> Vec<Value> {
        choices.iter().map(|choice| choice["logprobs"]["token_logprobs"].clone()).collect()
    };
    assert_eq!(texts(answer["choices"].as_array().unwrap()), texts(&together));
    let count =
        ids("Once upon").as_array().unwrap().len() + ids("The old").as_array().unwrap().len();
    assert_eq!(usage["prompt_tokens"], count);
    // One that cannot run fails the whole, and names why.
    let (status, answer) = server.post("/v1/completions", &json!({"prompt": [[1], []]}));
    assert_eq!((status, code(&answer)), (400, "empty_prompt"));
}

#[test]
fn an_evaluation_gets_prompt_and_exactly_one_token() {
    let server = Server::start(&[]);
    // As lm-evaluation-harness asks: also where the drawn token ends the answer.
    let (_, info) = server.get("/tokenizer_info");
    let ended = format!("Once upon a time{}", info["eos_token"].as_str().unwrap());
    for prompt in ["Once upon a time, there was", "The end.", ended.as_str()] {
        let body = json!({"prompt": prompt, "add_special_tokens": false});
        let ids = server.post("/tokenize", &body).1["tokens"].clone();
        let body = json!({"prompt": [ids], "echo": true, "logprobs": 1, "max_tokens": 1,
            "temperature": 0, "seed": 1234});
        let choice = &choices(&server, &body)[0];
        let logprobs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        assert_eq!(logprobs.len(), ids.as_array().unwrap().len() + 1, "{prompt}: {choice}");
        assert!(logprobs[0].is_null() && logprobs[1..].iter().all(Value::is_number));
        // A greedy token is the first of its alternatives, with the very same number.
        let last = logprobs.len() - 1;
        let name = choice["logprobs"]["tokens"][last].as_str().unwrap();
        assert_eq!(choice["logprobs"]["top_logprobs"][last][name], logprobs[last], "{choice}");
    }
}

#[test]
fn an_adapter_is_asked_for_by_its_name_as_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        (0..8).map(|_| "{\"prompt\": \"Once\", \"completion\": \" zzz\"}\n").collect();
    std::fs::write(folder.path().join("data.jsonl"), lines).unwrap();
    let trained = crate::client::program()
        .current_dir(folder.path())
        .args(["train", "data.jsonl", "--output", "a.gguf", "--epochs", "4"])
        .output()
        .unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let adapter = format!("zed={}", folder.path().join("a.gguf").display());
    let server = Server::start(&["--name", "plain", "--lora", &adapter]);
    let (_, list) = server.get("/v1/models");
    assert_eq!(
        (&list["data"][1]["id"], &list["data"][1]["parent"]),
        (&json!("zed"), &json!("plain"))
    );
    let logprob = |model: &str| {
        let body = json!({"model": model, "prompt": "Once zzz", "max_tokens": 0, "echo": true,
            "logprobs": 0});
        let (status, answer) = server.post("/v1/completions", &body);
        assert_eq!((status, &answer["model"]), (200, &json!(model)), "{answer}");
        let scores = &answer["choices"][0]["logprobs"]["token_logprobs"];
        scores.as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>()
    };
    assert!(logprob("zed") > logprob("plain"), "{} {}", logprob("zed"), logprob("plain"));
    let body = json!({"model": "zed", "prompt": "x", "lora": [{"name": "zed"}]});
    assert_eq!(code(&server.post("/v1/completions", &body).1), "invalid_request");
}
