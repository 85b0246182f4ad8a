//! The texts of a refit: windows of tokens, cut from a text or written by the model itself.
//!
//! A model's own text needs no file, is of the model's kind by construction, and is another one
//! with another seed, so that what decides was not seen by what was fitted.

use crate::forward::Interventions;
use crate::forward::cpu::{Column, CpuModel, ForwardError, KvCache};
use crate::forward::sampling::{Key, Sampler, SamplingParams};

/// Tokens of a window.
pub const WINDOW: usize = 256;

/// Windows of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct RefitText {
    /// Each begins without what is before it.
    pub windows: Vec<Vec<u32>>,
}

impl RefitText {
    /// Cuts tokens into windows side by side; what is left at the end is not used.
    pub fn cut(tokens: &[u32], length: usize, most: usize) -> Self {
        let windows = tokens.chunks_exact(length).take(most).map(<[u32]>::to_vec).collect();
        Self { windows }
    }

    /// Tokens in all windows.
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(Vec::len).sum()
    }
}

/// Has a model write windows of tokens, freely and as it would: temperature 1, nothing cut off.
/// `first` is the token that begins a sequence; without one, the windows begin with tokens drawn
/// evenly. `told` hears of each token of all windows together.
///
/// # Errors
/// The model cannot compute.
pub fn written_by(
    model: &CpuModel,
    first: Option<u32>,
    seed: u64,
    [count, length]: [usize; 2],
    told: &dyn Fn(usize),
) -> Result<RefitText, ForwardError> {
    let config = model.config();
    let mut cache = KvCache::new(config, count, length);
    let params = SamplingParams {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        seed,
        ..SamplingParams::default()
    };
    let mut sampler = Sampler::default();
    let start = |window: usize| {
        // A multiple that has no factor in common with a power of two visits all of them.
        let number = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) + 40_503 * window as u64;
        first.unwrap_or((number % u64::from(config.vocab_size)) as u32)
    };
    let mut windows: Vec<Vec<u32>> = (0..count).map(|window| vec![start(window)]).collect();
    for position in 1..length as u32 {
        let columns: Vec<Column> = (0..)
            .zip(&windows)
            .map(|(slot, window)| Column {
                token: window[window.len() - 1],
                slot,
                position: position - 1,
                wants_logits: true,
            })
            .collect();
        let logits = model.forward(&mut cache, &columns, &Interventions::default(), None)?;
        for (window, logits) in logits.iter() {
            let words = params.words(Key::new(seed, window as u64), position);
            let token = sampler.sample(logits, &words, &[], &[]);
            windows[window].push(token.expect("logits of a model that computes are numbers"));
        }
        told(count);
    }
    Ok(RefitText { windows })
}
