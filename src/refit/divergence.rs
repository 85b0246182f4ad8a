//! How far a child's words are from its parent's: the Kullback-Leibler divergence of what both
//! expect next, in nats per token, over a text.

use rayon::prelude::*;

use crate::forward::Interventions;
use crate::forward::cpu::{CpuModel, ForwardError, KvCache};
use crate::paired::mean_and_error;

use super::importance::columns_of;
use super::text::RefitText;

/// What a parent expects at each place of a text.
#[derive(Debug)]
pub struct ParentFigures {
    /// Of each window and place the logarithms of all probabilities.
    logs: Vec<Vec<f32>>,
    vocab: usize,
    /// The mean loss of the text, in nats.
    pub loss: f64,
    /// That of each window.
    pub losses: Vec<f64>,
}

/// What a child says of a text beside its parent, window by window.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedText {
    /// The mean divergence of each window's places, in nats per token.
    pub divergences: Vec<f64>,
    /// The mean loss of each window, in nats.
    pub losses: Vec<f64>,
    /// The part of places with the same most probable token.
    pub same_best: f64,
}

impl ComparedText {
    /// The same over all windows, which are equally long.
    pub fn divergence(&self) -> Divergence {
        let (mean, standard_error) = mean_and_error(&self.divergences);
        let loss = mean_and_error(&self.losses).0;
        Divergence { mean, standard_error, same_best: self.same_best, loss }
    }
}

/// What came of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Divergence {
    /// Mean divergence from the parent, in nats per token.
    pub mean: f64,
    /// Its standard error, windows being independent.
    pub standard_error: f64,
    /// The part of places with the same most probable token.
    pub same_best: f64,
    /// The mean loss of the text, in nats.
    pub loss: f64,
}

impl ParentFigures {
    /// Bytes that they take for so many tokens of a vocabulary.
    pub fn size_in_bytes(tokens: usize, vocab: u32) -> u64 {
        tokens as u64 * u64::from(vocab) * 4
    }

    /// Asks a parent. `told` hears of the tokens of each window.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn of(
        parent: &CpuModel,
        text: &RefitText,
        told: &dyn Fn(usize),
    ) -> Result<Self, ForwardError> {
        let vocab = parent.config().vocab_size as usize;
        let mut logs = Vec::new();
        let mut losses = Vec::new();
        for window in &text.windows {
            let of_window = log_probabilities(parent, window, &Interventions::default())?;
            losses.push(loss(&of_window, window, vocab));
            logs.push(of_window);
            told(window.len());
        }
        Ok(Self { logs, vocab, loss: mean_and_error(&losses).0, losses })
    }

    /// Asks a child the same text.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare(&self, child: &CpuModel, text: &RefitText) -> Result<Divergence, ForwardError> {
        self.compare_with(child, text, &Interventions::default())
    }

    /// The same of a child some of whose heads or layers are muted.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare_with(
        &self,
        child: &CpuModel,
        text: &RefitText,
        interventions: &Interventions,
    ) -> Result<Divergence, ForwardError> {
        Ok(self.compare_windows(child, text, interventions)?.divergence())
    }

    /// The same, window by window.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare_windows(
        &self,
        child: &CpuModel,
        text: &RefitText,
        interventions: &Interventions,
    ) -> Result<ComparedText, ForwardError> {
        let vocab = self.vocab;
        let (mut divergences, mut losses) = (Vec::new(), Vec::new());
        let (mut same, mut places) = (0usize, 0usize);
        for (window, parent) in text.windows.iter().zip(&self.logs) {
            let child = log_probabilities(child, window, interventions)?;
            let pairs = parent.par_chunks_exact(vocab).zip(child.par_chunks_exact(vocab));
            let figures: Vec<(f64, bool)> =
                pairs.map(|(p, q)| (divergence(p, q), best(p) == best(q))).collect();
            let sum: f64 = figures.iter().map(|(far, _)| far).sum();
            divergences.push(sum / figures.len() as f64);
            same += figures.iter().filter(|(_, is)| *is).count();
            places += figures.len();
            losses.push(loss(&child, window, vocab));
        }
        let same_best = same as f64 / places.max(1) as f64;
        Ok(ComparedText { divergences, losses, same_best })
    }
}

/// The mean loss of a window's tokens but the first, in nats.
fn loss(logs: &[f32], window: &[u32], vocab: usize) -> f64 {
    let next = window.iter().skip(1).enumerate();
    let sum: f64 = next.map(|(place, next)| f64::from(logs[place * vocab + *next as usize])).sum();
    -sum / window.len().saturating_sub(1).max(1) as f64
}

/// The logarithms of probabilities at each place of a window, one after the other.
fn log_probabilities(
    model: &CpuModel,
    window: &[u32],
    interventions: &Interventions,
) -> Result<Vec<f32>, ForwardError> {
    let mut cache = KvCache::new(model.config(), 1, window.len());
    let columns = columns_of(window);
    let logits = model.forward(&mut cache, &columns, interventions, None)?;
    let vocab = model.config().vocab_size as usize;
    let mut logs = vec![0.0; window.len() * vocab];
    let rows: Vec<(usize, &[f32])> = logits.iter().collect();
    logs.par_chunks_exact_mut(vocab).zip(rows).for_each(|(to, (_, logits))| {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        let log = f64::from(most) + sum.ln();
        to.iter_mut().zip(logits).for_each(|(to, logit)| *to = (f64::from(*logit) - log) as f32);
    });
    Ok(logs)
}

/// Of two lists of logarithms of probabilities.
fn divergence(parent: &[f32], child: &[f32]) -> f64 {
    let term = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p), f64::from(*q));
        p.exp() * (p - q)
    };
    // Rounding makes it less than nothing where both say the same.
    parent.iter().zip(child).map(term).sum::<f64>().max(0.0)
}

fn best(logs: &[f32]) -> usize {
    let best = logs.iter().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
    best.map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_diverge_by_nothing_and_others_by_what_a_hand_computes() {
        let logs = |p: [f32; 2]| p.map(f32::ln);
        assert_eq!(divergence(&logs([0.25, 0.75]), &logs([0.25, 0.75])), 0.0);
        // 0.5 ln 2 + 0.5 ln (2 / 3).
        let far = divergence(&logs([0.5, 0.5]), &logs([0.25, 0.75]));
        assert!((far - 0.143_841).abs() < 1e-6, "{far}");
    }
}
