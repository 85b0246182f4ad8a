//! One line to one request.

use super::error::LineProblems;
use super::message::{self, messages_of};
use super::options;
use super::{Defaults, Endpoint, PromptMode, Request};
use crate::batch::text::Prompt;
use crate::content::decode::At;
use crate::content::{did_you_mean, json};
use crate::names::{is_near, nearest};

/// A request, and the names of the fields of OpenAI's body that were passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What the line asks, with the run's defaults where it says nothing.
    pub request: Request,
    /// The column of its id.
    pub id_column: usize,
    /// Fields that nothing here knows.
    pub ignored: Vec<String>,
}

/// The names that make a line one of the OpenAI batch shape.
const ENVELOPE: &[&str] = &["custom_id", "method", "url", "body"];

/// The fields of the short form that are not options.
const SHORT_FORM: &[&str] = &["id", "prompt", "messages", "system"];

/// How many fields that nothing knows are compared with those that something does.
const MAX_COMPARED: usize = 256;

/// Reads a line of either shape.
///
/// # Errors
/// All that is wrong with the line.
pub fn parse_line(line: &str, defaults: &Defaults) -> Result<Parsed, LineProblems> {
    let parsed = json::read(&json::without_lone_surrogates(line), |whole| {
        if !whole.has_fields("an object") {
            None
        } else if whole.fields().any(|field| ENVELOPE.contains(&field.name())) {
            openai(whole, defaults)
        } else {
            short(whole, defaults)
        }
    });
    Ok(parsed?)
}

/// The id of a line that is JSON and has one, whatever else is wrong with it.
pub fn id_of_bad_line(line: &str) -> Option<String> {
    let read = |whole: &At<'_>| {
        whole.has_fields("an object");
        id_of(&whole.field("custom_id").or_else(|| whole.field("id"))?)
    };
    json::read(&json::without_lone_surrogates(line), read).ok()
}

fn openai(whole: &At<'_>, defaults: &Defaults) -> Option<Parsed> {
    const POST: &str = "\"POST\"";
    let custom_id = required(whole, "custom_id");
    // What is wrong is noted where it is found, and the line read on, so that all is told at once.
    let id = custom_id.and_then(|id| id_of(&id)).unwrap_or_default();
    if let Some(method) = whole.field("method")
        && method.text(POST).is_some_and(|method| method != "POST")
    {
        method.expected(POST);
    }
    let endpoint = required(whole, "url").and_then(|url| endpoint_of(&url));
    let body = required(whole, "body").filter(|body| body.has_fields("an object"))?;
    let (request, of_body) = body_of(&body, endpoint?, id, defaults);
    let of_envelope = |field: &At<'_>| ENVELOPE.contains(&field.name());
    let mut ignored: Vec<String> = whole
        .fields()
        .filter(|field| !of_envelope(field))
        .map(|field| field.name().to_owned())
        .collect();
    ignored.extend(of_body);
    Some(Parsed { request, id_column: column_of(&custom_id?), ignored })
}

/// Reads the body of an HTTP request: what a line of OpenAI's shape has as its `body`.
///
/// # Errors
/// All that is wrong with it.
#[cfg(feature = "serve")]
pub(crate) fn parse_body(
    body: &str,
    endpoint: Endpoint,
    id: String,
    defaults: &Defaults,
) -> Result<Parsed, LineProblems> {
    let parsed = json::read(&json::without_lone_surrogates(body), |whole| {
        if !whole.has_fields("an object") {
            return None;
        }
        let (request, ignored) = body_of(whole, endpoint, id.clone(), defaults);
        Some(Parsed { request, id_column: 1, ignored })
    });
    Ok(parsed?)
}

/// The request of a body in OpenAI's shape, and its fields that nothing here knows.
fn body_of(
    body: &At<'_>,
    endpoint: Endpoint,
    id: String,
    defaults: &Defaults,
) -> (Request, Vec<String>) {
    let (prompt, more_prompts) = match endpoint {
        Endpoint::Completions => {
            first_of(required(body, "prompt").and_then(|prompt| prompts_of(&prompt)))
        }
        Endpoint::ChatCompletions => {
            let messages = required(body, "messages").map(|messages| messages_of(&messages));
            (Prompt::Chat(defaults.chat(messages.unwrap_or_default())), Vec::new())
        }
    };
    let mut request = Request { endpoint, prompt, more_prompts, ..defaults.request(id, "") };
    let mut ignored = Vec::new();
    options::apply_all(&mut request, body, &defaults.adapters, |field| {
        if matches!(field.name(), "prompt" | "messages") {
            return;
        }
        if field.name() == "system" && !field.is_null() {
            let what = "a system message beside the others; give it as the first of `messages`";
            return unsupported(field, what);
        }
        // A field that is spelt almost as an option is one that was to change the answer. (A line
        // with very many fields is no body of anybody's, and comparing all of them is slow.)
        if ignored.len() < MAX_COMPARED
            && nearest(field.name(), options::NAMES.iter().copied()).is_some()
        {
            return unknown(field, options::NAMES.iter().copied());
        }
        ignored.push(field.path());
    });
    (request, ignored)
}

fn short(whole: &At<'_>, defaults: &Defaults) -> Option<Parsed> {
    let id_field = required(whole, "id");
    let id = id_field.and_then(|id| id_of(&id)).unwrap_or_default();
    let mut defaults = defaults.clone();
    if let Some(system) = whole.field("system") {
        defaults.system = system.text("a string").map(str::to_owned);
    }
    let mut request = match (whole.field("prompt"), whole.field("messages")) {
        (Some(_), Some(messages)) => {
            messages.wrong_name("expected either `prompt` or `messages`, found both");
            return None;
        }
        (None, Some(messages)) => {
            let prompt = Prompt::Chat(defaults.chat(messages_of(&messages)));
            Request { endpoint: Endpoint::ChatCompletions, prompt, ..defaults.request(id, "") }
        }
        // What the other fields mean depends on what is asked.
        (None, None) if note_misspelt(whole, "messages") => return None,
        (_, None) => match (first_of(prompts_of(&required(whole, "prompt")?)), defaults.mode) {
            ((Prompt::Text(text), more), PromptMode::Chat) => {
                let more_prompts = more.into_iter().map(|prompt| defaults.as_chat(prompt));
                Request { more_prompts: more_prompts.collect(), ..defaults.request(id, text) }
            }
            ((prompt, more_prompts), _) => Request {
                endpoint: Endpoint::Completions,
                prompt,
                more_prompts,
                ..defaults.request(id, "")
            },
        },
    };
    options::apply_all(&mut request, whole, &defaults.adapters, |field| {
        if !SHORT_FORM.contains(&field.name()) {
            unknown(field, SHORT_FORM.iter().chain(options::NAMES).copied());
        }
    });
    Some(Parsed { request, id_column: column_of(&id_field?), ignored: Vec::new() })
}

fn column_of(field: &At<'_>) -> usize {
    field.place().column as usize
}

/// Notes a field that no request has.
fn unknown<'a>(field: &At<'_>, known: impl Iterator<Item = &'a str>) {
    // Comparing a million names takes half a minute, and fifty are told of.
    if !field.is_full() {
        field.wrong_name(format!("no such field{}", did_you_mean(field.name(), known)));
    }
}

/// Notes a field that asks for what others offer and this program does not.
pub(super) fn unsupported(field: &At<'_>, what: &str) {
    field.wrong_name(format!("not supported here: {what}"));
}

/// A field that is there and not null; what is wrong is noted otherwise.
pub(crate) fn required<'b>(object: &'b At<'_>, name: &'static str) -> Option<At<'b>> {
    let field = object.field(name);
    // A misspelt field is what is wrong, not that the right one is missing.
    if field.is_none() && !note_misspelt(object, name) {
        object.missing(name);
    }
    field
}

/// Notes a field that was probably meant to be `name`, if there is one.
fn note_misspelt(object: &At<'_>, name: &'static str) -> bool {
    let mut fields = object.fields();
    let misspelt = fields.find(|field| !is_known(field.name()) && is_near(field.name(), name));
    if let Some(field) = &misspelt {
        unknown(field, [name].into_iter());
    }
    misspelt.is_some()
}

/// Whether a field of this name means something in a line of either shape.
fn is_known(name: &str) -> bool {
    [ENVELOPE, SHORT_FORM, message::NAMES, options::NAMES].iter().any(|names| names.contains(&name))
}

fn id_of(field: &At<'_>) -> Option<String> {
    const EXPECTED: &str = "a string that is not empty, or a whole number";
    match field.peek_text() {
        Some("") => {
            field.expected(EXPECTED);
            None
        }
        Some(id) => Some(id.to_owned()),
        None => field.read::<i64>(EXPECTED).map(|id| id.to_string()),
    }
}

fn endpoint_of(url: &At<'_>) -> Option<Endpoint> {
    match url.peek_text() {
        Some("/v1/completions") => Some(Endpoint::Completions),
        Some("/v1/chat/completions") => Some(Endpoint::ChatCompletions),
        _ => {
            url.expected("\"/v1/completions\" or \"/v1/chat/completions\"");
            None
        }
    }
}

/// The prompts of a field, at least one.
fn prompts_of(field: &At<'_>) -> Option<Vec<Prompt>> {
    const EXPECTED: &str = "a string, a list of strings, or a list or lists of token ids";
    if let Some(text) = field.peek_text() {
        return Some(vec![Prompt::Text(text.to_owned())]);
    }
    let first = field.items().and_then(|mut items| items.next());
    let Some(first) = first else {
        field.expected(EXPECTED);
        return None;
    };
    let tokens = |list: &At<'_>| {
        let tokens = list.items().into_iter().flatten();
        Prompt::Tokens(tokens.filter_map(|token| token.read("a token id")).collect())
    };
    let items = field.items().into_iter().flatten();
    Some(if first.peek_text().is_some() {
        let text = |item: At<'_>| Some(Prompt::Text(item.text("a string")?.to_owned()));
        items.filter_map(text).collect()
    } else if first.items().is_some() {
        let list = |item: At<'_>| {
            if item.items().is_none() {
                item.expected("a list of token ids");
            }
            tokens(&item)
        };
        items.map(list).collect()
    } else {
        vec![tokens(field)]
    })
}

/// The first of some prompts, and the others; no text where what was wrong with them is noted.
fn first_of(prompts: Option<Vec<Prompt>>) -> (Prompt, Vec<Prompt>) {
    let mut prompts = prompts.unwrap_or_default().into_iter();
    let first = prompts.next().unwrap_or_else(|| Prompt::Text(String::new()));
    (first, prompts.collect())
}
