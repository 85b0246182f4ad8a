//! Models and vocabularies that are odd and used.

use serde_json::Value;

use crate::support::Case;

/// The answers and what was said on standard error, for `model` and the case's `in.jsonl`.
fn answers(case: &Case, model: &str) -> (Vec<Value>, String) {
    let args = ["--no-window", model, "--input", "in.jsonl", "--device", "cpu", "--quiet"];
    let output = case.program(&args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{model}: {said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), said)
}

fn warnings(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("warning")).collect()
}

#[test]
fn biases_of_every_matrix_are_added() {
    let Some(case) = Case::of("llama-with-output-and-ffn-biases") else { return };
    let expected = case.json("expected.json");
    let (answers, said) = answers(&case, "model.gguf");
    assert_eq!(warnings(&said), [""; 0]);
    let tokens = &answers[0]["response"]["body"]["choices"][0]["prompt_logprobs"];
    let right = expected["right"]["log_probability_of_each_next_id"].as_array().unwrap();
    for (index, right) in right.iter().enumerate() {
        let found = tokens[index + 1]["logprob"].as_f64().unwrap();
        assert!((found - right.as_f64().unwrap()).abs() < 0.01, "token {index}: {found}, not {right}");
    }
}

#[test]
fn text_is_cut_as_llama_cpp_cuts_it() {
    for (name, warned) in [("pre-tokenizer-deepseek-r1-qwen", 0), ("pre-tokenizer-not-stated", 1)] {
        let Some(case) = Case::of(name) else { continue };
        let expected = case.json("expected.json");
        let (answers, said) = answers(&case, "model.gguf");
        let found = answers[0]["response"]["body"]["usage"]["prompt_tokens"].as_u64().unwrap();
        assert_eq!(found as usize, expected["ids"].as_array().unwrap().len(), "{name}");
        let warnings = warnings(&said);
        assert_eq!(warnings.len(), warned, "{said}");
        assert!(warnings.iter().all(|line| line.contains("tokenizer.ggml.pre")), "{said}");
    }
}

#[test]
fn odd_vocabularies_answer_with_a_warning() {
    let cases = [
        ("special-token-ids-that-are-none", "pad-minus-one.gguf", "padding_token_id is 4294967295"),
        ("special-token-ids-that-are-none", "eos-outside.gguf", "eos_token_id is"),
        ("special-token-ids-that-are-none", "add-bos-without-bos.gguf", "add_bos_token is true"),
        ("vocabulary-oddities", "merge-of-a-missing-token.gguf", "tokenizer.ggml.merges"),
        ("vocabulary-oddities", "token-type-0.gguf", "tokenizer.ggml.token_type"),
        ("vocabulary-oddities", "two-empty-tokens.gguf", "tokenizer.ggml.tokens"),
    ];
    for (folder, model, word) in cases {
        let Some(case) = Case::of(folder) else { continue };
        let (answers, said) = answers(&case, model);
        assert!(answers[0]["error"].is_null(), "{model}: {}", answers[0]);
        let [warning] = warnings(&said)[..] else { panic!("{model}: {said}") };
        assert!(warning.contains(word), "{model}: {warning}");
    }
}
