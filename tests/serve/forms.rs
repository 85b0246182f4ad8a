//! Answers that have to have a form: each is what it was asked to be, whatever the model would say.

use serde_json::{Value, json};

use crate::client::{Server, code};

/// A schema with all that small models get wrong: types, names, an order, a list, a choice.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "kind": {"enum": ["girl", "tree"]},
            "friends": {"type": "array", "maxItems": 2,
                "items": {"type": "string", "maxLength": 6}},
        },
        "required": ["name", "age", "kind", "friends"],
        "additionalProperties": false,
    })
}

fn ask(server: &Server, seed: u64, more: &Value) -> Value {
    let mut body = json!({"prompt": "Once upon a time", "seed": seed, "max_tokens": 300,
        "temperature": 1.3});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, answer) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    answer
}

fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap()
}

fn is_of_schema(value: &Value) -> bool {
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    names == ["name", "age", "kind", "friends"]
        && value["name"].as_str().is_some_and(|name| name.chars().count() <= 12)
        && value["age"].as_u64().is_some_and(|age| age <= 120)
        && ["girl", "tree"].contains(&value["kind"].as_str().unwrap_or_default())
        && value["friends"]
            .as_array()
            .is_some_and(|friends| friends.len() <= 2 && friends.iter().all(Value::is_string))
}

#[test]
fn json_is_json_of_its_schema_whatever_is_drawn() {
    let server = Server::start(&[]);
    let format = json!({"response_format": {"type": "json_schema",
        "json_schema": {"name": "person", "schema": schema()}}});
    for seed in 0..40 {
        let answer = ask(&server, seed, &format);
        let value: Value = serde_json::from_str(text(&answer))
            .unwrap_or_else(|error| panic!("{error}: {}", text(&answer)));
        assert!(is_of_schema(&value), "{value}");
    }
    // The same beside others as alone.
    let alone: Vec<Value> = (0..8).map(|seed| ask(&server, seed, &format)).collect();
    let beside: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|seed| {
                let (server, format) = (&server, &format);
                scope.spawn(move || ask(server, seed, format))
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (alone, beside) in alone.iter().zip(&beside) {
        assert_eq!(text(alone), text(beside));
    }
}

#[test]
fn expressions_choices_and_grammars_are_kept_to() {
    let server = Server::start(&[]);
    let date = regex::Regex::new(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z").unwrap();
    for seed in 0..10 {
        let answer = ask(&server, seed, &json!({"guided_regex": "[0-9]{4}-[0-9]{2}-[0-9]{2}"}));
        assert!(date.is_match(text(&answer)), "{}", text(&answer));
        let choice = json!({"structured_outputs": {"choice": ["left.", "right*"]}});
        let answer = ask(&server, seed, &choice);
        assert!(["left.", "right*"].contains(&text(&answer)), "{}", text(&answer));
        let grammar = json!({"guided_grammar": "start: \"a\"+ \"b\" (\"c\" | \"d\")"});
        let answer = ask(
            &server,
            seed,
            &json!({"guided_grammar": grammar["guided_grammar"],
            "logit_bias": {}}),
        );
        let rest = text(&answer).trim_start_matches('a');
        assert!(text(&answer).len() > 2 && ["bc", "bd"].contains(&rest), "{}", text(&answer));
    }
    let object = json!({"messages": [{"role": "user", "content": "JSON, please"}], "seed": 2,
        "max_tokens": 400, "temperature": 0.2, "response_format": {"type": "json_object"}});
    let (_, answer) = server.post("/v1/chat/completions", &object);
    let choice = &answer["choices"][0];
    let content = choice["message"]["content"].as_str().unwrap();
    assert!(content.starts_with('{'), "{content}");
    if choice["finish_reason"] == "stop" {
        assert!(serde_json::from_str::<Value>(content).unwrap().is_object(), "{content}");
    }
}

#[test]
fn a_form_that_is_none_fails_its_request_in_words() {
    let server = Server::start(&[]);
    for (form, expected) in [
        (json!({"response_format": {"type": "xml"}}), "invalid_request"),
        (json!({"response_format": {"type": "json_schema"}}), "invalid_request"),
        (json!({"guided_regex": "a", "guided_json": {"type": "object"}}), "invalid_request"),
        (json!({"guided_regex": "a", "ignore_eos": true}), "invalid_request"),
        (json!({"guided_regex": "(a"}), "invalid_response_format"),
        (json!({"guided_json": {"type": "objct"}}), "invalid_response_format"),
        (json!({"guided_grammar": "start: nowhere"}), "invalid_response_format"),
    ] {
        let mut body = form.clone();
        body["prompt"] = json!("x");
        let (status, answer) = server.post("/v1/completions", &body);
        assert_eq!((status, code(&answer)), (400, expected), "{form}: {answer}");
    }
    // What asks for nothing is none.
    let nothing = json!({"prompt": "x", "max_tokens": 1, "response_format": {"type": "text"},
        "guided_regex": "", "guided_json": {}, "guided_choice": []});
    assert_eq!(server.post("/v1/completions", &nothing).0, 200);
}
