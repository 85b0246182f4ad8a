//! Choosing the next token from logits.
//!
//! Comes in: logits, [`SamplingWords`] and the recent tokens. Goes out: a token and, if asked, the
//! log-probabilities of it and of the most probable tokens.
//!
//! # The chain
//! The order is that of llama.cpp's usual chain, with every tie decided by one order of tokens: the
//! larger logit first, then the lower id.
//!
//! 1. **Bias**: `logit += bias` for the tokens named.
//! 2. **Penalties**, for each token that occurs `n > 0` times among the last `repeat_last_n` tokens
//!    of prompt and answer: `logit = logit <= 0 ? logit * repeat : logit / repeat`, then
//!    `logit -= n * frequency + presence`.
//! 3. At temperature 0 the first token in order is the answer, and nothing below happens.
//! 4. **Top-k**: the first `k` tokens in order stay.
//! 5. **Top-p**: with probabilities from the softmax of what stayed, at temperature 1, the shortest
//!    list of first tokens whose sum reaches `p` stays.
//! 6. **Min-p**: what is at least `max + ln(min_p)` stays; the first token always does.
//! 7. **Temperature and draw**: the largest `logit / temperature + gumbel(noise)`; see [`random`].
//!
//! A logit that is no number or plus infinity makes the draw an error, whatever the others are;
//! minus infinity is the logit of a token that cannot come.
//!
//! Log-probabilities are of the raw distribution, before step 1, as OpenAI gives them.
//!
//! What is exact and what is not: noise, ties and order are the same on every device. Logits, and
//! so the last bits of sums, are not, so a draw within rounding of a tie or of a filter's edge may
//! differ between devices.

mod chain;
mod params;
pub mod random;
mod rank;

pub use chain::{Sampled, Sampler, SamplingError};
pub use params::{
    BIAS, MIN_P, PENALTY, REPEAT_PENALTY, Range, SamplingParams, SamplingWords, TEMPERATURE, TOP_P,
};
pub use random::Key;
