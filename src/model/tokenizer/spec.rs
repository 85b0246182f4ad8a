//! The tokenizer's part of a model file's metadata as plain values, before any of it is believed.

/// The supported values of `tokenizer.ggml.model`.
pub const MODELS: [&str; 2] = ["gpt2", "llama"];

/// "1 token", "2 tokens".
pub(super) fn tokens(count: usize) -> String {
    format!("{count} token{}", if count == 1 { "" } else { "s" })
}

/// What a token is, as `tokenizer.ggml.token_type` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// A piece of text.
    Normal,
    /// Stands for text that has no token.
    Unknown,
    /// Steers the model and is not text, such as the end of a sequence.
    Control,
    /// Text that is kept whole where special tokens are looked for.
    UserDefined,
    /// Never produced in training.
    Unused,
    /// One raw byte, written `<0x0A>`.
    Byte,
}

impl TokenType {
    /// The types that a GGUF file means by the numbers of `tokenizer.ggml.token_type`. A number
    /// without a meaning, such as llama.cpp's 0 for "undefined", is told in `warnings`, and the
    /// token is taken for one that is not used.
    pub fn list_from_gguf(numbers: &[i64], warnings: &mut Vec<String>) -> Vec<TokenType> {
        let mut odd = Vec::new();
        let types = (0..).zip(numbers).map(|(id, &found)| {
            TokenType::from_gguf(found).unwrap_or_else(|| {
                odd.push((id, found));
                TokenType::Unused
            })
        });
        let types = types.collect();
        if let Some(&(id, found)) = odd.first() {
            warnings.push(format!(
                "tokenizer.ggml.token_type: {} without a type from 1 to 6, such as token {id} with \
                 {found}; taken for unused",
                tokens(odd.len())
            ));
        }
        types
    }

    /// The type that a GGUF file means by `number`.
    pub(crate) fn from_gguf(number: i64) -> Option<TokenType> {
        Some(match number {
            1 => TokenType::Normal,
            2 => TokenType::Unknown,
            3 => TokenType::Control,
            4 => TokenType::UserDefined,
            5 => TokenType::Unused,
            6 => TokenType::Byte,
            _ => return None,
        })
    }

    /// Whether the token is not text: it is matched on request only, and hidden on request.
    pub fn is_special(self) -> bool {
        matches!(self, TokenType::Control | TokenType::Unknown)
    }
}

/// The `tokenizer.*` metadata of a model file. A `None` means that the file does not say, and
/// [`Tokenizer::new`](super::Tokenizer::new) then takes the model family's usual value.
#[derive(Debug, Clone, Default)]
pub struct TokenizerSpec {
    /// `tokenizer.ggml.model`: `gpt2` is byte-level BPE, `llama` is SentencePiece's BPE.
    pub model: String,
    /// `tokenizer.ggml.pre`: how byte-level BPE cuts text into words; absent means `default`.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: every token's text, by id.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: which merge comes first in a `llama` vocabulary; absent means that
    /// all are equal.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.token_type`; absent means that all are normal, or bytes where `llama` names
    /// one.
    pub types: Option<Vec<TokenType>>,
    /// `tokenizer.ggml.merges` of a `gpt2` vocabulary, the first merge first.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`: the beginning of a sequence.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`: the end of a sequence.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: the end of a turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`: stands for text that has no token.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`: nothing here pads, so it is checked alone.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`; absent means yes for `llama` and where the
    /// pre-tokeniser is Llama 3's, Tekken or Chameleon.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`; absent means no.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`, which means something for `llama` alone; absent means yes
    /// there.
    pub add_space_prefix: Option<bool>,
    /// What was passed over in reading, a line each.
    pub warnings: Vec<String>,
    /// `tokenizer.chat_template`: Jinja for [`ChatTemplate`](crate::model::chat::ChatTemplate).
    pub chat_template: Option<String>,
}
