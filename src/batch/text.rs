//! Between text and tokens: the little that batches need of a tokenizer and a chat template.

/// What a request asks the model to go on from.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// A text as it is.
    Text(String),
    /// Tokens as they are, with no token added before them.
    Tokens(Vec<u32>),
    /// A conversation for the model's chat template.
    Chat(Chat),
}

/// A conversation, and what the chat template is told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// The messages in order.
    pub messages: Vec<Message>,
    /// What the template may read beside them: names, and JSON as it was written, whose order
    /// templates print.
    pub variables: Vec<(String, String)>,
    /// Whether the answer's turn is opened at the end (`add_generation_prompt`).
    pub opens_answer: bool,
    /// Whether the answer goes on with the last message, instead of beginning a turn.
    pub continues_last: bool,
}

impl From<Vec<Message>> for Chat {
    /// The conversation that waits for an answer.
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, variables: Vec::new(), opens_answer: true, continues_last: false }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant` or another role that the template knows.
    pub role: String,
    /// What was said; a message that calls a tool may say nothing.
    pub content: Option<String>,
    /// Its other fields, such as `tool_calls` and `name`: names, and JSON as it was written.
    pub rest: Vec<(String, String)>,
}

impl Message {
    /// A message that only says something.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: Some(content.into()), rest: Vec::new() }
    }
}

/// Why a prompt has no tokens.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The chat template cannot be used, or refused the conversation.
    #[error("{0}")]
    ChatTemplate(String),
    /// The model's tokenizer cannot be used.
    #[error("{0}")]
    Tokenizer(String),
}

/// A model's way between text and tokens.
pub trait TextModel {
    /// The model's name, as results give it.
    fn name(&self) -> &str;

    /// The tokens of a prompt, with the model's own first token where it wants one.
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError>;

    /// Whether a token ends an answer.
    fn is_end(&self, token: u32) -> bool;

    /// Whether a token is no part of a text, such as one that ends an answer.
    fn is_special(&self, token: u32) -> bool {
        self.is_end(token)
    }

    /// The bytes of one token inside a text, for reports of log-probabilities.
    fn token_bytes(&self, token: u32) -> Vec<u8>;

    /// A decoder for one answer.
    fn decoder(&self) -> Box<dyn Decode + '_>;

    /// A decoder that writes out special tokens too, where the model has a text for them.
    fn decoder_of_all(&self) -> Box<dyn Decode + '_> {
        self.decoder()
    }
}

/// Turns the tokens of one answer into bytes, one by one.
pub trait Decode {
    /// Adds the bytes of the next token. They may end within a character.
    fn push(&mut self, token: u32, bytes: &mut Vec<u8>);

    /// Adds what was held back, at the end of the answer.
    fn finish(&mut self, _bytes: &mut Vec<u8>) {}
}
