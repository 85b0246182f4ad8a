//! A request that has a slot, from its first column to its last token.

use std::time::Duration;

use crate::batch::answer::{Answer, FinishReason, ScoredToken};
use crate::batch::draft::{Chances, Ground, NgramIndex};
use crate::batch::forms::{FORBIDDEN, FormState};
use crate::batch::request::Request;
use crate::batch::stop::StopMatcher;
use crate::batch::text::{Decode, TextModel};
use crate::engine::{LogitsQuery, QueryKind, Sampled};

/// A slot to copy from as soon as it has computed enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub slot: usize,
    pub positions: usize,
}

pub(super) struct RunningRequest<'m> {
    pub request: Request,
    pub number: u64,
    pub prompt_len: usize,
    pub wait: Option<Wait>,
    /// The step in which it last had a column, so that all get their turn when there are few
    /// columns.
    pub served: u64,
    pub admitted: Duration,
    first_token: Option<Duration>,
    answer: Answer,
    decoder: Box<dyn Decode + 'm>,
    matcher: StopMatcher,
    /// How many bytes the decoder has given.
    decoded_in_bytes: usize,
    /// The bytes, and where in them each scored token begins; empty where no token is scored.
    decoded: Vec<u8>,
    begins: Vec<usize>,
    /// How many scored tokens were passed on while the answer was made.
    told: usize,
    /// What forbids the tokens that end an answer, for as long as it may not end.
    no_end: Vec<(u32, f32)>,
    scratch: Vec<u8>,
    /// Where the answer stands in the form that it has to have, and why it could not be followed.
    pub form: Option<FormState>,
    pub form_problem: Option<String>,
    /// What was drafted for the pass that is out, and what comes of drafts of this request.
    pub draft: RequestDraft,
}

/// The drafts of one request.
#[derive(Default)]
pub(super) struct RequestDraft {
    pub index: NgramIndex,
    pub chances: Chances,
    /// What the tokens of `foreseen` hang on.
    pub ground: Option<Ground>,
    /// The tokens that may come next; of them the first are in the pass that is out.
    pub foreseen: Vec<u32>,
    /// Draws since they were foreseen.
    pub drawn: usize,
    /// Passes for which a draft model is left in peace, and how many the next time.
    pub pause: usize,
    pub next_pause: usize,
}

impl RequestDraft {
    /// Takes in a drawn token: whether it is the one that was foreseen in its place, where the
    /// ones before it were.
    pub fn draw(&mut self, token: u32) -> Option<(Ground, usize, bool)> {
        let index = self.drawn;
        let ground = self.ground?;
        let right = *self.foreseen.get(index)? == token;
        self.drawn += 1;
        if !right {
            self.foreseen.clear();
        }
        Some((ground, index, right))
    }
}

impl<'m> RunningRequest<'m> {
    pub fn new(
        request: Request,
        number: u64,
        prompt: &[u32],
        shared_len: usize,
        text: &'m dyn TextModel,
        vocab: usize,
        now: Duration,
    ) -> Self {
        let prompt_len = prompt.len();
        let bytes = |&token: &u32| text.token_bytes(token);
        let answer = Answer {
            prompt_tokens: count(prompt_len),
            shared_tokens: count(shared_len),
            logprobs: request.logprobs.map(|_| Vec::new()),
            prompt_logprobs: request.scored_prompt().map(|_| vec![None]),
            echo: request.echo.then(|| prompt.iter().map(bytes).collect()),
            ..Answer::default()
        };
        Self {
            matcher: StopMatcher::new(request.stop.iter().map(String::as_str))
                .keeping_stop(request.keep_stop),
            // It goes over the whole vocabulary, so only where it is needed.
            no_end: if request.min_tokens > 0 {
                without_ends(&request, text, vocab)
            } else {
                Vec::new()
            },
            decoder: if request.show_special { text.decoder_of_all() } else { text.decoder() },
            request,
            number,
            prompt_len,
            wait: None,
            served: 0,
            admitted: now,
            first_token: None,
            answer,
            decoded_in_bytes: 0,
            decoded: Vec::new(),
            begins: Vec::new(),
            told: 0,
            scratch: Vec::new(),
            form: None,
            form_problem: None,
            draft: RequestDraft::default(),
        }
    }

    /// How many tokens were drawn.
    pub fn drawn(&self) -> u32 {
        self.answer.completion_tokens
    }

    /// Whether a token would end the answer.
    pub fn is_end(&self, token: u32, text: &dyn TextModel) -> bool {
        text.is_end(token) && !self.request.ignore_end || self.request.stop_tokens.contains(&token)
    }

    pub(crate) fn add_drafted(&mut self, tokens: usize) {
        self.answer.drafted_tokens += count(tokens);
    }

    pub(crate) fn add_loaded(&mut self, positions: usize) {
        self.answer.loaded_tokens += count(positions);
    }

    pub(crate) fn add_shared(&mut self, positions: usize) {
        self.answer.shared_tokens += count(positions);
    }

    /// How many positions have to be computed, of the `known` tokens.
    pub(crate) fn goal(&self, known: usize) -> usize {
        match (self.request.max_tokens, self.request.scored_prompt()) {
            (0, None) => 0,
            // The last token's column would only say what comes after the prompt.
            (0, Some(_)) => self.prompt_len - 1,
            _ => known,
        }
    }

    /// How many more draws are made like the next one: the answer may not end yet in all of them,
    /// or may in all.
    pub fn alike(&self) -> usize {
        if self.form.is_some() {
            return 1;
        }
        match self.request.min_tokens.saturating_sub(self.drawn()) {
            0 => usize::MAX,
            forbidden => forbidden as usize,
        }
    }

    /// The ask for the token after `tokens`, at a column. So many of them are drafted: as if they
    /// had been drawn.
    pub fn draw(&self, column: u32, tokens: &[u32], drafted: usize) -> LogitsQuery {
        let index = self.drawn() + count(drafted);
        let sampling = &self.request.sampling;
        // No longer than all the tokens there will be, so that "all" is a length that a device has
        // room for.
        let most = self.prompt_len.saturating_add(self.request.max_tokens as usize);
        let window_len = sampling.window_len().min(most);
        let window = tokens.len().saturating_sub(window_len);
        let mut bias = sampling.logit_bias.clone();
        if index < self.request.min_tokens {
            bias.extend(&self.no_end);
        }
        if let Some(form) = &self.form {
            bias.extend(form.forbidden());
        }
        LogitsQuery {
            column,
            kind: QueryKind::Draw {
                words: sampling.words(self.request.key(), index),
                window: tokens[window..].to_vec(),
                window_limit: count(window_len),
                bias,
            },
            logprob: self.request.logprobs.is_some(),
            top: self.request.logprobs.unwrap_or(0),
        }
    }

    /// The ask for a token of the prompt, at the column before it, where the request wants it.
    pub fn score(&self, column: u32, token: u32) -> Option<LogitsQuery> {
        let top = self.request.scored_prompt()?;
        Some(LogitsQuery { column, kind: QueryKind::Score { token }, logprob: true, top })
    }

    /// Takes the answer to a score.
    pub(crate) fn take_score(&mut self, sampled: &Sampled, text: &dyn TextModel) {
        if let Some(scores) = &mut self.answer.prompt_logprobs {
            scores.push(Some(scored(sampled, text)));
        }
    }

    /// Takes a drawn token, adds what became certain of the answer to `shown`, and says whether the
    /// answer ends. `drafted` says whether it was drafted. `known` is the number of tokens in the
    /// slot with this one, `context` the number of positions.
    pub(crate) fn take_token(
        &mut self,
        (sampled, drafted): (&Sampled, bool),
        text: &dyn TextModel,
        known: usize,
        context: usize,
        shown: &mut String,
        now: Duration,
    ) -> Option<FinishReason> {
        self.first_token.get_or_insert(now);
        self.answer.completion_tokens += 1;
        self.answer.accepted_tokens += u32::from(drafted);
        self.answer.tokens.push(sampled.token);
        if let Some(scores) = &mut self.answer.logprobs {
            scores.push(ScoredToken { drafted, ..scored(sampled, text) });
            self.begins.push(self.decoded_in_bytes);
        }
        let stops = self.request.stop_tokens.contains(&sampled.token);
        // A stop token that is kept goes through the decoder, and ends the answer below.
        if stops && !self.request.keep_stop
            || text.is_end(sampled.token) && !self.request.ignore_end
        {
            return Some(FinishReason::Stop);
        }
        self.scratch.clear();
        self.decoder.push(sampled.token, &mut self.scratch);
        if self.show(shown) || stops {
            return Some(FinishReason::Stop);
        }
        // To go on, the token needs a position of its own.
        let full = self.drawn() >= self.request.max_tokens || known > context;
        if full {
            return Some(FinishReason::Length);
        }
        match self.form.as_mut()?.take(sampled.token) {
            Ok(is_complete) => is_complete.then_some(FinishReason::Stop),
            Err(problem) => {
                self.form_problem = Some(problem);
                Some(FinishReason::Stop)
            }
        }
    }

    /// Passes decoded bytes on; true when a stop string was met.
    fn show(&mut self, shown: &mut String) -> bool {
        self.decoded_in_bytes += self.scratch.len();
        let before = shown.len();
        if self.answer.logprobs.is_some() {
            self.decoded.extend_from_slice(&self.scratch);
        }
        let stopped = if self.drawn() <= self.request.min_tokens && self.request.min_tokens > 0 {
            self.matcher.push_unchecked(&self.scratch, shown);
            false
        } else {
            self.matcher.push(&self.scratch, shown)
        };
        self.answer.text.push_str(&shown[before..]);
        stopped
    }

    /// How many scored tokens were passed on.
    pub fn told(&self) -> usize {
        self.told
    }

    /// The scored tokens whose text has become certain since this was last asked.
    pub fn fresh_scores(&mut self) -> Vec<ScoredToken> {
        let Some(scores) = &self.answer.logprobs else { return Vec::new() };
        let text_len = self.matcher.text_len_in_bytes();
        let certain = self.begins.partition_point(|&begin| begin < text_len).max(self.told);
        let mut fresh = scores[self.told..certain].to_vec();
        let offsets = character_offsets(&self.decoded, &self.begins[self.told..certain]);
        for (token, offset) in fresh.iter_mut().zip(offsets) {
            token.offset = offset;
        }
        self.told = certain;
        fresh
    }

    /// The request and its answer, and what was held back of the text.
    pub fn finish(mut self, reason: FinishReason, now: Duration) -> (Request, Answer, String) {
        let mut rest = String::new();
        self.scratch.clear();
        self.decoder.finish(&mut self.scratch);
        // What the decoder held back may complete a stop string.
        let stopped = self.show(&mut rest);
        let shown = rest.len();
        self.matcher.finish(&mut rest);
        self.answer.text.push_str(&rest[shown..]);
        self.answer.finish = if stopped { FinishReason::Stop } else { reason };
        let text_len = self.matcher.text_len_in_bytes();
        if let Some(scores) = &mut self.answer.logprobs {
            // A stop string cuts off the tokens behind it. Where none did, every token has its
            // entry, the one that ended the answer too: whoever counts them misses none.
            if self.matcher.has_stopped() {
                // Tokens begin at ascending places, so those of the text are the first.
                scores.truncate(self.begins.partition_point(|&begin| begin < text_len));
            }
            let offsets = character_offsets(&self.decoded, &self.begins);
            for (token, offset) in scores.iter_mut().zip(offsets) {
                token.offset = offset;
            }
        }
        // Without a token all of the time is the prompt's.
        let first = self.first_token.unwrap_or(now);
        self.answer.prompt_time = first.saturating_sub(self.admitted);
        self.answer.predicted_time = now.saturating_sub(first);
        (self.request, self.answer, rest)
    }
}

/// The biases that forbid every token that would end an answer.
fn without_ends(request: &Request, text: &dyn TextModel, vocab: usize) -> Vec<(u32, f32)> {
    let ends = |&token: &u32| {
        text.is_end(token) && !request.ignore_end || request.stop_tokens.contains(&token)
    };
    (0..count(vocab)).filter(ends).map(|token| (token, FORBIDDEN)).collect()
}

/// In which character of the text of `bytes` each of the places lies. A place behind the last
/// character is the number of characters.
pub(in crate::batch) fn character_offsets(bytes: &[u8], places: &[usize]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        starts.extend(chunk.valid().char_indices().map(|(offset, _)| at + offset));
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            // The text has one U+FFFD for it.
            starts.push(at);
            at += chunk.invalid().len();
        }
    }
    let character = |&place: &usize| {
        let begun = starts.partition_point(|&start| start <= place);
        if place < bytes.len() { begun.saturating_sub(1) } else { starts.len() }
    };
    places.iter().map(character).collect()
}

fn scored(sampled: &Sampled, text: &dyn TextModel) -> ScoredToken {
    ScoredToken {
        bytes: text.token_bytes(sampled.token),
        logprob: sampled.logprob.unwrap_or(f32::NEG_INFINITY),
        top: sampled
            .top
            .iter()
            .map(|&(token, logprob)| (text.token_bytes(token), logprob))
            .collect(),
        id: sampled.token,
        top_ids: sampled.top.iter().map(|&(token, _)| token).collect(),
        offset: 0,
        drafted: false,
    }
}

/// Tokens are counted in 32 bits everywhere: no context comes near.
fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters_and_half_ones_lie_in_theirs() {
        // a, é in two halves, a byte that is none, and the end.
        assert_eq!(character_offsets(b"a\xc3\xa9\xffb", &[0, 1, 2, 3, 4, 5]), [0, 1, 1, 2, 3, 4]);
        assert_eq!(character_offsets(b"", &[0]), [0]);
    }
}
