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
    let output = case
        .program(&["--no-window", "--input", "chat.jsonl", "--device", "cpu"])
        .output()
        .unwrap();
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
    for source in
        ["a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n", "a\r{% if true %}\rb\r{% endif %}\rc\r"]
    {
        assert_eq!(
            ChatTemplate::new(Some(source), "", "").unwrap().render(&[], false).unwrap(),
            "a\nb\nc"
        );
    }
}

#[test]
fn json_is_compact_and_sorted_on_request() {
    let print =
        |source| ChatTemplate::new(Some(source), "", "").unwrap().render(&[], false).unwrap();
    assert_eq!(
        print("{{ {'b': 1, 'a': [2, 3]}|tojson(separators=(',', ':')) }}"),
        r#"{"b":1,"a":[2,3]}"#
    );
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

/// What Jinja2 3.1 prints in the environment of `transformers`.
#[test]
fn habits_of_jinja_are_known() {
    let print =
        |source| ChatTemplate::new(Some(source), "", "").unwrap().render(&[], false).unwrap();
    for (source, expected) in [
        ("{{ '%02d|%s' % (7, 'x') }}", "07|x"),
        ("{{ '%5.2f%%' % 1.5 }}", " 1.50%"),
        ("{{ 'a-b'.partition('-')[2] }}{{ 'a-b-c'.rpartition('-')[0] }}", "ba-b"),
        ("{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}", "bcab"),
        ("{{ 'a b c'|wordcount }}", "3"),
        ("{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}", "aba"),
        ("{% set j = joiner(', ') %}{% for i in [1, 2] %}{{ j() }}{{ i }}{% endfor %}", "1, 2"),
        (
            "{{ '7'.zfill(3) }}{{ '-7'.zfill(3) }}{{ 'a'.ljust(3, '.') }}{{ 'a'.center(4) }}|",
            "007-07a.. a  |",
        ),
        ("{% set f = '<%s>' %}{{ f % 'x' }}{{ f % 1 }}{{ (f ~ f) % ('a', 'b') }}", "<x><1><a><b>"),
        ("{% set f = '%(a)s' %}{{ f % {'a': 1} }}{{ '%s' % [1] }}", "1[1]"),
        ("{{ 7 % 4 }}{{ -7 % 4 }}{{ 7 % -4 }}{{ 2 * 7 % 4 + 1 }}{{ 7.5 % 2 }}", "31-131.5"),
        (
            "{% macro f() %}{{ varargs|length }}{{ kwargs|length }}{% endmacro %}{{ f(1, 2, a=3) \
             }}",
            "21",
        ),
        (
            "{% macro f(a, b='-') %}{{ a }}{{ b }}{{ varargs|join }}{{ kwargs.k }}{% endmacro %}\
             {{ f(1) }}|{{ f(1, 2, 3, 4, k=5) }}|{{ f(b=2, a=1) }}",
            "1-|12345|12",
        ),
        (
            "{% macro f(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call f(1) %}in{% endcall %}",
            "<1in>",
        ),
        (
            "{% macro f() %}{{ varargs[0] }}{{ caller(2) }}{% endmacro %}{% call(n) f(1) %}{{ n \
             }}{% endcall %}",
            "12",
        ),
        ("{{ 'a,b,c'.rsplit(',', 1)[0] }}{{ 'abc'.index('c') }}", "a,b2"),
    ] {
        assert_eq!(print(source), expected, "{source}");
    }
}

/// Loops, growth, depth and shared structures around what templates call, by a fixed sequence.
fn hostile(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pick = |of: &[&str]| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        of[(state % of.len() as u64) as usize].to_owned()
    };
    let count = pick(&["20", "40", "3000", "99999"]);
    let first =
        pick(&["'xxxxxxxx'", "['a', 'b']", "{'k': 'v'}", "1", "'a' * 9999", "range(9999)|list"]);
    let step = pick(&[
        "[ns.x, ns.x]",
        "ns.x ~ ns.x",
        "{'a': ns.x, 'b': ns.x}",
        "ns.x ~ ns.x ~ ns.x",
        "[[ns.x]]",
        "(ns.x|string).replace('', ns.x|string)",
        "(ns.x|string).join([ns.x, ns.x, ns.x]|map('string'))",
        "(ns.x|list) + (ns.x|list)",
        "ns.x|string|indent(99)",
        "(ns.x|string).center(9999999)",
        "ns.x|tojson",
        "ns.x|string|urlencode",
        "(ns.x|string) * 99",
    ]);
    let end = pick(&[
        "{{ ns.x }}",
        "{{ ns.x == ns.x }}",
        "{{ ns.x|tojson }}",
        "{{ ns.x|length }}",
        "{{ [ns.x, ns.x]|unique|list }}",
        "{{ [ns.x, ns.x]|sort }}",
        "{{ '{:>99999999}'.format(ns.x|string) }}",
        "{{ '%.99999999f' % 1.5 }}",
        "{{ ns.x in [ns.x] }}",
        "{{ range(99999)|batch(3)|list|string|length }}",
        "{{ ns.x|pprint }}",
        "{% macro f(a) %}{{ f(a) }}{{ f(a) }}{% endmacro %}{{ f(ns.x) }}",
        "{{ debug() }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ns.x|string|list|groupby(0)|list|length }}",
        "{{ {ns.x: 1} }}",
    ]);
    let body = format!("{{% for i in range({count}) %}}{{% set ns.x = {step} %}}{{% endfor %}}");
    format!("{{% set ns = namespace(x={first}) %}}{body}{end}")
}

/// Tries each fourth of the five hundred, one after the other, and tells what the dearest took: the
/// processes are started and ended one by one, so that the system's account of them is of each.
fn hostile_templates(part: u64) {
    #[cfg(unix)]
    fn used() -> (f64, u64) {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        (
            seconds(usage.user_time()) + seconds(usage.system_time()),
            usage.max_rss().cast_unsigned() / 1024,
        )
    }
    #[cfg(not(unix))]
    fn used() -> (f64, u64) {
        (0.0, 0)
    }
    let (mut failures, mut longest) = (0, 0.0_f64);
    for number in (0..500).filter(|number| number % 4 == part) {
        let source = hostile(number);
        let before = used().0;
        let result = ChatTemplate::unchecked(Some(&source), "", "").render(&[], false);
        let seconds = used().0 - before;
        assert!(seconds < 1.2, "{source} took {seconds} s of processor time");
        longest = longest.max(seconds);
        let is_lost = matches!(result, Err(ChatError::NoProcess { .. }));
        assert!(!is_lost, "{source}: {result:?}");
        failures += usize::from(result.is_err());
    }
    // The most of any of them.
    let mebibytes = used().1;
    println!(
        "{failures} of 125 failed; at most {longest:.2} s of processor time and {mebibytes} MiB"
    );
    assert!(mebibytes <= 256, "{mebibytes} MiB");
    assert!(failures > 60, "{failures}");
}

// In four tests, which run beside each other in processes of their own.
#[test]
fn five_hundred_hostile_templates_fail_alone_1() {
    hostile_templates(0);
}

#[test]
fn five_hundred_hostile_templates_fail_alone_2() {
    hostile_templates(1);
}

#[test]
fn five_hundred_hostile_templates_fail_alone_3() {
    hostile_templates(2);
}

#[test]
fn five_hundred_hostile_templates_fail_alone_4() {
    hostile_templates(3);
}

#[cfg(unix)]
#[test]
fn many_renderings_by_one_process() {
    let template = ChatTemplate::new(None, "", "").unwrap();
    for _ in 0..1000 {
        let message = pixel_llm::model::ChatMessage::new("user", "hi");
        assert!(template.render(&[message], true).unwrap().ends_with("assistant\n"));
    }
}
