//! What may be asked: a [`Request`], and the two shapes of line it is read from.
//!
//! Comes in: one line of JSON and the [`Defaults`] of the run. Goes out: a request in which nothing is left open,
//! or a [`LineProblem`] that names the column, the field, what was expected and what was found.
//!
//! The OpenAI batch shape is `{"custom_id", "method", "url", "body"}`; the short form is the body itself with an
//! `id` beside it. Both know the same knobs; see [`knobs`] for the list.

mod error;
mod fields;
pub mod knobs;
mod line;

pub use error::{LineProblem, Problem};
pub use line::{Parsed, parse_line};

use super::sampling::{Key, SamplingParams};
use super::text::{Message, Prompt};

/// The shape of a result's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/completions`: a text goes on.
    Completions,
    /// `/v1/chat/completions`: a message is answered.
    ChatCompletions,
}

/// The most tokens whose log-probabilities are reported beside the drawn one.
pub const MAX_TOP_LOGPROBS: u32 = 20;

/// The most stop strings of a request. Each costs a search per token.
pub const MAX_STOPS: usize = 16;

/// One request, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The id that its result carries.
    pub id: String,
    /// The shape of its result.
    pub endpoint: Endpoint,
    /// What to go on from.
    pub prompt: Prompt,
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
}

impl Request {
    /// The key of the request's draws.
    pub fn key(&self) -> Key {
        Key::new(self.sampling.seed, self.stream)
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
}

/// How many tokens an answer has at most, if nobody says.
pub const DEFAULT_MAX_TOKENS: u32 = 256;

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
        }
    }
}

impl Defaults {
    /// A request for a plain prompt.
    pub fn request(&self, id: impl Into<String>, prompt: impl Into<String>) -> Request {
        let id = id.into();
        let (endpoint, prompt) = match self.mode {
            PromptMode::Raw => (Endpoint::Completions, Prompt::Text(prompt.into())),
            PromptMode::Chat => {
                let message = Message { role: "user".into(), content: prompt.into() };
                (Endpoint::ChatCompletions, Prompt::Chat(self.with_system(vec![message])))
            }
        };
        Request {
            stream: stream_of(&id),
            id,
            endpoint,
            prompt,
            sampling: self.sampling.clone(),
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            prompt_logprobs: self.prompt_logprobs,
            echo: false,
        }
    }

    /// The messages, after the run's system message where they have none.
    fn with_system(&self, mut messages: Vec<Message>) -> Vec<Message> {
        if let Some(system) = &self.system
            && messages.iter().all(|message| message.role != "system")
        {
            messages.insert(0, Message { role: "system".into(), content: system.clone() });
        }
        messages
    }
}

/// The stream of requests that share the run's seed: each id has its own, so that the same prompt under two ids
/// has two answers. A request with a seed of its own has stream 0 and the same answer under any id.
fn stream_of(id: &str) -> u64 {
    // FNV-1a: the draws only need streams that differ, and resuming needs them to be the same in every version.
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
