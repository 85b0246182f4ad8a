//! One result as a line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::tokens::answer::{Answer, Failure, ScoredToken};
use crate::tokens::input::IdHash;
use crate::tokens::request::{Endpoint, Request};
use crate::tokens::text::Prompt;

/// What every line begins with, by which a torn line is known as one of ours.
pub(super) const LINE_BEGINS: &str = r#"{"id":"batch_req_"#;

/// What results say beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct ResultContext<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The time of the result, in seconds since 1970.
    pub created: i64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    custom_id: &'a str,
    response: Option<Response<'a>>,
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: String,
    param: &'a str,
}

#[derive(Serialize)]
struct Response<'a> {
    status_code: u16,
    request_id: String,
    body: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    timings: Timings,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<AssistantMessage<'a>>,
    logprobs: Option<Logprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<Vec<Option<Token>>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct AssistantMessage<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Logprobs {
    Chat {
        content: Vec<Token>,
    },
    Completion {
        tokens: Vec<String>,
        token_logprobs: Vec<f32>,
        top_logprobs: Vec<TopOfCompletion>,
        text_offset: Vec<usize>,
    },
}

#[derive(Serialize)]
struct Token {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
    top_logprobs: Vec<Alternative>,
}

#[derive(Serialize)]
struct Alternative {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
}

/// The alternatives of the older shape: an object, in the order of their probability. Of tokens that look the
/// same, as parts of characters do, the most probable stands for all.
struct TopOfCompletion(Vec<(String, f32)>);

impl Serialize for TopOfCompletion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut seen = BTreeMap::new();
        for (token, logprob) in &self.0 {
            if seen.insert(token, ()).is_none() {
                map.serialize_entry(token, logprob)?;
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptTokensDetails,
}

#[derive(Serialize)]
struct PromptTokensDetails {
    cached_tokens: u32,
}

#[derive(Serialize)]
struct Timings {
    prompt_ms: f64,
    prompt_per_second: Option<f64>,
    predicted_ms: f64,
    predicted_per_second: Option<f64>,
}

/// The line of a request's result, with its newline.
pub fn result_line(
    request: &Request,
    outcome: &Result<Answer, Failure>,
    context: &ResultContext<'_>,
) -> String {
    let hash = format!("{:016x}", IdHash::of(&request.id).first_word());
    let line = Line {
        id: format!("batch_req_{hash}"),
        custom_id: &request.id,
        response: outcome.as_ref().ok().map(|answer| Response {
            status_code: 200,
            request_id: format!("req_{hash}"),
            body: body(request, answer, context, &hash),
        }),
        error: outcome.as_ref().err().map(|failure| Error {
            code: failure.code(),
            message: failure.to_string(),
            param: failure.param(),
        }),
    };
    let mut line = serde_json::to_string(&line).expect("strings, numbers and lists always have a JSON form");
    line.push('\n');
    line
}

fn body<'a>(request: &Request, answer: &'a Answer, context: &ResultContext<'a>, hash: &str) -> Body<'a> {
    let chat = request.endpoint == Endpoint::ChatCompletions;
    let echoed = match &request.prompt {
        Prompt::Text(prompt) if request.echo => prompt.as_str(),
        _ => "",
    };
    Body {
        id: format!("{}-{hash}", if chat { "chatcmpl" } else { "cmpl" }),
        object: if chat { "chat.completion" } else { "text_completion" },
        created: context.created,
        model: context.model,
        choices: [Choice {
            index: 0,
            text: (!chat).then(|| format!("{echoed}{}", answer.text)),
            message: chat.then_some(AssistantMessage { role: "assistant", content: &answer.text }),
            logprobs: answer.logprobs.as_deref().map(|tokens| logprobs(tokens, chat, echoed.len())),
            prompt_logprobs: answer
                .prompt_logprobs
                .as_ref()
                .map(|tokens| tokens.iter().map(|t| t.as_ref().map(token)).collect()),
            finish_reason: answer.finish.word(),
        }],
        usage: Usage {
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            total_tokens: answer.prompt_tokens + answer.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: answer.shared_tokens },
        },
        timings: timings(answer),
    }
}

fn timings(answer: &Answer) -> Timings {
    // The first token comes out of the prompt's pass; it takes no time of its own.
    let computed = answer.prompt_tokens - answer.shared_tokens;
    let per_second =
        |count: u32, seconds: f64| (count > 0 && seconds > 0.0).then(|| f64::from(count) / seconds);
    let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Timings {
        prompt_ms: milliseconds(answer.prompt_time),
        prompt_per_second: per_second(computed, answer.prompt_time.as_secs_f64()),
        predicted_ms: milliseconds(answer.predicted_time),
        predicted_per_second: per_second(
            answer.completion_tokens.saturating_sub(1),
            answer.predicted_time.as_secs_f64(),
        ),
    }
}

fn logprobs(tokens: &[ScoredToken], chat: bool, echoed_in_bytes: usize) -> Logprobs {
    if chat {
        return Logprobs::Chat { content: tokens.iter().map(token).collect() };
    }
    let top = |token: &ScoredToken| {
        TopOfCompletion(token.top.iter().map(|(bytes, logprob)| (lossy(bytes), finite(*logprob))).collect())
    };
    Logprobs::Completion {
        tokens: tokens.iter().map(|token| lossy(&token.bytes)).collect(),
        token_logprobs: tokens.iter().map(|token| finite(token.logprob)).collect(),
        top_logprobs: tokens.iter().map(top).collect(),
        text_offset: tokens.iter().map(|token| echoed_in_bytes + token.offset_in_bytes).collect(),
    }
}

fn token(token: &ScoredToken) -> Token {
    let alternative = |(bytes, logprob): &(Vec<u8>, f32)| Alternative {
        token: lossy(bytes),
        bytes: bytes.clone(),
        logprob: finite(*logprob),
    };
    Token {
        token: lossy(&token.bytes),
        bytes: token.bytes.clone(),
        logprob: finite(token.logprob),
        top_logprobs: token.top.iter().map(alternative).collect(),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What OpenAI writes for a token that cannot come: JSON has no infinity.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}
