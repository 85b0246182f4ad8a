//! The ids of `corpus.json`, which are llama.cpp's (see `make_corpus.py`), for every pre-tokeniser.

use std::collections::BTreeSet;

use pixel_llm::model::tokenizer::{TokenType, Tokenizer, TokenizerSpec, pre_tokenizers};
use serde::Deserialize;

use super::PLAIN;
use super::fixtures::letters;

/// What the script writes.
#[derive(Deserialize)]
struct Corpus {
    tokens: Vec<String>,
    merges: Vec<String>,
    /// Names that have the same ids for all texts; `-` is a file without a name.
    names: Vec<Vec<String>>,
    /// Names with which a text begins with the token for that where the file does not say.
    begins: Vec<String>,
    texts: Vec<Row>,
    odd: Vec<Odd>,
}

/// A vocabulary of all bytes and some more tokens, in which merges make or take what is no token:
/// the pre-tokeniser, those tokens, the merges, and texts with their ids.
#[derive(Deserialize)]
struct Odd(String, Vec<String>, Vec<String>, Vec<(String, Vec<u32>)>);

/// A text, the different lists of ids it has, and which of them each group of names gives.
#[derive(Deserialize)]
struct Row(String, Vec<Vec<u32>>, Vec<usize>);

/// `corpus.json`, or one with more texts that a person has made.
fn corpus() -> Corpus {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/tokenizer/corpus.json");
    let path = std::env::var_os("PIXEL_LLM_CORPUS").unwrap_or_else(|| own.into());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn tokenizer(corpus: &Corpus, name: &str) -> Tokenizer {
    let spec = TokenizerSpec {
        model: "gpt2".into(),
        pre: Some(name.to_owned()).filter(|name| name != "-"),
        tokens: corpus.tokens.clone(),
        types: Some(vec![TokenType::Normal; corpus.tokens.len()]),
        merges: Some(corpus.merges.clone()),
        bos: Some(0),
        eos: Some(0),
        ..TokenizerSpec::default()
    };
    Tokenizer::new(&spec).unwrap()
}

#[test]
fn every_pre_tokenizer_gives_the_ids_of_llama_cpp() {
    let corpus = corpus();
    let mut differ = Vec::new();
    for (group, names) in corpus.names.iter().enumerate() {
        for name in names {
            let tokenizer = tokenizer(&corpus, name);
            for Row(text, lists, of_group) in &corpus.texts {
                let (expected, found) = (&lists[of_group[group]], tokenizer.encode(text, PLAIN));
                if found != *expected {
                    let spell = |ids: &[u32]| {
                        ids.iter().map(|&id| tokenizer.decode(&[id], false)).collect::<Vec<_>>()
                    };
                    differ.push(format!(
                        "{name}: {text:?}\n  {:?}\n  {:?}",
                        spell(expected),
                        spell(&found)
                    ));
                }
            }
        }
    }
    assert!(
        differ.is_empty(),
        "{} differ, expected before found:\n{}",
        differ.len(),
        differ.join("\n")
    );
}

#[test]
fn merges_without_a_result_apply_as_in_llama_cpp() {
    for Odd(name, more, merges, texts) in corpus().odd {
        let mut tokens: Vec<String> = letters().iter().map(char::to_string).collect();
        tokens.extend(more);
        let spec = TokenizerSpec {
            model: "gpt2".into(),
            pre: Some(name.clone()),
            types: Some(vec![TokenType::Normal; tokens.len()]),
            tokens,
            merges: Some(merges.clone()),
            bos: Some(0),
            eos: Some(0),
            ..TokenizerSpec::default()
        };
        let tokenizer = Tokenizer::new(&spec).unwrap();
        assert_eq!(tokenizer.warnings().len(), 1, "{merges:?}");
        assert!(tokenizer.missing_bytes().is_empty());
        for (text, ids) in texts {
            assert_eq!(tokenizer.encode(&text, PLAIN), ids, "{name} {merges:?}: {text:?}");
            assert_eq!(tokenizer.decode(&ids, false), text);
        }
    }
}

#[test]
fn texts_begin_as_with_llama_cpp() {
    let corpus = corpus();
    for name in corpus.names.iter().flatten() {
        let expected = corpus.begins.contains(name).then_some(0);
        assert_eq!(tokenizer(&corpus, name).first_token(), expected, "{name}");
    }
}

#[test]
fn the_corpus_has_every_name() {
    let corpus = corpus();
    let known: BTreeSet<&str> = pre_tokenizers().collect();
    let written: BTreeSet<&str> =
        corpus.names.iter().flatten().map(String::as_str).filter(|name| *name != "-").collect();
    assert_eq!(known, written);
    assert_eq!(pre_tokenizers().count(), known.len(), "no name stands twice");
}

#[test]
fn cuts_of_all_kinds_can_be_told_apart_in_the_corpus() {
    // A corpus in which two ways to cut look alike would prove nothing about either.
    let corpus = corpus();
    assert!(corpus.names.len() >= 30, "{:?}", corpus.names);
    assert!(corpus.texts.len() >= 250);
    let lists = corpus.texts.iter().map(|Row(_, lists, _)| lists.len()).max();
    assert!(lists.is_some_and(|lists| lists >= 10), "{lists:?}");
}
