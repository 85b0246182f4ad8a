//! What a request may say about sampling, and the same as the words that a kernel reads.

use bytemuck::{Pod, Zeroable};

use super::random::Key;

/// How tokens are sampled. The defaults are those of llama.cpp's command line.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the shortest list of the most probable tokens that holds this share; 1 keeps all, 0 one
    /// token.
    pub top_p: f32,
    /// Keep the tokens at least this probable, relative to the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of tokens in the window; 1 is off.
    pub repeat_penalty: f32,
    /// Taken off a logit for every occurrence in the window; 0 is off.
    pub frequency_penalty: f32,
    /// Taken off a logit that occurs in the window at all; 0 is off.
    pub presence_penalty: f32,
    /// How many of the last tokens, of prompt and answer together, the three penalties look at.
    pub repeat_last_n: u32,
    /// The seed of the draws.
    pub seed: u64,
    /// Added to the logits of these tokens before anything else. No token comes twice.
    pub logit_bias: Vec<(u32, f32)>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last_n: 64,
            seed: 0,
            logit_bias: Vec::new(),
        }
    }
}

impl SamplingParams {
    /// The most probable token at every step.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Self::default() }
    }

    /// Whether the window of recent tokens can change a logit.
    pub(crate) fn has_penalties(&self) -> bool {
        self.repeat_last_n > 0
            && (self.repeat_penalty != 1.0
                || self.frequency_penalty != 0.0
                || self.presence_penalty != 0.0)
    }

    /// How many recent tokens a draw needs.
    pub fn window_len(&self) -> usize {
        if self.has_penalties() { self.repeat_last_n as usize } else { 0 }
    }

    /// The words of draw number `index`, as kernels and their twins read them.
    pub fn words(&self, key: Key, index: u32) -> SamplingWords {
        // A share of 0 is reached by the first token. Said as top-k it needs no rounding of sums.
        let (top_k, top_p) = if self.top_p > 0.0 { (self.top_k, self.top_p) } else { (1, 1.0) };
        SamplingWords {
            key: key.0,
            index,
            top_k,
            temperature: self.temperature,
            top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            ..Zeroable::zeroed()
        }
    }
}

/// One draw as a kernel reads it: 16 words, the layout of `struct SamplingWords` in WGSL.
///
/// The last six words say where the draw's lists lie in the engine's own buffers; whoever makes
/// [`SamplingWords`] for a request leaves them 0, and an engine that keeps such buffers fills them
/// in.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct SamplingWords {
    /// The request's key, of its seed and its stream.
    pub key: [u32; 2],
    /// The index of the token to sample: 0 for the first after the prompt.
    pub index: u32,
    /// How many tokens stay; 0 is off.
    pub top_k: u32,
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// The share of probability that stays; 1 is off.
    pub top_p: f32,
    /// The least share of the best token's probability; 0 is off.
    pub min_p: f32,
    /// The factor for tokens of the window; 1 is off.
    pub repeat_penalty: f32,
    /// Taken off for every occurrence; 0 is off.
    pub frequency_penalty: f32,
    /// Taken off once; 0 is off.
    pub presence_penalty: f32,
    /// Where the window of recent tokens begins, in tokens.
    pub window_start: u32,
    /// How many tokens the window holds.
    pub window_len: u32,
    /// Where the list of biases begins, in (token, bias) pairs.
    pub bias_start: u32,
    /// How many biases there are.
    pub bias_len: u32,
    /// The most tokens of the window: the oldest ones fall out as sampled ones are added.
    pub window_limit: u32,
    /// Zero: fills the struct to a multiple of 16 bytes.
    pub padding: u32,
}

/// An option whose value has to lie in a range.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The least value, included.
    pub least: f64,
    /// The greatest value, included.
    pub most: f64,
    /// Whether the least value itself is refused.
    pub above_least: bool,
    /// The range in words, as error messages give it.
    pub text: &'static str,
}

impl Range {
    const fn new(least: f64, most: f64, above_least: bool, text: &'static str) -> Self {
        Self { least, most, above_least, text }
    }

    /// Whether a value lies in the range. A NaN never does.
    pub fn holds(&self, value: f64) -> bool {
        value <= self.most
            && if self.above_least { value > self.least } else { value >= self.least }
    }
}

/// Temperatures. 100 flattens any model's distribution; more says nothing more.
pub const TEMPERATURE: Range = Range::new(0.0, 100.0, false, "a number from 0 to 100");
/// Shares of probability for top-p.
pub const TOP_P: Range = Range::new(0.0, 1.0, false, "a number from 0 to 1");
/// Shares of probability for min-p.
pub const MIN_P: Range = Range::new(0.0, 1.0, false, "a number from 0 to 1");
/// Repetition penalties, which logits are divided by.
pub const REPEAT_PENALTY: Range = Range::new(0.0, 10.0, true, "a number above 0 and at most 10");
/// Frequency and presence penalties, as OpenAI bounds them.
pub const PENALTY: Range = Range::new(-2.0, 2.0, false, "a number from -2 to 2");
/// Biases of single tokens, as OpenAI bounds them.
pub const BIAS: Range = Range::new(-100.0, 100.0, false, "a number from -100 to 100");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_layout_of_the_kernel() {
        assert_eq!(size_of::<SamplingWords>(), 64);
        let words = SamplingParams { top_k: 9, ..Default::default() }.words(Key([1, 2]), 3);
        let raw: [u32; 16] = bytemuck::cast(words);
        assert_eq!(raw[..4], [1, 2, 3, 9]);
        assert_eq!(f32::from_bits(raw[4]), 0.8);
        assert_eq!(raw[10..], [0; 6]);
    }

    #[test]
    fn ranges_refuse_what_is_not_a_number() {
        assert!(
            !TOP_P.holds(f64::NAN)
                && !REPEAT_PENALTY.holds(0.0)
                && TOP_P.holds(1.0)
                && TEMPERATURE.holds(0.0)
        );
    }
}
