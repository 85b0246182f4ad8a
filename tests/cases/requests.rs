//! Requests written for other engines.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Case;

/// The results of a run, by id.
fn results(case: &Case, args: &[&str]) -> BTreeMap<String, Value> {
    let output =
        case.program(&[&["--no-window", "--device", "cpu", "--quiet"], args].concat()).output().unwrap();
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
    let bytes =
        scores.iter().filter(|token| !token.is_null()).flat_map(|token| token["bytes"].as_array().unwrap());
    String::from_utf8(bytes.map(|byte| byte.as_u64().unwrap() as u8).collect()).unwrap()
}

#[test]
fn prompts_are_those_of_jinja() {
    for name in ["chat-template-kwargs", "content-parts", "history-with-tool-calls"] {
        let Some(case) = Case::of(name) else { return };
        let found = results(&case, &["model.gguf", "--input", "in.jsonl"]);
        for (id, expected) in case.json("expected.json").as_object().unwrap() {
            assert!(expected.as_str().unwrap().ends_with(&prompt(&found[id])), "{name}, {id}: {}", found[id]);
        }
    }
}

#[test]
fn what_asks_for_nothing_is_taken_and_what_asks_for_more_has_an_error() {
    let Some(case) = Case::of("fields-that-ask-for-nothing") else { return };
    let found = results(&case, &["--input", "in.jsonl", "--skip-bad"]);
    for id in ["format-text", "no-tools", "empty-tools"] {
        assert_eq!(found[id]["error"], Value::Null, "{id}");
    }
    assert!(found["json"]["error"]["message"].as_str().unwrap().contains("forcing the form"));
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
            assert!(expected[field].is_null() || expected[field] == logprobs[field], "{id}: {logprobs}");
        }
        let values = |of: &Value| of["token_logprobs"].as_array().unwrap().clone();
        let (found, expected) = (values(logprobs), values(expected));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            match (found.as_f64(), expected.as_f64()) {
                (Some(found), Some(expected)) => assert!((found - expected).abs() < 0.01, "{id}: {found}"),
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
        let args = ["--no-window", "model.gguf", "--prompt", "hi", "--device", "cpu", "--temperature", "0"];
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
    let biases: serde_json::Map<String, Value> = (0..100_000).map(|i| (i.to_string(), 1.into())).collect();
    let line = serde_json::json!({"id": "a", "prompt": "Once", "max_tokens": 2, "logit_bias": biases});
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
