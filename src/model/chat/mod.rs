//! Chat templates: a conversation as the text that a model was trained to answer.
//!
//! In: the Jinja source that a model file carries and a list of [`ChatMessage`]. Out: one string,
//! to be encoded with `parse_special` and without `add_special`, since a template writes its own
//! beginning of a sequence. The environment is the one of Hugging Face's `transformers`, for which
//! the templates are written: trimmed blocks, Python's string methods, `raise_exception`,
//! `strftime_now`, Python's `tojson`, `break` and `continue`, and `{% generation %}` blocks.
//!
//! A template comes from a stranger's file, and no engine foresees all that one may cost. So each
//! is compiled and rendered by [a process](worker) of this program with a limit on its time and its
//! memory. Where a template ends that process, the request fails in words and all else goes on.

mod engine;
mod habits;
mod json;
mod process;
mod source;
mod value;
pub mod worker;

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

pub use self::source::Signs;

use self::process::Process;
use self::worker::{RenderJob, Reply};
use super::tokenizer::{Tokenizer, TokenizerSpec};

/// The largest template that is compiled; the largest known ones have some 20 KiB.
pub const MAX_TEMPLATE_BYTES: usize = 256 * 1024;

/// ChatML, for a file without a template.
pub(crate) const CHATML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\
    {% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// What is said; none where a message has other fields alone.
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

/// Shows `visit` each text of a conversation that comes from outside of the template.
///
/// # Errors
/// A field's JSON cannot be read.
pub(crate) fn visit_texts(
    messages: &[ChatMessage],
    variables: &[(String, String)],
    visit: &mut dyn FnMut(&str),
) -> Result<(), ChatError> {
    for message in messages {
        visit(&message.role);
        message.content.iter().for_each(|content| visit(content));
        message.rest.iter().try_for_each(|field| value::visit_texts(field, visit))?;
    }
    variables.iter().try_for_each(|field| value::visit_texts(field, visit))
}

/// Why a chat template is refused or a conversation does not fit it.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
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
    #[error("tokenizer.chat_template does not compile: {problem}")]
    Syntax {
        /// What does not compile, and where if that is known.
        problem: String,
    },
    /// The template itself refused the conversation.
    #[error("the chat template refuses this conversation: {message}")]
    Raised {
        /// The template's own words.
        message: String,
    },
    /// The template used up what one rendering may cost.
    #[error(
        "the chat template used up its budget of {budget} steps, each an instruction or 64 bytes \
         of text"
    )]
    OutOfFuel {
        /// The steps that one rendering may take.
        budget: u64,
    },
    /// The template used up its time.
    #[error("the chat template used up its budget of {milliseconds} ms of processor time")]
    OutOfTime {
        /// The processor time that one job may take.
        milliseconds: u64,
    },
    /// The template used up its memory.
    #[error("the chat template used up its budget of {mebibytes} MiB of memory")]
    OutOfMemory {
        /// The memory that a process may take beside its stack.
        mebibytes: u64,
    },
    /// Something went wrong while rendering.
    #[error("the chat template failed: {problem}")]
    Render {
        /// What went wrong, and where if that is known.
        problem: String,
    },
    /// There is no process to render in.
    #[error("no process for the chat template: {problem}")]
    NoProcess {
        /// Which program, and what the system says.
        problem: String,
    },
}

/// A chat template, with the process that renders it, which is started when it is first needed.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
    process: Mutex<Option<Process>>,
}

impl ChatTemplate {
    /// Compiles `source`, or ChatML if there is none. `bos` and `eos` are the texts of the two
    /// tokens, empty where the model has none.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Result<ChatTemplate, ChatError> {
        let template = ChatTemplate::unchecked(source, bos, eos);
        template.ask(None, Signs::default())?;
        Ok(template)
    }

    /// The same without a look at the source: what is wrong with it is told by the first rendering.
    pub fn unchecked(source: Option<&str>, bos: &str, eos: &str) -> ChatTemplate {
        let source = source.unwrap_or(CHATML).to_owned();
        ChatTemplate { source, bos: bos.to_owned(), eos: eos.to_owned(), process: Mutex::new(None) }
    }

    /// The template of a model file with the texts of its own special tokens,
    /// [unchecked](Self::unchecked).
    pub(crate) fn from_spec(spec: &TokenizerSpec, tokenizer: &Tokenizer) -> ChatTemplate {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        let source = spec.chat_template.as_deref();
        ChatTemplate::unchecked(source, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// The text of a conversation; `add_generation_prompt` opens the assistant's next turn.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        self.render_with(messages, add_generation_prompt, &[], &Signs::default())
    }

    /// The same, with variables that the template may read: names and JSON. Control tokens that the
    /// template itself writes are given by their signs, so that they can be told from what is said.
    pub fn render_with(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        variables: &[(String, String)],
        signs: &Signs,
    ) -> Result<String, ChatError> {
        let (messages, variables) = (messages.to_vec(), variables.to_vec());
        let conversation = worker::RenderInput { messages, add_generation_prompt, variables };
        self.ask(Some(conversation), signs.clone()).map_err(|error| match error {
            // What the template says of its own tokens is for a person to read.
            ChatError::Raised { message } => {
                ChatError::Raised { message: signs.written_out(&message) }
            }
            ChatError::Render { problem } => {
                ChatError::Render { problem: signs.written_out(&problem) }
            }
            other => other,
        })
    }

    /// The source, with CHATML in place of none.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn ask(&self, conversation: Option<worker::RenderInput>, signs: Signs) -> Reply {
        // Before a process gets it, so that no large job is sent to be refused there.
        if self.source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLarge {
                found: self.source.len(),
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        let (source, bos, eos) = (self.source.clone(), self.bos.clone(), self.eos.clone());
        let job = RenderJob { source, bos, eos, signs, conversation };
        // A process is put back only after it has answered, so one that a panic left is whole.
        let mut kept = self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Taken out, so that where asking fails nothing is put back and the next job starts anew.
        let mut process = match kept.take() {
            Some(process) => process,
            None => Process::start()?,
        };
        match process.ask(&job) {
            Ok(reply) => {
                *kept = Some(process);
                reply
            }
            Err(end) => Err(end),
        }
    }
}
