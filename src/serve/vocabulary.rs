//! `/tokenize`, `/detokenize` and `/tokenizer_info`, as vLLM has them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{ApiError, text_of};
use super::state::ServedModel;
use crate::batch::text::Chat;
use crate::batch::{Prompt, TextModel};
use crate::content::json as lenient;
use crate::model::tokenizer::EncodeOptions;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizeBody {
    // Named by every client; there is one model.
    #[serde(default, rename = "model")]
    _model: Option<String>,
    prompt: Option<String>,
    messages: Option<Value>,
    add_special_tokens: Option<bool>,
    add_generation_prompt: Option<bool>,
    #[serde(default)]
    return_token_strs: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DetokenizeBody {
    #[serde(default, rename = "model")]
    _model: Option<String>,
    tokens: Vec<u32>,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_str(&lenient::without_lone_surrogates(text_of(body)?))
        .map_err(|error| ApiError::new(400, "invalid_request", error.to_string()))
}

/// The tokens of a text or of a conversation.
///
/// # Errors
/// The body asks for neither, or the chat template refuses the conversation.
pub(super) fn tokenize(body: &[u8], served: &ServedModel) -> Result<Value, ApiError> {
    let body: TokenizeBody = read(body)?;
    let special = body.add_special_tokens;
    let tokens = match (body.prompt, body.messages) {
        (Some(text), None) => {
            if body.add_generation_prompt.is_some() {
                let message = "`add_generation_prompt` is for `messages`";
                return Err(ApiError::new(400, "invalid_request", message));
            }
            let add_special = special.unwrap_or(true);
            let options = EncodeOptions { add_special, parse_special: true };
            served.text.tokenizer().encode(&text, options)
        }
        (None, Some(messages)) => {
            if special == Some(true) {
                let message = "`add_special_tokens`: the chat template writes them itself";
                return Err(ApiError::new(400, "invalid_request", message));
            }
            let opens_answer = body.add_generation_prompt.unwrap_or(true);
            let chat = Chat { opens_answer, ..Chat::from(read_messages(&messages)?) };
            let encoded = served.text.encode(&Prompt::Chat(chat));
            encoded.map_err(|error| ApiError::new(400, "invalid_prompt", error.to_string()))?
        }
        _ => {
            let message = "expected either `prompt` or `messages`";
            return Err(ApiError::new(400, "invalid_request", message));
        }
    };
    let strings = body.return_token_strs.unwrap_or(false).then(|| {
        let name = |&token: &u32| String::from_utf8_lossy(&served.text.token_bytes(token)).into();
        tokens.iter().map(name).collect::<Vec<String>>()
    });
    Ok(json!({
        "count": tokens.len(),
        "max_model_len": served.capacity.context,
        "tokens": tokens,
        "token_strs": strings,
    }))
}

fn read_messages(messages: &Value) -> Result<Vec<crate::batch::Message>, ApiError> {
    let read = lenient::read(&messages.to_string(), |whole| {
        Some(crate::batch::request::messages_of(whole))
    });
    read.map_err(|problems| {
        let problems = crate::batch::request::LineProblems::from(problems);
        ApiError::new(400, "invalid_request", problems.to_string())
    })
}

/// The text of tokens, special ones written out.
///
/// # Errors
/// The body has no tokens, or one that the model does not have.
pub(super) fn detokenize(body: &[u8], served: &ServedModel) -> Result<Value, ApiError> {
    let body: DetokenizeBody = read(body)?;
    let vocab = served.capacity.vocab;
    if let Some(token) = body.tokens.iter().find(|&&token| token as usize >= vocab) {
        let message = format!("`tokens` has token {token}, and the vocabulary has {vocab}");
        return Err(ApiError::new(400, "unknown_token", message));
    }
    Ok(json!({"prompt": served.text.tokenizer().decode(&body.tokens, false)}))
}

/// What a client may want to know of the tokenizer.
pub(super) fn info(served: &ServedModel) -> Value {
    let tokenizer = served.text.tokenizer();
    let text = |token: Option<u32>| token.and_then(|token| tokenizer.token_text(token));
    json!({
        "tokenizer_class": "pixel-llm",
        "bos_token": text(tokenizer.bos()),
        "eos_token": text(tokenizer.eos()),
        "vocab_size": tokenizer.vocab_size(),
        "model_max_length": served.capacity.context,
        "chat_template": served.text.chat_template(),
    })
}
