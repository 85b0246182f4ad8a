//! Models and vocabularies that are odd and used.

use pixel_llm::model::Encoding;
use pixel_llm::model::gguf::{Array, GgufString, Strings, Value as Field};
use serde_json::Value;

use crate::support::Case;
use crate::support::common::tiny::{Random, Tiny, VOCAB, WIDTH};

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
        assert!(
            (found - right.as_f64().unwrap()).abs() < 0.01,
            "token {index}: {found}, not {right}"
        );
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

/// A tiny model whose vocabulary is the printable ASCII characters and names of their own.
fn speaking() -> Tiny {
    let mut tiny = Tiny::new("llama", Encoding::Q8_0, 3);
    tiny.set("tokenizer.ggml.pre", Field::String(GgufString::from("gpt-2")));
    tiny.set("tokenizer.ggml.tokens", strings(&tokens(VOCAB as usize)));
    tiny.set("tokenizer.ggml.merges", strings(&["h e".to_owned(), "l l".to_owned()]));
    tiny.set("tokenizer.ggml.bos_token_id", Field::U32(VOCAB as u32 - 1));
    tiny.set("tokenizer.ggml.eos_token_id", Field::U32(VOCAB as u32 - 1));
    tiny
}

fn tokens(count: usize) -> Vec<String> {
    let mut tokens: Vec<String> = ('!'..='~').map(String::from).collect();
    tokens.extend(["he", "ll", "\u{120}"].map(String::from));
    tokens.extend((tokens.len()..count).map(|id| format!("[{id}]")));
    tokens
}

fn strings(texts: &[String]) -> Field {
    let mut strings = Strings::default();
    texts.iter().for_each(|text| strings.push(text));
    Field::Array(Array::String(strings))
}

/// Whether a model answers, with what it says: the one answer as text, or nothing; and standard
/// error.
fn asked(case: &Case, tiny: &Tiny, append: &[u8]) -> (Option<String>, String) {
    let path = case.file("tiny.gguf");
    tiny.write(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(append);
    std::fs::write(&path, bytes).unwrap();
    let mut args = vec!["--no-window", "tiny.gguf", "--prompt", "hello hello", "--device", "cpu"];
    args.extend(["--quiet", "--raw", "--temperature", "0", "--max-tokens", "3"]);
    let output = case.program(&args).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success().then_some(answer), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bytes_after_the_last_tensor_are_nothing() {
    let case = Case::empty();
    let (plain, said) = asked(&case, &speaking(), b"");
    assert!(plain.is_some(), "{said}");
    for count in [1, 31, 32, 4097] {
        let (answer, said) = asked(&case, &speaking(), &vec![0xA5; count]);
        assert_eq!(answer, plain, "{count} bytes: {said}");
        assert_eq!(warnings(&said), [""; 0]);
    }
}

#[test]
fn a_vocabulary_that_is_not_the_embeddings_is_named() {
    for count in [VOCAB + 1, VOCAB - 1] {
        let mut tiny = speaking();
        tiny.set("tokenizer.ggml.tokens", strings(&tokens(count as usize)));
        let (answer, said) = asked(&Case::empty(), &tiny, b"");
        assert_eq!(answer, None);
        let words = format!(
            "tokenizer.ggml.tokens: found {count}, but the vocabulary (rows of token_embd.weight)"
        );
        assert!(said.contains(&words) && said.contains("has 300"), "{said}");
    }
}

#[test]
fn a_tensor_that_would_be_passed_over_is_named_and_can_be_looked_at() {
    let names = [
        "blk.0.attn_norm.bias",
        "blk.1.ffn_norm.bias",
        "blk.0.attn_sub_norm.weight",
        "blk.1.post_attention_norm.weight",
        "blk.1.attn_q.scale",
        "blk.0.ffn_gate_inp.weight",
        "output.bias",
        "output_norm.bias",
        "rope_factors_long.weight",
        "cls.weight",
    ];
    for name in names {
        let case = Case::empty();
        let mut tiny = speaking();
        tiny.add(&mut Random(1), name, &[WIDTH], Encoding::F32);
        let (answer, said) = asked(&case, &tiny, b"");
        assert_eq!(answer, None, "{name}");
        assert!(said.contains("error") && said.contains(name), "{name}: {said}");
        let output = case.program(&["inspect", "tiny.gguf"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let [warning] = warnings(&said)[..] else { panic!("{name}: {said}") };
        assert!(warning.contains(name) && warning.contains("no answers"), "{warning}");
    }
    // What old converters wrote beside a layer says nothing new.
    let mut tiny = speaking();
    tiny.add(&mut Random(1), "blk.0.attn_rot_embd.weight", &[32], Encoding::F32);
    let (answer, said) = asked(&Case::empty(), &tiny, b"");
    assert!(answer.is_some(), "{said}");
}

#[test]
fn special_ids_that_are_none_are_told_once() {
    let outside = [Field::U32(VOCAB as u32), Field::U32(u32::MAX), Field::I32(-1), Field::I64(-1)];
    for (name, id) in ["bos", "eos", "eot", "unknown", "padding"]
        .iter()
        .flat_map(|name| outside.iter().map(move |id| (name, id.clone())))
    {
        let mut tiny = speaking();
        let key = format!("tokenizer.ggml.{name}_token_id");
        tiny.set(&key, id.clone());
        let (answer, said) = asked(&Case::empty(), &tiny, b"");
        assert!(answer.is_some(), "{key} {id:?}: {said}");
        let [warning] = warnings(&said)[..] else { panic!("{key} {id:?}: {said}") };
        assert!(warning.contains(&key), "{warning}");
    }
}

#[test]
fn odd_tokens_are_told_and_the_same_token_twice_is_refused() {
    let mut tiny = speaking();
    let mut odd = tokens(VOCAB as usize);
    (odd[200], odd[201]) = (String::new(), String::new());
    tiny.set("tokenizer.ggml.tokens", strings(&odd));
    let (answer, said) = asked(&Case::empty(), &tiny, b"");
    let [warning] = warnings(&said)[..] else { panic!("{said}") };
    assert!(answer.is_some() && warning.contains("2 tokens without text"), "{warning}");

    odd[200] = odd[7].clone();
    tiny.set("tokenizer.ggml.tokens", strings(&odd));
    let (answer, said) = asked(&Case::empty(), &tiny, b"");
    assert_eq!(answer, None);
    assert!(said.contains("twice, as 7 and as 200"), "{said}");
}

#[test]
fn warnings_are_told_by_chat_and_inspect_as_well() {
    let case = Case::empty();
    let mut tiny = speaking();
    tiny.pairs.retain(|(key, _)| key != "tokenizer.ggml.pre");
    tiny.set("llama.rope.scaling.yarn_beta_fast", Field::F32(16.0));
    tiny.write(&case.file("tiny.gguf"));
    let commands: [&[&str]; 2] = [
        &["chat", "tiny.gguf", "--device", "cpu", "--quiet", "--max-tokens", "2"],
        &["inspect", "tiny.gguf"],
    ];
    for args in commands {
        let output = case.program(args).write_stdin("hello\n").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let found = warnings(&said);
        assert_eq!(found.len(), 2, "{args:?}: {said}");
        assert!(found.iter().any(|line| line.contains("tokenizer.ggml.pre")), "{said}");
        assert!(found.iter().any(|line| line.contains("yarn_beta_fast")), "{said}");
    }
    let output = case.program(&["inspect", "tiny.gguf", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 2, "{report}");
}
