//! What may be asked: a [`Request`], and the two shapes of line it is read from.
//!
//! Comes in: one line of JSON and the [`Defaults`] of the run. Goes out: a request in which nothing
//! is left open, or [`LineProblems`], each with the column, the field, what was expected and what
//! was found.
//!
//! The OpenAI batch shape is `{"custom_id", "method", "url", "body"}`; the short form is the body
//! itself with an `id` beside it. Both know the same options; see [`options`] for the list.

mod digest;
mod error;
mod foreign;
mod form;
mod line;
mod message;
pub mod options;
mod tools;

pub use digest::RequestDigest;
pub use error::LineProblems;
pub use form::AnswerForm;
#[cfg(feature = "serve")]
pub(crate) use line::parse_body;
pub(crate) use line::required;
pub use line::{Parsed, id_of_bad_line, parse_line};
pub(crate) use message::messages_of;
pub(crate) use options::MAX_SCALE;
pub(crate) use tools::CALL_BEGINS;
pub use tools::{ToolCall, ToolUse};

use super::text::{Chat, Message, Prompt};
use crate::content::json;
use crate::forward::AdapterSet;
use crate::forward::sampling::{Key, SamplingParams};
use crate::names::number_of;

/// The shape of a result's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/completions`: a text goes on.
    Completions,
    /// `/v1/chat/completions`: a message is answered.
    ChatCompletions,
}

/// The most tokens whose log-probabilities are reported beside the drawn one.
pub(crate) const MAX_TOP_LOGPROBS: u32 = 20;

/// The most choices of a result: of all prompts together.
pub(crate) const MAX_CHOICES: usize = 1024;

/// The most stop strings of a request. Each costs a search per token.
pub(crate) const MAX_STOPS: usize = 16;

/// One request in which nothing is left open: the run's defaults are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The id that its result carries.
    pub id: String,
    /// The shape of its result.
    pub endpoint: Endpoint,
    /// What to go on from.
    pub prompt: Prompt,
    /// Further prompts, each with choices of its own.
    pub more_prompts: Vec<Prompt>,
    /// How many choices each prompt has, at least 1.
    pub choices: u32,
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// What makes its draws its own among requests of the same seed.
    pub stream: u64,
    /// The most tokens to make; 0 only looks at the prompt.
    pub max_tokens: u32,
    /// The strings that end the answer.
    pub stop: Vec<String>,
    /// Log-probabilities of the answer's tokens, with this many alternatives.
    pub logprobs: Option<u32>,
    /// Log-probabilities of the prompt's tokens, with this many alternatives.
    pub prompt_logprobs: Option<u32>,
    /// Whether a completion's text begins with its prompt.
    pub echo: bool,
    /// Tokens that end the answer, beside the model's own.
    pub stop_tokens: Vec<u32>,
    /// Whether the answer goes on where the model would end it.
    pub ignore_end: bool,
    /// So many tokens are made before the answer may end.
    pub min_tokens: u32,
    /// Whether the stop string or stop token that ends the answer stays in its text.
    pub keep_stop: bool,
    /// Whether special tokens are written out in the text.
    pub show_special: bool,
    /// The form that its answer has to have.
    pub form: Option<AnswerForm>,
    /// The tools that its answer may call.
    pub tools: Option<ToolUse>,
    /// The adapters that act on it, out of those of the run; `None` are the run's usual ones.
    pub adapters: Option<AdapterSet>,
}

impl Request {
    /// What runs for each choice of the result, in their order: every prompt has `choices` of them,
    /// whose draws are of neighbouring streams. So the first choice is what a request of one choice
    /// gets.
    pub(crate) fn split(&self) -> Vec<Self> {
        let prompts = std::iter::once(&self.prompt).chain(&self.more_prompts);
        // Without the prompts, so that each is copied for its own choices alone.
        let nothing = Prompt::Tokens(Vec::new());
        let rest = Self { prompt: nothing, more_prompts: Vec::new(), choices: 1, ..self.clone() };
        let choice = |(prompt, number): (&Prompt, u32)| Self {
            prompt: prompt.clone(),
            stream: self.stream.wrapping_add(number.into()),
            ..rest.clone()
        };
        prompts
            .flat_map(|prompt| (0..self.choices).map(move |number| (prompt, number)))
            .map(choice)
            .collect()
    }

    /// The prompt of one of the choices.
    pub(crate) fn prompt_of(&self, choice: usize) -> &Prompt {
        match (choice / self.choices.max(1) as usize).checked_sub(1) {
            Some(later) => self.more_prompts.get(later).unwrap_or(&self.prompt),
            None => &self.prompt,
        }
    }

    /// Whether its result has more than one choice.
    pub(crate) fn has_several(&self) -> bool {
        self.choices > 1 || !self.more_prompts.is_empty()
    }

    /// The key of the request's draws.
    pub fn key(&self) -> Key {
        Key::new(self.sampling.seed, self.stream)
    }

    /// With how many alternatives the prompt's tokens are scored: for `prompt_logprobs`, or because
    /// a completion with log-probabilities begins with its prompt.
    pub(crate) fn scored_prompt(&self) -> Option<u32> {
        let echoed = self.echoed_logprobs();
        // `None` is less than any number.
        self.prompt_logprobs.max(echoed)
    }

    /// With how many alternatives an echoed prompt stands among the answer's log-probabilities.
    pub(crate) fn echoed_logprobs(&self) -> Option<u32> {
        self.logprobs.filter(|_| self.echo && self.endpoint == Endpoint::Completions)
    }

    /// Every token that a field names, with the field.
    pub(crate) fn named_tokens(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        let biased = self.sampling.logit_bias.iter().map(|&(token, _)| ("logit_bias", token));
        biased.chain(self.stop_tokens.iter().map(|&token| ("stop_token_ids", token)))
    }
}

/// Whether a plain prompt goes through the chat template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptMode {
    /// The text as it is.
    #[default]
    Raw,
    /// The text as a user's message.
    Chat,
}

/// What a request gets where it does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// The most tokens to make.
    pub max_tokens: u32,
    /// The strings that end an answer.
    pub stop: Vec<String>,
    /// Log-probabilities of the answer's tokens.
    pub logprobs: Option<u32>,
    /// Log-probabilities of the prompt's tokens.
    pub prompt_logprobs: Option<u32>,
    /// What a plain prompt of the short form is.
    pub mode: PromptMode,
    /// The system message of conversations that have none.
    pub system: Option<String>,
    /// What a chat template may read beside the messages: names and JSON. See
    /// [`template_variables`].
    pub template_variables: Vec<(String, String)>,
    /// The names of the adapters that a line may ask for, in the order of the engine's.
    pub adapters: Vec<String>,
}

/// How many tokens an answer has at most, if nobody says.
pub(crate) const DEFAULT_MAX_TOKENS: u32 = 256;

impl Default for Defaults {
    fn default() -> Self {
        Self {
            sampling: SamplingParams::default(),
            max_tokens: DEFAULT_MAX_TOKENS,
            stop: Vec::new(),
            logprobs: None,
            prompt_logprobs: None,
            mode: PromptMode::Raw,
            system: None,
            template_variables: Vec::new(),
            adapters: Vec::new(),
        }
    }
}

impl Defaults {
    /// A request for a plain prompt.
    pub fn request(&self, id: impl Into<String>, prompt: impl Into<String>) -> Request {
        let id = id.into();
        let (endpoint, prompt) = match self.mode {
            PromptMode::Raw => (Endpoint::Completions, Prompt::Text(prompt.into())),
            PromptMode::Chat => (
                Endpoint::ChatCompletions,
                Prompt::Chat(self.chat(vec![Message::new("user", prompt)])),
            ),
        };
        Request {
            // Each id has a stream of its own, so that the same prompt under two ids has two
            // answers, the same in every version. A request with a seed of its own has stream 0 and
            // the same answer under any id.
            stream: number_of(&id),
            id,
            endpoint,
            prompt,
            more_prompts: Vec::new(),
            choices: 1,
            sampling: self.sampling.clone(),
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            prompt_logprobs: self.prompt_logprobs,
            echo: false,
            stop_tokens: Vec::new(),
            ignore_end: false,
            min_tokens: 0,
            keep_stop: false,
            show_special: false,
            form: None,
            tools: None,
            adapters: None,
        }
    }

    /// A text as a user's message; what is no text stays as it is.
    fn as_chat(&self, prompt: Prompt) -> Prompt {
        match prompt {
            Prompt::Text(text) => Prompt::Chat(self.chat(vec![Message::new("user", text)])),
            other => other,
        }
    }

    /// A conversation, after the run's system message where it has none.
    fn chat(&self, mut messages: Vec<Message>) -> Chat {
        if let Some(system) = &self.system
            && messages.iter().all(|message| message.role != "system")
        {
            messages.insert(0, Message::new("system", system));
        }
        Chat { variables: self.template_variables.clone(), ..Chat::from(messages) }
    }
}

/// The variables of a chat template from an object of JSON, for [`Defaults`].
///
/// # Errors
/// The text is no object, or sets what a template is given anyway.
pub(crate) fn template_variables(json: &str) -> Result<Vec<(String, String)>, LineProblems> {
    Ok(json::read(json, |whole| Some(options::variables_of(whole)))?)
}
