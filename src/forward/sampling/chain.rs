//! The chain on the CPU: the reference for the GPU's and the sampler of the CPU path.

use std::collections::HashMap;

use super::params::SamplingWords;
use super::random::{Key, gumbel, gumbel_bound};
use super::rank::{best, rank, sort_front, token_of, top};

/// A token that was sampled or scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// The token sampled or scored.
    pub token: u32,
    /// Its log-probability in the raw distribution.
    pub logprob: Option<f32>,
    /// The most probable tokens in order, with theirs.
    pub top: Vec<(u32, f32)>,
}

/// Why no token could be sampled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplingError {
    /// A logit is a NaN or plus infinity, or all are minus infinity.
    #[error(
        "the {vocab} logits are not all numbers: \
         the weights are damaged or the computation overflowed"
    )]
    NoCandidate {
        /// How many logits there were.
        vocab: usize,
    },
    /// A token id beyond the vocabulary, in a window, a bias or a token to score.
    #[error("token {token} is outside the vocabulary of {vocab}")]
    OutsideVocabulary {
        /// The id that is too large.
        token: u32,
        /// How many logits there were.
        vocab: usize,
    },
}

/// The chain, with the memory it reuses from one token to the next.
#[derive(Debug, Default)]
pub struct Sampler {
    /// The logits after bias and penalties.
    adjusted: Vec<f32>,
    /// Tokens as ranks; the kept ones are at the front.
    ranks: Vec<u64>,
}

/// The first list of tokens to sort when the length of a filter's list is not known beforehand.
/// Most distributions reach their top-p within it.
const FIRST_SORT: usize = 64;

impl Sampler {
    /// Samples a token. `window` holds the recent tokens that penalties look at, `bias` the pairs
    /// to add.
    pub fn sample(
        &mut self,
        logits: &[f32],
        words: &SamplingWords,
        window: &[u32],
        bias: &[(u32, f32)],
    ) -> Result<u32, SamplingError> {
        let vocab = logits.len();
        let penalised = words.repeat_penalty != 1.0
            || words.frequency_penalty != 0.0
            || words.presence_penalty != 0.0;
        // Without penalties the logits need no copy, which is as long as the vocabulary.
        let window = if penalised { window } else { &[] };
        if window.is_empty() && bias.is_empty() {
            return self.sample_adjusted(logits, words);
        }
        // Taken out while the rest of `self` works, and put back to be used again.
        let mut adjusted = std::mem::take(&mut self.adjusted);
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        let token = bias_logits(&mut adjusted, bias)
            .and_then(|()| penalise(&mut adjusted, words, window))
            .and_then(|()| self.sample_adjusted(&adjusted, words));
        self.adjusted = adjusted;
        assert!(token.is_err() || token.as_ref().is_ok_and(|&token| (token as usize) < vocab));
        token
    }

    /// Steps 3 to 7 of the chain.
    fn sample_adjusted(
        &mut self,
        logits: &[f32],
        words: &SamplingWords,
    ) -> Result<u32, SamplingError> {
        let best = sound_best(logits)?;
        if words.temperature == 0.0 {
            return Ok(best);
        }
        let max = logits[best as usize];
        let mut contest = Contest::new(words, best, max);
        // Min-p needs no order of tokens: its edge is known from the largest logit.
        if words.top_k == 0 && words.top_p >= 1.0 {
            let least = least_logit(words, max);
            for (token, &logit) in (0..).zip(logits) {
                if logit >= least {
                    contest.enter(token, logit);
                }
            }
        } else {
            let kept = self.keep(logits, words, max);
            for &rank in &self.ranks[..kept] {
                let token = token_of(rank);
                contest.enter(token, logits[token as usize]);
            }
        }
        Ok(contest.winner)
    }

    /// Steps 4 to 6: sorts the kept tokens to the front of `ranks` and gives their number, at
    /// least 1.
    fn keep(&mut self, logits: &[f32], words: &SamplingWords, max: f32) -> usize {
        let ranks = &mut self.ranks;
        ranks.clear();
        ranks.extend((0..).zip(logits).map(|(token, &logit)| rank(logit, token)));
        // In `f64`: as `f32` the sum over 49,152 tokens may be off by 49,152 / 2^24, which is 0.3
        // %.
        let share = |rank: u64| f64::from((logits[token_of(rank) as usize] - max).exp());
        let mut sorted = 0;
        if words.top_k > 0 {
            sorted = (words.top_k as usize).min(ranks.len());
            sort_front(ranks, 0, sorted);
            // Top-p is a share of what top-k left: the others must not be in its sum.
            ranks.truncate(sorted);
        }
        let least = least_logit(words, max);
        let wanted = if words.top_p >= 1.0 {
            f64::INFINITY
        } else {
            let all: f64 = ranks.iter().map(|&rank| share(rank)).sum();
            f64::from(words.top_p) * all
        };
        let mut sum = 0.0;
        let mut kept = 0;
        loop {
            while kept < sorted {
                let rank = ranks[kept];
                // The first always stays, whatever rounding makes of the edges.
                if kept > 0 && (sum >= wanted || logits[token_of(rank) as usize] < least) {
                    return kept;
                }
                sum += share(rank);
                kept += 1;
            }
            if sorted == ranks.len() {
                return kept;
            }
            // In pieces, each eight times as long: sorting the whole vocabulary is rarely needed.
            let next = (sorted * 8).clamp(FIRST_SORT, ranks.len().max(FIRST_SORT)).min(ranks.len());
            sort_front(ranks, sorted, next);
            sorted = next;
        }
    }

    /// The log-probability of `token` in the raw distribution, and the `count` most probable tokens
    /// with theirs.
    pub fn score(
        &mut self,
        logits: &[f32],
        token: u32,
        count: usize,
    ) -> Result<Sampled, SamplingError> {
        let vocab = logits.len();
        let of_token =
            *logits.get(token as usize).ok_or(SamplingError::OutsideVocabulary { token, vocab })?;
        let best = sound_best(logits)?;
        let max = logits[best as usize];
        let sum: f64 = logits.iter().map(|&l| f64::from((l - max).exp())).sum();
        let log_sum = f64::from(max) + sum.ln();
        let logprob = |logit: f32| (f64::from(logit) - log_sum) as f32;
        let top = if count == 0 { Vec::new() } else { top(logits, count, &mut self.ranks) };
        Ok(Sampled {
            token,
            logprob: Some(logprob(of_token)),
            top: top.into_iter().map(|token| (token, logprob(logits[token as usize]))).collect(),
        })
    }
}

/// The most probable token of logits that are all numbers or minus infinity.
fn sound_best(logits: &[f32]) -> Result<u32, SamplingError> {
    // Without an early end, so that it is done many logits at a time. A NaN is not below infinity
    // either.
    let sound = logits.iter().fold(true, |sound, &logit| sound & (logit < f32::INFINITY));
    best(logits).filter(|_| sound).ok_or(SamplingError::NoCandidate { vocab: logits.len() })
}

/// The least logit that min-p keeps.
fn least_logit(words: &SamplingWords, max: f32) -> f32 {
    // In logits: one logarithm in the place of an exponential per token.
    if words.min_p > 0.0 { max + words.min_p.ln() } else { f32::NEG_INFINITY }
}

/// Step 1: adds what a request says to the logits of the tokens it names.
fn bias_logits(logits: &mut [f32], bias: &[(u32, f32)]) -> Result<(), SamplingError> {
    for &(token, bias) in bias {
        *logit_of(logits, token)? += bias;
    }
    Ok(())
}

/// Step 2. A token is penalised once for all its occurrences, in time linear in the window.
fn penalise(
    logits: &mut [f32],
    words: &SamplingWords,
    window: &[u32],
) -> Result<(), SamplingError> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    for &token in window {
        *counts.entry(token).or_default() += 1;
    }
    // In any order: each token's logit is changed once, and no other is read.
    for (token, count) in counts {
        let logit = logit_of(logits, token)?;
        // Divided, a negative logit would make its token more probable.
        *logit = if *logit <= 0.0 {
            *logit * words.repeat_penalty
        } else {
            *logit / words.repeat_penalty
        };
        *logit -= count as f32 * words.frequency_penalty + words.presence_penalty;
    }
    Ok(())
}

fn logit_of(logits: &mut [f32], token: u32) -> Result<&mut f32, SamplingError> {
    let vocab = logits.len();
    logits.get_mut(token as usize).ok_or(SamplingError::OutsideVocabulary { token, vocab })
}

/// Step 7: the running winner of the draw.
struct Contest {
    key: Key,
    index: u32,
    temperature: f32,
    /// The largest logit. Scores are of differences to it, so that a low temperature cannot
    /// overflow them.
    max: f32,
    winner: u32,
    score: f32,
}

impl Contest {
    fn new(words: &SamplingWords, best: u32, max: f32) -> Self {
        let mut contest = Self {
            key: Key(words.key),
            index: words.index,
            temperature: words.temperature,
            max,
            winner: best,
            score: f32::NEG_INFINITY,
        };
        // The most probable token goes first, so that its score spares most others their
        // logarithms.
        contest.enter(best, max);
        contest
    }

    fn enter(&mut self, token: u32, logit: f32) {
        let base = (logit - self.max) / self.temperature;
        // No noise reaches 23.
        if base + 23.0 < self.score {
            return;
        }
        let word = self.key.noise(self.index, token / 4)[token as usize % 4];
        if base + gumbel_bound(word) < self.score {
            return;
        }
        let score = base + gumbel(word);
        if score > self.score || (score == self.score && token < self.winner) {
            self.winner = token;
            self.score = score;
        }
    }
}
