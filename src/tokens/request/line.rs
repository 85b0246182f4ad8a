//! One line to one request.

use super::error::{LineProblem, Problem};
use super::fields::Field;
use super::knobs::{self, Applied};
use super::{Defaults, Endpoint, PromptMode, Request};
use crate::names::{is_near, nearest};
use crate::tokens::text::{Message, Prompt};

/// A request, and the names of the fields of OpenAI's body that were passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The request.
    pub request: Request,
    /// The column of its id.
    pub id_column: usize,
    /// Fields that nothing here knows.
    pub ignored: Vec<String>,
}

/// The names that make a line one of the OpenAI batch shape.
const ENVELOPE: &[&str] = &["custom_id", "method", "url", "body"];

/// The fields of the short form that are not knobs.
const SHORT_FORM: &[&str] = &["id", "prompt", "messages", "system"];

/// The fields of a message and of its parts.
const MESSAGE: &[&str] = &["role", "content", "name", "type", "text"];

/// Reads a line of either shape.
pub fn parse_line(line: &str, defaults: &Defaults) -> Result<Parsed, LineProblem> {
    let whole = Field::whole(line)?;
    let fields = whole.object("an object")?;
    if fields.iter().any(|field| ENVELOPE.contains(&field.name.as_ref())) {
        openai(&whole, &fields, defaults)
    } else {
        short(&whole, &fields, defaults)
    }
}

fn openai(whole: &Field<'_>, fields: &[Field<'_>], defaults: &Defaults) -> Result<Parsed, LineProblem> {
    let custom_id = required(whole, fields, "custom_id")?;
    let id = id_of(custom_id)?;
    if let Some(method) = find(fields, "method")
        && method.string("\"POST\"")? != "POST"
    {
        return Err(method.expected("\"POST\""));
    }
    let url = required(whole, fields, "url")?;
    let expected = "\"/v1/completions\" or \"/v1/chat/completions\"";
    let endpoint = match url.string(expected)?.as_ref() {
        "/v1/completions" => Endpoint::Completions,
        "/v1/chat/completions" => Endpoint::ChatCompletions,
        _ => return Err(url.expected(expected)),
    };
    let body = required(whole, fields, "body")?;
    let body_fields = body.object("an object")?;
    let prompt = match endpoint {
        Endpoint::Completions => prompt_of(required(body, &body_fields, "prompt")?)?,
        Endpoint::ChatCompletions => {
            Prompt::Chat(defaults.with_system(messages_of(required(body, &body_fields, "messages")?)?))
        }
    };
    let mut request = Request { endpoint, prompt, ..defaults.request(id, "") };
    let mut ignored: Vec<String> = Vec::new();
    ignored.extend(
        fields.iter().filter(|f| !ENVELOPE.contains(&f.name.as_ref())).map(|field| field.name.to_string()),
    );
    apply_knobs(&mut request, &body_fields, |field| {
        if !matches!(field.name.as_ref(), "prompt" | "messages") {
            ignored.push(field.path.clone());
        }
        Ok(())
    })?;
    Ok(Parsed { request, id_column: custom_id.column(), ignored })
}

fn short(whole: &Field<'_>, fields: &[Field<'_>], defaults: &Defaults) -> Result<Parsed, LineProblem> {
    let id_field = required(whole, fields, "id")?;
    let id = id_of(id_field)?;
    let mut defaults = defaults.clone();
    if let Some(system) = find(fields, "system") {
        defaults.system = Some(system.string("a string")?.into_owned());
    }
    let mut request = match (find(fields, "prompt"), find(fields, "messages")) {
        (Some(_), Some(messages)) => {
            return Err(messages.at_name(Problem::Expected {
                expected: "either `prompt` or `messages`".into(),
                found: "both".into(),
            }));
        }
        (None, Some(messages)) => {
            let prompt = Prompt::Chat(defaults.with_system(messages_of(messages)?));
            Request { endpoint: Endpoint::ChatCompletions, prompt, ..defaults.request(id, "") }
        }
        (prompt, None) => {
            if let (None, Some(problem)) = (prompt, misspelt(fields, "messages")) {
                return Err(problem);
            }
            let field = required(whole, fields, "prompt")?;
            match (prompt_of(field)?, defaults.mode) {
                (Prompt::Text(text), PromptMode::Chat) => defaults.request(id, text),
                (prompt, _) => {
                    Request { endpoint: Endpoint::Completions, prompt, ..defaults.request(id, "") }
                }
            }
        }
    };
    apply_knobs(&mut request, fields, |field| {
        if SHORT_FORM.contains(&field.name.as_ref()) {
            return Ok(());
        }
        let names = SHORT_FORM.iter().chain(knobs::NAMES).copied();
        Err(field.at_name(Problem::Unknown { nearest: nearest(&field.name, names) }))
    })?;
    Ok(Parsed { request, id_column: id_field.column(), ignored: Vec::new() })
}

/// Applies every knob, and leaves the other fields to `unknown`.
fn apply_knobs<'a>(
    request: &mut Request,
    fields: &[Field<'a>],
    mut unknown: impl FnMut(&Field<'a>) -> Result<(), LineProblem>,
) -> Result<(), LineProblem> {
    let given = |name: &str| find(fields, name);
    if let (Some(_), Some(second)) = (given("max_tokens"), given("max_completion_tokens")) {
        return Err(second.at_name(Problem::Twice));
    }
    for field in fields {
        if knobs::apply(request, field)? == Applied::Unknown {
            unknown(field)?;
        }
    }
    // OpenAI's chat shape says how many in one field and whether at all in another, in either order.
    if let Some(logprobs) = given("logprobs")
        && logprobs.read::<bool>("").is_ok_and(|wanted| !wanted)
    {
        request.logprobs = None;
    }
    Ok(())
}

/// A field that is there and not null.
fn find<'f, 'a>(fields: &'f [Field<'a>], name: &str) -> Option<&'f Field<'a>> {
    fields.iter().find(|field| field.name == name && !field.is_null())
}

fn required<'f, 'a>(
    object: &Field<'a>,
    fields: &'f [Field<'a>],
    name: &'static str,
) -> Result<&'f Field<'a>, LineProblem> {
    find(fields, name).ok_or_else(|| {
        // A misspelt field is what is wrong, not that the right one is missing.
        misspelt(fields, name).unwrap_or_else(|| LineProblem {
            column: object.column(),
            field: if object.path.is_empty() { name.to_owned() } else { format!("{}.{name}", object.path) },
            problem: Problem::Missing,
        })
    })
}

/// The problem with a field that was probably meant to be `name`, if there is one.
fn misspelt(fields: &[Field<'_>], name: &'static str) -> Option<LineProblem> {
    let field = fields.iter().find(|field| !is_known(&field.name) && is_near(&field.name, name))?;
    Some(field.at_name(Problem::Unknown { nearest: Some(name) }))
}

/// Whether a field of this name means something in a line of either shape.
fn is_known(name: &str) -> bool {
    [ENVELOPE, SHORT_FORM, MESSAGE, knobs::NAMES].iter().any(|names| names.contains(&name))
}

fn id_of(field: &Field<'_>) -> Result<String, LineProblem> {
    const EXPECTED: &str = "a string that is not empty, or a whole number";
    match field.string(EXPECTED) {
        Ok(id) if id.is_empty() => Err(field.expected(EXPECTED)),
        Ok(id) => Ok(id.into_owned()),
        Err(_) => field.read::<i64>(EXPECTED).map(|id| id.to_string()),
    }
}

fn prompt_of(field: &Field<'_>) -> Result<Prompt, LineProblem> {
    const EXPECTED: &str = "a string, a list of one string, or a list of token ids";
    if let Ok(text) = field.string(EXPECTED) {
        return Ok(Prompt::Text(text.into_owned()));
    }
    match field.elements().as_deref() {
        None | Some([]) => Err(field.expected(EXPECTED)),
        Some([one]) if one.string("").is_ok() => Ok(Prompt::Text(one.string(EXPECTED)?.into_owned())),
        Some([first, ..]) if first.string("").is_ok() => {
            Err(field.expected("one prompt: give each prompt a line and an id of its own"))
        }
        Some(tokens) => {
            let token = |element: &Field<'_>| element.read("a token id");
            tokens.iter().map(token).collect::<Result<_, _>>().map(Prompt::Tokens)
        }
    }
}

fn messages_of(field: &Field<'_>) -> Result<Vec<Message>, LineProblem> {
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
    let content = required(message, &fields, "content")?;
    let content = match content.elements() {
        None => content.string("a string or a list of text parts")?.into_owned(),
        Some(parts) => parts.iter().map(text_part).collect::<Result<String, _>>()?,
    };
    Ok(Message { role, content })
}

fn text_part(part: &Field<'_>) -> Result<String, LineProblem> {
    let fields = part.object("a part of type \"text\"")?;
    let kind = required(part, &fields, "type")?;
    if kind.string("\"text\"")? != "text" {
        return Err(kind.expected("\"text\""));
    }
    required(part, &fields, "text")?.string("a string").map(|text| text.into_owned())
}
