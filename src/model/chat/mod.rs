//! Chat templates: a conversation as the text that a model was trained to answer.
//!
//! In: the Jinja source that a model file carries and a list of [`ChatMessage`]. Out: one string, to be encoded
//! with `parse_special` and without `add_special`, since a template writes its own beginning of a sequence.
//! The environment is the one of Hugging Face's `transformers`, for which the templates are written:
//! trimmed blocks, Python's string methods, `raise_exception`, `strftime_now`, Python's `tojson`, `break` and
//! `continue`, and `{% generation %}` blocks. A template comes from a file, so what it may cost is bounded.

mod json;
mod value;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};

use super::tokenizer::{Tokenizer, TokenizerSpec};

/// The largest template that is compiled; the largest known ones have some 20 KiB.
pub const MAX_TEMPLATE_BYTES: usize = 256 * 1024;

/// What one rendering may cost, in instructions or in 64 bytes of text made: room for some megabytes of conversation,
/// and an end well within a second for a template that loops.
const FUEL: u64 = 200_000;

/// The stack on which a template runs. With each unit of fuel a template can put a value into one more list, and the
/// engine walks, prints and drops nested lists by recursion. So the stack must have room for a list of that depth;
/// memory is used only as far as the recursion really goes. A level was seen to need less than 600 bytes.
const STACK_IN_BYTES: usize = FUEL as usize * 1024;

/// How deep macros, loops and blocks may nest at run time, which keeps the stack small.
const MAX_RECURSION: usize = 128;

/// The name under which the template is compiled, as it appears in messages.
const NAME: &str = "chat_template";

/// ChatML, for a file without a template.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + \
    message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: Option<String>,
    /// Its other fields, such as `tool_calls`: names and JSON.
    pub rest: Vec<(String, String)>,
}

impl ChatMessage {
    /// A turn in which `role` says `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> ChatMessage {
        ChatMessage { role: role.into(), content: Some(content.into()), rest: Vec::new() }
    }
}

/// Why a chat template is refused or a conversation does not fit it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The source is larger than any template needs.
    #[error("tokenizer.chat_template has {found} bytes; expected at most {limit}")]
    TooLarge {
        /// Bytes in the file.
        found: usize,
        /// The most that are compiled.
        limit: usize,
    },
    /// The source is not a template.
    #[error("tokenizer.chat_template does not compile: {source}")]
    Syntax {
        /// What and where.
        #[source]
        source: Error,
    },
    /// The template itself refused the conversation.
    #[error("the chat template refuses this conversation: {message}")]
    Raised {
        /// The template's own words.
        message: String,
    },
    /// The template used up what one rendering may cost.
    #[error(
        "the chat template used up its budget of {budget} steps, each an instruction or 64 bytes of text"
    )]
    OutOfFuel {
        /// The budget.
        budget: u64,
    },
    /// There is no thread to render on.
    #[error("no thread with a stack of {stack_in_bytes} bytes for the chat template: {source}")]
    Thread {
        /// The stack that it needs.
        stack_in_bytes: usize,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Something went wrong while rendering.
    #[error("the chat template failed: {source}")]
    Render {
        /// What and where.
        #[source]
        source: Error,
    },
}

/// Marks an error as made by `raise_exception`, and carries its message through the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles `source`, or ChatML if there is none. `bos` and `eos` are the texts of the two tokens, empty where
    /// the model has none.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Result<ChatTemplate, ChatError> {
        let source = source.unwrap_or(CHATML);
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
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        // In debug mode an error keeps the template's values, which must not outlive the large stack.
        environment.set_debug(false);
        environment.add_filter("tojson", json::to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|source| ChatError::Syntax { source })?;
        Ok(ChatTemplate { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Compiles the template of a model file with the texts of its own special tokens.
    pub fn from_spec(spec: &TokenizerSpec, tokenizer: &Tokenizer) -> Result<ChatTemplate, ChatError> {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        ChatTemplate::new(spec.chat_template.as_deref(), text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// The text of a conversation; `add_generation_prompt` opens the assistant's next turn.
    pub fn render(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, ChatError> {
        self.render_with(messages, add_generation_prompt, &[])
    }

    /// The same, with variables that the template may read: names and JSON.
    pub fn render_with(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        variables: &[(String, String)],
    ) -> Result<String, ChatError> {
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("chat template".to_owned())
                .stack_size(STACK_IN_BYTES)
                .spawn_scoped(scope, || self.render_here(messages, add_generation_prompt, variables))
                .map_err(|source| ChatError::Thread { stack_in_bytes: STACK_IN_BYTES, source })?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn render_here(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        variables: &[(String, String)],
    ) -> Result<String, ChatError> {
        let message = |message: &ChatMessage| {
            let said = context! { role => message.role.as_str(), content => message.content.as_deref() };
            Ok(context! { ..said, ..values_of(&message.rest)? })
        };
        let messages = messages.iter().map(message).collect::<Result<Vec<Value>, ChatError>>()?;
        let variables = values_of(variables)?;
        let template = self.environment.get_template(NAME).expect("added when this was made");
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => add_generation_prompt,
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
                // Defined and none, as the Python side passes them when there are no tools.
                tools => Value::from(()),
                documents => Value::from(()),
                ..variables
            })
            .map_err(classify)
    }
}

/// Names and JSON as a map of the template's values.
fn values_of(fields: &[(String, String)]) -> Result<Value, ChatError> {
    let value = |(name, json): &(String, String)| match serde_json::from_str::<value::Json>(json) {
        Ok(value::Json(value)) => Ok((name.clone(), value)),
        Err(error) => {
            let problem = format!("`{name}` cannot be given to the chat template: {error}");
            Err(ChatError::Render { source: Error::new(ErrorKind::BadSerialization, problem) })
        }
    };
    Ok(Value::from_pairs(fields.iter().map(value).collect::<Result<Vec<_>, _>>()?))
}

/// Finds out whether the template refused, ran too long or failed.
fn classify(error: Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return ChatError::Raised { message: message.clone() };
        }
        if current.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return ChatError::OutOfFuel { budget: FUEL };
        }
        cause = current.source();
    }
    ChatError::Render { source: error }
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

/// Makes `{% generation %}` an empty condition. The tag marks what a trainer learns from and prints nothing.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        out.push_str(before);
        out.push_str("{%");
        rest = after;
        let Some((tag, _)) = after.split_once("%}") else { continue };
        let replacement = match tag.trim_matches(['-', '+']).trim() {
            "generation" => " if true ",
            "endgeneration" => " endif ",
            _ => continue,
        };
        let sign = |sign: Option<char>| sign.filter(|sign| matches!(sign, '-' | '+'));
        out.extend(sign(tag.chars().next()));
        out.push_str(replacement);
        out.extend(sign(tag.chars().next_back()));
        rest = &after[tag.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_keep_their_white_space_control() {
        assert_eq!(
            without_generation_tags("a{%- generation -%}b{% endgeneration %}c{% if generation %}"),
            "a{%- if true -%}b{% endif %}c{% if generation %}"
        );
        assert_eq!(without_generation_tags("{% generation"), "{% generation");
    }
}
