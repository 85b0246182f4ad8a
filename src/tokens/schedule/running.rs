//! A request that has a slot, from its first column to its last token.

use std::time::Duration;

use crate::tokens::answer::{Answer, FinishReason, ScoredToken};
use crate::tokens::engine::{Ask, AskKind, Sampled};
use crate::tokens::request::Request;
use crate::tokens::stop::StopMatcher;
use crate::tokens::text::{Decode, TextModel};

/// A slot to copy from as soon as it has computed enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub slot: usize,
    pub positions: usize,
}

pub(super) struct Running<'m> {
    pub request: Request,
    pub number: u64,
    pub prompt_len: usize,
    pub wait: Option<Wait>,
    /// The step in which it last had a column, so that all get their turn when there are few columns.
    pub served: u64,
    pub admitted: Duration,
    first_token: Option<Duration>,
    answer: Answer,
    decoder: Box<dyn Decode + 'm>,
    matcher: StopMatcher,
    /// How many bytes the decoder has given.
    decoded_in_bytes: usize,
    scratch: Vec<u8>,
}

impl<'m> Running<'m> {
    pub fn new(
        request: Request,
        number: u64,
        prompt_len: usize,
        shared_len: usize,
        text: &'m dyn TextModel,
        now: Duration,
    ) -> Self {
        let answer = Answer {
            prompt_tokens: count(prompt_len),
            shared_tokens: count(shared_len),
            logprobs: request.logprobs.map(|_| Vec::new()),
            prompt_logprobs: request.prompt_logprobs.map(|_| vec![None]),
            ..Answer::default()
        };
        Self {
            matcher: StopMatcher::new(request.stop.iter().map(String::as_str)),
            request,
            number,
            prompt_len,
            wait: None,
            served: 0,
            admitted: now,
            first_token: None,
            answer,
            decoder: text.decoder(),
            decoded_in_bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// How many tokens were drawn.
    pub fn drawn(&self) -> u32 {
        self.answer.completion_tokens
    }

    pub fn add_shared(&mut self, positions: usize) {
        self.answer.shared_tokens += count(positions);
    }

    /// How many positions have to be computed, of the `known` tokens.
    pub fn goal(&self, known: usize) -> usize {
        match (self.request.max_tokens, self.request.prompt_logprobs) {
            (0, None) => 0,
            // The last token's column would only say what comes after the prompt.
            (0, Some(_)) => self.prompt_len - 1,
            _ => known,
        }
    }

    /// The ask for the next token, at a column.
    pub fn draw(&self, column: u32, tokens: &[u32]) -> Ask {
        let sampling = &self.request.sampling;
        let window = tokens.len().saturating_sub(sampling.window_len());
        Ask {
            column,
            kind: AskKind::Draw {
                words: sampling.words(self.request.key(), self.drawn()),
                window: tokens[window..].to_vec(),
                window_limit: count(sampling.window_len()),
                bias: sampling.logit_bias.clone(),
            },
            logprob: self.request.logprobs.is_some(),
            top: self.request.logprobs.unwrap_or(0),
        }
    }

    /// The ask for a token of the prompt, at the column before it, where the request wants it.
    pub fn score(&self, column: u32, token: u32) -> Option<Ask> {
        let top = self.request.prompt_logprobs?;
        Some(Ask { column, kind: AskKind::Score { token }, logprob: true, top })
    }

    /// Takes the answer to a score.
    pub fn take_score(&mut self, sampled: &Sampled, text: &dyn TextModel) {
        if let Some(scores) = &mut self.answer.prompt_logprobs {
            scores.push(Some(scored(sampled, text, 0)));
        }
    }

    /// Takes a drawn token, adds what became certain of the answer to `shown`, and says whether the answer ends.
    /// `known` is the number of tokens in the slot with this one, `context` the number of positions.
    pub fn take_token(
        &mut self,
        sampled: &Sampled,
        text: &dyn TextModel,
        known: usize,
        context: usize,
        shown: &mut String,
        now: Duration,
    ) -> Option<FinishReason> {
        self.first_token.get_or_insert(now);
        self.answer.completion_tokens += 1;
        self.answer.tokens.push(sampled.token);
        if text.is_end(sampled.token) {
            return Some(FinishReason::Stop);
        }
        if let Some(scores) = &mut self.answer.logprobs {
            scores.push(scored(sampled, text, self.decoded_in_bytes));
        }
        self.scratch.clear();
        self.decoder.push(sampled.token, &mut self.scratch);
        if self.show(shown) {
            return Some(FinishReason::Stop);
        }
        let full = self.drawn() >= self.request.max_tokens || known > context;
        full.then_some(FinishReason::Length)
    }

    /// Passes decoded bytes on; true when a stop string was met.
    fn show(&mut self, shown: &mut String) -> bool {
        self.decoded_in_bytes += self.scratch.len();
        let before = shown.len();
        let stopped = self.matcher.push(&self.scratch, shown);
        self.answer.text.push_str(&shown[before..]);
        stopped
    }

    /// The request and its answer, and what was held back of the text.
    pub fn finish(mut self, reason: FinishReason, now: Duration) -> (Request, Answer, String) {
        let mut rest = String::new();
        self.scratch.clear();
        self.decoder.finish(&mut self.scratch);
        let stopped = self.show(&mut rest);
        let shown = rest.len();
        self.matcher.finish(&mut rest);
        self.answer.text.push_str(&rest[shown..]);
        self.answer.finish = if stopped { FinishReason::Stop } else { reason };
        let text_len = self.matcher.text_len_in_bytes();
        if let Some(scores) = &mut self.answer.logprobs {
            scores.retain(|token| token.offset_in_bytes < text_len);
        }
        let first = self.first_token.unwrap_or(now);
        self.answer.prompt_time = first.saturating_sub(self.admitted);
        self.answer.predicted_time = now.saturating_sub(first);
        (self.request, self.answer, rest)
    }
}

fn scored(sampled: &Sampled, text: &dyn TextModel, offset_in_bytes: usize) -> ScoredToken {
    ScoredToken {
        bytes: text.token_bytes(sampled.token),
        logprob: sampled.logprob.unwrap_or(f32::NEG_INFINITY),
        top: sampled.top.iter().map(|&(token, logprob)| (text.token_bytes(token), logprob)).collect(),
        offset_in_bytes,
    }
}

/// Tokens are counted in 32 bits everywhere: no context comes near.
fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
