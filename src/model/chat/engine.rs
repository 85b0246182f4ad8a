//! The engine of templates: compiles one and prints a conversation by it, inside the process that
//! is made for that.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, context, escape_formatter};

use super::source::{self, Signs};
use super::{ChatError, ChatMessage, MAX_TEMPLATE_BYTES, habits, json, value};

/// What one rendering may cost, in instructions or in 64 bytes of text made: room for some
/// megabytes of conversation, and an end well within a second for a template that loops.
const FUEL: u64 = 200_000;

/// The stack on which a template runs. With each unit of fuel a template can put a value into one
/// more list, and the engine walks, prints and drops nested lists by recursion. A level was seen to
/// need less than 600 bytes; memory is used only as far as the recursion really goes.
pub(super) const STACK_IN_BYTES: usize = FUEL as usize * 640;

/// How deep macros, loops and blocks may nest at run time, which keeps the stack small.
const MAX_RECURSION: usize = 128;

/// The longest tag that is compiled, without the strings in it. An expression is nested no deeper
/// than that, and the engine compiles and drops what is nested by recursion.
const MAX_TAG: usize = 16 * 1024;

/// The name under which the template is compiled, as it appears in messages.
const NAME: &str = "chat_template";

/// Marks an error as made by `raise_exception`, and carries its message through the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

#[derive(Debug)]
pub(super) struct Compiled(Environment<'static>);

impl Compiled {
    /// Compiles `source`, in which control tokens get their signs.
    pub fn new(source: &str, signs: &Signs) -> Result<Compiled, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLarge { found: source.len(), limit: MAX_TEMPLATE_BYTES });
        }
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .expect("the default delimiters are valid"),
        );
        habits::add(&mut environment);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_debug(false);
        environment.set_formatter(print);
        environment.add_filter("tojson", json::to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        // Jinja2 reads every end of a line as `\n`.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        // Before compiling, which recurses as deep as a tag nests.
        let longest = longest_tag(&source);
        if longest > MAX_TAG {
            let problem = format!(
                "a tag has {longest} characters beside its strings; expected at most {MAX_TAG}"
            );
            return Err(ChatError::Syntax { problem });
        }
        environment
            .add_template_owned(NAME, source::prepared(&source, signs))
            .map_err(|error| ChatError::Syntax { problem: error.to_string() })?;
        Ok(Compiled(environment))
    }

    /// The text of a conversation.
    pub fn render(
        &self,
        [bos, eos]: [&str; 2],
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        variables: &[(String, String)],
    ) -> Result<String, ChatError> {
        let message = |message: &ChatMessage| {
            // In this order, which templates print.
            let said = [
                ("role", Value::from(message.role.as_str())),
                ("content", Value::from(message.content.as_deref())),
            ];
            let said = said.into_iter().map(|(name, value)| (name.to_owned(), value));
            Ok(Value::from_pairs(said.chain(fields_of(&message.rest)?)))
        };
        let messages = messages.iter().map(message).collect::<Result<Vec<Value>, ChatError>>()?;
        let mut variables = fields_of(variables)?;
        // Defined and none, as the Python side passes them when there are none.
        for name in ["tools", "documents"] {
            if variables.iter().all(|(other, _)| other != name) {
                variables.push((name.to_owned(), Value::from(())));
            }
        }
        let template = self.0.get_template(NAME).expect("added when this was made");
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => add_generation_prompt,
                bos_token => bos,
                eos_token => eos,
                ..Value::from_pairs(variables)
            })
            .map_err(classify)
    }
}

/// Names and JSON as a template's values.
fn fields_of(fields: &[(String, String)]) -> Result<Vec<(String, Value)>, ChatError> {
    let value = |(name, json): &(String, String)| match serde_json::from_str::<value::Json>(json) {
        Ok(value::Json(value)) => Ok((name.clone(), value)),
        Err(error) => {
            let problem = format!("`{name}` cannot be given to it: {error}");
            Err(ChatError::Render { problem })
        }
    };
    fields.iter().map(value).collect()
}

/// Prints a value as Python does, where the engine does otherwise.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        return out.write_str(&json::float(value)).map_err(Error::from);
    }
    escape_formatter(out, state, value)
}

/// Finds out whether the template refused, ran too long or failed.
fn classify(error: Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return ChatError::Raised { message: message.clone() };
        }
        if current.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel)
        {
            return ChatError::OutOfFuel { budget: FUEL };
        }
        cause = current.source();
    }
    ChatError::Render { problem: error.to_string() }
}

/// `raise_exception(message)`: how a template refuses a conversation.
fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// `strftime_now(format)`: the local time.
fn strftime_now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}

/// The length of the longest tag, without the strings in it.
fn longest_tag(source: &str) -> usize {
    let mut longest = 0;
    let mut rest = source;
    // A comment counts as text, and a `{{` in one as a tag: the bound errs on the strict side.
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        let close = if rest[at..].starts_with("{{") { "}}" } else { "%}" };
        let tag = &rest[at + 2..];
        let (mut quote, mut count, mut is_escaped, mut end) = (None, 0, false, tag.len());
        for (place, letter) in tag.char_indices() {
            match quote {
                Some(_) if is_escaped => is_escaped = false,
                Some(_) if letter == '\\' => is_escaped = true,
                Some(open) if letter == open => quote = None,
                Some(_) => {}
                None if tag[place..].starts_with(close) => {
                    end = place;
                    break;
                }
                None => {
                    count += 1;
                    quote = Some(letter).filter(|letter| matches!(letter, '"' | '\''));
                }
            }
        }
        longest = longest.max(count);
        rest = &tag[end..];
    }
    longest
}
