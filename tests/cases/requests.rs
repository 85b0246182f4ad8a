//! Requests written for other engines.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Case;

/// The results of a run, by id.
fn results(case: &Case, args: &[&str]) -> BTreeMap<String, Value> {
    let output = case
        .program(&[&["--no-window", "--device", "cpu", "--quiet"], args].concat())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["custom_id"].as_str().unwrap().to_owned(), line)
    };
    lines.lines().map(line).collect()
}

fn choice(result: &Value) -> &Value {
    &result["response"]["body"]["choices"][0]
}

/// The rendered prompt without its first token, spelt from the scores of its bytes.
fn prompt(result: &Value) -> String {
    let scores = choice(result)["prompt_logprobs"].as_array().unwrap();
    let bytes = scores
        .iter()
        .filter(|token| !token.is_null())
        .flat_map(|token| token["bytes"].as_array().unwrap());
    String::from_utf8(bytes.map(|byte| byte.as_u64().unwrap() as u8).collect()).unwrap()
}

#[test]
fn prompts_are_those_of_jinja() {
    for name in ["chat-template-kwargs", "content-parts", "history-with-tool-calls"] {
        let Some(case) = Case::of(name) else { return };
        let found = results(&case, &["model.gguf", "--input", "in.jsonl"]);
        for (id, expected) in case.json("expected.json").as_object().unwrap() {
            assert!(
                expected.as_str().unwrap().ends_with(&prompt(&found[id])),
                "{name}, {id}: {}",
                found[id]
            );
        }
    }
}

#[test]
fn what_asks_for_nothing_is_taken_and_what_asks_for_more_has_an_error() {
    let Some(case) = Case::of("fields-that-ask-for-nothing") else { return };
    let found = results(&case, &["--input", "in.jsonl", "--skip-bad"]);
    for id in ["format-text", "no-tools", "empty-tools", "json"] {
        assert_eq!(found[id]["error"], Value::Null, "{id}");
    }
    // It was refused once. Now its one token begins an object.
    let begun = choice(&found["json"])["message"]["content"].as_str().unwrap();
    assert!(begun.starts_with('{'), "{begun}");
}

#[test]
fn a_bad_line_with_an_id_has_a_result() {
    let Some(case) = Case::of("bad-lines-leave-no-result") else { return };
    let found = results(&case, &["--input", "in.jsonl", "--skip-bad"]);
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(ids, ["embedding", "good", "hot"]);
    assert_eq!(found["hot"]["error"]["code"], "invalid_request");
}

#[test]
fn half_a_pair_is_a_replacement_character() {
    let Some(case) = Case::of("half-a-surrogate-pair") else { return };
    let found = results(&case, &["model.gguf", "--input", "in.jsonl"]);
    assert!("cut \u{fffd}".ends_with(&prompt(&found["half"])));
    assert_eq!(found["whole"]["error"], Value::Null);
}

#[test]
fn an_echoed_prompt_is_scored_before_the_answer() {
    let Some(case) = Case::of("echo-with-logprobs") else { return };
    let found = results(&case, &["model.gguf", "--input", "in.jsonl"]);
    for (id, expected) in case.json("expected.json").as_object().unwrap() {
        let logprobs = &choice(&found[id])["logprobs"];
        for field in ["tokens", "text_offset"] {
            assert!(
                expected[field].is_null() || expected[field] == logprobs[field],
                "{id}: {logprobs}"
            );
        }
        let values = |of: &Value| of["token_logprobs"].as_array().unwrap().clone();
        let (found, expected) = (values(logprobs), values(expected));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            match (found.as_f64(), expected.as_f64()) {
                (Some(found), Some(expected)) => {
                    assert!((found - expected).abs() < 0.01, "{id}: {found}")
                }
                (found, expected) => assert_eq!(found, expected, "{id}"),
            }
        }
    }
}

#[test]
fn a_bias_outside_the_vocabulary_fails_its_request_alone() {
    let Some(case) = Case::of("logit-bias-outside-vocabulary") else { return };
    let found = results(&case, &["model.gguf", "--input", "in.jsonl"]);
    let failed: Vec<&String> =
        found.iter().filter(|(_, line)| !line["error"].is_null()).map(|(id, _)| id).collect();
    assert_eq!((found.len(), failed), (12, vec![&"q05".to_owned()]));
    let error = &found["q05"]["error"];
    assert_eq!(error["message"], "`logit_bias` has token 50000, and the vocabulary has 260");
    assert_eq!(error["param"], "logit_bias");
}

#[test]
fn logits_that_are_no_numbers_are_said() {
    let Some(case) = Case::of("logits-that-overflow") else { return };
    for more in [&["--logprobs", "2"][..], &[]] {
        let args = [
            "--no-window",
            "model.gguf",
            "--prompt",
            "hi",
            "--device",
            "cpu",
            "--temperature",
            "0",
        ];
        let output = case.program(&[&args[..], more].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("are not all numbers"));
    }
}

#[test]
fn sampling_fields_of_others_mean_what_they_mean_there() {
    let Some(case) = Case::of("sampling-fields-of-other-engines") else { return };
    let found = results(&case, &["model.gguf", "--input", "in.jsonl", "--skip-bad"]);
    let text = |id: &str| choice(&found[id])["text"].as_str().unwrap().to_owned();
    assert_eq!((text("top-k"), text("top-p")), (text("greedy"), text("greedy")));
    assert_eq!(text("repetition"), text("repeat"));
}

#[test]
fn many_fields_are_read() {
    let case = Case::empty();
    let biases: serde_json::Map<String, Value> =
        (0..100_000).map(|i| (i.to_string(), 1.into())).collect();
    let line =
        serde_json::json!({"id": "a", "prompt": "Once", "max_tokens": 2, "logit_bias": biases});
    std::fs::write(case.file("in.jsonl"), format!("{line}\n")).unwrap();
    let found = results(&case, &["--input", "in.jsonl"]);
    assert_eq!(found["a"]["error"]["param"], "logit_bias");
}

#[test]
fn a_result_of_another_request_or_model_is_not_taken_for_done() {
    let Some(case) = Case::of("resume-with-other-requests") else { return };
    let run = |args: &[&str]| {
        let common = ["--no-window", "--output", "o.jsonl", "--device", "cpu"];
        let output = case.program(&[&common, args].concat()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&["--input", "first.jsonl"]).0, Some(0));
    let first = std::fs::read(case.file("o.jsonl")).unwrap();
    let (code, said) = run(&["--input", "second.jsonl", "--resume"]);
    assert!(code != Some(0) && ["r0", "r1", "r2"].iter().all(|id| said.contains(id)), "{said}");
    let (code, said) = run(&["other.gguf", "--input", "first.jsonl", "--resume"]);
    assert!(code != Some(0) && said.contains("another model"), "{said}");
    assert_eq!(std::fs::read(case.file("o.jsonl")).unwrap(), first);
    assert_eq!(run(&["--input", "first.jsonl", "--resume"]).0, Some(0));
    assert_eq!(run(&["--input", "second.jsonl", "--resume", "--retry-changed"]).0, Some(0));
    assert_ne!(std::fs::read(case.file("o.jsonl")).unwrap(), first);
}

/// A run over lines with the built-in model, greedily.
fn answers(lines: &[Value]) -> BTreeMap<String, Value> {
    let case = Case::empty();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(case.file("in.jsonl"), text).unwrap();
    results(&case, &["--input", "in.jsonl", "--temperature", "0", "--skip-bad"])
}

fn chat_text(result: &Value) -> &str {
    choice(result)["message"]["content"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[test]
fn ends_of_answers_are_those_that_a_request_names() {
    let ask = |id: &str, more: Value| {
        let mut line = serde_json::json!({
            "id": id, "messages": [{"role": "user", "content": "Who are you?"}],
            "max_tokens": 60, "logprobs": true,
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let prompt = serde_json::json!({
        "id": "p", "prompt": "Once upon a time", "max_tokens": 8, "logprobs": 0
    });
    let first = answers(&[ask("plain", serde_json::json!({})), prompt.clone()]);
    let made =
        |line: &Value| line["response"]["body"]["usage"]["completion_tokens"].as_u64().unwrap();
    let plain = made(&first["plain"]);
    assert_eq!(choice(&first["plain"])["finish_reason"], "stop");
    // The ids of a text's tokens are those that a prompt of ids gives back.
    let second = choice(&first["p"])["logprobs"]["tokens"][1].as_str().unwrap().to_owned();
    let found = answers(&[
        ask("more", serde_json::json!({"min_tokens": plain + 5})),
        ask("new", serde_json::json!({"min_new_tokens": 2})),
        ask("on", serde_json::json!({"ignore_eos": true})),
        ask("much", serde_json::json!({"min_tokens": 61})),
        ask("stop", serde_json::json!({"stop_token_ids": (0..1024).collect::<Vec<u32>>()})),
        ask(
            "late",
            serde_json::json!({
                "stop_token_ids": (0..512).collect::<Vec<u32>>(), "min_tokens": 3
            }),
        ),
        ask("none", serde_json::json!({"stop_token_ids": [99_999_999]})),
        ask("texts", serde_json::json!({"stop_strings": ["am"]})),
    ]);
    assert!(made(&found["more"]) >= plain + 5, "{}", found["more"]);
    assert_eq!(chat_text(&found["new"]), chat_text(&first["plain"]));
    assert_eq!(
        (made(&found["on"]), choice(&found["on"])["finish_reason"].as_str()),
        (60, Some("length"))
    );
    assert!(
        found["much"]["error"]["message"].as_str().unwrap().contains("at most `max_tokens`, 60")
    );
    // The token that ends the answer is none of its text.
    assert_eq!((chat_text(&found["stop"]), made(&found["stop"])), ("", 1));
    assert!(made(&found["late"]) >= 3 && !chat_text(&found["late"]).is_empty());
    assert_eq!(found["none"]["error"]["param"], "stop_token_ids");
    assert!(chat_text(&first["plain"]).starts_with(&format!("{}am", chat_text(&found["texts"]))));
    assert!(!second.is_empty());
}

#[test]
fn a_turn_is_opened_left_out_or_continued() {
    let Some(case) = Case::of("chat-template-kwargs") else { return };
    let messages = serde_json::json!([
        {"role": "user", "content": "q"}, {"role": "assistant", "content": " Well, "}
    ]);
    let ask = |id: &str, more: Value| {
        let mut line = serde_json::json!({
            "id": id, "messages": messages, "max_tokens": 0, "prompt_logprobs": 0,
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{line}\n")
    };
    let lines = [
        ask("opened", serde_json::json!({})),
        ask("closed", serde_json::json!({"add_generation_prompt": false})),
        ask("continued", serde_json::json!({"continue_final_message": true})),
        ask(
            "both",
            serde_json::json!({"continue_final_message": true, "add_generation_prompt": true}),
        ),
        ask("quiet", serde_json::json!({"chat_template_kwargs": {"enable_thinking": false}})),
        ask("same", serde_json::json!({"enable_thinking": false})),
        ask("given", serde_json::json!({"chat_template_kwargs": {"messages": []}})),
        ask("list", serde_json::json!({"chat_template_kwargs": []})),
    ];
    std::fs::write(case.file("turns.jsonl"), lines.concat()).unwrap();
    let found = results(&case, &["model.gguf", "--input", "turns.jsonl", "--skip-bad"]);
    let [opened, closed, continued] =
        ["opened", "closed", "continued"].map(|id| prompt(&found[id]));
    assert!(opened.starts_with(&closed) && opened.len() > closed.len(), "{opened}");
    assert!(
        continued.trim_end().ends_with("Well,") && closed.starts_with(&continued),
        "{continued}"
    );
    assert_eq!(prompt(&found["quiet"]), prompt(&found["same"]));
    assert_ne!(prompt(&found["quiet"]), opened);
    for (id, why) in [
        ("both", "either `continue_final_message`"),
        ("given", "given anyway"),
        ("list", "an object"),
    ] {
        let said = found[id]["error"]["message"].as_str().unwrap();
        assert!(said.contains(why), "{id}: {said}");
    }
}

#[test]
fn a_failed_request_runs_again_after_it_is_mended() {
    let case = Case::empty();
    let run = |lines: &str, more: &[&str]| {
        std::fs::write(case.file("in.jsonl"), lines).unwrap();
        let common =
            ["--no-window", "--input", "in.jsonl", "--output", "o.jsonl", "--device", "cpu"];
        let output = case.program(&[&common, more].concat()).output().unwrap();
        let results = std::fs::read_to_string(case.file("o.jsonl")).unwrap();
        let results: BTreeMap<String, Value> = results
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (line["custom_id"].as_str().unwrap().to_owned(), line))
            .collect();
        (output.status.code(), results)
    };
    let good = "{\"id\": \"good\", \"prompt\": \"Once\", \"max_tokens\": 2}\n";
    let bad = "{\"id\": \"bad\", \"prompt\": \"Once\", \"max_tokens\": 2, \"temperature\": 999}\n\
               {\"id\": \"bias\", \"prompt\": \"Once\", \"max_tokens\": 2, \
               \"logit_bias\": {\"9999999\": 1}}\n";
    let (code, first) = run(&format!("{good}{bad}"), &["--skip-bad"]);
    assert_eq!((code, first.len()), (Some(1), 3));
    assert!(first["bad"]["error"].is_object() && first["bias"]["error"].is_object());
    let mended =
        format!("{good}{}", bad.replace("999}", "1}").replace("{\"9999999\": 1}", "{\"9\": 1}"));
    let (code, resumed) = run(&mended, &["--resume", "--retry-failed"]);
    assert_eq!((code, resumed.len()), (Some(0), 3));
    assert!(resumed.values().all(|line| line["error"].is_null()), "{resumed:?}");
    assert_eq!(resumed["good"], first["good"]);
    // What is mended and answered is not run again.
    assert_eq!(run(&mended, &["--resume", "--retry-failed"]).1, resumed);
}
