//! How far a child's words are from its parent's: the Kullback-Leibler divergence of what both
//! expect next, in nats per token, over a text.

use rayon::prelude::*;

use crate::forward::Interventions;
use crate::forward::cpu::{CpuModel, ForwardError, KvCache};

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
        let (mut sum, mut count) = (0.0, 0usize);
        for window in &text.windows {
            let of_window = log_probabilities(parent, window, &Interventions::default())?;
            for (place, next) in window.iter().skip(1).enumerate() {
                sum -= f64::from(of_window[place * vocab + *next as usize]);
                count += 1;
            }
            logs.push(of_window);
            told(window.len());
        }
        Ok(Self { logs, vocab, loss: sum / count.max(1) as f64 })
    }

    /// Asks a child the same text.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare(&self, child: &CpuModel, text: &RefitText) -> Result<Divergence, ForwardError> {
        Ok(Divergence::of(text, &self.compare_windows(child, text, &|_| ())?))
    }

    /// The same of a model some of whose heads or layers are muted.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare_muted(
        &self,
        model: &CpuModel,
        text: &RefitText,
        muted: &Interventions,
    ) -> Result<Divergence, ForwardError> {
        Ok(Divergence::of(text, &self.windows_of((model, muted), text, &|_| ())?))
    }

    /// Asks a child the same text, window by window: what is compared in pairs. `told` hears of the
    /// tokens of each window.
    ///
    /// # Errors
    /// The model cannot compute.
    pub fn compare_windows(
        &self,
        child: &CpuModel,
        text: &RefitText,
        told: &dyn Fn(usize),
    ) -> Result<Vec<WindowFigures>, ForwardError> {
        self.windows_of((child, &Interventions::default()), text, told)
    }

    fn windows_of(
        &self,
        (child, muted): (&CpuModel, &Interventions),
        text: &RefitText,
        told: &dyn Fn(usize),
    ) -> Result<Vec<WindowFigures>, ForwardError> {
        let vocab = self.vocab;
        let of_window = |(window, parent): (&Vec<u32>, &Vec<f32>)| {
            let child = log_probabilities(child, window, muted)?;
            let pairs = parent.par_chunks_exact(vocab).zip(child.par_chunks_exact(vocab));
            let figures: Vec<(f64, bool)> =
                pairs.map(|(p, q)| (divergence(p, q), best(p) == best(q))).collect();
            let places = figures.len().max(1) as f64;
            let same = figures.iter().filter(|(_, is)| *is).count();
            told(window.len());
            Ok(WindowFigures {
                divergence: figures.iter().map(|(far, _)| far).sum::<f64>() / places,
                same_best: same as f64 / places,
                loss: loss_of(window, &child, vocab),
            })
        };
        text.windows.iter().zip(&self.logs).map(of_window).collect()
    }

    /// The parent's own loss of each window, in nats per token.
    pub fn window_losses(&self, text: &RefitText) -> Vec<f64> {
        let pairs = text.windows.iter().zip(&self.logs);
        pairs.map(|(window, logs)| loss_of(window, logs, self.vocab)).collect()
    }
}

impl Divergence {
    /// Over all windows of a text.
    pub fn of(text: &RefitText, windows: &[WindowFigures]) -> Self {
        let of_windows: Vec<f64> = windows.iter().map(|window| window.divergence).collect();
        let (mean, standard_error) = mean_and_error(&of_windows);
        let (mut same, mut loss, mut places, mut scored) = (0.0, 0.0, 0.0, 0.0);
        for (window, found) in text.windows.iter().zip(windows) {
            let length = window.len() as f64;
            same += found.same_best * length;
            places += length;
            loss += found.loss * (length - 1.0);
            scored += length - 1.0;
        }
        Self {
            mean,
            standard_error,
            same_best: same / f64::max(places, 1.0),
            loss: loss / f64::max(scored, 1.0),
        }
    }
}

/// What came of a child in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowFigures {
    /// Mean divergence from the parent, in nats per token.
    pub divergence: f64,
    /// The part of places with the same most probable token.
    pub same_best: f64,
    /// The mean loss, in nats.
    pub loss: f64,
}

/// The mean loss of a window's tokens after its first.
fn loss_of(window: &[u32], logs: &[f32], vocab: usize) -> f64 {
    let next = window.iter().skip(1).enumerate();
    let sum: f64 = next.map(|(place, next)| -f64::from(logs[place * vocab + *next as usize])).sum();
    sum / (window.len().saturating_sub(1)).max(1) as f64
}

/// The logarithms of probabilities at each place of a window, one after the other.
fn log_probabilities(
    model: &CpuModel,
    window: &[u32],
    muted: &Interventions,
) -> Result<Vec<f32>, ForwardError> {
    let mut cache = KvCache::new(model.config(), 1, window.len());
    let columns = columns_of(window);
    let logits = model.forward(&mut cache, &columns, muted, None)?;
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
    let sum: f64 = parent.iter().zip(child).map(term).sum();
    // Rounding makes it less than nothing where both say the same. What is no number stays none: a
    // broken child is not one that says the same.
    if sum < 0.0 { 0.0 } else { sum }
}

fn best(logs: &[f32]) -> usize {
    let best = logs.iter().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
    best.map_or(0, |(at, _)| at)
}

/// The mean of some numbers and its standard error.
fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_diverge_by_nothing_and_others_by_what_a_hand_computes() {
        let logs = |p: [f32; 2]| p.map(f32::ln);
        assert_eq!(divergence(&logs([0.25, 0.75]), &logs([0.25, 0.75])), 0.0);
        assert!(
            divergence(&logs([0.5, 0.5]), &[f32::NAN; 2]).is_nan(),
            "what is broken is not near"
        );
        // 0.5 ln 2 + 0.5 ln (2 / 3).
        let far = divergence(&logs([0.5, 0.5]), &logs([0.25, 0.75]));
        assert!((far - 0.143_841).abs() < 1e-6, "{far}");
    }

    #[test]
    fn an_error_is_that_of_the_mean() {
        let (mean, error) = mean_and_error(&[1.0, 3.0]);
        assert_eq!((mean, error), (2.0, 1.0));
        assert_eq!(mean_and_error(&[2.0]), (2.0, 0.0));
    }
}
