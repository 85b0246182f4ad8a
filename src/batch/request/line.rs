//! One line to one request.

use super::error::{LineProblem, Problem};
use super::fields::{Field, without_lone_surrogates};
use super::message::{self, messages_of};
use super::options::{self, Applied};
use super::{Defaults, Endpoint, PromptMode, Request};
use crate::batch::text::Prompt;
use crate::names::{is_near, nearest};

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

/// The fields of the short form that are not options.
const SHORT_FORM: &[&str] = &["id", "prompt", "messages", "system"];

/// How many fields that nothing knows are compared with those that something does.
const MAX_COMPARED: usize = 256;

/// Reads a line of either shape.
pub fn parse_line(line: &str, defaults: &Defaults) -> Result<Parsed, LineProblem> {
    let line = without_lone_surrogates(line);
    let whole = Field::whole(&line)?;
    let fields = whole.object("an object")?;
    if fields.iter().any(|field| ENVELOPE.contains(&field.name.as_ref())) {
        openai(&whole, &fields, defaults)
    } else {
        short(&whole, &fields, defaults)
    }
}

/// The id of a line that is JSON and has one, whatever else is wrong with it.
pub fn id_of_bad_line(line: &str) -> Option<String> {
    let line = without_lone_surrogates(line);
    let whole = Field::whole(&line).ok()?;
    let fields = whole.object("").ok()?;
    let id = find(&fields, "custom_id").or_else(|| find(&fields, "id"))?;
    id_of(id).ok()
}

fn openai(
    whole: &Field<'_>,
    fields: &[Field<'_>],
    defaults: &Defaults,
) -> Result<Parsed, LineProblem> {
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
            Prompt::Chat(defaults.chat(messages_of(required(body, &body_fields, "messages")?)?))
        }
    };
    let mut request = Request { endpoint, prompt, ..defaults.request(id, "") };
    let mut ignored: Vec<String> = Vec::new();
    ignored.extend(
        fields
            .iter()
            .filter(|f| !ENVELOPE.contains(&f.name.as_ref()))
            .map(|field| field.name.to_string()),
    );
    apply_options(&mut request, &body_fields, |field| {
        if matches!(field.name.as_ref(), "prompt" | "messages") {
            return Ok(());
        }
        if field.name == "system" && !field.is_null() {
            let what = "a system message beside the others; give it as the first of `messages`";
            return Err(field.at_name(Problem::Unsupported(what)));
        }
        // A field that is spelt almost as a knob is one that was to change the answer. (A line with
        // very many fields is no body of anybody's, and comparing all of them is slow.)
        if ignored.len() < MAX_COMPARED
            && let Some(near) = nearest(&field.name, options::NAMES.iter().copied())
        {
            return Err(field.at_name(Problem::Unknown { nearest: Some(near) }));
        }
        ignored.push(field.path.clone());
        Ok(())
    })?;
    Ok(Parsed { request, id_column: custom_id.column(), ignored })
}

fn short(
    whole: &Field<'_>,
    fields: &[Field<'_>],
    defaults: &Defaults,
) -> Result<Parsed, LineProblem> {
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
            let prompt = Prompt::Chat(defaults.chat(messages_of(messages)?));
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
    apply_options(&mut request, fields, |field| {
        if SHORT_FORM.contains(&field.name.as_ref()) {
            return Ok(());
        }
        let names = SHORT_FORM.iter().chain(options::NAMES).copied();
        Err(field.at_name(Problem::Unknown { nearest: nearest(&field.name, names) }))
    })?;
    Ok(Parsed { request, id_column: id_field.column(), ignored: Vec::new() })
}

/// Applies every knob, and leaves the other fields to `unknown`.
fn apply_options<'a>(
    request: &mut Request,
    fields: &[Field<'a>],
    mut unknown: impl FnMut(&Field<'a>) -> Result<(), LineProblem>,
) -> Result<(), LineProblem> {
    for field in fields {
        if options::apply(request, field)? == Applied::Unknown {
            unknown(field)?;
        }
    }
    options::settle(request, fields)
}

/// A field that is there and not null.
pub(super) fn find<'f, 'a>(fields: &'f [Field<'a>], name: &str) -> Option<&'f Field<'a>> {
    fields.iter().find(|field| field.name == name && !field.is_null())
}

pub(super) fn required<'f, 'a>(
    object: &Field<'a>,
    fields: &'f [Field<'a>],
    name: &'static str,
) -> Result<&'f Field<'a>, LineProblem> {
    find(fields, name).ok_or_else(|| {
        // A misspelt field is what is wrong, not that the right one is missing.
        misspelt(fields, name).unwrap_or_else(|| LineProblem {
            column: object.column(),
            field: if object.path.is_empty() {
                name.to_owned()
            } else {
                format!("{}.{name}", object.path)
            },
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
    [ENVELOPE, SHORT_FORM, message::NAMES, options::NAMES].iter().any(|names| names.contains(&name))
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
        Some([one]) if one.string("").is_ok() => {
            Ok(Prompt::Text(one.string(EXPECTED)?.into_owned()))
        }
        Some([first, ..]) if first.string("").is_ok() => {
            Err(field.expected("one prompt: give each prompt a line and an id of its own"))
        }
        Some(tokens) => {
            let token = |element: &Field<'_>| element.read("a token id");
            tokens.iter().map(token).collect::<Result<_, _>>().map(Prompt::Tokens)
        }
    }
}
