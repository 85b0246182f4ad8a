//! Drafts by a smaller model of the same vocabulary.
//!
//! It has a cache of its own, with a slot for each slot of the model that answers. What a slot's
//! sequence has in common with what the draft model has seen there is kept; the rest is computed,
//! at most one pass of it at a time, so that a long prompt is read by both models side by side.

use std::time::Instant;

use crate::engine::{Batch, Capacity, Column, Engine, EngineError, LogitsQuery};
use crate::model::Tokenizer;

/// A model that drafts.
pub struct DraftModel {
    engine: Box<dyn Engine>,
    /// The tokens of each slot that have keys and values.
    known: Vec<Vec<u32>>,
    /// Seconds of a pass that drafts a token, of late.
    pass_seconds: f64,
}

/// Why a model cannot draft for another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OtherVocabulary {
    /// They have different numbers of tokens.
    #[error(
        "it has {found} tokens and the model has {expected}: a draft model needs the same \
         vocabulary; choose one of the same family"
    )]
    Size {
        /// Tokens of the draft model.
        found: u32,
        /// Tokens of the model that answers.
        expected: u32,
    },
    /// A token is another one.
    #[error(
        "its token {token} is {found:?} and the model's is {expected:?}: a draft model needs the \
         same vocabulary; choose one of the same family"
    )]
    Token {
        /// The first that differs.
        token: u32,
        /// What it is to the draft model.
        found: String,
        /// What it is to the model that answers.
        expected: String,
    },
}

/// What is wanted of a draft model for one slot.
pub(in crate::batch) struct DraftWish<'a> {
    pub slot: usize,
    /// The sequence, with its last token that has no keys and values yet.
    pub tokens: &'a [u32],
    /// The most tokens to draft; 0 only reads the sequence.
    pub most: usize,
    /// The question for the token after some tokens, of which so many are drafted ones.
    pub draw: Box<dyn Fn(u32, &[u32], usize) -> LogitsQuery + 'a>,
}

impl DraftModel {
    /// A draft model on an engine of its own, which has a slot for each slot of the model that
    /// answers. Its vocabulary is the same: see [`same_vocabulary`].
    pub fn new(engine: Box<dyn Engine>) -> Self {
        let known = vec![Vec::new(); engine.capacity().slots];
        Self { engine, known, pass_seconds: 0.0 }
    }

    /// Seconds of a pass that drafts a token, of late; 0 before the first.
    pub(in crate::batch) fn pass_seconds(&self) -> f64 {
        self.pass_seconds
    }

    /// Drafts for every wish. A slot whose sequence is not read yet has no draft this time.
    ///
    /// # Errors
    /// The engine fails.
    pub(in crate::batch) fn propose(
        &mut self,
        wishes: &[DraftWish<'_>],
    ) -> Result<Vec<Vec<u32>>, EngineError> {
        let mut drafts = vec![Vec::new(); wishes.len()];
        let mut tokens: Vec<Vec<u32>> = wishes.iter().map(|wish| wish.tokens.to_vec()).collect();
        loop {
            let (batch, asked) = self.batch(wishes, &tokens, &drafts);
            if batch.columns.is_empty() {
                return Ok(drafts);
            }
            let start = Instant::now();
            let answers = self.engine.step(&batch)?;
            if answers.len() != batch.asks.len() {
                let (found, expected) = (answers.len(), batch.asks.len());
                return Err(EngineError::Answers { found, expected });
            }
            for column in &batch.columns {
                self.known[column.slot as usize].push(column.token);
            }
            // Passes that read a prompt cost more and say nothing of a drafted token.
            if batch.columns.len() == batch.asks.len() {
                let seconds = start.elapsed().as_secs_f64();
                let new = self.pass_seconds == 0.0;
                self.pass_seconds += (seconds - self.pass_seconds) * if new { 1.0 } else { 0.1 };
            }
            for (&wish, answers) in asked.iter().zip(&answers) {
                let Some(sampled) = answers.first() else { continue };
                drafts[wish].push(sampled.token);
                tokens[wish].push(sampled.token);
            }
            if asked.is_empty() {
                return Ok(drafts);
            }
        }
    }

    /// The next columns of every slot that still wants some, and whose wish each ask is.
    fn batch(
        &mut self,
        wishes: &[DraftWish<'_>],
        tokens: &[Vec<u32>],
        drafts: &[Vec<u32>],
    ) -> (Batch, Vec<usize>) {
        let Capacity { context, columns, .. } = self.engine.capacity();
        let mut batch = Batch { steps: 1, ..Batch::default() };
        let mut asked = Vec::new();
        for (index, wish) in wishes.iter().enumerate() {
            let (all, drafted) = (&tokens[index], drafts[index].len());
            // A sequence that its cache has no room for is answered without drafts.
            if (drafted >= wish.most && drafted > 0) || all.len() > context {
                continue;
            }
            let known = &mut self.known[wish.slot];
            let same = known.iter().zip(all).take_while(|(a, b)| a == b).count();
            // The last token is computed in any case: its column has the next one.
            let wanted = if wish.most > 0 { all.len() } else { all.len() - 1 };
            let from = same.min(all.len() - 1);
            known.truncate(from);
            let end = wanted.min(from + (columns - batch.columns.len()));
            for (position, &token) in all.iter().enumerate().take(end).skip(from) {
                let (slot, position) = (wish.slot as u32, position as u32);
                batch.columns.push(Column { token, slot, position });
            }
            if end == all.len() && end > from && wish.most > 0 {
                let column = batch.columns.len() as u32 - 1;
                batch.asks.push((wish.draw)(column, all, drafted));
                asked.push(index);
            }
        }
        (batch, asked)
    }
}

/// Whether tokens of one model are those of another: `own` of the draft model, `other` of the one
/// that answers, each with the size of its vocabulary.
///
/// # Errors
/// Their sizes differ, or a token does.
pub fn same_vocabulary(
    (own, own_size): (&Tokenizer, u32),
    (other, size): (&Tokenizer, u32),
) -> Result<(), OtherVocabulary> {
    if own_size != size {
        return Err(OtherVocabulary::Size { found: own_size, expected: size });
    }
    for token in 0..size {
        // By their texts, which control tokens have too; bytes are what a token adds to an answer.
        let [found, expected] = [own, other].map(|one| one.token_text(token));
        if found != expected {
            let [found, expected] =
                [found, expected].map(|text| text.unwrap_or("not there").to_owned());
            return Err(OtherVocabulary::Token { token, found, expected });
        }
    }
    Ok(())
}
