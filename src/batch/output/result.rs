//! One result as a line of JSON.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::batch::answer::{Answer, Failure, ScoredToken};
use crate::batch::input::IdHash;
use crate::batch::request::{Endpoint, LineProblems, Request, ToolCall};
use crate::batch::schedule::character_offsets;
use crate::batch::source::RefusedLine;
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
    custom_id: Option<&'a str>,
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
    choices: Vec<CompletionChoice<'a>>,
    usage: Usage,
    timings: Timings,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: usize,
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
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOfTool>,
}

/// A call as OpenAI has it.
#[derive(Serialize)]
struct CallOfTool {
    // Of chunks alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction,
}

#[derive(Serialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

/// The calls of an answer and the text before them, where it has any.
fn calls_of<'a>(
    request: &Request,
    choice: usize,
    answer: &'a Answer,
    in_chunks: bool,
) -> Option<(&'a str, Vec<CallOfTool>)> {
    let (before, calls) = request.tools.as_ref()?.calls(&answer.text)?;
    let call = |(at, ToolCall { name, arguments })| CallOfTool {
        index: in_chunks.then_some(at),
        id: format!("call_{}", hash_of(&format!("{} {choice} {at}", request.id))),
        kind: "function",
        function: CalledFunction { name, arguments },
    };
    Some((before, calls.into_iter().enumerate().map(call).collect()))
}

/// The calls of a choice as a chunk has them, if there are any.
#[cfg(feature = "serve")]
pub(crate) fn chunk_calls(
    request: &Request,
    choice: usize,
    answer: &Answer,
) -> Option<serde_json::Value> {
    calls_of(request, choice, answer, true).map(|(_, calls)| serde_json::json!(calls))
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

/// The line of a request's result, with its newline; of a request of one choice.
pub fn result_line(
    request: &Request,
    outcome: &Result<Answer, Failure>,
    context: &ResultContext<'_>,
) -> String {
    result_line_of(request, outcome, &[], context)
}

/// The line of a request's result, with its newline. `more` are the choices behind the first.
pub fn result_line_of(
    request: &Request,
    outcome: &Result<Answer, Failure>,
    more: &[Answer],
    context: &ResultContext<'_>,
) -> String {
    let hash = hash_of(&request.id);
    let line = ResultLine {
        id: format!("batch_req_{hash}"),
        custom_id: Some(&request.id),
        response: outcome.as_ref().ok().map(|answer| ResultResponse {
            status_code: 200,
            request_id: format!("req_{hash}"),
            body: body(request, answer, more, context, &hash),
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
        custom_id: Some(id),
        response: None,
        error: Some(error),
        answers: None,
    })
}

/// The same for a line that was answered as it came, which may have no id.
pub(crate) fn refused_line(refused: &RefusedLine) -> String {
    let RefusedLine { line, id, problems } = refused;
    let message = format!("line {line}, {problems}");
    let error = ResultError { code: "invalid_request", message, param: problems.field() };
    let hash = id.as_deref().map_or_else(|| hash_of(&format!("line {line}")), hash_of);
    written(&ResultLine {
        id: format!("batch_req_{hash}"),
        custom_id: id.as_deref(),
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

/// The id of an HTTP response.
#[cfg(feature = "serve")]
pub(crate) fn response_id(request: &Request) -> String {
    id_of(request.endpoint, &hash_of(&request.id))
}

fn id_of(endpoint: Endpoint, hash: &str) -> String {
    let kind = if endpoint == Endpoint::ChatCompletions { "chatcmpl" } else { "cmpl" };
    format!("{kind}-{hash}")
}

/// The `usage` of a response.
#[cfg(feature = "serve")]
pub(crate) fn usage(request: &Request, answers: &[&Answer]) -> serde_json::Value {
    serde_json::json!(Usage::of(request, answers))
}

/// The `logprobs` of a piece of an answer: of the tokens whose text it is.
#[cfg(feature = "serve")]
pub(crate) fn chunk_logprobs(
    endpoint: Endpoint,
    tokens: &[ScoredToken],
) -> Box<serde_json::value::RawValue> {
    let logprobs = match endpoint {
        Endpoint::ChatCompletions => Logprobs::Chat { content: tokens.iter().map(token).collect() },
        Endpoint::Completions => logprobs_of_tokens(tokens),
    };
    serde_json::value::to_raw_value(&logprobs)
        .expect("strings, numbers and lists always have a JSON form")
}

#[cfg(feature = "serve")]
fn logprobs_of_tokens(tokens: &[ScoredToken]) -> Logprobs {
    Logprobs::Completion {
        tokens: tokens.iter().map(|token| name(&token.bytes)).collect(),
        token_logprobs: tokens.iter().map(|token| Some(finite(token.logprob))).collect(),
        top_logprobs: tokens.iter().map(|token| Some(top_of(token, token.top.len()))).collect(),
        text_offset: tokens.iter().map(|token| token.offset).collect(),
    }
}

/// The body of an HTTP response that is not streamed: JSON without a newline.
#[cfg(feature = "serve")]
pub(crate) fn response_body(
    request: &Request,
    answer: &Answer,
    more: &[Answer],
    context: &ResultContext<'_>,
) -> String {
    let body = body(request, answer, more, context, &hash_of(&request.id));
    serde_json::to_string(&body).expect("strings, numbers and lists always have a JSON form")
}

fn body<'a>(
    request: &Request,
    answer: &'a Answer,
    more: &'a [Answer],
    context: &ResultContext<'a>,
    hash: &str,
) -> Completion<'a> {
    let chat = request.endpoint == Endpoint::ChatCompletions;
    let answers: Vec<&Answer> = std::iter::once(answer).chain(more).collect();
    Completion {
        id: id_of(request.endpoint, hash),
        object: if chat { "chat.completion" } else { "text_completion" },
        created: context.created,
        model: context.model,
        choices: answers
            .iter()
            .enumerate()
            .map(|(at, answer)| choice(request, at, answer))
            .collect(),
        usage: Usage::of(request, &answers),
        timings: timings(&answers),
    }
}

fn choice<'a>(request: &Request, index: usize, answer: &'a Answer) -> CompletionChoice<'a> {
    let chat = request.endpoint == Endpoint::ChatCompletions;
    let echo = Echo::of(request, index, answer);
    let top = request.prompt_logprobs.unwrap_or(0) as usize;
    let scored_prompt =
        answer.prompt_logprobs.as_ref().filter(|_| request.prompt_logprobs.is_some());
    let (content, tool_calls) = match calls_of(request, index, answer, false) {
        Some((before, calls)) => (Some(before).filter(|text| !text.trim().is_empty()), calls),
        None => (Some(answer.text.as_str()), Vec::new()),
    };
    let finish_reason = if tool_calls.is_empty() { answer.finish.word() } else { "tool_calls" };
    CompletionChoice {
        index,
        text: (!chat).then(|| format!("{}{}", echo.text, answer.text)),
        message: chat.then_some(AssistantMessage { role: "assistant", content, tool_calls }),
        logprobs: answer.logprobs.as_deref().map(|tokens| match chat {
            true => Logprobs::Chat { content: tokens.iter().map(token).collect() },
            false => completion_logprobs(request, answer, &echo, tokens),
        }),
        prompt_logprobs: scored_prompt
            .map(|tokens| tokens.iter().map(|t| t.as_ref().map(|t| token_with(t, top))).collect()),
        finish_reason,
    }
}

impl Usage {
    /// What a request took. Choices of one prompt share it, so that it counts once.
    fn of(request: &Request, answers: &[&Answer]) -> Self {
        let firsts = || answers.iter().step_by(request.choices.max(1) as usize);
        let sum = |count: fn(&Answer) -> u32| firsts().map(|answer| count(answer)).sum::<u32>();
        let prompt_tokens = sum(|answer| answer.prompt_tokens);
        let completion_tokens = answers.iter().map(|answer| answer.completion_tokens).sum();
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptTokensDetails {
                cached_tokens: sum(|answer| answer.shared_tokens),
                loaded_tokens: Some(sum(|answer| answer.loaded_tokens))
                    .filter(|&tokens| tokens > 0),
            },
        }
    }
}

/// How long the answers took: of several that ran beside each other the longest times.
fn timings(answers: &[&Answer]) -> Timings {
    let sum = |count: fn(&Answer) -> u32| answers.iter().map(|answer| count(answer)).sum::<u32>();
    let longest = |time: fn(&Answer) -> Duration| {
        answers.iter().map(|answer| time(answer)).max().unwrap_or_default()
    };
    let prompt_time = longest(|answer| answer.prompt_time);
    let predicted_time = longest(|answer| answer.predicted_time);
    // The first token of each comes out of the prompt's pass; it takes no time of its own.
    let computed = sum(|answer| answer.prompt_tokens - answer.shared_tokens);
    let predicted = sum(|answer| answer.completion_tokens.saturating_sub(1));
    let drafted = sum(|answer| answer.drafted_tokens);
    let per_second =
        |count: u32, seconds: f64| (count > 0 && seconds > 0.0).then(|| f64::from(count) / seconds);
    let drafts = |count: u32| (drafted > 0).then_some(count);
    // Indices are those of one answer.
    let only = answers.first().filter(|_| answers.len() == 1);
    let scored = only.into_iter().flat_map(|answer| answer.logprobs.iter().flatten()).enumerate();
    let accepted = scored.filter(|(_, token)| token.drafted);
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Timings {
        prompt_ms: milliseconds(prompt_time),
        prompt_per_second: per_second(computed, prompt_time.as_secs_f64()),
        predicted_ms: milliseconds(predicted_time),
        predicted_per_second: per_second(predicted, predicted_time.as_secs_f64()),
        draft_n: drafts(drafted),
        draft_n_accepted: drafts(sum(|answer| answer.accepted_tokens)),
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
    fn of(request: &Request, choice: usize, answer: &Answer) -> Self {
        let prompt = request.prompt_of(choice);
        let Some(tokens) = answer.echo.as_deref().filter(|_| request.echo) else {
            let text = match prompt {
                Prompt::Text(prompt) if request.echo => prompt.clone(),
                _ => String::new(),
            };
            return Self { text, offsets: Vec::new() };
        };
        let bytes = tokens.concat();
        let text = match prompt {
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
