//! Draws on the device: what is written for them and read of them, and what is left to the CPU's
//! sampler.

use bevy::render::renderer::RenderQueue;

use crate::engine::{EngineError, LogitsQuery, QueryKind, Sampled};
use crate::forward::gpu::model::{GpuModel, MOST_BIASES, MOST_RECENT, SamplingMode};
use crate::forward::sampling::{SamplingError, SamplingWords};

/// Whether the device can answer by itself: a draw within the sizes of its buffers, and nothing
/// about it.
pub(super) fn draws_on_device(ask: &LogitsQuery) -> bool {
    let QueryKind::Draw { window, window_limit, bias, .. } = &ask.kind else { return false };
    let most = MOST_RECENT as usize;
    let fits = window.len() <= most
        && *window_limit as usize <= most
        && bias.len() <= MOST_BIASES as usize;
    fits && !ask.logprob && ask.top == 0
}

/// How all the draws of a step are made.
pub(super) fn sampling_mode(draws: &[LogitsQuery]) -> SamplingMode {
    let is_greedy = |ask: &LogitsQuery| match &ask.kind {
        QueryKind::Draw { words, window, bias, .. } => {
            words.temperature <= 0.0 && window.is_empty() && bias.is_empty()
        }
        QueryKind::Score { .. } => false,
    };
    match draws {
        [] => SamplingMode::None,
        _ if draws.iter().all(is_greedy) => SamplingMode::Greedy,
        _ => SamplingMode::Chain,
    }
}

/// Writes how each row of logits is to be sampled from.
pub(super) fn write_draws(network: &GpuModel, queue: &RenderQueue, draws: &[LogitsQuery]) {
    let (buffers, stride) = (&network.buffers.sampling, network.sizes.recent_stride());
    // The kernel appends behind the count in a row's first word: an earlier step's must go.
    let zeros = vec![0u32; draws.len() * (network.sizes.steps as usize + 1)];
    let mut all_words = Vec::with_capacity(draws.len());
    for (row, ask) in (0..).zip(draws) {
        let QueryKind::Draw { words, window, window_limit, bias } = &ask.kind else { continue };
        let (window_start, bias_start) = (row * stride, row * MOST_BIASES);
        if !window.is_empty() {
            queue.write_buffer(
                &buffers.recent,
                u64::from(window_start) * 4,
                bytemuck::cast_slice(window),
            );
        }
        if !bias.is_empty() {
            // The buffer is of words: a bias goes by its bits.
            let pairs: Vec<[u32; 2]> =
                bias.iter().map(|&(token, bias)| [token, bias.to_bits()]).collect();
            queue.write_buffer(
                &buffers.biases,
                u64::from(bias_start) * 8,
                bytemuck::cast_slice(&pairs),
            );
        }
        all_words.push(SamplingWords {
            window_start,
            window_len: window.len() as u32,
            bias_start,
            bias_len: bias.len() as u32,
            window_limit: *window_limit,
            ..*words
        });
    }
    queue.write_buffer(&buffers.sampled, 0, bytemuck::cast_slice(&zeros));
    queue.write_buffer(&buffers.words, 0, bytemuck::cast_slice(&all_words));
}

/// What was sampled: of each row, as many tokens as the step had passes. A row on the device has
/// room for `most`, after how many there are.
pub(super) fn read_draws(
    sampled: &[u32],
    most: usize,
    passes: usize,
    vocab: usize,
) -> Result<Vec<Vec<Sampled>>, EngineError> {
    let row = |row: &[u32]| {
        let found = row[0] as usize;
        if found != passes {
            return Err(EngineError::Answers { found, expected: passes });
        }
        let tokens = &row[1..=passes];
        if tokens.iter().any(|&token| token as usize >= vocab) {
            return Err(SamplingError::NoCandidate { vocab }.into());
        }
        Ok(tokens.iter().map(|&token| Sampled { token, ..Sampled::default() }).collect())
    };
    sampled.chunks_exact(most + 1).map(row).collect()
}
