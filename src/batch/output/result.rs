//! One result as a line of JSON.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::batch::answer::{Answer, Failure, ScoredToken};
use crate::batch::input::IdHash;
use crate::batch::request::{Endpoint, LineProblems, Request};
use crate::batch::schedule::character_offsets;
use crate::batch::text::Prompt;

/// What every line begins with, by which a torn line is known as one of ours.
pub(super) const LINE_BEGINS: &str = r#"{"id":"batch_req_"#;

/// What results say beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct ResultContext<'a> {
    /// The model's name, as result lines give it.
    pub model: &'a str,
    /// The time of the result, in seconds since 1970.
    pub created: i64,
    /// What stands for the model and for what was done to it, where resuming is to compare it.
    pub model_digest: Option<&'a str>,
}

#[derive(Serialize)]
struct ResultLine<'a> {
    // First: by it a torn line is known as ours, see `LINE_BEGINS`.
    id: String,
    custom_id: &'a str,
    // One of the two is null, and both are always there, as in OpenAI's files.
    response: Option<ResultResponse<'a>>,
    error: Option<ResultError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<AnsweredDigests<'a>>,
}

/// What the line answers, by which resuming knows whether it still does.
#[derive(Serialize)]
struct AnsweredDigests<'a> {
    request: String,
    model: &'a str,
}

#[derive(Serialize)]
struct ResultError<'a> {
    code: &'static str,
    message: String,
    param: Option<&'a str>,
}

#[derive(Serialize)]
struct ResultResponse<'a> {
    status_code: u16,
    request_id: String,
    body: Completion<'a>,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [CompletionChoice<'a>; 1],
    usage: Usage,
    timings: Timings,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<AssistantMessage<'a>>,
    logprobs: Option<Logprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<Vec<Option<TokenLogprob>>>,
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
        content: Vec<TokenLogprob>,
    },
    Completion {
        tokens: Vec<String>,
        token_logprobs: Vec<Option<f32>>,
        top_logprobs: Vec<Option<TopOfCompletion>>,
        text_offset: Vec<usize>,
    },
}

#[derive(Serialize)]
struct TokenLogprob {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
    top_logprobs: Vec<TopLogprob>,
}

#[derive(Serialize)]
struct TopLogprob {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
}

/// The alternatives of the older shape: an object, in the order of their probability, with a name
/// for each.
struct TopOfCompletion(Vec<(String, f32)>);

impl Serialize for TopOfCompletion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (token, logprob) in &self.0 {
            map.serialize_entry(token, logprob)?;
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
    // Of them those that came from `--prompt-cache`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_tokens: Option<u32>,
}

#[derive(Serialize)]
struct Timings {
    prompt_ms: f64,
    prompt_per_second: Option<f64>,
    predicted_ms: f64,
    predicted_per_second: Option<f64>,
    // As llama.cpp's server has them, and only where something was drafted.
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_n_accepted: Option<u32>,
    /// Of the tokens with log-probabilities, the indices of drafted ones that were right. Here and
    /// not among the choices, which are the same however they were made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    draft_accepted_at: Vec<usize>,
}

/// The line of a request's result, with its newline.
pub fn result_line(
    request: &Request,
    outcome: &Result<Answer, Failure>,
    context: &ResultContext<'_>,
) -> String {
    let hash = hash_of(&request.id);
    let line = ResultLine {
        id: format!("batch_req_{hash}"),
        custom_id: &request.id,
        response: outcome.as_ref().ok().map(|answer| ResultResponse {
            status_code: 200,
            request_id: format!("req_{hash}"),
            body: body(request, answer, context, &hash),
        }),
        error: outcome.as_ref().err().map(|failure| ResultError {
            code: failure.code(),
            message: failure.to_string(),
            param: Some(failure.param()),
        }),
        answers: context
            .model_digest
            .map(|model| AnsweredDigests { request: request.digest().hex(), model }),
    };
    written(&line)
}

/// The line of a request that could not be read, with its newline: whoever joins results to
/// requests finds it.
pub(crate) fn bad_line(id: &str, problems: &LineProblems) -> String {
    let (message, param) = (problems.to_string(), problems.field());
    let error = ResultError { code: "invalid_request", message, param };
    let id_of_result = format!("batch_req_{}", hash_of(id));
    written(&ResultLine {
        id: id_of_result,
        custom_id: id,
        response: None,
        error: Some(error),
        answers: None,
    })
}

fn hash_of(id: &str) -> String {
    format!("{:016x}", IdHash::of(id).first_word())
}

fn written(line: &ResultLine<'_>) -> String {
    let mut line =
        serde_json::to_string(line).expect("strings, numbers and lists always have a JSON form");
    line.push('\n');
    line
}

fn body<'a>(
    request: &Request,
    answer: &'a Answer,
    context: &ResultContext<'a>,
    hash: &str,
) -> Completion<'a> {
    let chat = request.endpoint == Endpoint::ChatCompletions;
    let echo = Echo::of(request, answer);
    let top = request.prompt_logprobs.unwrap_or(0) as usize;
    let scored_prompt =
        answer.prompt_logprobs.as_ref().filter(|_| request.prompt_logprobs.is_some());
    Completion {
        id: format!("{}-{hash}", if chat { "chatcmpl" } else { "cmpl" }),
        object: if chat { "chat.completion" } else { "text_completion" },
        created: context.created,
        model: context.model,
        choices: [CompletionChoice {
            index: 0,
            text: (!chat).then(|| format!("{}{}", echo.text, answer.text)),
            message: chat.then_some(AssistantMessage { role: "assistant", content: &answer.text }),
            logprobs: answer.logprobs.as_deref().map(|tokens| match chat {
                true => Logprobs::Chat { content: tokens.iter().map(token).collect() },
                false => completion_logprobs(request, answer, &echo, tokens),
            }),
            prompt_logprobs: scored_prompt.map(|tokens| {
                tokens.iter().map(|t| t.as_ref().map(|t| token_with(t, top))).collect()
            }),
            finish_reason: answer.finish.word(),
        }],
        usage: Usage {
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            total_tokens: answer.prompt_tokens + answer.completion_tokens,
            prompt_tokens_details: PromptTokensDetails {
                cached_tokens: answer.shared_tokens,
                loaded_tokens: Some(answer.loaded_tokens).filter(|&tokens| tokens > 0),
            },
        },
        timings: timings(answer),
    }
}

fn timings(answer: &Answer) -> Timings {
    // The first token comes out of the prompt's pass; it takes no time of its own.
    let computed = answer.prompt_tokens - answer.shared_tokens;
    let per_second =
        |count: u32, seconds: f64| (count > 0 && seconds > 0.0).then(|| f64::from(count) / seconds);
    let drafts = |count: u32| (answer.drafted_tokens > 0).then_some(count);
    let scored = answer.logprobs.iter().flatten().enumerate();
    let accepted = scored.filter(|(_, token)| token.drafted);
    let milliseconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Timings {
        prompt_ms: milliseconds(answer.prompt_time),
        prompt_per_second: per_second(computed, answer.prompt_time.as_secs_f64()),
        predicted_ms: milliseconds(answer.predicted_time),
        predicted_per_second: per_second(
            answer.completion_tokens.saturating_sub(1),
            answer.predicted_time.as_secs_f64(),
        ),
        draft_n: drafts(answer.drafted_tokens),
        draft_n_accepted: drafts(answer.accepted_tokens),
        draft_accepted_at: accepted.map(|(index, _)| index).collect(),
    }
}

/// The prompt as it stands before an answer: its text, and in which character of it each of its
/// tokens begins.
#[derive(Default)]
struct Echo {
    text: String,
    offsets: Vec<usize>,
}

impl Echo {
    fn of(request: &Request, answer: &Answer) -> Self {
        let Some(tokens) = answer.echo.as_deref().filter(|_| request.echo) else {
            let text = match &request.prompt {
                Prompt::Text(prompt) if request.echo => prompt.clone(),
                _ => String::new(),
            };
            return Self { text, offsets: Vec::new() };
        };
        let bytes = tokens.concat();
        let text = match &request.prompt {
            Prompt::Text(prompt) => prompt.clone(),
            _ => lossy(&bytes),
        };
        // What a tokenizer puts before a text, its first token or a space, is no part of it.
        let before = if bytes.ends_with(text.as_bytes()) { bytes.len() - text.len() } else { 0 };
        let mut end = 0;
        let begins: Vec<usize> = tokens
            .iter()
            .map(|token| {
                let begin = end;
                end += token.len();
                begin.saturating_sub(before)
            })
            .collect();
        let mut offsets = character_offsets(&bytes[before..], &begins);
        let length = text.chars().count();
        // Where the tokens do not decode to the prompt, an offset may lie behind its end.
        offsets.iter_mut().for_each(|offset| *offset = (*offset).min(length));
        Self { text, offsets }
    }
}

/// OpenAI's older shape. Where the text begins with the prompt, so do these.
fn completion_logprobs(
    request: &Request,
    answer: &Answer,
    echo: &Echo,
    tokens: &[ScoredToken],
) -> Logprobs {
    let (mut names, mut values, mut tops, mut offsets) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if let (Some(top), Some(scores), Some(prompt)) =
        (request.echoed_logprobs(), &answer.prompt_logprobs, &answer.echo)
    {
        for ((bytes, score), &offset) in prompt.iter().zip(scores).zip(&echo.offsets) {
            names.push(name(bytes));
            values.push(score.as_ref().map(|token| finite(token.logprob)));
            tops.push(score.as_ref().map(|token| top_of(token, top as usize)));
            offsets.push(offset);
        }
    }
    let length = echo.text.chars().count();
    for token in tokens {
        names.push(name(&token.bytes));
        values.push(Some(finite(token.logprob)));
        tops.push(Some(top_of(token, token.top.len())));
        offsets.push(length + token.offset);
    }
    Logprobs::Completion {
        tokens: names,
        token_logprobs: values,
        top_logprobs: tops,
        text_offset: offsets,
    }
}

/// The alternatives of a token, each under a name of its own: of tokens with the same bytes the
/// most probable has the text, and the others have their ids, as in vLLM.
fn top_of(token: &ScoredToken, most: usize) -> TopOfCompletion {
    let mut seen = HashSet::new();
    let named = |((bytes, logprob), id): (&(Vec<u8>, f32), &u32)| {
        let text = name(bytes);
        let name = if seen.insert(text.clone()) { text } else { format!("token_id:{id}") };
        (name, finite(*logprob))
    };
    TopOfCompletion(token.top.iter().zip(&token.top_ids).take(most).map(named).collect())
}

/// A token's name in the older shape: its text, or where it is a part of a character its bytes, as
/// OpenAI writes them.
fn name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |mut name, byte| {
            let _ = write!(name, "\\x{byte:02x}");
            name
        }),
    }
}

fn token(token: &ScoredToken) -> TokenLogprob {
    token_with(token, token.top.len())
}

/// A token with the most probable of its alternatives.
fn token_with(token: &ScoredToken, most: usize) -> TokenLogprob {
    let alternative = |(bytes, logprob): &(Vec<u8>, f32)| TopLogprob {
        token: lossy(bytes),
        bytes: bytes.clone(),
        logprob: finite(*logprob),
    };
    TokenLogprob {
        token: lossy(&token.bytes),
        bytes: token.bytes.clone(),
        logprob: finite(token.logprob),
        top_logprobs: token.top.iter().take(most).map(alternative).collect(),
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
