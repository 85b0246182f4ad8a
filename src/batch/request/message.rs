//! The messages of a conversation.

use super::error::LineProblem;
use super::fields::Field;
use super::line::{find, required};
use crate::batch::text::Message;

/// The fields of a message and of its parts that are read here; the others are the template's.
pub(super) const NAMES: &[&str] = &["role", "content", "type", "text", "refusal"];

pub(super) fn messages_of(field: &Field<'_>) -> Result<Vec<Message>, LineProblem> {
    const EXPECTED: &str = "a list of messages that is not empty";
    match field.elements() {
        Some(elements) if !elements.is_empty() => elements.iter().map(message_of).collect(),
        _ => Err(field.expected(EXPECTED)),
    }
}

fn message_of(message: &Field<'_>) -> Result<Message, LineProblem> {
    let fields = message.object("a message with `role` and `content`")?;
    let role = required(message, &fields, "role")?.string("a string")?;
    // The newer name of the same role.
    let role = if role == "developer" { "system".to_owned() } else { role.into_owned() };
    let content = match find(&fields, "content") {
        Some(content) => Some(content_of(content)?),
        None => match find(&fields, "refusal") {
            Some(refusal) => Some(refusal.string("a string")?.into_owned()),
            // A message that calls a tool, or has only thought, need not say anything.
            None if fields.iter().any(|field| says_something(&field.name) && !is_empty(field)) => {
                None
            }
            None => Some(content_of(required(message, &fields, "content")?)?),
        },
    };
    let mut rest = Vec::new();
    for field in fields.iter().filter(|field| !NAMES[..2].contains(&field.name.as_ref())) {
        // Clients write out what a message does not have. A template asks whether a field is
        // defined.
        if is_empty(field) || field.name == "refusal" {
            continue;
        }
        let json =
            if field.name == "tool_calls" { tool_calls(field)? } else { field.json().to_owned() };
        rest.push((field.name.to_string(), json));
    }
    Ok(Message { role, content, rest })
}

fn says_something(name: &str) -> bool {
    matches!(name, "tool_calls" | "function_call" | "reasoning_content" | "reasoning" | "thinking")
}

fn is_empty(field: &Field<'_>) -> bool {
    field.is_null() || field.elements().is_some_and(|elements| elements.is_empty())
}

/// The text of a message: a string, or the texts of its parts with a line break between them.
fn content_of(content: &Field<'_>) -> Result<String, LineProblem> {
    match content.elements() {
        None => content.string("a string or a list of text parts").map(|text| text.into_owned()),
        Some(parts) => Ok(parts.iter().map(text_part).collect::<Result<Vec<_>, _>>()?.join("\n")),
    }
}

fn text_part(part: &Field<'_>) -> Result<String, LineProblem> {
    if let Ok(text) = part.string("") {
        return Ok(text.into_owned());
    }
    let fields = part.object("a part of type \"text\"")?;
    let kind = required(part, &fields, "type")?;
    let field = match kind.string("\"text\"")?.as_ref() {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        _ => return Err(kind.expected("\"text\"")),
    };
    required(part, &fields, field)?.string("a string").map(|text| text.into_owned())
}

/// The calls of a message as JSON. Clients send the arguments as a string of JSON; templates go
/// over them as an object, as they are in `transformers` and vLLM.
fn tool_calls(field: &Field<'_>) -> Result<String, LineProblem> {
    const EXPECTED: &str = "a list of calls, each an object";
    let calls = field.elements().ok_or_else(|| field.expected(EXPECTED))?;
    let call = |call: &Field<'_>| {
        let fields = call.object(EXPECTED)?;
        with(&fields, "function", |function| {
            let fields = function.object("an object with `name` and `arguments`")?;
            with(&fields, "arguments", |arguments| Ok(arguments_of(arguments)))
        })
    };
    Ok(format!("[{}]", calls.iter().map(call).collect::<Result<Vec<_>, _>>()?.join(",")))
}

fn arguments_of(arguments: &Field<'_>) -> String {
    let text = arguments.string("").unwrap_or_default();
    let is_object = Field::whole(&text).is_ok_and(|inner| inner.object("").is_ok());
    match text.trim() {
        text if is_object => text.to_owned(),
        "" if arguments.is_null() || arguments.string("").is_ok() => "{}".to_owned(),
        _ => arguments.json().to_owned(),
    }
}

/// An object as JSON, with one of its fields made anew.
fn with<'a>(
    fields: &[Field<'a>],
    name: &str,
    make: impl Fn(&Field<'a>) -> Result<String, LineProblem>,
) -> Result<String, LineProblem> {
    let one = |field: &Field<'a>| {
        let value = if field.name == name { make(field)? } else { field.json().to_owned() };
        let name = serde_json::Value::from(field.name.as_ref());
        Ok(format!("{name}:{value}"))
    };
    let fields: Result<Vec<String>, LineProblem> = fields.iter().map(one).collect();
    Ok(format!("{{{}}}", fields?.join(",")))
}
