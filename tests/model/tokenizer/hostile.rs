//! Damaged vocabularies: each is refused with an error that names the field, what was found and
//! what was expected.

use pixel_llm::model::tokenizer::{
    EncodeOptions, TokenType, Tokenizer, TokenizerError, TokenizerSpec,
};

use super::fixtures::{WORD_PIECES, byte_level, sentence_piece};

/// The message with which `spec` is refused after `damage`.
fn refusal(mut spec: TokenizerSpec, damage: impl FnOnce(&mut TokenizerSpec)) -> String {
    damage(&mut spec);
    Tokenizer::new(&spec).expect_err("must be refused").to_string()
}

fn bpe(damage: impl FnOnce(&mut TokenizerSpec)) -> String {
    refusal(byte_level("gpt-2"), damage)
}

fn spm(damage: impl FnOnce(&mut TokenizerSpec)) -> String {
    refusal(sentence_piece(WORD_PIECES), damage)
}

#[test]
fn unknown_kinds() {
    assert_eq!(
        bpe(|spec| spec.model = "bert".into()),
        r#"tokenizer.ggml.model is "bert"; expected one of ["gpt2", "llama"]"#
    );
    assert!(
        bpe(|spec| spec.pre = Some("x".repeat(1000)))
            .starts_with(&format!("tokenizer.ggml.pre is \"{}...\"; expected", "x".repeat(48)))
    );
}

#[test]
fn counts_that_differ() {
    let count = byte_level("gpt-2").tokens.len();
    assert_eq!(
        bpe(|spec| spec.tokens.clear()),
        "tokenizer.ggml.tokens has 0 entries; expected 1 to 16777216"
    );
    assert_eq!(
        bpe(|spec| spec.types.as_mut().unwrap().truncate(7)),
        format!("tokenizer.ggml.token_type has 7 entries; expected {count}, one for each token")
    );
    assert_eq!(
        bpe(|spec| spec.scores = Some(vec![0.0])),
        format!("tokenizer.ggml.scores has 1 entries; expected {count}, one for each token")
    );
    // More than there are tokens: the rest is passed over, as in llama.cpp.
    let mut spec = sentence_piece(WORD_PIECES);
    spec.scores.as_mut().unwrap().push(0.0);
    assert!(Tokenizer::new(&spec).unwrap().warnings().is_empty());
}

/// What `spec` warns of after `damage`; it still encodes as it did.
fn warning(mut spec: TokenizerSpec, damage: impl FnOnce(&mut TokenizerSpec)) -> String {
    damage(&mut spec);
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert!(!tokenizer.encode("hello", EncodeOptions::default()).is_empty());
    let [warning] = tokenizer.warnings() else { panic!("{:?}", tokenizer.warnings()) };
    warning.clone()
}

#[test]
fn numbers_that_are_no_token_type() {
    let mut warnings = Vec::new();
    let types = TokenType::list_from_gguf(&[1, 6], &mut warnings);
    assert_eq!((types, warnings.len()), (vec![TokenType::Normal, TokenType::Byte], 0));
    for bad in [0, 7, -1, i64::MAX] {
        let mut warnings = Vec::new();
        assert_eq!(TokenType::list_from_gguf(&[1, 2, bad], &mut warnings)[2], TokenType::Unused);
        assert!(warnings[0].contains(&format!("token 2 with {bad}")), "{warnings:?}");
    }
}

#[test]
fn fields_that_are_missing() {
    assert!(bpe(|spec| spec.merges = None).starts_with("tokenizer.ggml.merges is missing"));
    let scores = warning(sentence_piece(WORD_PIECES), |spec| spec.scores = None);
    assert!(scores.starts_with("tokenizer.ggml.scores is missing"), "{scores}");
    let pre = warning(byte_level("gpt-2"), |spec| spec.pre = None);
    assert!(pre.starts_with("tokenizer.ggml.pre is missing"), "{pre}");
    for name in ["bos", "eos"] {
        let said = warning(byte_level("gpt-2"), |spec| match name {
            "bos" => (spec.bos, spec.add_bos) = (None, Some(true)),
            _ => (spec.eos, spec.add_eos) = (None, Some(true)),
        });
        assert!(said.contains(&format!("tokenizer.ggml.add_{name}_token is true")), "{said}");
        assert!(said.contains("token 11 is added"), "{said}");
    }
}

#[test]
fn tokens_that_make_no_sense() {
    assert!(bpe(|spec| spec.tokens[9] = spec.tokens[5].clone()).contains("twice, as 5 and as 9"));
    for bad in ["<0xGG>", "<0x1>", "<0x100>", "<0x+1>", "0x41", "<0xé>"] {
        assert_eq!(
            spm(|spec| spec.tokens[7] = bad.into()),
            format!("tokenizer.ggml.tokens: byte token 7 is {bad:?}; expected <0x00> to <0xFF>")
        );
    }
    assert!(
        spm(|spec| spec.scores.as_mut().unwrap()[270] = f32::NAN).contains("token 270 has NaN")
    );
    let no_bytes = |spec: &mut TokenizerSpec| {
        spec.types.as_mut().unwrap()[3..259].fill(TokenType::Normal);
        spec.types.as_mut().unwrap()[0] = TokenType::Control;
        (spec.tokens[0], spec.unk) = ("<pad>".into(), None);
    };
    assert!(spm(no_bytes).starts_with("tokenizer.ggml.tokens has 0 of the 256 byte tokens"));
}

#[test]
fn merges_that_make_no_sense() {
    let long = format!("{} h", "h".repeat(1000));
    // No pair; the left half, the right half and the union without a token; a union longer than any
    // token.
    for bad in ["ab", "", " ", "a ", " a", "ΩΩ a", "a ΩΩ", "z z", "a b c", &long] {
        let said =
            warning(byte_level("gpt-2"), |spec| spec.merges.as_mut().unwrap()[2] = bad.into());
        assert!(said.contains("such as merge 2,"), "{bad:?}: {said}");
    }
    let error = bpe(|spec| {
        spec.tokens[1] = "zz".into();
        spec.merges.as_mut().unwrap().push("z z".into());
    });
    assert!(error.contains("involves the control token \"zz\""), "{error}");
}

#[test]
fn special_ids_out_of_range() {
    type Field = fn(&mut TokenizerSpec) -> &mut Option<u32>;
    let fields: [(&str, Field); 5] = [
        ("bos", |spec| &mut spec.bos),
        ("eos", |spec| &mut spec.eos),
        ("eot", |spec| &mut spec.eot),
        ("unknown", |spec| &mut spec.unk),
        ("padding", |spec| &mut spec.pad),
    ];
    for (name, field) in fields {
        let vocab_size = byte_level("gpt-2").tokens.len();
        for id in [vocab_size as u32, u32::MAX] {
            let said = warning(byte_level("gpt-2"), |spec| *field(spec) = Some(id));
            let start =
                format!("tokenizer.ggml.{name}_token_id is {id}, outside of the vocabulary");
            assert!(said.starts_with(&start) && said.contains(&vocab_size.to_string()), "{said}");
        }
    }
}

#[test]
fn errors_can_be_told_apart() {
    let mut spec = byte_level("gpt-2");
    spec.model = "bert".into();
    assert!(matches!(Tokenizer::new(&spec), Err(TokenizerError::UnknownModel { .. })));
}

#[test]
fn no_byte_is_lost_where_a_merge_has_no_result() {
    // llama.cpp loses the space, whose letter in the vocabulary is no ASCII.
    let mut spec = byte_level("gpt-2");
    let merge = spec.merges.as_ref().unwrap().iter().position(|merge| merge == "Ġ h").unwrap();
    let made = spec.tokens.iter().position(|token| token == "Ġh").unwrap();
    spec.tokens[made] = "[unused]".into();
    let tokenizer = Tokenizer::new(&spec).unwrap();
    let ids = tokenizer.encode("a ha", EncodeOptions::default());
    assert_eq!(tokenizer.decode(&ids, false), "a ha", "{ids:?}");
    assert!(
        tokenizer.warnings()[0].contains(&format!("merge {merge}")),
        "{:?}",
        tokenizer.warnings()
    );
}

#[test]
fn empty_tokens_are_no_text() {
    for empty in [&[300][..], &[0, 1, 301], &[299, 300, 301, 302, 303]] {
        let mut spec = byte_level("gpt-2");
        empty.iter().for_each(|&id: &usize| spec.tokens[id].clear());
        // Merges of what is now without text never have a result; they are not what is looked at
        // here.
        spec.merges = Some(Vec::new());
        let tokenizer = Tokenizer::new(&spec).unwrap();
        let [warning] = tokenizer.warnings() else { panic!("{:?}", tokenizer.warnings()) };
        assert!(
            warning.contains("without text") && warning.contains(&format!("such as {}", empty[0]))
        );
        let ids =
            tokenizer.encode("hello", EncodeOptions { parse_special: true, add_special: false });
        assert_eq!(tokenizer.decode(&ids, false), "hello");
        assert!(empty.iter().all(|&id| tokenizer.token_bytes(id as u32).is_empty()));
    }
}

#[test]
fn kimi_needs_no_merges_and_others_do() {
    let mut spec = byte_level("kimi-k2");
    spec.merges = None;
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(
        tokenizer.decode(&tokenizer.encode("hello 日本", EncodeOptions::default()), false),
        "hello 日本"
    );
    spec.pre = Some("qwen2".into());
    assert!(
        Tokenizer::new(&spec)
            .unwrap_err()
            .to_string()
            .starts_with("tokenizer.ggml.merges is missing")
    );
}

#[test]
fn a_vocabulary_that_begins_texts_says_with_what() {
    // llama.cpp takes 11 where a file does not say.
    let mut spec = byte_level("llama-bpe");
    (spec.bos, spec.add_bos) = (None, None);
    let tokenizer = Tokenizer::new(&spec).unwrap();
    assert_eq!(tokenizer.first_token(), Some(11));
    let [warning] = tokenizer.warnings() else { panic!("{:?}", tokenizer.warnings()) };
    assert!(warning.contains("bos_token_id") && warning.contains("token 11"), "{warning}");
}
