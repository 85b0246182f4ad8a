//! Token ids equal those of independent tokenizers, and text survives the way there and back.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

mod corpus;
mod fixtures;
mod hostile;
mod metadata;
mod sentence_piece;

use std::sync::LazyLock;

use fixtures::{WORD_PIECES, beside, byte_level, crossing_pieces};
use pixel_llm::model::tokenizer::{
    DecodeStream, EncodeOptions, TokenType, Tokenizer, TokenizerSpec,
};
use proptest::prelude::*;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

/// Pre-tokenisers whose expressions were published; the first is what is meant where a file does
/// not say.
const PRE_TOKENIZERS: [&str; 5] = ["default", "gpt-2", "smollm", "llama-bpe", "qwen2"];

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSED: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };
const WHOLE: EncodeOptions = EncodeOptions { add_special: true, parse_special: true };

/// One of each pre-tokeniser on the vocabulary made here.
static BYTE_LEVEL: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    PRE_TOKENIZERS.iter().map(|pre| Tokenizer::new(&byte_level(pre)).unwrap()).collect()
});

/// Without and with pieces that cross words.
static SENTENCE_PIECE: LazyLock<[Tokenizer; 2]> = LazyLock::new(|| {
    [WORD_PIECES, &crossing_pieces()]
        .map(|pieces| Tokenizer::new(&fixtures::sentence_piece(pieces)).unwrap())
});

/// Any Unicode text, with more of what pre-tokenisers and merges care about than chance would
/// bring.
fn any_text() -> impl Strategy<Value = String> {
    let common = prop::sample::select(
        " \n\r\t'sStTlLvabehinor0199.,!?_<|>日本éÉß\u{301}\u{a0}\u{2028}Ⅷ½٣🙂"
            .chars()
            .collect::<Vec<_>>(),
    );
    let letter = prop_oneof![4 => common, 1 => any::<char>()];
    prop::collection::vec(letter, 0..80).prop_map(String::from_iter)
}

/// Unicode text in which no space is written in SentencePiece's way.
fn text_without_space_marks() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| text.replace('\u{2581}', "_"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn byte_level_text_comes_back(text in any_text()) {
        for tokenizer in BYTE_LEVEL.iter() {
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, PLAIN), true), &text);
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, PARSED), false), &text);
        }
    }

    #[test]
    fn sentence_piece_text_comes_back(text in text_without_space_marks()) {
        for tokenizer in SENTENCE_PIECE.iter() {
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, PLAIN), true), &text);
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, PARSED), false), &text);
            let special = EncodeOptions { add_special: true, ..PLAIN };
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, special), true), &text);
        }
    }

    #[test]
    fn plain_text_never_becomes_a_special_token(
        text in concat!(
            "(<\\|im_start\\|>|<\\|im_end\\|>|</s>|<s>|<think>|<unk>|<0x41>|",
            "[a-z <>|/]{0,3}){0,6}",
        ),
    ) {
        for tokenizer in BYTE_LEVEL.iter().chain(SENTENCE_PIECE.iter()) {
            let ids = tokenizer.encode(&text, PLAIN);
            let is_text = |id: &u32| {
                let kind = tokenizer.token_type(*id);
                matches!(kind, Some(TokenType::Normal | TokenType::Byte))
            };
            prop_assert!(ids.iter().all(is_text), "{:?}", ids);
            prop_assert_eq!(&tokenizer.decode(&ids, true), &text);
        }
    }

    #[test]
    fn ids_are_those_of_the_published_pipeline(text in any_text()) {
        for (tokenizer, published) in BYTE_LEVEL.iter().zip(PUBLISHED.iter()) {
            let expected = published.encode_fast(text.as_str(), false).unwrap();
            prop_assert_eq!(tokenizer.encode(&text, PARSED), expected.get_ids());
        }
    }

    #[test]
    fn a_stream_gives_the_text_of_any_ids(
        ids in prop::collection::vec(0_u32..600, 0..60), skip in any::<bool>(),
    ) {
        for tokenizer in BYTE_LEVEL.iter().take(1).chain(SENTENCE_PIECE.iter()) {
            let mut stream = DecodeStream::from_start(tokenizer, skip);
            let mut text: String = ids.iter().map(|&id| stream.push(tokenizer, id)).collect();
            text.push_str(&stream.finish());
            prop_assert_eq!(text, tokenizer.decode(&ids, skip));
        }
    }
}

/// The expressions as they were published, each in the order in which it is applied.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_BPE: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// The same vocabulary in the pipeline of the `tokenizers` crate, with its own splitting on a
/// backtracking engine.
static PUBLISHED: LazyLock<Vec<tokenizers::Tokenizer>> = LazyLock::new(|| {
    let expressions = |pre: &str| match pre {
        "default" => vec![r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        "smollm" => vec![r"\p{N}", GPT2],
        "llama-bpe" => vec![LLAMA_BPE],
        "qwen2" => vec![QWEN2],
        _ => vec![GPT2],
    };
    PRE_TOKENIZERS.iter().map(|pre| published(pre, &expressions(pre))).collect()
});

fn published(pre: &str, expressions: &[&str]) -> tokenizers::Tokenizer {
    let spec = byte_level(pre);
    let vocab = (0..).zip(&spec.tokens).map(|(id, token)| (token.clone(), id));
    let merges = spec.merges.iter().flatten().map(|merge| {
        let (left, right) = merge.split_once(' ').unwrap();
        (left.to_owned(), right.to_owned())
    });
    let bpe = tokenizers::models::bpe::BpeBuilder::new()
        .vocab_and_merges(vocab.collect::<tokenizers::models::bpe::Vocab>(), merges.collect())
        .ignore_merges(pre == "llama-bpe")
        .build()
        .unwrap();
    let mut steps: Vec<PreTokenizerWrapper> = expressions
        .iter()
        .map(|expression| {
            let pattern = SplitPattern::Regex((*expression).to_owned());
            Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap().into()
        })
        .collect();
    steps.push(ByteLevel::new(false, false, false).into());
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    let special =
        spec.tokens[..4].iter().map(|text| tokenizers::AddedToken::from(text.as_str(), true));
    tokenizer.add_special_tokens(special.collect::<Vec<_>>()).unwrap();
    tokenizer
}

#[test]
fn special_tokens_are_matched_on_request() {
    let tokenizer = &BYTE_LEVEL[1];
    let text = "<|im_start|>a<think><|im_end|>";
    assert_eq!(tokenizer.encode(text, PARSED), [1, 4 + u32::from(b'a'), 3, 2]);
    assert_eq!(tokenizer.decode(&[1, 3, 2], true), "<think>", "user-defined tokens are text");
    assert_eq!(tokenizer.decode(&[1, 3, 2], false), "<|im_start|><think><|im_end|>");
}

#[test]
fn the_longest_special_token_wins() {
    let mut spec = byte_level("gpt-2");
    spec.tokens[0] = "<|im".into();
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.encode("<|im_start|><|im", PARSED), [1, 0]);
}

#[test]
fn ends_are_found_by_id_and_by_name() {
    let mut spec = byte_level("gpt-2");
    spec.tokens[300] = "<|eot_id|>".into();
    spec.tokens[301] = "</s>".into();
    spec.merges = Some(Vec::new());
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.end_tokens(), [0, 2, 300]);
    assert!(
        tokenizer.is_end(300) && tokenizer.is_special(300),
        "normal by mistake, so made a control token"
    );
    assert!(!tokenizer.is_end(301), "plain text that looks like mark-up");
    assert!(!tokenizer.is_end(1) && tokenizer.is_special(1) && !tokenizer.is_special(3));
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), Some(0)));
}

#[test]
fn ids_outside_the_vocabulary_add_nothing() {
    let tokenizer = &BYTE_LEVEL[0];
    let outside = tokenizer.vocab_size() as u32;
    assert_eq!(tokenizer.decode(&[outside, u32::MAX], false), "");
    assert_eq!((tokenizer.token_text(outside), tokenizer.token_bytes(outside)), (None, &[][..]));
    assert!(!tokenizer.is_end(outside) && !tokenizer.is_special(outside));
}

#[test]
fn the_beginning_and_the_end_are_added_as_the_model_wants() {
    let mut spec = byte_level("llama-bpe");
    spec.add_bos = None;
    spec.bos = Some(1);
    let ids = |spec: &TokenizerSpec| Tokenizer::new(spec).unwrap().encode("", WHOLE);
    assert_eq!(ids(&spec), [1], "llama-bpe begins a sequence unless told otherwise");
    spec.add_eos = Some(true);
    assert_eq!(ids(&spec), [1, 0]);
    spec.add_bos = Some(false);
    assert_eq!(ids(&spec), [0]);
    spec.pre = Some("qwen2".into());
    (spec.add_bos, spec.add_eos) = (None, None);
    assert!(ids(&spec).is_empty());
}

#[test]
fn a_byte_without_a_token_is_lost_and_reported() {
    let mut spec = byte_level("gpt-2");
    let letter = fixtures::letters()[usize::from(b'q')].to_string();
    let id = spec.tokens.iter().position(|token| *token == letter).unwrap();
    spec.tokens[id] = "[unused]".into();
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.missing_bytes(), b"q");
    let ids = tokenizer.encode("aqb", PLAIN);
    assert_eq!(ids, [4 + u32::from(b'a'), 4 + u32::from(b'b')], "not merged over the gap");
}

#[test]
fn a_stream_waits_for_whole_characters() {
    let tokenizer = &BYTE_LEVEL[0];
    let mut stream = DecodeStream::continuing(true);
    let mut push = |byte: u8| stream.push(tokenizer, 4 + u32::from(byte));
    let bytes = "é🙂".bytes().map(&mut push).collect::<Vec<_>>();
    assert_eq!(bytes, ["", "é", "", "", "", "🙂"]);
    assert_eq!([0xF0, 0x9F, b'a', 0xFF, 0xE2].map(push), ["", "", "\u{FFFD}a", "\u{FFFD}", ""]);
    assert_eq!(stream.finish(), "\u{FFFD}");
}

/// The cases of a golden file as JSON.
fn cases(path: &str) -> Option<Vec<serde_json::Value>> {
    let value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(beside(path)?).unwrap()).unwrap();
    let cases = value.get("cases").unwrap_or(&value).as_array().unwrap();
    assert!(!cases.is_empty());
    Some(cases.clone())
}

fn ids_of(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn smollm2_ids_are_golden() {
    let Some(file) = beside("gguf/SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let Some(cases) = cases("shared/golden/smollm2-135m-q4_1.json") else { return };
    let tokenizer = Tokenizer::new(&metadata::read(&file)).unwrap();
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, PARSED), ids_of(&case["ids"]), "{}", case["name"]);
        assert_eq!(tokenizer.decode(&ids_of(&case["ids"]), false), text);
        assert_eq!(
            tokenizer.decode(&ids_of(&case["greedy"]), false),
            case["greedy_text"].as_str().unwrap()
        );
    }
    assert!(tokenizer.is_end(0) && tokenizer.is_end(2) && !tokenizer.is_end(1));
}

#[test]
fn seedling_ids_are_golden() {
    let Some(file) = beside("shared/models/seedling/seedling-q8_0.gguf") else { return };
    let Some(cases) = cases("shared/models/seedling/goldens.json") else { return };
    let tokenizer = Tokenizer::new(&metadata::read(&file)).unwrap();
    for case in cases {
        let text = case["prompt"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, WHOLE), ids_of(&case["ids"]), "{text}");
        assert_eq!(tokenizer.decode(&ids_of(&case["ids"]), false), text);
    }
    assert!(tokenizer.missing_bytes().is_empty());
}

#[test]
fn seedling_agrees_with_its_published_tokenizer() {
    let Some(file) = beside("shared/models/seedling/seedling-q8_0.gguf") else { return };
    let published = beside("shared/models/seedling/tokenizer.json").unwrap();
    let published = tokenizers::Tokenizer::from_file(published).unwrap();
    let tokenizer = Tokenizer::new(&metadata::read(&file)).unwrap();
    let corpus =
        std::fs::read_to_string(beside("shared/models/seedling/corpus-sample.txt").unwrap())
            .unwrap();
    assert_eq!(
        tokenizer.encode(&corpus, PARSED),
        published.encode_fast(corpus.as_str(), false).unwrap().get_ids()
    );
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in any_text())| {
        let expected = published.encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(tokenizer.encode(&text, PARSED), expected.get_ids());
        prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, PARSED), false), &text);
    });
}
