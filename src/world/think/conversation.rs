//! What goes on from an answer: the next thing that is said, another token at a place of it, or
//! nothing more.
//!
//! An answer that forks keeps the other ones as branches: their tokens, which are computed again
//! when somebody goes back to them, with the model as it is then.

use super::session::Session;
use super::{Answer, Asked, GeneratedToken, Generation};
use crate::batch::Message;
use crate::model::PixelModel;

/// The most answers to one prompt that are kept.
const MOST_BRANCHES: usize = 8;

/// The answers to one prompt, of which one is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Branches {
    answers: Vec<Answer>,
    shown: usize,
}

impl Branches {
    /// Keeps the answer that is shown, and makes room for another.
    fn fork(&mut self, shown: Answer) {
        self.keep(shown);
        if self.answers.len() == MOST_BRANCHES {
            self.answers.remove(0);
        }
        self.answers.push(Answer::default());
        self.shown = self.answers.len() - 1;
    }

    fn keep(&mut self, shown: Answer) {
        match self.answers.get_mut(self.shown) {
            Some(kept) => *kept = shown,
            None => self.answers.push(shown),
        }
    }
}

impl Generation {
    /// Says the next thing in a chat: what was said and answered before goes with it.
    pub fn say(&mut self, model: &PixelModel, text: &str, tokens: u32, temperature: f32) {
        let asked = Asked {
            prompt: text.to_owned(),
            chat: true,
            tokens,
            temperature,
            before: self.said(),
            ..Asked::default()
        };
        self.branches = Branches::default();
        self.is_conversation_over = false;
        self.begin(model, asked, Vec::new());
    }

    /// What was asked, where it is a message of a conversation that is going on.
    fn message(&self) -> Option<&Asked> {
        self.asked.as_ref().filter(|asked| asked.chat && !self.is_conversation_over)
    }

    /// The conversation with its last answer; nothing where none is going on.
    fn said(&self) -> Vec<Message> {
        let Some(asked) = self.message() else { return Vec::new() };
        let last = [("user", asked.prompt.clone()), ("assistant", self.answer())];
        // A template may refuse a message that says nothing, and two of one role in a row.
        if last[1].1.trim().is_empty() {
            return asked.before.clone();
        }
        let last = last.map(|(role, text)| Message::new(role, text));
        asked.before.iter().cloned().chain(last).collect()
    }

    /// How often somebody has said something in the conversation that is going on.
    pub fn turns(&self) -> usize {
        self.message().map_or(0, |asked| asked.before.len() / 2 + 1)
    }

    /// Ends the conversation: what is said next begins another. The last answer stays in sight.
    pub fn end_conversation(&mut self) {
        self.is_conversation_over = true;
    }

    /// Ends the answer where it is.
    pub fn stop(&mut self) {
        // A client ends its own answer, by going away.
        if self.is_busy() && !self.is_engines {
            self.stopped = true;
            self.link.with(Session::end);
        }
    }

    /// Goes on from another token at a place of the answer, one of its alternatives there; the
    /// answer until now is kept as a branch.
    pub fn fork(&mut self, model: &PixelModel, at: usize, token: u32) {
        let Some(asked) = self.asked.clone() else { return };
        let Some(answered) = self.thoughts.get(self.prompt_len..at) else { return };
        let Some(instead) = self.thoughts.get(at) else { return };
        let Some(chosen) = instead.alternatives.iter().find(|other| other.token == token) else {
            return;
        };
        let chosen = GeneratedToken {
            token,
            text: chosen.text.clone(),
            probability: Some(chosen.probability),
            alternatives: instead.alternatives.clone(),
            ..GeneratedToken::default()
        };
        // Their values are computed again.
        let known = answered.iter().cloned();
        let known = known.map(|known| GeneratedToken { trace: None, outputs: None, ..known });
        let opening = known.chain([chosen]).collect();
        self.branches.fork(self.answer_so_far());
        self.paused = false;
        self.begin(model, Asked { opening, ..asked }, Vec::new());
    }

    /// The answers to this prompt that there are, and which of them is shown.
    pub fn branches(&self) -> (usize, usize) {
        (self.branches.answers.len(), self.branches.shown)
    }

    /// Shows another of the answers.
    pub fn show_branch(&mut self, model: &PixelModel, index: usize) {
        let Some(asked) = self.asked.clone() else { return };
        if index >= self.branches.answers.len() || index == self.branches.shown {
            return;
        }
        let shown = self.answer_so_far();
        self.branches.keep(shown);
        let answer = self.branches.answers[index].clone();
        self.branches.shown = index;
        let wanted = asked.tokens;
        // An answer that has ended is computed again and goes no further.
        let tokens = if answer.is_whole { 0 } else { wanted };
        self.begin(model, Asked { opening: answer.tokens, tokens, ..asked }, Vec::new());
        self.end = answer.end;
        if let Some(asked) = &mut self.asked {
            asked.tokens = wanted;
        }
    }
}
