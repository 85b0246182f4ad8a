//! The fields that change how a request is answered, the same in both shapes of line.
//!
//! | field | takes |
//! |---|---|
//! | `max_tokens`, `max_completion_tokens`, `max_new_tokens`, `n_predict`, `num_predict` | a whole number; 0 only looks at the prompt, -1 is no limit |
//! | `min_tokens`, `min_new_tokens` | so many tokens are made before the answer may end |
//! | `temperature`, `top_p`, `min_p`, `top_k` | see [`SamplingParams`](crate::forward::sampling::SamplingParams); `top_k` -1 is all |
//! | `do_sample` | false is temperature 0 |
//! | `repeat_penalty`, `repeat_last_n`, `frequency_penalty`, `presence_penalty` | the same; `repeat_last_n` -1 is all |
//! | `repetition_penalty` | `repeat_penalty` over all tokens, unless `repeat_last_n` says otherwise |
//! | `seed` | a whole number |
//! | `stop`, `stop_sequences`, `stop_strings`, `stop_sequence` | a string, or a list of up to 16 |
//! | `stop_token_ids` | a list of token ids that end the answer, beside the model's own |
//! | `include_stop_str_in_output`, `no_stop_trim` | whether what ended the answer stays in its text |
//! | `ignore_eos` | whether the answer goes on where the model would end it |
//! | `skip_special_tokens` | false writes special tokens out |
//! | `logit_bias` | an object from token id to a number |
//! | `logprobs` | `true`, or how many alternatives; `top_logprobs`: how many |
//! | `prompt_logprobs` | the same for the prompt |
//! | `echo` | whether a completion's text, and its log-probabilities, begin with its prompt |
//! | `n`, `best_of` | only 1 |
//! | `chat_template_kwargs` | an object of what the chat template may read |
//! | `enable_thinking`, `think`, `reasoning_effort` | the same for one of them |
//! | `add_generation_prompt`, `continue_final_message` | whether the answer's turn is opened, or the last message goes on |
//!
//! A `null` is as good as no field. Fields of other engines that are none of these are in
//! `foreign`.

use std::collections::HashSet;

use super::error::{LineProblem, Problem};
use super::fields::Field;
use super::foreign::asks_for_nothing;
use super::{Endpoint, MAX_STOPS, MAX_TOP_LOGPROBS, Request};
use crate::batch::text::{Chat, Prompt};
use crate::forward::sampling::{BIAS, MIN_P, PENALTY, REPEAT_PENALTY, Range, TEMPERATURE, TOP_P};

/// Every knob, for the hint at a misspelt field.
pub(super) const NAMES: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_new_tokens",
    "n_predict",
    "num_predict",
    "min_tokens",
    "min_new_tokens",
    "temperature",
    "do_sample",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "repetition_penalty",
    "repeat_last_n",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "stop_sequences",
    "stop_strings",
    "stop_sequence",
    "stop_token_ids",
    "include_stop_str_in_output",
    "no_stop_trim",
    "ignore_eos",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "add_special_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "echo",
    "n",
    "best_of",
    "chat_template_kwargs",
    "enable_thinking",
    "think",
    "reasoning_effort",
    "add_generation_prompt",
    "continue_final_message",
];

/// Names of one thing each: a line may have only one of them.
pub(super) const SYNONYMS: &[&[&str]] = &[
    &["max_tokens", "max_completion_tokens", "max_new_tokens", "n_predict", "num_predict"],
    &["min_tokens", "min_new_tokens"],
    &["repeat_penalty", "repetition_penalty"],
    &["stop", "stop_sequences", "stop_strings", "stop_sequence"],
    &["include_stop_str_in_output", "no_stop_trim"],
    &["enable_thinking", "think"],
];

/// What became of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is in the request now.
    Known,
    /// No knob has this name.
    Unknown,
}

/// Puts a knob's value into the request.
pub(super) fn apply(request: &mut Request, field: &Field<'_>) -> Result<Applied, LineProblem> {
    let name = field.name.as_ref();
    if field.is_null() && NAMES.contains(&name) {
        return Ok(Applied::Known);
    }
    let sampling = &mut request.sampling;
    match name {
        "max_tokens" | "max_completion_tokens" | "max_new_tokens" | "n_predict" | "num_predict" => {
            request.max_tokens = whole_or_all(field, u32::MAX)?;
        }
        "min_tokens" | "min_new_tokens" => request.min_tokens = whole(field, u32::MAX)?,
        "temperature" => sampling.temperature = number(field, &TEMPERATURE)?,
        // Applied last, since it goes before the temperature.
        "do_sample" => drop(yes(field)?),
        "top_p" => sampling.top_p = number(field, &TOP_P)?,
        "top_k" => sampling.top_k = whole_or_all(field, 0)?,
        "min_p" => sampling.min_p = number(field, &MIN_P)?,
        "repeat_penalty" | "repetition_penalty" => {
            sampling.repeat_penalty = number(field, &REPEAT_PENALTY)?;
        }
        "repeat_last_n" => sampling.repeat_last_n = whole_or_all(field, u32::MAX)?,
        "frequency_penalty" => sampling.frequency_penalty = number(field, &PENALTY)?,
        "presence_penalty" => sampling.presence_penalty = number(field, &PENALTY)?,
        "seed" => {
            // A negative seed is taken by its bits: OpenAI allows any 64-bit integer.
            sampling.seed = match field.read::<i64>("") {
                Ok(seed) => seed.cast_unsigned(),
                Err(_) => field.read("a whole number of 64 bits")?,
            };
            request.stream = 0;
        }
        "stop" | "stop_sequences" | "stop_strings" | "stop_sequence" => {
            request.stop = stops(field)?
        }
        "stop_token_ids" => request.stop_tokens = field.read("a list of token ids")?,
        "include_stop_str_in_output" | "no_stop_trim" => request.keep_stop = yes(field)?,
        "ignore_eos" => request.ignore_end = yes(field)?,
        "skip_special_tokens" => request.show_special = !yes(field)?,
        "spaces_between_special_tokens" => drop(yes(field)?),
        "add_special_tokens" => {
            // What each kind of request does anyway: a template writes its special tokens itself.
            if yes(field)? != (request.endpoint == Endpoint::Completions) {
                return Err(
                    field.at_name(Problem::Unsupported("other special tokens than the model's"))
                );
            }
        }
        "logit_bias" => sampling.logit_bias = biases(field)?,
        "logprobs" => request.logprobs = alternatives(field, request.logprobs)?,
        "top_logprobs" => request.logprobs = Some(whole(field, MAX_TOP_LOGPROBS)?),
        "prompt_logprobs" => {
            request.prompt_logprobs = alternatives(field, request.prompt_logprobs)?
        }
        "echo" => {
            request.echo = yes(field)?;
            if request.echo && request.endpoint == Endpoint::ChatCompletions {
                return Err(
                    field.at_name(Problem::Unsupported("the prompt of a chat in its answer"))
                );
            }
        }
        "n" | "best_of" => {
            if field.read::<u64>("1")? != 1 {
                return Err(field.expected("1: give the prompt several ids instead"));
            }
        }
        "chat_template_kwargs" => {
            let variables = variables_of(field)?;
            if !variables.is_empty() {
                let chat = chat(&mut request.prompt, field)?;
                variables.into_iter().for_each(|(name, json)| set_variable(chat, name, json));
            }
        }
        "enable_thinking" | "think" => {
            yes(field)?;
            set_variable(
                chat(&mut request.prompt, field)?,
                "enable_thinking".into(),
                field.json().into(),
            );
        }
        "reasoning_effort" => {
            field.string("a string")?;
            set_variable(
                chat(&mut request.prompt, field)?,
                "reasoning_effort".into(),
                field.json().into(),
            );
        }
        "add_generation_prompt" => chat(&mut request.prompt, field)?.opens_answer = yes(field)?,
        "continue_final_message" => {
            let continues = yes(field)?;
            if continues {
                chat(&mut request.prompt, field)?.continues_last = true;
            }
        }
        _ if asks_for_nothing(field)? => {}
        _ => return Ok(Applied::Unknown),
    }
    Ok(Applied::Known)
}

/// What several fields say together, once all are applied.
pub(super) fn settle(request: &mut Request, fields: &[Field<'_>]) -> Result<(), LineProblem> {
    let given = |name: &str| fields.iter().find(|field| field.name == name && !field.is_null());
    let says = |name: &str, what: bool| {
        given(name).filter(|field| yes(field).is_ok_and(|said| said == what))
    };
    for names in SYNONYMS {
        if let [_, second, ..] = fields
            .iter()
            .filter(|field| names.contains(&field.name.as_ref()) && !field.is_null())
            .collect::<Vec<_>>()
            .as_slice()
        {
            return Err(second.at_name(Problem::Twice));
        }
    }
    // OpenAI's chat shape says how many in one field and whether at all in another, in either
    // order.
    if says("logprobs", false).is_some() {
        request.logprobs = None;
    }
    if says("do_sample", false).is_some() {
        request.sampling.temperature = 0.0;
    }
    if given("repetition_penalty").is_some() && given("repeat_last_n").is_none() {
        request.sampling.repeat_last_n = u32::MAX;
    }
    if request.show_special
        && let Some(field) = says("spaces_between_special_tokens", true)
    {
        return Err(field.at_name(Problem::Unsupported("spaces that the model has not written")));
    }
    if let (Some(field), Some(_)) =
        (says("continue_final_message", true), says("add_generation_prompt", true))
    {
        return Err(field.expected("either `continue_final_message` or `add_generation_prompt`"));
    }
    if let Some(field) = given("min_tokens").or_else(|| given("min_new_tokens"))
        && request.min_tokens > request.max_tokens
    {
        return Err(field.expected(format!("at most `max_tokens`, {}", request.max_tokens)));
    }
    Ok(())
}

/// The conversation of a request; a field about it has no place in a completion.
fn chat<'r>(prompt: &'r mut Prompt, field: &Field<'_>) -> Result<&'r mut Chat, LineProblem> {
    match prompt {
        Prompt::Chat(chat) => Ok(chat),
        _ => {
            Err(field.at_name(Problem::Unsupported("a chat template for a prompt that is no chat")))
        }
    }
}

/// What a template is given by the program, so that nobody else may set it.
const GIVEN: &[&str] = &[
    "messages",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "bos_token",
    "eos_token",
    "chat_template",
    "tokenize",
    "raise_exception",
    "strftime_now",
];

/// Names and JSON of what a template may read.
pub(super) fn variables_of(field: &Field<'_>) -> Result<Vec<(String, String)>, LineProblem> {
    let variable = |entry: &Field<'_>| {
        if GIVEN.contains(&entry.name.as_ref()) {
            let what = "setting what the chat template is given anyway";
            return Err(entry.at_name(Problem::Unsupported(what)));
        }
        Ok((entry.name.to_string(), entry.json().to_owned()))
    };
    field.object("an object of what the chat template may read")?.iter().map(variable).collect()
}

/// What a line says goes before what the run says. The run says little, so that this stays linear
/// in the line.
fn set_variable(chat: &mut Chat, name: String, json: String) {
    match chat.variables.iter_mut().find(|(other, _)| *other == name) {
        Some(variable) => variable.1 = json,
        None => chat.variables.push((name, json)),
    }
}

fn yes(field: &Field<'_>) -> Result<bool, LineProblem> {
    field.read("true or false")
}

/// A whole number, or -1 for `all`.
fn whole_or_all(field: &Field<'_>, all: u32) -> Result<u32, LineProblem> {
    if field.read::<i64>("").is_ok_and(|value| value == -1) {
        Ok(all)
    } else {
        whole(field, u32::MAX)
    }
}

fn number(field: &Field<'_>, range: &Range) -> Result<f32, LineProblem> {
    let value: f64 = field.read(range.text)?;
    if range.holds(value) { Ok(value as f32) } else { Err(field.expected(range.text)) }
}

fn whole(field: &Field<'_>, most: u32) -> Result<u32, LineProblem> {
    let expected = format!("a whole number from 0 to {most}");
    let value: u32 = field.read(&expected)?;
    if value <= most { Ok(value) } else { Err(field.expected(expected)) }
}

/// `true` keeps what `top_logprobs` may have said before, `false` is none, a number is that many.
fn alternatives(field: &Field<'_>, before: Option<u32>) -> Result<Option<u32>, LineProblem> {
    if let Ok(wanted) = field.read::<bool>("") {
        return Ok(wanted.then(|| before.unwrap_or(0)));
    }
    let expected = format!("true, false or a whole number from 0 to {MAX_TOP_LOGPROBS}");
    match field.read::<u32>(&expected)? {
        count if count <= MAX_TOP_LOGPROBS => Ok(Some(count)),
        _ => Err(field.expected(expected)),
    }
}

fn stops(field: &Field<'_>) -> Result<Vec<String>, LineProblem> {
    let expected = format!("a string or a list of up to {MAX_STOPS} strings");
    let elements = field.elements().unwrap_or_else(|| vec![field.clone()]);
    if elements.len() > MAX_STOPS {
        return Err(field.expected(format!("at most {MAX_STOPS} stop strings")));
    }
    let stop = |element: &Field<'_>| match element.string(&expected)? {
        stop if stop.is_empty() => Err(element.expected("a string that is not empty")),
        stop => Ok(stop.into_owned()),
    };
    elements.iter().map(stop).collect()
}

fn biases(field: &Field<'_>) -> Result<Vec<(u32, f32)>, LineProblem> {
    // What an empty object is in PHP, and llama.cpp's other form.
    if field.elements().is_some_and(|elements| elements.is_empty()) {
        return Ok(Vec::new());
    }
    let entries = field.object("an object from token id to a number")?;
    let mut seen = HashSet::with_capacity(entries.len());
    let bias = |entry: &Field<'_>| {
        let token: u32 = entry.name.parse().map_err(|_| {
            let found = format!("{:?}", entry.name);
            entry.at_name(Problem::Expected { expected: "a token id".into(), found })
        })?;
        // "7" and "07" are two names of one token.
        if !seen.insert(token) {
            return Err(entry.at_name(Problem::Twice));
        }
        Ok((token, number(entry, &BIAS)?))
    };
    entries.iter().map(bias).collect()
}
