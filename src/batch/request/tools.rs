//! Tools that a chat may call: what is told of them to the chat template, and the calls in an
//! answer.
//!
//! Calls are read as Hermes and Qwen models write them, a JSON object between `<tool_call>` and
//! `</tool_call>`; a chat template that has no such calls gets no tools.

use serde_json::{Value, json};

use super::Request;
use super::form::{AnswerForm, bounded};
use super::line::{required, unsupported};
use crate::batch::text::Prompt;
use crate::content::decode::At;

/// What a call begins with, in an answer and in the templates that have calls.
pub(crate) const CALL_BEGINS: &str = "<tool_call>";
const CALL_ENDS: &str = "</tool_call>";

/// The most tools of a request.
const MOST_TOOLS: usize = 128;

/// The tools that an answer may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolUse {
    /// Their names.
    pub names: Vec<String>,
}

/// A call in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments: an object, as JSON.
    pub arguments: String,
}

/// A tool: its name, and the schema of its arguments.
struct Tool {
    name: String,
    parameters: Value,
}

/// Puts `tools` and `tool_choice` into a request.
pub(super) fn settle_tools(request: &mut Request, object: &At<'_>) {
    let choice = object.field("tool_choice");
    let Some(field) = object.field("tools").filter(|field| !field.is_empty_list()) else {
        if let Some(choice) = choice
            && !matches!(choice.peek_text(), Some("auto" | "none"))
        {
            choice.expected("`tools` beside it, of which one is to be called");
        }
        return;
    };
    let Prompt::Chat(chat) = &mut request.prompt else {
        return unsupported(&field, "tools for a prompt that is no chat");
    };
    let Some(tools) = tools_of(&field) else { return };
    let chosen = match &choice {
        None => Chosen::Any,
        Some(choice) => chosen(choice, &tools),
    };
    if matches!(chosen, Chosen::Nothing) {
        return;
    }
    if request.form.is_some() {
        return unsupported(&field, "tools beside a form of the answer");
    }
    chat.variables.push(("tools".into(), field.json().to_owned()));
    request.tools = Some(ToolUse { names: tools.iter().map(|tool| tool.name.clone()).collect() });
    if let Chosen::Forced(name) = chosen {
        let may = |tool: &&Tool| name.as_ref().is_none_or(|name| tool.name == *name);
        request.form = Some(form_of_call(tools.iter().filter(may)));
    }
}

fn tools_of(field: &At<'_>) -> Option<Vec<Tool>> {
    const EXPECTED: &str = "a list of tools, each {\"type\": \"function\", \"function\": {..}}";
    let Some(items) = field.items().filter(|items| items.len() <= MOST_TOOLS) else {
        field.expected(&format!("{EXPECTED}, at most {MOST_TOOLS}"));
        return None;
    };
    let tool = |item: At<'_>| {
        if !item.has_fields(EXPECTED) {
            return None;
        }
        if let Some(kind) = item.field("type")
            && kind.peek_text() != Some("function")
        {
            kind.expected("\"function\"");
        }
        let function = required(&item, "function")?;
        if !function.has_fields("an object with `name` and `parameters`") {
            return None;
        }
        let name = required(&function, "name")?.text("the tool's name")?.to_owned();
        let parameters = match function.field("parameters") {
            None => json!({"type": "object"}),
            Some(parameters) => {
                parameters.has_fields("a JSON schema of the arguments");
                serde_json::from_str(parameters.json()).unwrap_or_default()
            }
        };
        Some(Tool { name, parameters })
    };
    Some(items.filter_map(tool).collect())
}

/// What `tool_choice` says.
enum Chosen {
    Nothing,
    Any,
    /// A call, of the tool of this name if there is one.
    Forced(Option<String>),
}

fn chosen(choice: &At<'_>, tools: &[Tool]) -> Chosen {
    match choice.peek_text() {
        Some("none") => return Chosen::Nothing,
        Some("auto") => return Chosen::Any,
        Some("required") => return Chosen::Forced(None),
        _ => {}
    }
    let named = || {
        let function = choice.field("function")?;
        let name = function.field("name")?.peek_text()?.to_owned();
        tools.iter().any(|tool| tool.name == name).then_some(name)
    };
    match named() {
        Some(name) => Chosen::Forced(Some(name)),
        None => {
            choice.expected(
                "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": \
                 {\"name\": ..}} with the name of a tool",
            );
            Chosen::Nothing
        }
    }
}

/// The form of one call of one of some tools.
fn form_of_call<'t>(tools: impl Iterator<Item = &'t Tool>) -> AnswerForm {
    let call = |tool: &Tool| {
        json!({
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": tool.parameters},
            "required": ["name", "arguments"],
            "additionalProperties": false,
        })
    };
    let calls: Vec<Value> = tools.map(call).collect();
    let schema = bounded(json!({"anyOf": calls}));
    AnswerForm::Grammar(format!(
        "start: \"{CALL_BEGINS}\\n\" call \"\\n{CALL_ENDS}\"\ncall: %json {schema}"
    ))
}

impl ToolUse {
    /// The calls of an answer, and the text before them; `None` where it has none, or one that is
    /// not whole: then it is a text.
    pub(crate) fn calls<'t>(&self, text: &'t str) -> Option<(&'t str, Vec<ToolCall>)> {
        let (before, mut rest) = text.split_once(CALL_BEGINS)?;
        let mut calls = Vec::new();
        loop {
            // The last may be without its end, where that is a token which ends the answer.
            let (call, behind) = rest.split_once(CALL_ENDS).unwrap_or((rest, ""));
            let call: Value = serde_json::from_str(call.trim()).ok()?;
            let name = call.get("name")?.as_str()?.to_owned();
            let arguments = call.get("arguments").or_else(|| call.get("parameters"))?;
            if !self.names.contains(&name) || !arguments.is_object() {
                return None;
            }
            calls.push(ToolCall { name, arguments: arguments.to_string() });
            match behind.split_once(CALL_BEGINS) {
                Some((_, next)) => rest = next,
                None => return Some((before, calls)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall { name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn calls_are_read_and_what_is_no_call_is_text() {
        let tools = ToolUse { names: vec!["weather".into(), "time".into()] };
        let two = concat!(
            "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"at\": \"Ulm\"}}\n",
            "</tool_call>\n<tool_call>{\"name\":\"time\",\"arguments\":{}}",
        );
        let expected = vec![call("weather", r#"{"at":"Ulm"}"#), call("time", "{}")];
        assert_eq!(tools.calls(two), Some(("Let me see.\n", expected)));
        for text in [
            "no call",
            "<tool_call>{\"name\": \"weather\", \"arg",
            "<tool_call>{\"name\": \"rain\", \"arguments\": {}}</tool_call>",
            "<tool_call>{\"name\": \"weather\", \"arguments\": 3}</tool_call>",
        ] {
            assert_eq!(tools.calls(text), None, "{text}");
        }
    }
}
