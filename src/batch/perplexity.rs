//! How well a model foresees a text: the mean negative log-likelihood of its tokens, and the
//! perplexity, which is the exponential of it.
//!
//! Comes in: the tokens of a text, how it is cut into [`Windows`], and an [`Engine`]. Goes out: a
//! [`Likelihood`] that grows window by window.
//!
//! A window is run from an empty context. Its first token is replaced by the token that begins a
//! sequence, where the model has one, and of the others the last ones are scored: those that have
//! enough of the text before them.

use std::ops::Range;

use crate::engine::{Batch, Column, Engine, EngineError, LogitsQuery, QueryKind};

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    length: usize,
    step: usize,
    first_scored: usize,
}

/// The shortest window: shorter ones would score no token.
pub(crate) const MIN_WINDOW: usize = 4;

impl Windows {
    /// Windows of `length` tokens side by side, of which the second half is scored, but for its
    /// first token: the convention of llama.cpp's `llama-perplexity`.
    ///
    /// # Panics
    /// When a window is shorter than `MIN_WINDOW`.
    pub fn side_by_side(length: usize) -> Self {
        assert!(length >= MIN_WINDOW, "a window of {length} tokens");
        Self { length, step: length, first_scored: length / 2 + 1 }
    }

    /// Windows of `length` tokens that begin `stride` tokens after one another, of which the last
    /// `stride` are scored, so that none is scored twice: the convention of
    /// `llama-perplexity --ppl-stride`.
    ///
    /// # Panics
    /// When a window is shorter than `MIN_WINDOW`, or the stride not from 1 to one less than it.
    pub fn striding(length: usize, stride: usize) -> Self {
        assert!(
            length >= MIN_WINDOW && (1..length).contains(&stride),
            "{length} tokens, stride {stride}"
        );
        Self { length, step: stride, first_scored: length - stride }
    }

    /// Tokens of a window.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tokens of a window that are scored.
    pub fn scored(&self) -> usize {
        self.length - self.first_scored
    }

    /// How many windows fit whole into a text.
    pub fn count(&self, tokens: usize) -> usize {
        tokens.checked_sub(self.length).map_or(0, |rest| rest / self.step + 1)
    }

    /// The windows that fit whole into a text, as ranges of its tokens.
    pub fn of(&self, tokens: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { length, step, .. } = *self;
        (0..self.count(tokens)).map(move |index| index * step..index * step + length)
    }
}

/// Scores of tokens, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    count: u64,
    mean: f64,
    /// The sum of the squared distances from the mean.
    spread: f64,
}

impl Likelihood {
    /// Takes the log-probability of one token.
    pub fn push(&mut self, logprob: f64) {
        // Welford's update: the difference of two large sums would cancel digits.
        let loss = -logprob;
        self.count += 1;
        let distance = loss - self.mean;
        self.mean += distance / self.count as f64;
        self.spread += distance * (loss - self.mean);
    }

    /// How many tokens were scored.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean negative log-likelihood of a token, in nats.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard error of the mean, as if the tokens were independent.
    pub fn standard_error(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        (self.spread / count / (count - 1.0)).sqrt()
    }

    /// The exponential of the mean.
    pub fn perplexity(&self) -> f64 {
        self.mean.exp()
    }

    /// The standard error of the perplexity, to first order.
    pub(crate) fn perplexity_error(&self) -> f64 {
        self.perplexity() * self.standard_error()
    }
}

/// Runs one window and adds its scores. `first` takes the place of its first token.
///
/// # Errors
/// The engine fails, or gives no log-probability where one was asked for.
pub fn score_window(
    engine: &mut dyn Engine,
    windows: &Windows,
    first: Option<u32>,
    window: &[u32],
    likelihood: &mut Likelihood,
) -> Result<(), EngineError> {
    // The last token is only scored: nothing comes after it.
    let inputs = window.len() - 1;
    let width = engine.capacity().columns;
    for start in (0..inputs).step_by(width) {
        let end = inputs.min(start + width);
        let column = |position: usize| Column {
            token: first.filter(|_| position == 0).unwrap_or(window[position]),
            slot: 0,
            position: position as u32,
        };
        let ask = |position: usize| LogitsQuery {
            column: (position - start) as u32,
            kind: QueryKind::Score { token: window[position + 1] },
            logprob: true,
            top: 0,
        };
        let batch = Batch {
            columns: (start..end).map(column).collect(),
            // A token is scored at the column before it.
            asks: (start.max(windows.first_scored - 1)..end).map(ask).collect(),
            steps: 1,
            ..Batch::default()
        };
        let answers = engine.step(&batch)?;
        let scores = answers.iter().flatten().filter_map(|sampled| sampled.logprob);
        let before = likelihood.count();
        scores.for_each(|logprob| likelihood.push(logprob.into()));
        let (found, expected) = ((likelihood.count() - before) as usize, batch.asks.len());
        if found != expected {
            return Err(EngineError::Answers { found, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_side_by_side_score_their_second_half() {
        let windows = Windows::side_by_side(512);
        // llama.cpp: n_ctx - n_ctx / 2 - 1.
        assert_eq!(windows.scored(), 255);
        assert_eq!(windows.of(1535).collect::<Vec<_>>(), [0..512, 512..1024]);
        assert_eq!([511, 512, 1536].map(|tokens| windows.count(tokens)), [0, 1, 3]);
    }

    #[test]
    fn strides_score_each_token_once() {
        let windows = Windows::striding(8, 3);
        let scored: Vec<usize> =
            windows.of(19).flat_map(|window| window.end - windows.scored()..window.end).collect();
        assert_eq!(scored, (5..17).collect::<Vec<_>>());
    }

    #[test]
    fn the_figures_are_those_of_the_definition() {
        let losses = [1.0, 2.0, 4.0, 5.5];
        let mut likelihood = Likelihood::default();
        losses.iter().for_each(|loss| likelihood.push(-loss));
        let mean = losses.iter().sum::<f64>() / 4.0;
        let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((likelihood.mean() - mean).abs() < 1e-12);
        assert!((likelihood.standard_error() - (variance / 4.0).sqrt()).abs() < 1e-12);
        assert!((likelihood.perplexity() - mean.exp()).abs() < 1e-9);
        let mut one = Likelihood::default();
        one.push(-3.0);
        assert_eq!((one.count(), one.mean(), one.standard_error()), (1, 3.0, 0.0));
    }
}
