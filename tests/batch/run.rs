//! A whole batch run on the model inside the program, as the command line starts it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;
use pixel_llm::app::cli::output::{Exit, Output};
use pixel_llm::app::cli::run::{BatchArgs, run};
use pixel_llm::batch::{ModelText, Prompt, TextModel};
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    batch: BatchArgs,
}

fn batch(input: &Path, output: &Path, more: &[&str]) -> anyhow::Result<Exit> {
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    let arguments = ["pixel-llm", "--no-window", "--quiet", "--input", input, "--output", output];
    let cli = Cli::try_parse_from(arguments.iter().chain(more)).unwrap();
    run(&cli.batch, &pixel_llm::app::kinds::assets(), &mut Output::new(false))
}

fn choices(path: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let results = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["custom_id"].as_str().unwrap().to_owned();
        let choice = line.pointer("/response/body/choices/0");
        (id, choice.unwrap_or(&line["error"]).clone())
    });
    let map: BTreeMap<_, _> = results.collect();
    assert_eq!(map.len(), text.lines().count(), "an id comes twice");
    map
}

fn input_text() -> String {
    let starts = [
        "Once upon a time",
        "The cat",
        "Once upon a time there was",
        "A",
        "She said",
        "One day, the",
    ];
    let mut text = String::new();
    for i in 0..30 {
        let start = starts[i % starts.len()];
        let knobs = match i % 5 {
            0 => r#""temperature":0"#,
            1 => r#""seed":7"#,
            2 => r#""logprobs":2,"stop":[".","!"]"#,
            3 => r#""prompt_logprobs":1,"top_k":0,"repeat_penalty":1.2"#,
            _ => r#""max_tokens":3"#,
        };
        text.push_str(&format!("{{\"id\":\"{i}\",\"prompt\":\"{start}\",{knobs}}}\n"));
    }
    text
}

#[test]
fn the_same_seed_gives_the_same_text_whatever_the_parallelism() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in.jsonl");
    std::fs::write(&input, input_text()).unwrap();
    let results: Vec<_> = ["1", "3", "8"]
        .iter()
        .map(|parallel| {
            let output = folder.path().join(format!("{parallel}.jsonl"));
            let exit =
                batch(&input, &output, &["--parallel", parallel, "--max-tokens", "20"]).unwrap();
            assert_eq!(exit, Exit::Ok);
            choices(&output)
        })
        .collect();
    assert_eq!(results[0].len(), 30);
    let texts: std::collections::BTreeSet<_> =
        results[0].values().map(|v| v["text"].to_string()).collect();
    assert!(texts.len() > 12, "the answers should differ: {texts:?}");
    for other in &results[1..] {
        for (id, choice) in &results[0] {
            assert_eq!(choice["text"], other[id]["text"], "{id}");
            assert_eq!(choice["finish_reason"], other[id]["finish_reason"], "{id}");
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    std::fs::write(&input, input_text()).unwrap();
    let options = ["--max-tokens", "8"];
    batch(&input, &output, &options).unwrap();
    let whole = std::fs::read(&output).unwrap();
    let expected = choices(&output);
    std::fs::write(&output, &whole[..whole.len() / 2]).unwrap();
    assert!(
        batch(&input, &output, &options).is_err(),
        "nothing was said about the file that is there"
    );
    batch(&input, &output, &["--max-tokens", "8", "--resume"]).unwrap();
    let found = choices(&output);
    assert_eq!(found.len(), expected.len());
    for (id, choice) in &expected {
        assert_eq!(choice["text"], found[id]["text"], "{id}");
    }
}

#[test]
fn exit_codes_tell_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let good = r#"{"id":"a","prompt":"The","max_tokens":2}"#;
    std::fs::write(&input, format!("{good}\n{{\"id\":\"b\"}}\n")).unwrap();
    let error = batch(&input, &output, &[]).unwrap_err();
    assert!(
        format!("{error:#}").contains("line 2, column 1: `prompt`: this field is missing"),
        "{error:#}"
    );
    assert!(!output.exists(), "nothing is touched before the input is checked");
    assert_eq!(batch(&input, &output, &["--skip-bad"]).unwrap(), Exit::FoundBad);
    let results = choices(&output);
    assert_eq!(results.len(), 2, "what is left out is told as well: {results:?}");
    assert!(results["b"]["code"].is_string(), "{results:?}");

    let long = "word ".repeat(5000);
    std::fs::write(&input, format!("{good}\n{{\"id\":\"b\",\"prompt\":\"{long}\"}}\n")).unwrap();
    assert_eq!(batch(&input, &output, &["--overwrite"]).unwrap(), Exit::FoundBad);
    let results = choices(&output);
    assert_eq!(results["b"]["code"], "context_length_exceeded");
    assert!(results["a"]["text"].is_string());
}

#[test]
fn echo_and_chat_use_the_models_own_text() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let completion = concat!(
        r#"{"id":"echo","prompt":"Once upon","echo":true,"max_tokens":4,"logprobs":1,"#,
        r#""prompt_logprobs":0}"#,
    );
    let chat = concat!(
        r#"{"custom_id":"chat","url":"/v1/chat/completions","#,
        r#""body":{"messages":[{"role":"user","content":"Hi"}],"max_tokens":4}}"#,
    );
    std::fs::write(&input, format!("{completion}\n{chat}\n")).unwrap();
    batch(&input, &output, &[]).unwrap();
    let results = choices(&output);
    let echo = &results["echo"];
    let text = echo["text"].as_str().unwrap();
    assert!(text.starts_with("Once upon"), "{text}");
    let tokens: String = echo["logprobs"]["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    assert_eq!(tokens, text, "an echoed prompt has its log-probabilities too");
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let prompt = ModelText::new(&model).unwrap().encode(&Prompt::Text("Once upon".into())).unwrap();
    assert_eq!(echo["prompt_logprobs"].as_array().unwrap().len(), prompt.len());
    assert_eq!(results["chat"]["message"]["role"], "assistant");
}
