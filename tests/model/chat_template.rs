//! Chat templates of the well-known shapes, and templates that refuse, fail or would never end.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::collections::BTreeMap;

use pixel_llm::model::chat::{ChatError, ChatMessage, ChatTemplate, MAX_TEMPLATE_BYTES, Signs};
use serde_json::value::RawValue;

fn conversation(turns: &[(&str, &str)]) -> Vec<ChatMessage> {
    turns.iter().map(|(role, content)| ChatMessage::new(*role, *content)).collect()
}

const TURNS: &[(&str, &str)] = &[
    ("system", "Be brief."),
    ("user", " Hi & <b>bye</b> "),
    ("assistant", "Hello."),
    ("user", "Why?"),
];

fn render(source: &str, turns: &[(&str, &str)], open: bool) -> Result<String, ChatError> {
    ChatTemplate::new(Some(source), "<s>", "</s>")?.render(&conversation(turns), open)
}

/// What a template without messages prints.
fn print(source: &str) -> String {
    render(source, &[], false).unwrap()
}

#[test]
fn chatml_is_the_default() {
    let template = ChatTemplate::new(None, "", "").unwrap();
    assert_eq!(
        template.render(&conversation(TURNS), true).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi & <b>bye</b> <|im_end|>\n\
         <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    assert_eq!(
        template.render(&conversation(&TURNS[..1]), false).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n"
    );
    assert_eq!(template.render(&[], false).unwrap(), "");
}

/// A system message of its own where the conversation has none.
const CHATML_WITH_DEFAULT: &str = include_str!("templates/chatml_with_default.jinja");

#[test]
fn chatml_with_a_default_system_message() {
    assert_eq!(
        render(CHATML_WITH_DEFAULT, &TURNS[1..2], true).unwrap(),
        "<|im_start|>system\nYou are kind.<|im_end|>\n\
         <|im_start|>user\nHi & <b>bye</b><|im_end|>\n<|im_start|>assistant\n"
    );
}

/// The shape of Llama 2: the system message inside the first question, and turns that must
/// alternate.
const LLAMA_2: &str = include_str!("templates/llama_2.jinja");

#[test]
fn llama_2_puts_the_system_message_into_the_question() {
    assert_eq!(
        render(LLAMA_2, TURNS, true).unwrap(),
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi & <b>bye</b> [/INST] Hello. </s>\
         <s>[INST] Why? [/INST]"
    );
}

#[test]
fn a_template_refuses_in_its_own_words() {
    let error = render(LLAMA_2, &[("user", "a"), ("user", "b")], true).unwrap_err();
    assert!(matches!(
        &error,
        ChatError::Raised { message }
            if message == "Turns must alternate, but turn 2 is by user"
    ));
    assert_eq!(
        error.to_string(),
        "the chat template refuses this conversation: Turns must alternate, but turn 2 is by user"
    );
}

#[test]
fn a_refusal_is_told_apart_inside_a_macro() {
    let source = "{% macro no(why) %}{{ raise_exception(why) }}{% endmacro %}{{ no('nested') }}";
    assert!(matches!(
        render(source, &[], false),
        Err(ChatError::Raised { message }) if message == "nested"
    ));
}

/// The shape of Llama 3: headers, a date, and tools that are not there.
const LLAMA_3: &str = include_str!("templates/llama_3.jinja");

#[test]
fn llama_3_writes_headers() {
    assert_eq!(
        render(LLAMA_3, TURNS, true).unwrap(),
        "<s><|start_header_id|>system<|end_header_id|>\n\nYear length: 11\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHi & <b>bye</b><|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n"
    );
}

/// The shape of Qwen 3: tools, a namespace, a walk from the last message backwards, and thoughts
/// that are cut out.
const QWEN_3: &str = include_str!("templates/qwen_3.jinja");

#[test]
fn qwen_3_forgets_old_thoughts_and_keeps_new_ones() {
    let thought = "<think>\nhm\n</think>\n\nHello.";
    let mut turns =
        vec![("system", "Be brief."), ("user", "Hi"), ("assistant", thought), ("user", "Why?")];
    assert_eq!(
        render(QWEN_3, &turns, true).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
         <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    turns.truncate(3);
    assert_eq!(
        render(QWEN_3, &turns[1..], false).unwrap(),
        "<|im_start|>user\nHi<|im_end|>\n\
         <|im_start|>assistant\n<think>\nhm\n</think>\n\nHello.<|im_end|>\n"
    );
}

/// The shape of Zephyr: blocks on lines of their own, whose line breaks are trimmed.
const ZEPHYR: &str = include_str!("templates/zephyr.jinja");

#[test]
fn zephyr_depends_on_trimmed_blocks() {
    assert_eq!(
        render(ZEPHYR, &TURNS[..2], true).unwrap(),
        "<|system|>\nBe brief.</s>\n<|user|>\n Hi & <b>bye</b> </s>\n<|assistant|>\n"
    );
}

#[test]
fn python_habits() {
    assert_eq!(print("{{ 'a,b'.split(',')[-1].upper() }}{{ {'k': 1}.items()|list|length }}"), "B1");
    assert_eq!(
        print(
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}\
             {% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        ),
        "02"
    );
    assert_eq!(print("    {% if true %}\n  x\n    {% endif %}\n"), "  x\n");
    assert_eq!(
        print("{% generation %}x{% endgeneration %}{%- generation -%} y {%- endgeneration %}"),
        "xy"
    );
    assert_eq!(print("{{ tools is none }}{{ nothing is defined }}{{ nothing }}"), "TrueFalse");
    assert_eq!(print("{{ strftime_now('%Y')|length }}"), "4");
}

#[test]
fn json_is_written_as_python_writes_it() {
    assert_eq!(
        print(r#"{{ {"b": [1, 2.5, true, none], "a": "<é>\n\"\\"} | tojson }}"#),
        r#"{"b": [1, 2.5, true, null], "a": "<é>\n\"\\"}"#
    );
    assert_eq!(
        print(r#"{{ {"a": [1, {}], "b": []} | tojson(indent=2) }}"#),
        "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"
    );
}

#[test]
fn broken_templates_are_refused() {
    let refused = |source: &str| ChatTemplate::new(Some(source), "", "").unwrap_err();
    for source in [
        "{% if %}",
        "{{",
        "{% for x in %}{% endfor %}",
        "{% endif %}",
        &"{{(".repeat(10_000),
        &"{% if a %}".repeat(5_000),
    ] {
        assert!(matches!(refused(source), ChatError::Syntax { .. }), "{:.40}", source);
    }
    let large = refused(&" ".repeat(MAX_TEMPLATE_BYTES + 1));
    assert!(matches!(large, ChatError::TooLarge { found, .. } if found == MAX_TEMPLATE_BYTES + 1));
}

#[test]
fn failures_are_errors() {
    for source in [
        "{{ messages[0].content.nothing.more }}",
        "{{ nothing() }}",
        "{{ 1 | nothing }}",
        "{{ 'a'.nothing() }}",
        "{{ strftime_now('%') }}",
        "{% include 'other' %}",
        "{{ messages | tojson(indent=100000000) }}",
        "{{ raise_exception() }}",
    ] {
        assert!(matches!(render(source, &[], false), Err(ChatError::Render { .. })), "{source}");
    }
}

#[test]
fn a_template_cannot_run_or_grow_for_ever() {
    let long = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    let doubling = "{% set ns = namespace(s='xxxxxxxx') %}\
                    {% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let repeating = "{{ 'x' * 90000000 }}";
    for source in [long, doubling, repeating] {
        assert!(matches!(render(source, &[], false), Err(ChatError::OutOfFuel { .. })), "{source}");
    }
    let endless = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    assert!(matches!(
        render(endless, &[], false),
        Err(ChatError::Render { .. } | ChatError::OutOfFuel { .. })
    ));
}

#[test]
fn deeply_nested_values_do_not_end_the_program() {
    // As deep as the budget goes: what is nested is walked, printed, compared and dropped by
    // recursion.
    let (open, close) = ("[".repeat(40), "]".repeat(40));
    let nested = |rounds: usize, end: &str| {
        let loops = format!(
            "{{% for i in range({rounds}) %}}{{% set ns.x = {open}ns.x{close} %}}{{% endfor %}}"
        );
        render(&format!("{{% set ns = namespace(x=0) %}}{loops}{end}"), &[], false)
    };
    assert_eq!(nested(2000, "{{ ns.x }}").unwrap().len(), 2 * 40 * 2000 + 1);
    for end in ["{{ ns.x == [ns.x] }}", "{{ 1 in {ns.x: 1} }}", "{{ [ns.x, ns.x]|unique|list }}"] {
        assert!(nested(2000, end).is_ok(), "{end}");
    }
    assert!(matches!(nested(2000, "{{ ns.x|tojson }}"), Err(ChatError::Render { .. })));
    assert!(matches!(nested(99_999, ""), Err(ChatError::OutOfFuel { .. })));
}

#[test]
fn a_long_conversation_fits_the_budget() {
    let content = "word ".repeat(50_000);
    let turns: Vec<(&str, &str)> =
        (0..8).map(|turn| (["user", "assistant"][turn % 2], content.as_str())).collect();
    for source in [CHATML_WITH_DEFAULT, LLAMA_2, LLAMA_3, QWEN_3, ZEPHYR] {
        assert!(render(source, &turns, true).unwrap().len() > 1_900_000);
    }
}

/// A file of `vectors/make_templates.py`.
#[derive(serde::Deserialize)]
struct Vectors {
    families: BTreeMap<String, String>,
    vectors: Vec<Vector>,
}

/// A template, or the name of a family's, and what it prints; none where it refuses. Values stay as
/// they are written, since their order is printed.
#[derive(serde::Deserialize)]
struct Vector {
    template: String,
    messages: Vec<BTreeMap<String, Box<RawValue>>>,
    variables: BTreeMap<String, Box<RawValue>>,
    opens: bool,
    text: Option<String>,
}

/// What Python's jinja2 prints in the environment of `transformers`.
#[test]
fn templates_print_what_jinja_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/chat_templates.json");
    let file: Vectors = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for vector in &file.vectors {
        let named = &vector.template;
        let source = file.families.get(named).unwrap_or(named);
        let fields = |fields: &BTreeMap<String, Box<RawValue>>| -> Vec<(String, String)> {
            let others =
                fields.iter().filter(|(name, _)| !matches!(name.as_str(), "role" | "content"));
            others.map(|(name, value)| (name.clone(), value.get().to_owned())).collect()
        };
        let message = |message: &BTreeMap<String, Box<RawValue>>| ChatMessage {
            role: serde_json::from_str(message["role"].get()).unwrap(),
            content: serde_json::from_str(message["content"].get()).unwrap(),
            rest: fields(message),
        };
        let messages: Vec<ChatMessage> = vector.messages.iter().map(message).collect();
        let variables = fields(&vector.variables);
        let template = ChatTemplate::unchecked(Some(source), "<s>", "</s>");
        let found = template.render_with(&messages, vector.opens, &variables, &Signs::default());
        match (&found, &vector.text) {
            (Ok(found), Some(expected)) if found == expected => {}
            (Err(_), None) => {}
            (found, expected) => {
                let found = found.as_ref().map_err(ToString::to_string);
                wrong.push(format!("{named}\n  wants {expected:?}\n  has   {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
