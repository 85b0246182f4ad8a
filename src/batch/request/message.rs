//! The messages of a conversation.

use super::line::required;
use crate::batch::text::Message;
use crate::content::decode::At;
use crate::content::json;

/// The fields of a message and of its parts that are read here; the others are the template's.
pub(super) const NAMES: &[&str] = &["role", "content", "type", "text", "refusal"];

/// What a text was expected to be.
const TEXT: &str = "a string";

/// The messages of a list; what is wrong with it is noted.
pub(crate) fn messages_of(field: &At<'_>) -> Vec<Message> {
    match field.items() {
        Some(items) if items.len() > 0 => items.filter_map(|item| message_of(&item)).collect(),
        _ => {
            field.expected("a list of messages that is not empty");
            Vec::new()
        }
    }
}

fn message_of(message: &At<'_>) -> Option<Message> {
    if !message.has_fields("a message with `role` and `content`") {
        return None;
    }
    let role = required(message, "role").and_then(|role| role.text(TEXT)).unwrap_or_default();
    // The newer name of the same role.
    let role = if role == "developer" { "system" } else { role };
    let content = match (message.field("content"), message.field("refusal")) {
        (Some(content), _) => Some(content_of(&content)),
        (None, Some(refusal)) => refusal.text(TEXT).map(str::to_owned),
        // A message that calls a tool, or has only thought, need not say anything.
        (None, None) if message.fields().any(|field| says_something(&field)) => None,
        (None, None) => required(message, "content").map(|content| content_of(&content)),
    };
    // Clients write out what a message does not have. A template asks whether a field is defined.
    let of_template = |field: &At<'_>| {
        !matches!(field.name(), "role" | "content" | "refusal") && !is_empty(field)
    };
    let rest = message.fields().filter(of_template).map(|field| {
        let json =
            if field.name() == "tool_calls" { tool_calls(&field) } else { field.json().to_owned() };
        (field.name().to_owned(), json)
    });
    Some(Message { role: role.to_owned(), content, rest: rest.collect() })
}

fn says_something(field: &At<'_>) -> bool {
    let name = field.name();
    let is_speech =
        matches!(name, "tool_calls" | "function_call" | "reasoning_content" | "reasoning");
    (is_speech || name == "thinking") && !is_empty(field)
}

fn is_empty(field: &At<'_>) -> bool {
    field.is_null() || field.is_empty_list()
}

/// The text of a message: a string, or the texts of its parts with a line break between them.
fn content_of(content: &At<'_>) -> String {
    match content.items() {
        None => content.text("a string or a list of text parts").unwrap_or_default().to_owned(),
        Some(parts) => parts.map(|part| text_part(&part)).collect::<Vec<_>>().join("\n"),
    }
}

fn text_part(part: &At<'_>) -> String {
    let text = || {
        let kind = required(part, "type")?;
        let name = match kind.text("\"text\"")? {
            "text" | "input_text" | "output_text" => "text",
            "refusal" => "refusal",
            _ => {
                kind.expected("\"text\"");
                return None;
            }
        };
        required(part, name)?.text(TEXT).map(str::to_owned)
    };
    match part.peek_text() {
        Some(text) => text.to_owned(),
        None if part.has_fields("a part of type \"text\"") => text().unwrap_or_default(),
        None => String::new(),
    }
}

/// The calls of a message as JSON. Clients send the arguments as a string of JSON; templates go
/// over them as an object, as they are in `transformers` and vLLM.
fn tool_calls(field: &At<'_>) -> String {
    const EXPECTED: &str = "a list of calls, each an object";
    let Some(calls) = field.items() else {
        field.expected(EXPECTED);
        return String::new();
    };
    let call = |call: At<'_>| {
        call.has_fields(EXPECTED);
        with(&call, "function", |function| {
            function.has_fields("an object with `name` and `arguments`");
            with(function, "arguments", arguments_of)
        })
    };
    format!("[{}]", calls.map(call).collect::<Vec<_>>().join(","))
}

fn arguments_of(arguments: &At<'_>) -> String {
    let text = arguments.peek_text().unwrap_or_default();
    let is_object = json::read(text, |inner| inner.has_fields("an object").then_some(())).is_ok();
    match text.trim() {
        text if is_object => text.to_owned(),
        "" if arguments.is_null() || arguments.peek_text().is_some() => "{}".to_owned(),
        // What is no object of JSON is the template's to judge.
        _ => arguments.json().to_owned(),
    }
}

/// An object as JSON, with one of its fields made anew.
fn with(object: &At<'_>, name: &str, make: impl Fn(&At<'_>) -> String) -> String {
    let one = |field: At<'_>| {
        let value = if field.name() == name { make(&field) } else { field.json().to_owned() };
        format!("{}:{value}", serde_json::Value::from(field.name()))
    };
    format!("{{{}}}", object.fields().map(one).collect::<Vec<_>>().join(","))
}
