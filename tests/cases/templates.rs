//! Chat templates from strangers.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use pixel_llm::model::ChatTemplate;
use pixel_llm::model::chat::ChatError;
use serde_json::Value;

use crate::support::Case;

#[test]
fn a_template_too_deep_is_an_error_for_those_who_chat() {
    let Some(case) = Case::of("template-deep") else { return };
    for model in ["unary.gguf", "add.gguf"] {
        let args = ["--no-window", model, "--prompt", "hi", "--device", "cpu", "--max-tokens", "1"];
        case.program(&[&args[..], &["--raw"]].concat()).assert().success();
        let chat = case.program(&[&args[..], &["--chat"]].concat()).assert().code(1);
        let said = String::from_utf8_lossy(&chat.get_output().stderr).into_owned();
        assert!(said.contains("does not compile"), "{said}");
    }
}

#[test]
fn formats_and_texts_that_are_too_large_fail_their_request() {
    let files = [
        ("template-format-panic", "precision.gguf"),
        ("template-memory", "format-width.gguf"),
        ("template-memory", "join.gguf"),
        ("template-memory", "replace.gguf"),
    ];
    for (name, model) in files {
        let Some(case) = Case::of(name) else { return };
        let args = ["--no-window", model, "--prompt", "hi", "--device", "cpu", "--chat"];
        let output = case.program(&args).assert().code(1);
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(said.contains("the chat template"), "{model}: {said}");
        assert!(!said.contains("no process"), "{model}: {said}");
    }
}

#[test]
fn what_a_message_says_is_no_control_token() {
    let Some(case) = Case::of("chat-text-with-special-tokens") else { return };
    let output = case.program(&["--no-window", "--input", "chat.jsonl", "--device", "cpu"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line.to_string().matches("\"token\":\"<|im_").count()
    };
    let counts: Vec<usize> = text.lines().map(count).collect();
    assert!(counts.len() == 2 && counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
}

#[test]
fn line_ends_are_those_of_jinja() {
    for source in ["a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n", "a\r{% if true %}\rb\r{% endif %}\rc\r"]
    {
        assert_eq!(ChatTemplate::new(Some(source), "", "").unwrap().render(&[], false).unwrap(), "a\nb\nc");
    }
}

#[test]
fn json_is_compact_and_sorted_on_request() {
    let print = |source| ChatTemplate::new(Some(source), "", "").unwrap().render(&[], false).unwrap();
    assert_eq!(print("{{ {'b': 1, 'a': [2, 3]}|tojson(separators=(',', ':')) }}"), r#"{"b":1,"a":[2,3]}"#);
    assert_eq!(print("{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}"), r#"{"a": 2, "b": 1}"#);
}

#[test]
fn nesting_that_is_too_deep_is_an_error_in_words() {
    for part in ["-", "not ", "1 + ", "(", "[", "~ "] {
        let source = format!("{{{{ {}1 }}}}", part.repeat(200_000 / part.len()));
        let error = ChatTemplate::new(Some(&source), "", "").unwrap_err();
        assert!(matches!(error, ChatError::Syntax { .. }), "{part}: {error}");
    }
}

#[test]
fn a_template_that_never_ends_fails_its_request() {
    for model in ["print.gguf", "compare.gguf", "equal-texts.gguf"] {
        let Some(case) = Case::of("template-never-ends") else { return };
        let args = ["--no-window", model, "--prompt", "hi", "--device", "cpu", "--chat"];
        let output = case.program(&args).assert().code(1);
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(said.contains("budget"), "{model}: {said}");
    }
}
