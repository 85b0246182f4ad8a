//! Bodies: what a client sends becomes a request, what is wrong becomes an error of OpenAI's shape.

use serde::Deserialize;
use serde_json::{Value, json};

use super::queue::EndedReason;
use super::state::ServedModel;
use crate::batch::request::{Endpoint, parse_body};
use crate::batch::{Failure, Request};
use crate::content::json::without_lone_surrogates;
use crate::forward::AdapterSet;
use crate::names::nearest;

/// A status and a body of OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub status: u16,
    pub message: String,
    /// The field to blame.
    pub param: Option<String>,
    pub code: &'static str,
}

impl ApiError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code }
    }

    fn of_field(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(400, code, message) }
    }

    /// The error of a request that cannot be answered.
    pub fn of_failure(failure: &Failure, request: &Request) -> Self {
        let param = match (failure.param(), request.endpoint) {
            ("prompt", Endpoint::ChatCompletions) => "messages",
            (param, _) => param,
        };
        Self::of_field(failure.code(), param, failure.to_string())
    }

    /// The error of a request that was ended.
    pub fn of_end(reason: &EndedReason) -> Self {
        match reason {
            EndedReason::Stopping => {
                Self::new(503, "server_stopping", "the server was told to end; ask again later")
            }
            EndedReason::Engine(problem) => Self::new(
                500,
                "engine_failed",
                format!("the model stopped, and so does the server: {problem}"),
            ),
        }
    }

    /// OpenAI's word for the kind of error.
    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind(),
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// A body that is a request.
#[derive(Debug)]
pub(super) struct ApiRequest {
    pub request: Request,
    /// The model that was asked for, as the answer names it.
    pub model: String,
    /// Whether the answer is to come as events, and whether with the tokens' counts at its end.
    pub stream: Option<StreamOptions>,
    /// Fields that nothing here knows.
    pub ignored: Vec<String>,
}

/// What a stream has beside the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

/// What a body says to the server rather than to the model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ServerFields {
    model: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

/// Reads a body.
///
/// # Errors
/// It is no request, or asks for what there is not.
pub(super) fn read_request(
    body: &[u8],
    endpoint: Endpoint,
    id: String,
    served: &ServedModel,
) -> Result<ApiRequest, ApiError> {
    let text = text_of(body)?;
    let parsed = parse_body(text, endpoint, id, &served.defaults).map_err(|problems| {
        let param = problems.field().map(str::to_owned);
        ApiError { param, ..ApiError::new(400, "invalid_request", problems.to_string()) }
    })?;
    let fields: ServerFields = serde_json::from_str(&without_lone_surrogates(text))
        .map_err(|error| ApiError::new(400, "invalid_request", server_field(&error)))?;
    let mut request = parsed.request;
    let model = named_model(fields.model.as_deref(), &mut request, served)?;
    let stream = fields.stream.unwrap_or(false);
    if stream && (request.echo || request.prompt_logprobs.is_some()) {
        let field = if request.echo { "echo" } else { "prompt_logprobs" };
        let message = format!("`{field}` is not told of in a stream; ask without `stream`");
        return Err(ApiError::of_field("unsupported", field, message));
    }
    if !stream && fields.stream_options.is_some() {
        let message = "`stream_options` is for answers with `\"stream\": true`";
        return Err(ApiError::of_field("invalid_request", "stream_options", message));
    }
    let stream = stream.then(|| fields.stream_options.unwrap_or_default());
    Ok(ApiRequest { request, model, stream, ignored: parsed.ignored })
}

/// What is wrong with `model`, `stream` or `stream_options`. The text is JSON by now.
fn server_field(error: &serde_json::Error) -> String {
    format!("`model` is a string, `stream` true or false, `stream_options` an object: {error}")
}

/// A body as text.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn text_of(body: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not valid UTF-8 from byte {}", error.valid_up_to());
        ApiError::new(400, "invalid_request", message)
    })
}

/// The name of the model that is asked for, whose adapter is put into the request.
fn named_model(
    name: Option<&str>,
    request: &mut Request,
    served: &ServedModel,
) -> Result<String, ApiError> {
    let Some(name) = name.filter(|&name| name != served.name) else {
        return Ok(served.name.clone());
    };
    let Some(adapter) = served.adapters.iter().position(|known| known == name) else {
        return Err(no_model(name, served));
    };
    if request.adapters.is_some() {
        let message = format!("`model` names the adapter {name}, so `lora` has no place beside it");
        return Err(ApiError::of_field("invalid_request", "lora", message));
    }
    request.adapters = Some(AdapterSet::new([(adapter as u32, 1.0)]));
    Ok(name.to_owned())
}

/// That a model is not here.
pub(super) fn no_model(name: &str, served: &ServedModel) -> ApiError {
    let names = || std::iter::once(&served.name).chain(&served.adapters).map(String::as_str);
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there is {}", names().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("there is no model {name:?} here; {hint}");
    ApiError { param: Some("model".into()), ..ApiError::new(404, "model_not_found", message) }
}
