//! From GGUF metadata to a [`TokenizerSpec`]. Only types are checked here; what the values mean together is for
//! [`Tokenizer::new`](super::Tokenizer::new).

use super::error::TokenizerError;
use super::spec::{TokenType, TokenizerSpec};
use crate::model::gguf::{GgufError, Metadata, Strings};

impl TokenizerSpec {
    /// Reads the `tokenizer.*` pairs of a model file. `tokenizer.ggml.model` and `tokenizer.ggml.tokens` must be
    /// there.
    pub fn from_metadata(metadata: &Metadata) -> Result<TokenizerSpec, TokenizerError> {
        let required = GgufError::missing;
        let (model_key, tokens_key) = ("tokenizer.ggml.model", "tokenizer.ggml.tokens");
        let text = |key: &str| Ok::<_, GgufError>(metadata.str(key)?.map(str::to_owned));
        let tokens = metadata.strings(tokens_key)?.ok_or_else(|| required(tokens_key))?;
        let merges = metadata.strings("tokenizer.ggml.merges")?;
        let types = metadata.i64s("tokenizer.ggml.token_type")?;
        Ok(TokenizerSpec {
            model: text(model_key)?.ok_or_else(|| required(model_key))?,
            pre: text("tokenizer.ggml.pre")?,
            tokens: texts(tokens_key, tokens)?,
            scores: metadata.f32s("tokenizer.ggml.scores")?.map(<[f32]>::to_vec),
            types: types.as_deref().map(TokenType::list_from_gguf).transpose()?,
            merges: merges.map(|merges| texts("tokenizer.ggml.merges", merges)).transpose()?,
            bos: metadata.u32("tokenizer.ggml.bos_token_id")?,
            eos: metadata.u32("tokenizer.ggml.eos_token_id")?,
            eot: metadata.u32("tokenizer.ggml.eot_token_id")?,
            unk: metadata.u32("tokenizer.ggml.unknown_token_id")?,
            pad: metadata.u32("tokenizer.ggml.padding_token_id")?,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?,
            chat_template: text("tokenizer.chat_template")?,
        })
    }
}

fn texts(field: &'static str, strings: &Strings) -> Result<Vec<String>, TokenizerError> {
    let text = |(index, bytes): (usize, &[u8])| {
        String::from_utf8(bytes.to_vec()).map_err(|source| TokenizerError::NotUtf8 { field, index, source })
    };
    strings.iter().enumerate().map(text).collect()
}
