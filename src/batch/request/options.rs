//! The fields that change how a request is answered, the same in both shapes of line.
//!
//! `specs/requests.md` has the table of what each takes.
//!
//! A `null` is as good as no field. Fields of other engines that are none of these are in
//! `foreign`.

use std::collections::HashSet;

use super::foreign::is_of_others;
use super::form::{FORM_FIELDS, form_of};
use super::line::{required, unsupported};
use super::tools::settle_tools;
use super::{Endpoint, MAX_CHOICES, MAX_STOPS, MAX_TOP_LOGPROBS, Request};
use crate::batch::text::{Chat, Prompt};
use crate::content::decode::At;
use crate::forward::AdapterSet;
use crate::forward::sampling::{BIAS, MIN_P, PENALTY, REPEAT_PENALTY, Range, TEMPERATURE, TOP_P};

/// Every option, for the hint at a misspelt field.
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
    "lora",
    "tools",
    "tool_choice",
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "json_schema",
    "regex",
];

/// The largest factor of an adapter: past it no model says anything.
pub(crate) const MAX_SCALE: f64 = 1000.0;

/// Names of one thing each: a line may have only one of them.
pub(super) const SYNONYMS: &[&[&str]] = &[
    &["max_tokens", "max_completion_tokens", "max_new_tokens", "n_predict", "num_predict"],
    &["min_tokens", "min_new_tokens"],
    &["repeat_penalty", "repetition_penalty"],
    &["stop", "stop_sequences", "stop_strings", "stop_sequence"],
    &["include_stop_str_in_output", "no_stop_trim"],
    &["enable_thinking", "think"],
];

/// Applies every option of an object, and leaves the other fields to `unknown`.
/// `adapters` are the names of those that a line may ask for.
pub(super) fn apply_all(
    request: &mut Request,
    object: &At<'_>,
    adapters: &[String],
    mut unknown: impl FnMut(&At<'_>),
) {
    for field in object.fields() {
        if field.name() == "lora" && !field.is_null() {
            request.adapters = Some(adapter_set(&field, adapters));
        } else if NAMES.contains(&field.name()) {
            if !field.is_null() {
                apply(request, &field);
            }
        } else if !is_of_others(&field) {
            unknown(&field);
        }
    }
    settle(request, object);
}

/// Puts an option's value into the request.
fn apply(request: &mut Request, field: &At<'_>) {
    match field.name() {
        "max_tokens" | "max_completion_tokens" | "max_new_tokens" | "n_predict" | "num_predict" => {
            request.max_tokens = whole_or_all(field, u32::MAX);
        }
        "min_tokens" | "min_new_tokens" => request.min_tokens = whole(field, u32::MAX).unwrap_or(0),
        "stop" | "stop_sequences" | "stop_strings" | "stop_sequence" => {
            request.stop = stops(field);
        }
        "stop_token_ids" => {
            request.stop_tokens = field.read("a list of token ids").unwrap_or_default();
        }
        "include_stop_str_in_output" | "no_stop_trim" => request.keep_stop = yes(field),
        "ignore_eos" => request.ignore_end = yes(field),
        "skip_special_tokens" => request.show_special = field.read(YES) == Some(false),
        // Read for its type; `settle` needs `show_special` too, which may come later.
        "spaces_between_special_tokens" => drop(yes(field)),
        "add_special_tokens" => {
            // What each kind of request does anyway: a template writes its special tokens itself.
            let usual = request.endpoint == Endpoint::Completions;
            if field.read::<bool>(YES).is_some_and(|wanted| wanted != usual) {
                unsupported(field, "other special tokens than the model's");
            }
        }
        "logprobs" => request.logprobs = alternatives(field, request.logprobs),
        "top_logprobs" => request.logprobs = whole(field, MAX_TOP_LOGPROBS),
        "prompt_logprobs" => {
            request.prompt_logprobs = alternatives(field, request.prompt_logprobs);
        }
        "echo" => {
            request.echo = yes(field);
            if request.echo && request.endpoint == Endpoint::ChatCompletions {
                unsupported(field, "the prompt of a chat in its answer");
            }
        }
        name if FORM_FIELDS.contains(&name) => {
            if let Some(form) = form_of(field)
                && request.form.replace(form).is_some()
            {
                field.wrong_name("another field has given the answer's form");
            }
        }
        // They are read together, once all are applied.
        "tools" | "tool_choice" => {}
        "n" => request.choices = choices(field),
        // Compared with `n` once all are applied.
        "best_of" => drop(choices(field)),
        _ => {
            apply_sampling(request, field);
            apply_template(&mut request.prompt, field);
        }
    }
}

/// The options that say how a token is drawn.
fn apply_sampling(request: &mut Request, field: &At<'_>) {
    let sampling = &mut request.sampling;
    match field.name() {
        "temperature" => sampling.temperature = number(field, &TEMPERATURE),
        // Applied last, since it goes before the temperature.
        "do_sample" => drop(yes(field)),
        "top_p" => sampling.top_p = number(field, &TOP_P),
        "top_k" => sampling.top_k = whole_or_all(field, 0),
        "min_p" => sampling.min_p = number(field, &MIN_P),
        "repeat_penalty" | "repetition_penalty" => {
            sampling.repeat_penalty = number(field, &REPEAT_PENALTY);
        }
        "repeat_last_n" => sampling.repeat_last_n = whole_or_all(field, u32::MAX),
        "frequency_penalty" => sampling.frequency_penalty = number(field, &PENALTY),
        "presence_penalty" => sampling.presence_penalty = number(field, &PENALTY),
        "logit_bias" => sampling.logit_bias = biases(field),
        "seed" => {
            // A negative seed is taken by its bits: OpenAI allows any 64-bit integer.
            sampling.seed = match field.peek::<i64>() {
                Some(seed) => seed.cast_unsigned(),
                None => field.read("a whole number of 64 bits").unwrap_or_default(),
            };
            request.stream = 0;
        }
        _ => {}
    }
}

/// The options that say what a chat template does.
fn apply_template(prompt: &mut Prompt, field: &At<'_>) {
    match field.name() {
        "chat_template_kwargs" => {
            let variables = variables_of(field);
            if !variables.is_empty()
                && let Some(chat) = chat(prompt, field)
            {
                variables.into_iter().for_each(|(name, json)| set_variable(chat, &name, json));
            }
        }
        "enable_thinking" | "think" => {
            // Read for its type alone: the template gets what was written.
            yes(field);
            if let Some(chat) = chat(prompt, field) {
                set_variable(chat, "enable_thinking", field.json().into());
            }
        }
        "reasoning_effort" => {
            field.text("a string");
            if let Some(chat) = chat(prompt, field) {
                set_variable(chat, "reasoning_effort", field.json().into());
            }
        }
        "add_generation_prompt" => {
            let opens = yes(field);
            if let Some(chat) = chat(prompt, field) {
                chat.opens_answer = opens;
            }
        }
        "continue_final_message" => {
            if yes(field)
                && let Some(chat) = chat(prompt, field)
            {
                chat.continues_last = true;
            }
        }
        _ => {}
    }
}

/// The adapters of a request, each `{"name", "scale"}`.
fn adapter_set(field: &At<'_>, names: &[String]) -> AdapterSet {
    const ONE: &str = "an adapter: {\"name\": \"facts\", \"scale\": 1}";
    let adapter = |item: At<'_>| {
        if !item.has_fields(ONE) {
            return None;
        }
        for other in item.fields().filter(|field| !["name", "scale"].contains(&field.name())) {
            other.wrong_name(format!("expected {ONE}"));
        }
        let scale = item.field("scale").map_or(Some(1.0), |scale| {
            let value = scale.peek::<f64>().filter(|value| value.abs() <= MAX_SCALE);
            if value.is_none() {
                scale.expected(&format!("a number from -{MAX_SCALE} to {MAX_SCALE}"));
            }
            value
        });
        let name = required(&item, "name")?;
        let text = name.text("the name of an adapter")?;
        let index = names.iter().position(|known| known == text);
        if index.is_none() {
            name.expected(&match names {
                [] => "an adapter that the run has, which has none: --lora NAME=FILE".to_owned(),
                names => format!("an adapter that the run has: {}", names.join(", ")),
            });
        }
        Some((index? as u32, scale? as f32))
    };
    let Some(items) = field.items() else {
        field.expected(&format!("a list of adapters; {ONE}"));
        return AdapterSet::NONE;
    };
    AdapterSet::new(items.filter_map(adapter))
}

/// How many choices a prompt has.
fn choices(field: &At<'_>) -> u32 {
    let count = field.peek::<u32>().filter(|count| (1..=MAX_CHOICES as u32).contains(count));
    if count.is_none() {
        field.expected(&format!("a whole number from 1 to {MAX_CHOICES}"));
    }
    count.unwrap_or(1)
}

/// What `n`, `best_of` and the number of prompts say together.
fn settle_choices(request: &Request, object: &At<'_>) {
    if let Some(field) = object.field("best_of")
        && field.peek::<u32>().is_some_and(|best_of| best_of != request.choices)
    {
        field.expected(&format!("as many as `n`, {}: all are given", request.choices));
    }
    let prompts = 1 + request.more_prompts.len();
    if prompts * request.choices as usize > MAX_CHOICES
        && let Some(field) = object.field("n").or_else(|| object.field("prompt"))
    {
        field.expected(&format!("at most {MAX_CHOICES} choices of all prompts together"));
    }
}

/// What several fields say together, once all are applied.
fn settle(request: &mut Request, object: &At<'_>) {
    settle_choices(request, object);
    settle_tools(request, object);
    if request.form.is_some()
        && let Some(field) = ["ignore_eos", "min_tokens", "min_new_tokens"]
            .iter()
            .find_map(|name| object.field(name))
        && (request.ignore_end || request.min_tokens > 0)
    {
        unsupported(&field, "an answer of a form that may not end with it");
    }
    let says = |name: &str, what: bool| {
        object.field(name).filter(|field| field.peek::<bool>() == Some(what))
    };
    for names in SYNONYMS {
        let mut given =
            object.fields().filter(|field| names.contains(&field.name()) && !field.is_null());
        if let Some(second) = given.nth(1) {
            second.wrong_name("given twice");
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
    // `repetition_penalty` is vLLM's name, and there it goes over all tokens.
    if object.field("repetition_penalty").is_some() && object.field("repeat_last_n").is_none() {
        request.sampling.repeat_last_n = u32::MAX;
    }
    if request.show_special
        && let Some(field) = says("spaces_between_special_tokens", true)
    {
        unsupported(&field, "spaces that the model has not written");
    }
    if let (Some(field), Some(_)) =
        (says("continue_final_message", true), says("add_generation_prompt", true))
    {
        field.expected("either `continue_final_message` or `add_generation_prompt`");
    }
    if let Some(field) = object.field("min_tokens").or_else(|| object.field("min_new_tokens"))
        && request.min_tokens > request.max_tokens
    {
        field.expected(&format!("at most `max_tokens`, {}", request.max_tokens));
    }
}

/// The conversation of a request; a field about it has no place in a completion.
fn chat<'r>(prompt: &'r mut Prompt, field: &At<'_>) -> Option<&'r mut Chat> {
    if let Prompt::Chat(chat) = prompt {
        return Some(chat);
    }
    unsupported(field, "a chat template for a prompt that is no chat");
    None
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
pub(super) fn variables_of(field: &At<'_>) -> Vec<(String, String)> {
    field.has_fields("an object of what the chat template may read");
    let variable = |entry: At<'_>| {
        if GIVEN.contains(&entry.name()) {
            unsupported(&entry, "setting what the chat template is given anyway");
        }
        (entry.name().to_owned(), entry.json().to_owned())
    };
    field.fields().map(variable).collect()
}

/// What a line says goes before what the run says. The run says little, so that this stays linear
/// in the line.
fn set_variable(chat: &mut Chat, name: &str, json: String) {
    match chat.variables.iter_mut().find(|(other, _)| other == name) {
        Some(variable) => variable.1 = json,
        None => chat.variables.push((name.to_owned(), json)),
    }
}

/// What a field that is on or off is expected to be.
const YES: &str = "true or false";

fn yes(field: &At<'_>) -> bool {
    field.read(YES).unwrap_or_default()
}

/// A whole number, or -1 for `all`, which also stands in for what is neither.
fn whole_or_all(field: &At<'_>, all: u32) -> u32 {
    let is_all = field.peek::<i64>() == Some(-1);
    if is_all { all } else { whole(field, u32::MAX).unwrap_or(all) }
}

fn number(field: &At<'_>, range: &Range) -> f32 {
    let value = field.peek::<f64>().filter(|value| range.holds(*value));
    if value.is_none() {
        field.expected(range.text);
    }
    // In range, so that only digits are lost.
    value.unwrap_or_default() as f32
}

fn whole(field: &At<'_>, most: u32) -> Option<u32> {
    let value = field.peek::<u32>().filter(|value| *value <= most);
    if value.is_none() {
        field.expected(&format!("a whole number from 0 to {most}"));
    }
    value
}

/// `true` keeps what `top_logprobs` may have said before, `false` is none, a number is that many.
fn alternatives(field: &At<'_>, before: Option<u32>) -> Option<u32> {
    if let Some(wanted) = field.peek::<bool>() {
        return wanted.then(|| before.unwrap_or(0));
    }
    let count = field.peek::<u32>().filter(|count| *count <= MAX_TOP_LOGPROBS);
    if count.is_none() {
        field.expected(&format!("true, false or a whole number from 0 to {MAX_TOP_LOGPROBS}"));
    }
    count
}

fn stops(field: &At<'_>) -> Vec<String> {
    let stop = |element: At<'_>| {
        let text = element.text(&format!("a string or a list of up to {MAX_STOPS} strings"))?;
        if text.is_empty() {
            element.expected("a string that is not empty");
        }
        Some(text.to_owned())
    };
    match field.items() {
        None => stop(*field).into_iter().collect(),
        Some(elements) if elements.len() > MAX_STOPS => {
            field.expected(&format!("at most {MAX_STOPS} stop strings"));
            Vec::new()
        }
        Some(elements) => elements.filter_map(stop).collect(),
    }
}

fn biases(field: &At<'_>) -> Vec<(u32, f32)> {
    // What an empty object is in PHP, and llama.cpp's other form.
    if !field.is_empty_list() {
        field.has_fields("an object from token id to a number");
    }
    let mut seen = HashSet::new();
    let bias = |entry: At<'_>| {
        let Ok(token) = entry.name().parse::<u32>() else {
            entry.wrong_name(format!("expected a token id, found {:?}", entry.name()));
            return None;
        };
        // "7" and "07" are two names of one token.
        if !seen.insert(token) {
            entry.wrong_name("given twice");
        }
        Some((token, number(&entry, &BIAS)))
    };
    field.fields().filter_map(bias).collect()
}
