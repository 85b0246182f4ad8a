//! The text side of a model file: its tokenizer and its chat template.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::request::CALL_BEGINS;
use super::signs::TemplateTokens;
use super::text::{Chat, Decode, Prompt, TextError, TextModel};
use crate::model::chat::ChatError;
use crate::model::tokenizer::{DecodeStream, EncodeOptions, TokenizerSpec};
use crate::model::{ChatMessage, ChatTemplate, PixelModel, Tokenizer};

/// A model's tokenizer and chat template.
#[derive(Debug)]
pub struct ModelText {
    name: String,
    tokenizer: Tokenizer,
    /// Compiled when it is first used: one that does not compile is an error for those who chat.
    template: ChatTemplate,
    template_tokens: OnceLock<TemplateTokens>,
    brings_template: bool,
    warnings: Vec<String>,
    /// The conversation that was encoded last, and what came of it: a run asks for the same one
    /// when it checks it, measures it and computes it, and a template that uses up its time takes
    /// it only once.
    last_chat: Mutex<Option<(Chat, Result<Vec<u32>, TextError>)>>,
}

impl ModelText {
    /// Reads both from a model's metadata.
    pub fn new(model: &PixelModel) -> Result<Self, TextError> {
        let failed = |error: &dyn std::error::Error| TextError::Tokenizer(error.to_string());
        let spec =
            TokenizerSpec::from_metadata(model.metadata()).map_err(|error| failed(&error))?;
        let tokenizer = Tokenizer::new(&spec).map_err(|error| failed(&error))?;
        let template = ChatTemplate::from_spec(&spec, &tokenizer);
        let brings_template =
            spec.chat_template.as_ref().is_some_and(|source| !source.trim().is_empty());
        let stem = || model.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let named = model.metadata().str("general.name").ok().flatten().map(str::to_owned);
        let name = named.filter(|name| !name.is_empty()).or_else(stem).unwrap_or_default();
        let mut warnings = model.config().warnings(model.metadata());
        warnings.extend(tokenizer.warnings().iter().cloned());
        Ok(Self {
            name,
            tokenizer,
            template,
            template_tokens: OnceLock::new(),
            brings_template,
            warnings,
            last_chat: Mutex::default(),
        })
    }

    /// What the file says that is passed over and what it leaves out, a line each for a person to
    /// read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tokenizer that its file brings.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The source of its chat template; ChatML in place of none.
    #[cfg(feature = "serve")]
    pub(crate) fn chat_template(&self) -> &str {
        self.template.source()
    }

    /// Whether the model brings a chat template, so that a prompt is a message to it unless
    /// somebody says otherwise. Without one, conversations are written as ChatML.
    pub(crate) fn brings_chat_template(&self) -> bool {
        self.brings_template
    }

    fn encode_chat(&self, chat: &Chat) -> Result<Vec<u32>, TextError> {
        let failed = |error: ChatError| TextError::ChatTemplate(error.to_string());
        let messages: Vec<ChatMessage> = chat
            .messages
            .iter()
            .map(|message| ChatMessage {
                role: message.role.clone(),
                content: message.content.clone(),
                rest: message.rest.clone(),
            })
            .collect();
        let has_tools = chat.variables.iter().any(|(name, _)| name == "tools");
        if has_tools && !self.template.source().contains(CALL_BEGINS) {
            let problem = "`tools`: the model's chat template has no calls of tools in <tool_call>";
            return Err(TextError::ChatTemplate(problem.into()));
        }
        let opens = chat.opens_answer && !chat.continues_last;
        let written = self
            .template_tokens
            .get_or_init(|| TemplateTokens::new(&self.tokenizer, self.template.source()));
        let signs = written.signs(&messages, &chat.variables).map_err(failed)?;
        let mut text =
            self.template.render_with(&messages, opens, &chat.variables, &signs).map_err(failed)?;
        if chat.continues_last {
            let last = chat.messages.last().and_then(|message| message.content.as_deref());
            cut_behind(&mut text, last.unwrap_or_default().trim())?;
        }
        // The template has written the beginning of the sequence itself.
        Ok(written.encode(&self.tokenizer, &text, &signs))
    }
}

impl TextModel for ModelText {
    fn name(&self) -> &str {
        &self.name
    }

    /// Control tokens that are written out are taken for what they are in prompts and where a
    /// template writes them; in what messages say they are text.
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError> {
        match prompt {
            Prompt::Tokens(tokens) => Ok(tokens.clone()),
            Prompt::Text(text) => Ok(self
                .tokenizer
                .encode(text, EncodeOptions { add_special: true, parse_special: true })),
            Prompt::Chat(chat) => {
                let mut last = self.last_chat.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((known, result)) = &*last
                    && known == chat
                {
                    return result.clone();
                }
                let result = self.encode_chat(chat);
                *last = Some((chat.clone(), result.clone()));
                result
            }
        }
    }

    fn is_end(&self, token: u32) -> bool {
        self.tokenizer.is_end(token)
    }

    fn is_special(&self, token: u32) -> bool {
        self.tokenizer.is_special(token) || self.tokenizer.is_end(token)
    }

    fn token_bytes(&self, token: u32) -> Vec<u8> {
        self.tokenizer.token_bytes(token).to_vec()
    }

    fn decoder(&self) -> Box<dyn Decode + '_> {
        Box::new(Stream { tokenizer: &self.tokenizer, stream: DecodeStream::continuing(true) })
    }

    fn decoder_of_all(&self) -> Box<dyn Decode + '_> {
        Box::new(Stream { tokenizer: &self.tokenizer, stream: DecodeStream::continuing(false) })
    }
}

/// Cuts off what a template writes behind the last message, so that the answer goes on with it.
/// `last` is without white space at its ends, since templates trim what they print.
fn cut_behind(text: &mut String, last: &str) -> Result<(), TextError> {
    // The last place: earlier messages may say the same.
    match text.rfind(last).filter(|_| !last.is_empty()) {
        Some(at) => {
            text.truncate(at + last.len());
            Ok(())
        }
        None => {
            let problem =
                "`continue_final_message`: the chat template does not print the last message";
            Err(TextError::ChatTemplate(problem.into()))
        }
    }
}

struct Stream<'t> {
    tokenizer: &'t Tokenizer,
    stream: DecodeStream,
}

impl Decode for Stream<'_> {
    fn push(&mut self, token: u32, bytes: &mut Vec<u8>) {
        bytes.extend(self.stream.push(self.tokenizer, token).bytes());
    }

    fn finish(&mut self, bytes: &mut Vec<u8>) {
        bytes.extend(std::mem::take(&mut self.stream).finish().bytes());
    }
}
