//! An answer as events: each a body of OpenAI's chunk shape.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::queue::FinishedReply;
use crate::batch::output::{chunk_calls, chunk_logprobs, response_id, usage};
use crate::batch::request::{CALL_BEGINS, Endpoint, Request};
use crate::batch::{Answer, ScoredToken};

/// Writes the chunks of one answer.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    id: String,
    endpoint: Endpoint,
    model: String,
    created: i64,
    includes_usage: bool,
    has_logprobs: bool,
    choices: usize,
    /// Text of each choice that may be a call; empty where there are no tools.
    held: Vec<String>,
}

impl ChunkWriter {
    pub fn new(request: &Request, model: String, created: i64, includes_usage: bool) -> Self {
        let choices = (1 + request.more_prompts.len()) * request.choices as usize;
        Self {
            held: vec![String::new(); if request.tools.is_some() { choices } else { 0 }],
            id: response_id(request),
            endpoint: request.endpoint,
            model,
            created,
            includes_usage,
            has_logprobs: request.logprobs.is_some(),
            choices,
        }
    }

    fn is_chat(&self) -> bool {
        self.endpoint == Endpoint::ChatCompletions
    }

    /// What comes before the first text: in a chat whose turn it is.
    pub fn begin(&self) -> Vec<String> {
        if !self.is_chat() {
            return Vec::new();
        }
        let delta = || json!({"role": "assistant", "content": ""});
        (0..self.choices)
            .map(|choice| self.chunk(self.choice(choice, delta(), &[], None)))
            .collect()
    }

    /// The chunk of new text. Where it may be a call of a tool, it has what certainly is none.
    pub fn text(&mut self, choice: usize, text: &str, tokens: &[ScoredToken]) -> String {
        match self.held.get_mut(choice) {
            None => self.text_chunk(choice, text, tokens),
            Some(held) => {
                held.push_str(text);
                let certain = certain_text(held);
                let text: String = held.drain(..certain).collect();
                self.text_chunk(choice, &text, tokens)
            }
        }
    }

    fn text_chunk(&self, choice: usize, text: &str, tokens: &[ScoredToken]) -> String {
        let delta = if self.is_chat() { json!({"content": text}) } else { json!(text) };
        self.chunk(self.choice(choice, delta, tokens, None))
    }

    /// The chunks of the end: calls of tools, why each choice ended, and the counts where they are
    /// asked for.
    pub fn finish(&mut self, reply: &FinishedReply) -> Vec<String> {
        let FinishedReply { request, answer, more } = reply;
        let answers: Vec<&Answer> = std::iter::once(answer).chain(more).collect();
        let mut chunks = Vec::new();
        for (choice, answer) in answers.iter().enumerate() {
            let mut reason = answer.finish.word();
            let held = self.held.get_mut(choice).map(std::mem::take).unwrap_or_default();
            if let Some(calls) = chunk_calls(request, choice, answer) {
                reason = "tool_calls";
                let delta = json!({"tool_calls": calls});
                chunks.push(self.chunk(self.choice(choice, delta, &[], None)));
            } else if !held.is_empty() {
                chunks.push(self.text_chunk(choice, &held, &[]));
            }
            let nothing = if self.is_chat() { json!({}) } else { json!("") };
            chunks.push(self.chunk(self.choice(choice, nothing, &[], Some(reason))));
        }
        if self.includes_usage {
            chunks.push(self.written(&[], Some(usage(request, &answers))));
        }
        chunks
    }

    fn choice<'a>(
        &self,
        index: usize,
        delta: Value,
        tokens: &[ScoredToken],
        finish_reason: Option<&'a str>,
    ) -> ChunkChoice<'a> {
        let has_logprobs = self.has_logprobs && !tokens.is_empty();
        let logprobs = has_logprobs.then(|| chunk_logprobs(self.endpoint, tokens));
        let (text, delta) = if self.is_chat() { (None, Some(delta)) } else { (Some(delta), None) };
        ChunkChoice { index, text, delta, logprobs, finish_reason }
    }

    fn chunk(&self, choice: ChunkChoice<'_>) -> String {
        // As OpenAI has it: null in all chunks but the last.
        self.written(&[choice], self.includes_usage.then_some(Value::Null))
    }

    fn written(&self, choices: &[ChunkChoice<'_>], usage: Option<Value>) -> String {
        let chunk = AnswerChunk {
            id: &self.id,
            object: if self.is_chat() { "chat.completion.chunk" } else { "text_completion" },
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        serde_json::to_string(&chunk).expect("strings, numbers and lists always have a JSON form")
    }
}

/// A chunk as OpenAI has it.
#[derive(Serialize)]
struct AnswerChunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Value>,
    // As it is written, digit by digit as in an answer in one piece.
    logprobs: Option<Box<RawValue>>,
    finish_reason: Option<&'a str>,
}

/// How much of a text is before a call, or what may become one, in bytes.
fn certain_text(text: &str) -> usize {
    let begun = |at: &usize| {
        let rest = &text[*at..];
        rest.starts_with(CALL_BEGINS) || CALL_BEGINS.starts_with(rest)
    };
    text.match_indices('<').map(|(at, _)| at).find(begun).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_call_is_held_back() {
        for (text, certain) in [
            ("a < b", 5),
            ("a <tool", 2),
            ("a <tools>", 9),
            ("x<tool_call>{", 1),
            ("<<", 1),
            ("", 0),
        ] {
            assert_eq!(certain_text(text), certain, "{text}");
        }
    }
}
