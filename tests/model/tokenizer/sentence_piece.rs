//! SentencePiece's BPE against its definition, written as plainly as possible.

use std::collections::HashMap;

use pixel_llm::model::tokenizer::{
    DecodeStream, EncodeOptions, TokenType, Tokenizer, TokenizerSpec,
};
use proptest::prelude::*;

use super::fixtures::{WORD_PIECES, crossing_pieces, sentence_piece};

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSED: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
const WHOLE: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// Looks at all neighbours, merges the leftmost of the best, and begins again.
fn by_definition(spec: &TokenizerSpec, text: &str) -> Vec<u32> {
    let (types, scores) = (spec.types.as_ref().unwrap(), spec.scores.as_ref().unwrap());
    let plain = |id: &usize| types[*id] == TokenType::Normal;
    let pieces: HashMap<&str, usize> =
        (0..spec.tokens.len()).filter(plain).map(|id| (spec.tokens[id].as_str(), id)).collect();
    let mut parts: Vec<String> =
        format!(" {text}").replace(' ', "▁").chars().map(String::from).collect();
    loop {
        let score =
            |at: &usize| pieces.get(parts[at - 1..=*at].concat().as_str()).map(|&id| scores[id]);
        let best = (1..parts.len())
            .filter_map(|at| Some((at, score(&at)?)))
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((at, _)) = best else { break };
        let right = parts.remove(at);
        parts[at - 1].push_str(&right);
    }
    parts
        .iter()
        .flat_map(|part| match pieces.get(part.as_str()) {
            Some(&id) => vec![id as u32],
            None => part.bytes().map(|byte| 3 + u32::from(byte)).collect(),
        })
        .collect()
}

/// All scores equal in groups of four, so that position decides.
fn with_ties(mut spec: TokenizerSpec) -> TokenizerSpec {
    for score in spec.scores.as_mut().unwrap() {
        *score = (*score / 4.0).floor();
    }
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_follow_the_definition(text in "[ abehilnort.\n日本é]{1,40}") {
        let crossing = crossing_pieces();
        for spec in [
            sentence_piece(WORD_PIECES),
            sentence_piece(&crossing),
            with_ties(sentence_piece(WORD_PIECES)),
            with_ties(sentence_piece(&crossing)),
        ] {
            let tokenizer = Tokenizer::new(&spec).unwrap();
            prop_assert_eq!(tokenizer.encode(&text, PLAIN), by_definition(&spec, &text));
        }
    }
}

fn texts<'t>(tokenizer: &'t Tokenizer, ids: &[u32]) -> Vec<&'t str> {
    ids.iter().map(|&id| tokenizer.token_text(id).unwrap()).collect()
}

#[test]
fn words_merge_by_score_and_the_rest_falls_back_to_bytes() {
    let tokenizer = Tokenizer::new(&sentence_piece(WORD_PIECES)).unwrap();
    let tokens = |text| texts(&tokenizer, &tokenizer.encode(text, WHOLE)).join(" ");
    assert_eq!(tokens("the"), "<s> ▁the");
    assert_eq!(tokens(" the"), "<s> ▁ ▁the", "`▁t` is better than `▁▁`");
    assert_eq!(tokens("ü\n"), "<s> ▁ <0xC3> <0xBC> \n");
    assert_eq!(tokens(""), "<s>");
}

#[test]
fn a_space_follows_the_start_and_every_special_token() {
    let tokenizer = Tokenizer::new(&sentence_piece(WORD_PIECES)).unwrap();
    let ids = tokenizer.encode("a</s>the", PARSED);
    assert_eq!(texts(&tokenizer, &ids), ["▁a", "</s>", "▁the"]);
    assert_eq!(tokenizer.decode(&ids, false), "a</s>the");
    assert_eq!(tokenizer.decode(&ids, true), "athe");
    // An answer continues its prompt, so the space is its own.
    let mut stream = DecodeStream::continuing(true);
    assert_eq!(stream.push(&tokenizer, ids[0]), " a");
}

#[test]
fn no_space_is_added_where_the_file_says_so() {
    let mut spec = sentence_piece(WORD_PIECES);
    spec.add_space_prefix = Some(false);
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(texts(&tokenizer, &tokenizer.encode("he", PLAIN)), ["he"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode(" he", PLAIN), true), " he");
}

#[test]
fn the_sign_for_a_space_comes_back_as_a_space() {
    let tokenizer = Tokenizer::new(&sentence_piece(WORD_PIECES)).unwrap();
    assert_eq!(tokenizer.decode(&tokenizer.encode("a\u{2581}b", PLAIN), true), "a b");
}

#[test]
fn special_tokens_are_found_by_name_where_the_file_is_silent() {
    let mut spec = sentence_piece(WORD_PIECES);
    (spec.bos, spec.eos, spec.unk) = (None, None, None);
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert!(tokenizer.is_end(2));
    assert_eq!(tokenizer.encode("he", WHOLE)[0], 1);
}

#[test]
fn without_byte_tokens_a_character_is_unknown() {
    let mut spec = sentence_piece(WORD_PIECES);
    spec.types.as_mut().unwrap()[3..259].fill(TokenType::Unused);
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.missing_bytes().len(), 256);
    assert_eq!(texts(&tokenizer, &tokenizer.encode("aüa", PLAIN)), ["▁a", "<unk>", "a"]);
}

#[test]
fn types_may_be_absent() {
    let mut spec = sentence_piece(WORD_PIECES);
    spec.types = None;
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert!(tokenizer.missing_bytes().is_empty());
    assert!(tokenizer.is_special(1) && tokenizer.is_end(2));
    assert_eq!(tokenizer.decode(&tokenizer.encode("日x", PLAIN), true), "日x");
}
