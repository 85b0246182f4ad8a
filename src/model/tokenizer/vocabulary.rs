//! The vocabulary: every token's text, type and bytes, checked once so that all later look-ups are
//! by plain index.

use std::collections::HashMap;

use super::alphabet;
use super::error::{TokenizerError, shorten};
use super::spec::{self, TokenType, TokenizerSpec};
use super::special_ids::SpecialIds;

/// The most tokens a vocabulary may have. The largest known ones have 256 Ki; an id must also fit
/// the 24 bits in which a float can carry it exactly.
pub const MAX_TOKENS: usize = 1 << 24;

/// SentencePiece's visible stand-in for a space.
pub(crate) const SPACE_MARK: char = '\u{2581}';

/// Tokens that end an answer in the model families that chat, whatever the file says about them.
const WELL_KNOWN_ENDS: [&str; 10] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "</s>",
];

/// Every token by id.
#[derive(Debug)]
pub struct Vocabulary {
    texts: Vec<String>,
    types: Vec<TokenType>,
    ids: HashMap<String, u32>,
    /// The tokens' bytes one after the other; token `i` ends at `byte_ends[i]`.
    bytes: Vec<u8>,
    byte_ends: Vec<usize>,
    /// In ascending order, for a binary search.
    ends: Vec<u32>,
}

impl Vocabulary {
    /// Checks the lists of `spec` against each other and spells every token. `special` are those of
    /// `spec` that are in the vocabulary; `warnings` gets what is passed over.
    pub fn new(
        spec: &TokenizerSpec,
        special: &SpecialIds,
        warnings: &mut Vec<String>,
    ) -> Result<Vocabulary, TokenizerError> {
        let count = spec.tokens.len();
        if count == 0 || count > MAX_TOKENS {
            return Err(TokenizerError::VocabularySize { found: count, limit: MAX_TOKENS });
        }
        let ids = distinct(&spec.tokens, warnings)?;
        let mut types = types_of(spec, special)?;
        // Before the spelling, since it makes control tokens of some that are spelled otherwise.
        let ends = ends_of(special, &ids, &mut types);
        let (mut bytes, mut byte_ends) = (Vec::new(), Vec::with_capacity(count));
        for (id, (text, kind)) in (0_u32..).zip(spec.tokens.iter().zip(&types)) {
            match kind {
                // An empty token adds nothing, whatever it is said to be.
                _ if text.is_empty() => {}
                TokenType::Byte if spec.model == "llama" => bytes.push(
                    byte_named(text)
                        .ok_or_else(|| TokenizerError::BadByteToken { id, found: shorten(text) })?,
                ),
                TokenType::Control | TokenType::Unknown | TokenType::UserDefined => {
                    bytes.extend(text.bytes())
                }
                _ if spec.model == "llama" => bytes.extend(text.replace(SPACE_MARK, " ").bytes()),
                // A text that the byte alphabet cannot spell, such as padding, is shown as it is.
                _ => {
                    bytes.extend(alphabet::spell(text).unwrap_or_else(|| text.clone().into_bytes()))
                }
            }
            byte_ends.push(bytes.len());
        }
        Ok(Vocabulary { texts: spec.tokens.clone(), types, ids, bytes, byte_ends, ends })
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// The token's text as the file writes it.
    pub fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize).map(String::as_str)
    }

    /// The token's type; none for an id outside the vocabulary.
    pub fn kind(&self, id: u32) -> Option<TokenType> {
        self.types.get(id as usize).copied()
    }

    /// The bytes that the token adds to a text; none for an id outside the vocabulary.
    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.byte_ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.byte_ends[id - 1] };
        &self.bytes[start..end]
    }

    /// The token with exactly that text in the file.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// The tokens that end an answer, ascending.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Id, text and type of every token, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenType)> {
        (0_u32..)
            .zip(&self.texts)
            .zip(&self.types)
            .map(|((id, text), kind)| (id, text.as_str(), *kind))
    }
}

/// The byte that `<0x0A>` and its like name.
fn byte_named(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    // `from_str_radix` alone would take a sign, such as in `<0x+A>`.
    let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The id of every text. A token without text is never found in one.
fn distinct(
    tokens: &[String],
    warnings: &mut Vec<String>,
) -> Result<HashMap<String, u32>, TokenizerError> {
    let mut ids = HashMap::with_capacity(tokens.len());
    let mut empty = Vec::new();
    for (id, token) in (0_u32..).zip(tokens) {
        if token.is_empty() {
            empty.push(id);
            continue;
        }
        if let Some(first) = ids.insert(token.clone(), id) {
            return Err(TokenizerError::DuplicateToken {
                token: shorten(token),
                first,
                second: id,
            });
        }
    }
    if let Some(first) = empty.first() {
        warnings.push(format!(
            "tokenizer.ggml.tokens: {} without text, such as {first}; no text becomes one",
            spec::tokens(empty.len())
        ));
    }
    Ok(ids)
}

fn types_of(spec: &TokenizerSpec, special: &SpecialIds) -> Result<Vec<TokenType>, TokenizerError> {
    if let Some(types) = &spec.types {
        if types.len() < spec.tokens.len() {
            return Err(TokenizerError::CountMismatch {
                field: "tokenizer.ggml.token_type",
                found: types.len(),
                expected: spec.tokens.len(),
            });
        }
        // What is beyond the tokens is passed over, as llama.cpp does.
        return Ok(types[..spec.tokens.len()].to_vec());
    }
    let mut types = vec![TokenType::Normal; spec.tokens.len()];
    if spec.model == "llama" {
        for (kind, text) in types.iter_mut().zip(&spec.tokens) {
            if byte_named(text).is_some() {
                *kind = TokenType::Byte;
            }
        }
    }
    for id in [special.bos, special.eos, special.eot].into_iter().flatten() {
        types[id as usize] = TokenType::Control;
    }
    Ok(types)
}

/// Finds the tokens that end an answer. Some converters write `<|im_end|>` and its like as normal
/// text; such a token becomes a control token here, or a chat template could not produce it.
fn ends_of(special: &SpecialIds, ids: &HashMap<String, u32>, types: &mut [TokenType]) -> Vec<u32> {
    let mut ends: Vec<u32> = [special.eos, special.eot].into_iter().flatten().collect();
    for name in WELL_KNOWN_ENDS {
        let Some(&id) = ids.get(name) else { continue };
        let kind = &mut types[id as usize];
        if *kind == TokenType::Normal && name.starts_with("<|") {
            *kind = TokenType::Control;
        }
        // `</s>` is also mark-up for struck-out text, which a vocabulary may hold as plain text.
        if *kind != TokenType::Normal {
            ends.push(id);
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends
}
