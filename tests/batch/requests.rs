//! Lines of requests: what they mean, and what is said about those that are wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::io::Write;

use pixel_llm::batch::request::{Endpoint, PromptMode, parse_line};
use pixel_llm::batch::*;
use pixel_llm::forward::sampling::SamplingParams;
use proptest::prelude::*;

fn parsed(line: &str) -> Request {
    parse_line(line, &Defaults::default())
        .unwrap_or_else(|problem| panic!("{line}: {problem}"))
        .request
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn the_openai_shape_is_read_whole() {
    let request = parsed(
        r#"{"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."},
                         {"role": "user", "content": [{"type": "text", "text": "Hello "},
                                                      {"type": "text", "text": "there"}]}],
            "max_completion_tokens": 7, "temperature": 0.25, "top_p": 0.5, "seed": -1,
            "stop": ["\n", "END"], "logprobs": true, "top_logprobs": 3,
            "frequency_penalty": 0.5, "presence_penalty": -0.5, "n": 1, "top_k": 9,
            "min_p": 0.125, "repeat_penalty": 1.5, "repeat_last_n": 32,
            "logit_bias": {"12": -100}, "user": null, "stream": false}}"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!((request.id.as_str(), request.endpoint), ("a-1", Endpoint::ChatCompletions));
    let messages = vec![message("system", "Be brief."), message("user", "Hello \nthere")];
    assert_eq!(request.prompt, Prompt::Chat(messages.into()));
    assert_eq!((request.max_tokens, request.logprobs, request.stream), (7, Some(3), 0));
    assert_eq!(request.stop, ["\n", "END"]);
    let expected = SamplingParams {
        temperature: 0.25,
        top_k: 9,
        top_p: 0.5,
        min_p: 0.125,
        repeat_penalty: 1.5,
        frequency_penalty: 0.5,
        presence_penalty: -0.5,
        repeat_last_n: 32,
        seed: u64::MAX,
        logit_bias: vec![(12, -100.0)],
    };
    assert_eq!(request.sampling, expected);
}

#[test]
fn prompts_come_in_three_forms() {
    let prompt = |prompt: &str| {
        parsed(&format!(
            r#"{{"custom_id":"a","url":"/v1/completions","body":{{"prompt":{prompt}}}}}"#
        ))
        .prompt
    };
    assert_eq!(prompt(r#""Once \u00e9""#), Prompt::Text("Once é".into()));
    assert_eq!(prompt(r#"["Once"]"#), Prompt::Text("Once".into()));
    assert_eq!(prompt("[1, 2, 3]"), Prompt::Tokens(vec![1, 2, 3]));
    assert_eq!(prompt(r#""""#), Prompt::Text(String::new()));
}

#[test]
fn the_short_form_takes_what_the_command_line_says() {
    let defaults = Defaults {
        mode: PromptMode::Chat,
        system: Some("Be kind.".into()),
        max_tokens: 5,
        ..Defaults::default()
    };
    let request = |line| parse_line(line, &defaults).unwrap().request;
    let chat = request(r#"{"id": 17, "prompt": "Hi", "temperature": null}"#);
    assert_eq!(
        (chat.id.as_str(), chat.endpoint, chat.max_tokens),
        ("17", Endpoint::ChatCompletions, 5)
    );
    assert_eq!(
        chat.prompt,
        Prompt::Chat(vec![message("system", "Be kind."), message("user", "Hi")].into())
    );
    let own = request(concat!(
        r#"{"id":"b","messages":[{"role":"developer","content":"No."},"#,
        r#"{"role":"user","content":"Hi"}]}"#,
    ));
    assert_eq!(
        own.prompt,
        Prompt::Chat(vec![message("system", "No."), message("user", "Hi")].into())
    );
    let system = request(r#"{"id":"b","system":"Yes.","prompt":"Hi"}"#);
    assert_eq!(
        system.prompt,
        Prompt::Chat(vec![message("system", "Yes."), message("user", "Hi")].into())
    );
    let raw = parsed(r#"{"id":"b","prompt":"Hi","stop":"."}"#);
    assert_eq!((raw.prompt, raw.stop), (Prompt::Text("Hi".into()), vec![".".to_owned()]));
}

#[test]
fn a_seed_of_its_own_is_the_same_under_any_id() {
    let key = |line| parsed(line).key();
    let own = key(r#"{"id":"a","prompt":"","seed":3}"#);
    assert_eq!(own, key(r#"{"id":"b","prompt":"","seed":3}"#));
    assert_ne!(own, key(r#"{"id":"a","prompt":"","seed":4}"#));
    assert_ne!(key(r#"{"id":"a","prompt":""}"#), key(r#"{"id":"b","prompt":""}"#));
    assert_eq!(key(r#"{"id":"a","prompt":""}"#), Defaults::default().request("a", "").key());
}

#[test]
fn logprobs_may_be_said_in_either_order() {
    let logprobs =
        |options: &str| parsed(&format!(r#"{{"id":"a","prompt":"",{options}}}"#)).logprobs;
    assert_eq!(logprobs(r#""logprobs":true"#), Some(0));
    assert_eq!(logprobs(r#""logprobs":5"#), Some(5));
    assert_eq!(logprobs(r#""top_logprobs":2,"logprobs":true"#), Some(2));
    assert_eq!(logprobs(r#""logprobs":true,"top_logprobs":2"#), Some(2));
    assert_eq!(logprobs(r#""logprobs":false,"top_logprobs":2"#), None);
}

#[test]
fn problems_name_the_column_the_field_and_what_was_expected() {
    let cases: &[(&str, &str)] = &[
        ("[1]", "column 1: expected an object, found a list"),
        (r#"{"id": "a", "prompt": "x""#, "column 25: not valid JSON: EOF while parsing an object"),
        (r#"{"id": "é", "prompt": x}"#, "column 23: not valid JSON: expected value"),
        (r#"{"prompt": "x"}"#, "column 1: `id`: this field is missing"),
        (r#"{"id": "a"}"#, "column 1: `prompt`: this field is missing"),
        (r#"{"id": "a", "text": "x"}"#, "column 1: `prompt`: this field is missing"),
        (
            r#"{"id": "a", "promt": "x"}"#,
            "column 13: `promt`: no such field; did you mean `prompt`?",
        ),
        (r#"{"ID": "a", "prompt": "x"}"#, "column 2: `ID`: no such field; did you mean `id`?"),
        (
            r#"{"id": "a", "message": [{"role": "user", "content": "x"}]}"#,
            "column 13: `message`: no such field; did you mean `messages`?",
        ),
        (
            r#"{"id": "a", "messages": [{"role": "user", "contnet": "x"}]}"#,
            "column 43: `messages[0].contnet`: no such field; did you mean `content`?",
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/completions", "body": {"Prompt": "x"}}"#,
            "column 55: `body.Prompt`: no such field; did you mean `prompt`?",
        ),
        (
            r#"{"id": "a", "prompt": "x", "Temperature": 1}"#,
            "column 28: `Temperature`: no such field; did you mean `temperature`?",
        ),
        (
            r#"{"id": "", "prompt": "x"}"#,
            r#"column 8: `id`: expected a string that is not empty, or a whole number, found """#,
        ),
        (
            r#"{"id": "é", "prompt": "x", "temperature": -0.5}"#,
            "column 43: `temperature`: expected a number from 0 to 100, found -0.5",
        ),
        (
            r#"{"id": "a", "prompt": "x", "top_p": "half"}"#,
            r#"column 37: `top_p`: expected a number from 0 to 1, found "half""#,
        ),
        (
            r#"{"id": "a", "prompt": "x", "tempratur": 1}"#,
            "column 28: `tempratur`: no such field; did you mean `temperature`?",
        ),
        (r#"{"id": "a", "prompt": "x", "colour": 1}"#, "column 28: `colour`: no such field"),
        (
            r#"{"id": "a", "prompt": "x", "max_tokens": 1, "max_tokens": 2}"#,
            "column 45: `max_tokens`: given twice",
        ),
        (
            r#"{"id": "a", "prompt": "x", "max_tokens": 1, "max_completion_tokens": 2}"#,
            "column 45: `max_completion_tokens`: given twice",
        ),
        (
            r#"{"id": "a", "prompt": "x", "max_tokens": 1.5}"#,
            "column 42: `max_tokens`: expected a whole number from 0 to 4294967295, found 1.5",
        ),
        (
            r#"{"id": "a", "prompt": "x", "messages": []}"#,
            "column 28: `messages`: expected either `prompt` or `messages`, found both",
        ),
        (
            r#"{"id": "a", "prompt": "x", "stop": ["ok", ""]}"#,
            r#"column 43: `stop[1]`: expected a string that is not empty, found """#,
        ),
        (
            r#"{"id": "a", "messages": [{"role": "user"}]}"#,
            "column 26: `messages[0].content`: this field is missing",
        ),
        (
            r#"{"id": "a", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
            r#"column 64: `messages[0].content[0].type`: expected "text", found "image_url""#,
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/embeddings", "body": {}}"#,
            concat!(
                r#"column 27: `url`: expected "/v1/completions" or "/v1/chat/completions", "#,
                r#"found "/v1/embeddings""#,
            ),
        ),
        (
            r#"{"custom_id": "a", "method": "GET", "url": "/v1/completions", "body": {}}"#,
            concat!(
                r#"column 30: `method`: expected "POST", found "GET"; "#,
                "column 71: `body.prompt`: this field is missing",
            ),
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/completions", "body": {"max_tokens": 1}}"#,
            "column 54: `body.prompt`: this field is missing",
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "x", "n": 0}}"#,
            "column 75: `body.n`: expected a whole number from 1 to 1024, found 0",
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": ["x", 1]}}"#,
            "column 71: `body.prompt[1]`: expected a string, found 1",
        ),
        (
            r#"{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": [1, "y"]}}"#,
            r#"column 69: `body.prompt[1]`: expected a token id, found "y""#,
        ),
        (
            concat!(
                r#"{"custom_id": "a", "url": "/v1/chat/completions", "#,
                r#""body": {"messages": [{"role": "user", "content": "x"}], "tools": [{}]}}"#,
            ),
            "column 118: `body.tools[0].function`: this field is missing",
        ),
        (
            r#"{"id": "a", "prompt": "x", "logit_bias": {"the": 1}}"#,
            r#"column 43: `logit_bias.the`: expected a token id, found "the""#,
        ),
    ];
    for (line, expected) in cases {
        let problem = parse_line(line, &Defaults::default()).expect_err(line);
        assert_eq!(problem.to_string(), *expected, "{line}");
    }
}

#[test]
fn all_that_is_wrong_with_a_line_is_said_at_once() {
    let problems = |line: &str| -> Vec<String> {
        let problems = parse_line(line, &Defaults::default()).expect_err(line);
        problems.to_string().split("; column ").map(str::to_owned).collect()
    };
    let line =
        r#"{"id":true,"prompt":["é",1],"top_p":"half","tempratur":1,"stop":["",2],"echo":0,"#;
    assert_eq!(
        problems(&format!(r#"{line}"max_tokens":-2,"min_tokens":9,"tools":[1],"n":0}}"#)),
        [
            "column 7: `id`: expected a string that is not empty, or a whole number, found true",
            "26: `prompt[1]`: expected a string, found 1",
            "37: `top_p`: expected a number from 0 to 1, found \"half\"",
            "44: `tempratur`: no such field; did you mean `temperature`?",
            "66: `stop[0]`: expected a string that is not empty, found \"\"",
            "69: `stop[1]`: expected a string or a list of up to 16 strings, found 2",
            "79: `echo`: expected true or false, found 0",
            "94: `max_tokens`: expected a whole number from 0 to 4294967295, found -2",
            "112: `tools`: not supported here: tools for a prompt that is no chat",
            "128: `n`: expected a whole number from 1 to 1024, found 0",
        ]
    );
    assert_eq!(
        problems(r#"{"id":"a","messages":[{"role":1},{"content":[{"type":"text"}]},2]}"#),
        [
            "column 23: `messages[0].content`: this field is missing",
            "31: `messages[0].role`: expected a string, found 1",
            "34: `messages[1].role`: this field is missing",
            "46: `messages[1].content[0].text`: this field is missing",
            "64: `messages[2]`: expected a message with `role` and `content`, found 2",
        ]
    );
}

#[test]
fn what_is_nested_too_deep_is_refused_and_numbers_stay_as_they_are_written() {
    let deep = |depth: usize| {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let line = format!(r#"{{"id":"a","prompt":"x","metadata":{nested}}}"#);
        parse_line(&line, &Defaults::default())
    };
    assert!(deep(60).is_ok());
    assert!(deep(100_000).unwrap_err().to_string().contains("nested deeper than 64"));
    let line = concat!(
        r#"{"id":"a","messages":[{"role":"user","content":"é","x": 1e2 ,"#,
        r#""y":{"z": [-0.0, "\u00e9"]}}],"#,
        r#""temperature":-0,"seed":18446744073709551615}"#,
    );
    let request = parsed(line);
    let Prompt::Chat(chat) = &request.prompt else { panic!() };
    let rest: Vec<&str> = chat.messages[0].rest.iter().map(|(_, json)| json.as_str()).collect();
    assert_eq!(rest, ["1e2", r#"{"z": [-0.0, "\u00e9"]}"#]);
    assert_eq!((request.sampling.seed, request.sampling.temperature), (u64::MAX, 0.0));
}

#[test]
fn fields_of_openai_that_nothing_knows_are_passed_over() {
    let line = concat!(
        r#"{"custom_id":"a","url":"/v1/completions","extra":1,"#,
        r#""body":{"prompt":"x","frobnicate":"low","model":"m"}}"#,
    );
    assert_eq!(
        parse_line(line, &Defaults::default()).unwrap().ignored,
        ["extra", "body.frobnicate"]
    );
}

fn spooled(text: &[u8], skip_bad: bool) -> Result<InputFile, InputError> {
    InputFile::spool("input.jsonl".into(), text, &Defaults::default(), skip_bad)
}

#[test]
fn a_file_is_checked_whole_before_anything_runs() {
    let text = b"{\"id\": \"a\", \"prompt\": \"1\"}\r\n\n   \n{\"id\": \"b\"}\n\
        {\"id\": \"a\", \"prompt\": \"2\"}\nx\n{\"id\": \"c\", \"prompt\": \"\xff\"}\n\
        {\"id\": \"a\", \"prompt\": \"3\"}\n{\"id\": \"d\", \"prompt\": \"4\"}";
    let error = spooled(text, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "input.jsonl: 5 of 7 lines cannot be run, the first at line 4, column 1: `prompt`: this \
         field is missing"
    );
    let InputError::BadLines(bad) = error else { panic!() };
    let errors: Vec<String> = bad.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors[1..],
        [
            "line 5, column 8: the id \"a\" was already used on line 1",
            "line 6, column 1: not valid JSON: expected value",
            "line 7, column 24: not valid UTF-8",
            "line 8, column 8: the id \"a\" was already used on line 1",
        ]
    );
    let input = spooled(text, true).unwrap();
    assert_eq!((input.len(), input.skipped_count(), input.skipped().len()), (2, 5, 5));
    let defaults = Defaults::default();
    let prompts: Vec<Prompt> =
        input.requests(&defaults).map(|request| request.unwrap().prompt).collect();
    assert_eq!(prompts, [Prompt::Text("1".into()), Prompt::Text("4".into())]);
}

#[test]
fn finished_requests_are_not_given_again() {
    let text: String =
        (0..100).map(|i| format!("{{\"id\": {i}, \"prompt\": \"p{i}\"}}\n")).collect();
    let mut input = spooled(format!("\u{feff}{text}").as_bytes(), false).unwrap();
    for id in (0..100).step_by(3) {
        assert!(input.mark_finished(input::IdHash::of(&id.to_string())));
    }
    assert!(!input.mark_finished(input::IdHash::of("100")));
    assert_eq!((input.len(), input.remaining()), (100, 66));
    let defaults = Defaults::default();
    let ids: Vec<String> = input.requests(&defaults).map(|request| request.unwrap().id).collect();
    let expected: Vec<String> = (0..100).filter(|i| i % 3 != 0).map(|i| i.to_string()).collect();
    assert_eq!(ids, expected);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let mut text = b"{\"id\": \"a\", \"prompt\": \"1\"}\n".to_vec();
    text.resize(text.len() + input::MAX_LINE_IN_BYTES + 5, b'x');
    text.extend(b"\n{\"id\": \"b\", \"prompt\": \"2\"}\n");
    let input = spooled(&text, true).unwrap();
    assert_eq!(input.len(), 2);
    assert_eq!(
        input.skipped()[0].to_string(),
        "line 2, column 1: the line is longer than 16777216 bytes"
    );
    let defaults = Defaults::default();
    assert!(input.requests(&defaults).all(|request| request.is_ok()));
}

#[test]
fn a_file_that_changes_under_the_run_is_noticed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"id\": \"a\", \"prompt\": \"1\"}\n{\"id\": \"b\", \"prompt\": \"2\"}\n")
        .unwrap();
    let defaults = Defaults::default();
    let input = InputFile::open(file.path(), &defaults, false).unwrap();
    std::fs::write(
        file.path(),
        "{\"id\": \"a\", \"prompt\": \"1\"}\n{\"id\": \"c\", \"prompt\": \"2\"}\n",
    )
    .unwrap();
    let mut requests = input.requests(&defaults);
    assert!(requests.next().unwrap().is_ok());
    let error = requests.next().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("line 2 has changed since the file was checked"), "{error}");
}

#[test]
fn an_input_without_requests_is_an_error() {
    for text in ["", "\n \n"] {
        assert_eq!(
            spooled(text.as_bytes(), false).unwrap_err().to_string(),
            "input.jsonl: there is no request in it"
        );
    }
    let missing =
        InputFile::open("/nonexistent/x.jsonl".as_ref(), &Defaults::default(), false).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nonexistent/x.jsonl: "), "{missing}");
}

const VALID: &str = concat!(
    r#"{"custom_id":"é","url":"/v1/chat/completions","body":{"#,
    r#""messages":[{"role":"user","content":"\u00e9 é"}],"stop":["a"],"logit_bias":{"1":2},"#,
    r#""seed":-3,"logprobs":true}}"#,
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_line_brings_the_parser_down(line in "\\PC{0,60}") {
        let _ = parse_line(&line, &Defaults::default());
    }

    #[test]
    fn a_damaged_line_is_read_or_refused_at_a_place_within_it(
        at in 0..VALID.chars().count(),
        new in prop::sample::select(vec!['"', '{', '}', '[', ']', ',', ':', '\\', '0', 'é', '-']),
        delete: bool,
    ) {
        let mut characters: Vec<char> = VALID.chars().collect();
        if delete {
            characters.remove(at);
        } else {
            characters[at] = new;
        }
        let line: String = characters.iter().collect();
        if let Err(problems) = parse_line(&line, &Defaults::default()) {
            let place = 1..=characters.len() as u32 + 1;
            prop_assert!(problems.iter().count() > 0);
            for problem in problems.iter() {
                prop_assert!(place.contains(&problem.column.unwrap()), "{problem}: {line}");
            }
        }
    }
}

#[test]
fn fields_of_other_engines_are_never_passed_over() {
    let line = |name: &str, value: &str| {
        format!(
            "{{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":\
             {{\"prompt\":\"x\",\"{name}\":{value}}}}}"
        )
    };
    // vLLM, SGLang, TGI, llama.cpp, Ollama, `transformers`, KoboldCpp: what changes an answer is
    // refused by name.
    for (name, value) in [
        ("bad_words", r#"["x"]"#),
        ("allowed_token_ids", "[1]"),
        ("stop_regex", r#""x""#),
        ("input_ids", "[1]"),
        ("inputs", r#""x""#),
        ("return_logprob", "true"),
        ("logprob_token_ids", "[1]"),
        ("details", "true"),
        ("decoder_input_details", "true"),
        ("raw", "true"),
        ("template", r#""x""#),
        ("system", r#""x""#),
        ("options", r#"{"num_ctx": 9}"#),
        ("num_beams", "2"),
        ("num_return_sequences", "2"),
        ("suppress_tokens", "[1]"),
        ("forced_eos_token_id", "1"),
        ("eos_token_id", "1"),
        ("sequence_bias", r#"{"x": 1}"#),
        ("min_length", "3"),
        ("rep_pen", "1.1"),
        ("sampler_seed", "3"),
        ("token_healing", "true"),
        ("banned_strings", r#"["x"]"#),
        ("top_n_sigma", "1"),
        ("dry_multiplier", "0.8"),
        ("grammar", r#""root ::= x""#),
        ("verbosity", r#""low""#),
        ("thinking_token_budget", "5"),
        ("detokenize", "false"),
    ] {
        let error = parse_line(&line(name, value), &Defaults::default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not supported here"), "{name}: {error}");
    }
    // What asks for nothing, and what only says how to schedule, is taken.
    for (name, value) in [
        ("num_beams", "1"),
        ("raw", "false"),
        ("details", "false"),
        ("detokenize", "true"),
        ("rep_pen", "1.0"),
        ("suppress_tokens", "[]"),
        ("eos_token_id", "null"),
        ("rid", r#""r""#),
        ("num_gpu", "1"),
        ("use_cache", "true"),
    ] {
        let found = parse_line(&line(name, value), &Defaults::default()).unwrap();
        assert!(found.ignored.is_empty(), "{name}: {:?}", found.ignored);
        assert_eq!(found.request, parsed(&line("user", "null")), "{name}");
    }
    let unknown = parse_line(&line("frobnicate", "1"), &Defaults::default()).unwrap();
    assert_eq!(unknown.ignored, ["body.frobnicate"], "what nobody knows is told");
}
