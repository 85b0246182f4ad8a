//! From GGUF metadata to a [`TokenizerSpec`]. Only types are checked here; what the values mean
//! together is for [`Tokenizer::new`](super::Tokenizer::new).

use super::error::TokenizerError;
use super::spec::{TokenType, TokenizerSpec};
use crate::model::gguf::{GgufError, Metadata, Strings};

impl TokenizerSpec {
    /// Reads the `tokenizer.*` pairs of a model file. `tokenizer.ggml.model` and
    /// `tokenizer.ggml.tokens` must be there.
    pub fn from_metadata(metadata: &Metadata) -> Result<TokenizerSpec, TokenizerError> {
        let required = GgufError::missing;
        let (model_key, tokens_key) = ("tokenizer.ggml.model", "tokenizer.ggml.tokens");
        let text = |key: &str| Ok::<_, GgufError>(metadata.str(key)?.map(str::to_owned));
        let tokens = metadata.strings(tokens_key)?.ok_or_else(|| required(tokens_key))?;
        let merges = metadata.strings("tokenizer.ggml.merges")?;
        let types = metadata.i64s("tokenizer.ggml.token_type")?;
        let mut warnings = Vec::new();
        let types = types.map(|types| TokenType::list_from_gguf(&types, &mut warnings));
        let mut id = |name: &str| special_id(metadata, name, &mut warnings);
        let (bos, eos, eot) = (id("bos")?, id("eos")?, id("eot")?);
        let (unk, pad) = (id("unknown")?, id("padding")?);
        Ok(TokenizerSpec {
            model: text(model_key)?.ok_or_else(|| required(model_key))?,
            pre: text("tokenizer.ggml.pre")?,
            tokens: texts(tokens_key, tokens)?,
            scores: metadata.f32s("tokenizer.ggml.scores")?.map(<[f32]>::to_vec),
            types,
            merges: merges.map(|merges| texts("tokenizer.ggml.merges", merges)).transpose()?,
            bos,
            eos,
            eot,
            unk,
            pad,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?,
            warnings,
            chat_template: text("tokenizer.chat_template")?,
        })
    }
}

/// The number of a special token; one below 0 means none.
fn special_id(
    metadata: &Metadata,
    name: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<u32>, GgufError> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    match metadata.u32(&key) {
        // llama.cpp's own number for no token is -1, and some files have it.
        Err(GgufError::OutOfRange { found, .. }) => {
            warnings.push(format!("{key} is {found}, which is no token: taken for none"));
            Ok(None)
        }
        id => id,
    }
}

fn texts(field: &'static str, strings: &Strings) -> Result<Vec<String>, TokenizerError> {
    let text = |(index, bytes): (usize, &[u8])| {
        String::from_utf8(bytes.to_vec()).map_err(|source| TokenizerError::NotUtf8 {
            field,
            index,
            source,
        })
    };
    strings.iter().enumerate().map(text).collect()
}
