//! AdamW with decoupled weight decay (Loshchilov and Hutter 2019,
//! <https://arxiv.org/abs/1711.05101>), gradient clipping, and the rate as a function of the step.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers that one thread updates at a time. A sum of squares is added up by pieces of this size,
/// so that it does not hang on the number of threads.
pub const PIECE: usize = 4096;

/// The optimiser's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root, so that nothing is divided by 0.
    pub epsilon: f32,
    /// Share of the rate by which matrices shrink in a step; vectors do not.
    pub weight_decay: f32,
    /// The largest norm of all gradients together; 0 for no limit.
    pub clip: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, clip: 1.0 }
    }
}

/// The numbers of one tensor that a step changes.
#[derive(Debug)]
pub struct Updated<'a> {
    /// The tensor.
    pub values: &'a mut [f32],
    /// Its gradient, before clipping.
    pub gradient: &'a [f32],
    /// The mean of gradients.
    pub first: &'a mut [f32],
    /// The mean of their squares.
    pub second: &'a mut [f32],
    /// Whether weight decay acts on it.
    pub decays: bool,
}

impl AdamW {
    /// The factor that clips gradients of this norm.
    pub fn clip_factor(&self, norm: f64) -> f32 {
        if self.clip == 0.0 { 1.0 } else { (f64::from(self.clip) / (norm + 1e-6)).min(1.0) as f32 }
    }

    /// One update of a tensor; `step` counts from 1, `factor` clips the gradient.
    pub fn update(&self, rate: f32, step: u64, factor: f32, updated: Updated<'_>) {
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let unbiased = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(power))) as f32;
        let (first_factor, second_factor) = (unbiased(self.beta1), unbiased(self.beta2));
        let keep = if updated.decays { 1.0 - rate * self.weight_decay } else { 1.0 };
        let Self { beta1, beta2, epsilon, .. } = *self;
        let numbers = updated.values.par_chunks_mut(PIECE).zip(updated.gradient.par_chunks(PIECE));
        let moments = updated.first.par_chunks_mut(PIECE).zip(updated.second.par_chunks_mut(PIECE));
        numbers.zip(moments).for_each(|((values, gradient), (first, second))| {
            for (((value, gradient), first), second) in
                values.iter_mut().zip(gradient).zip(first).zip(second)
            {
                let gradient = gradient * factor;
                *first = beta1 * *first + (1.0 - beta1) * gradient;
                *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
                let root = (*second * second_factor).sqrt() + epsilon;
                *value = *value * keep - rate * (*first * first_factor) / root;
            }
        });
    }
}

/// The sum of squares of a gradient, the same whatever the number of threads.
pub fn sum_of_squares(gradient: &[f32]) -> f64 {
    let squares = |piece: &[f32]| piece.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
    gradient.par_chunks(PIECE).map(squares).collect::<Vec<_>>().iter().sum()
}

/// The form of a schedule after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decay {
    /// Half a cosine down to the least rate.
    Cosine,
    /// A line down to the least rate.
    Linear,
    /// The rate stays.
    Constant,
}

/// The rate as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The form after the warm-up.
    pub decay: Decay,
    /// The rate at the end of the warm-up.
    pub rate: f32,
    /// The rate at the end.
    pub least: f32,
    /// Steps in which the rate grows in a line.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f32 {
        let (rate, least) = (f64::from(self.rate), f64::from(self.least));
        if step < self.warmup {
            return (rate * (step + 1) as f64 / self.warmup as f64) as f32;
        }
        let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let share = ((step - self.warmup) as f64 / length).min(1.0);
        let left = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - share,
            Decay::Cosine => (1.0 + (std::f64::consts::PI * share).cos()) / 2.0,
        };
        (least + (rate - least) * left) as f32
    }
}
