//! Vocabularies for the tests: two made here, and those of the real files where they are at hand.

use std::path::{Path, PathBuf};

use pixel_llm::model::tokenizer::{TokenType, TokenizerSpec};

/// Byte-level letters by the rule of GPT-2, written independently of the library's.
pub fn letters() -> Vec<char> {
    let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut spare = (256..).map(|code| char::from_u32(code).unwrap());
    (0..256_u32)
        .map(
            |byte| {
                if printable(&byte) { char::from_u32(byte).unwrap() } else { spare.next().unwrap() }
            },
        )
        .collect()
}

/// All 256 bytes, then a merge for every pair of common bytes, so that a word cut in another place
/// shows in the ids.
pub fn byte_level(pre: &str) -> TokenizerSpec {
    let letters = letters();
    let mut tokens: Vec<String> =
        vec!["<|endoftext|>".into(), "<|im_start|>".into(), "<|im_end|>".into()];
    tokens.push("<think>".into());
    let mut types = vec![TokenType::Control; 3];
    types.push(TokenType::UserDefined);
    tokens.extend(letters.iter().map(char::to_string));
    let mut merges = Vec::new();
    let common = b" \n\r\tabehilorstvSTL'dm019.,!_\xc3\xa9\xe2";
    for left in common {
        for right in common {
            let (left, right) = (letters[usize::from(*left)], letters[usize::from(*right)]);
            merges.push(format!("{left} {right}"));
            tokens.push(format!("{left}{right}"));
        }
    }
    for (left, right) in
        [("Ġt", "he"), ("Ġthe", "re"), ("ll", "o"), ("he", "llo"), ("ĠĠ", "ĠĠ"), ("01", "9")]
    {
        merges.push(format!("{left} {right}"));
        tokens.push(format!("{left}{right}"));
    }
    types.resize(tokens.len(), TokenType::Normal);
    TokenizerSpec {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        tokens,
        types: Some(types),
        merges: Some(merges),
        bos: Some(0),
        eos: Some(0),
        eot: Some(2),
        add_bos: Some(false),
        ..TokenizerSpec::default()
    }
}

/// A SentencePiece vocabulary: three control tokens, 256 bytes, some letters, and pieces with
/// descending scores.
pub fn sentence_piece(pieces: &[&str]) -> TokenizerSpec {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    let mut types = vec![TokenType::Unknown, TokenType::Control, TokenType::Control];
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    types.resize(tokens.len(), TokenType::Byte);
    tokens.extend(pieces.iter().map(|piece| piece.to_string()));
    types.resize(tokens.len(), TokenType::Normal);
    let first = tokens.len() - pieces.len();
    let scores = (0..tokens.len())
        .map(|id| if id < first { 0.0 } else { first as f32 - id as f32 })
        .collect();
    TokenizerSpec {
        model: "llama".into(),
        tokens,
        types: Some(types),
        scores: Some(scores),
        bos: Some(1),
        eos: Some(2),
        unk: Some(0),
        ..TokenizerSpec::default()
    }
}

/// Pieces of which no one crosses a word boundary.
pub const WORD_PIECES: &[&str] = &[
    "he",
    "▁t",
    "▁the",
    "in",
    "re",
    "▁▁",
    "▁a",
    "er",
    "▁▁▁▁",
    "ll",
    "▁he",
    "▁hell",
    "llo",
    "▁hello",
    "th",
    "ab",
    "aba",
    "bab",
    "\n\n",
    "é",
    "日本",
    "▁",
    "a",
    "b",
    "e",
    "h",
    "i",
    "l",
    "n",
    "o",
    "r",
    "t",
    "\n",
    "日",
    ".",
    "<",
    "s",
    ">",
    "</s",
];

/// The same with pieces that hold a space inside.
pub fn crossing_pieces() -> Vec<&'static str> {
    [&["a▁b", "e▁", "o▁the"], WORD_PIECES].concat()
}

/// A file beside the repository, if it is there.
pub fn beside(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join(path))
        .find(|candidate| candidate.exists());
    if found.is_none() {
        eprintln!("skipped: {path} is not beside the repository");
    }
    found
}
