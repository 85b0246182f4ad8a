//! The tokenizer of a GGUF file, read by the library.

use std::path::Path;

use pixel_llm::model::gguf::{Array, Gguf, Metadata, Value};
use pixel_llm::model::tokenizer::{TokenType, TokenizerError, TokenizerSpec};

/// The tokenizer that the file describes.
pub fn read(path: &Path) -> TokenizerSpec {
    TokenizerSpec::from_metadata(Gguf::open(path).unwrap().metadata()).unwrap()
}

/// A small vocabulary's pairs, with `key` set to `value`, or left out where there is none.
fn with(key: &str, value: Option<Value>) -> Result<TokenizerSpec, TokenizerError> {
    let strings = |texts: &[&str]| Value::Array(Array::String(texts.iter().collect()));
    let mut pairs = vec![
        ("tokenizer.ggml.model".to_owned(), Value::from("gpt2")),
        ("tokenizer.ggml.tokens".to_owned(), strings(&["a", "b", "ab"])),
        ("tokenizer.ggml.merges".to_owned(), strings(&["a b"])),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(Array::I32(vec![1, 1, 3]))),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(2)),
    ];
    pairs.retain(|(known, _)| known != key);
    pairs.extend(value.map(|value| (key.to_owned(), value)));
    TokenizerSpec::from_metadata(&Metadata::from(pairs))
}

#[test]
fn pairs_become_fields() {
    let spec = with("tokenizer.ggml.add_bos_token", Some(Value::Bool(false))).unwrap();
    assert_eq!((spec.model.as_str(), spec.tokens.len(), spec.eos), ("gpt2", 3, Some(2)));
    assert_eq!(spec.merges.as_deref(), Some(&["a b".to_owned()][..]));
    assert_eq!(
        (spec.types.unwrap()[2], spec.add_bos, spec.bos),
        (TokenType::Control, Some(false), None)
    );
}

#[test]
fn pairs_that_are_missing_or_of_another_type_are_refused() {
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.tokens"] {
        assert!(with(key, None).unwrap_err().to_string().contains(key));
    }
    let scores = Value::Array(Array::U8(vec![0, 0, 0]));
    for (key, value) in [
        ("tokenizer.ggml.scores", scores),
        ("tokenizer.ggml.model", Value::U32(1)),
        ("tokenizer.ggml.tokens", Value::from("a")),
        ("tokenizer.ggml.eos_token_id", Value::from("a")),
        ("tokenizer.ggml.add_bos_token", Value::U8(1)),
    ] {
        let error = with(key, Some(value)).unwrap_err();
        assert!(matches!(error, TokenizerError::Metadata(_)), "{error}");
        assert!(error.to_string().contains(key), "{error}");
    }
    // Converters write -1 for "none".
    let none = with("tokenizer.ggml.eos_token_id", Some(Value::I64(-1))).unwrap();
    assert!(none.warnings[0].contains("eos_token_id is -1"), "{:?}", none.warnings);
    let tokens = Value::Array(Array::String([&b"a"[..], b"\xff", b"ab"].into_iter().collect()));
    let error = with("tokenizer.ggml.tokens", Some(tokens)).unwrap_err();
    assert_eq!(error.to_string(), "tokenizer.ggml.tokens: entry 1 is not UTF-8; expected text");
}
