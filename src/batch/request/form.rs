//! The form that an answer has to have: JSON of a schema, a regular expression, one of some texts,
//! or a grammar.

use serde_json::{Value, json};

use super::line::{required, unsupported};
use crate::content::decode::At;

/// What a form may be written in, in bytes. Longer ones take too long to compile for those who
/// wait beside.
const MOST_FORM_IN_BYTES: usize = 256 << 10;

/// The form of an answer, as it is compiled when its request has a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// JSON that a schema allows; the schema as JSON.
    Json(String),
    /// A text that a regular expression matches as a whole.
    Regex(String),
    /// A text of a grammar in Lark's notation.
    Grammar(String),
}

/// The fields that ask for a form: OpenAI's, vLLM's, and those of llama.cpp and SGLang.
pub(super) const FORM_FIELDS: &[&str] = &[
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "json_schema",
    "regex",
];

/// The form that a field asks for; `None` where it asks for none, or what is wrong was noted.
pub(super) fn form_of(field: &At<'_>) -> Option<AnswerForm> {
    if field.json().len() > MOST_FORM_IN_BYTES {
        field.expected(&format!("a form of at most {MOST_FORM_IN_BYTES} bytes"));
        return None;
    }
    match field.name() {
        "response_format" => response_format(field),
        "structured_outputs" => structured_outputs(field),
        name => named(name.strip_prefix("guided_").unwrap_or(name), field),
    }
}

/// White space that JSON may have between its parts: a space, or a line with its indentation. More
/// would let a model that has lost its way write nothing else for ever.
const WHITE_SPACE: &str = r" ?|\n {0,24}";

/// A schema with what white space there may be, unless it says so itself.
pub(super) fn bounded(mut schema: Value) -> String {
    if schema.get("x-guidance").is_none() {
        schema["x-guidance"] = json!({"whitespace_pattern": WHITE_SPACE});
    }
    schema.to_string()
}

fn object() -> AnswerForm {
    AnswerForm::Json(bounded(json!({"type": "object"})))
}

/// OpenAI's `{"type": ..}`.
fn response_format(field: &At<'_>) -> Option<AnswerForm> {
    const KINDS: &str = "{\"type\": \"text\"}, \"json_object\" or \"json_schema\"";
    if !field.has_fields(KINDS) {
        return None;
    }
    match required(field, "type")?.text(KINDS)? {
        "text" => None,
        "json_object" => match field.field("schema") {
            // llama.cpp's way to give a schema.
            Some(schema) => schema_of(&schema),
            None => Some(object()),
        },
        "json_schema" => {
            let outer = required(field, "json_schema")?;
            if !outer.has_fields("an object with a `schema`") {
                return None;
            }
            schema_of(&required(&outer, "schema")?)
        }
        _ => {
            field.expected(KINDS);
            None
        }
    }
}

/// vLLM's object of one of several kinds.
fn structured_outputs(field: &At<'_>) -> Option<AnswerForm> {
    const ONE: &str = "an object with one of json, json_object, regex, choice, grammar";
    if field.peek_text() == Some("") || !field.has_fields(ONE) {
        return None;
    }
    let mut forms = field.fields().filter(|kind| !kind.is_null());
    let kind = forms.next()?;
    if let Some(second) = forms.next() {
        second.wrong_name(format!("expected {ONE}"));
    }
    named(kind.name(), &kind)
}

fn named(kind: &str, field: &At<'_>) -> Option<AnswerForm> {
    match kind {
        "json" | "json_schema" => schema_of(field),
        "json_object" => field.read::<bool>("true or false")?.then(object),
        "choice" => choice_of(field),
        "regex" => text_of(field).map(AnswerForm::Regex),
        "grammar" => text_of(field).map(AnswerForm::Grammar),
        _ => {
            unsupported(field, "this kind of form");
            None
        }
    }
}

/// A text that is not empty; an empty one asks for nothing.
fn text_of(field: &At<'_>) -> Option<String> {
    field.text("a string").filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A schema as an object, or as a string of JSON. An empty one asks for nothing.
fn schema_of(field: &At<'_>) -> Option<AnswerForm> {
    const SCHEMA: &str = "a JSON schema: an object, or a string of one";
    if field.peek_text() == Some("") {
        return None;
    }
    let text = field.peek_text().unwrap_or_else(|| field.json());
    match serde_json::from_str::<Value>(text) {
        // Where the object stands for no schema at all, as in the older fields of vLLM.
        Ok(Value::Object(schema)) if schema.is_empty() && field.name() != "schema" => None,
        Ok(schema @ Value::Object(_)) => Some(AnswerForm::Json(bounded(schema))),
        _ => {
            field.expected(SCHEMA);
            None
        }
    }
}

/// One of some texts, as a regular expression.
fn choice_of(field: &At<'_>) -> Option<AnswerForm> {
    const CHOICES: &str = "a list of strings that are not empty";
    let Some(items) = field.items() else {
        field.expected(CHOICES);
        return None;
    };
    let texts: Vec<String> = items
        .filter_map(|item| {
            let text = item.text(CHOICES)?;
            if text.is_empty() {
                item.expected(CHOICES);
            }
            Some(regex::escape(text))
        })
        .collect();
    (!texts.is_empty()).then(|| AnswerForm::Regex(texts.join("|")))
}
