//! The last norm, the output matrix and the loss, forwards and backwards, for the columns whose
//! next token is a target: a chunk of them at a time, so that columns times vocabulary never is.

use rayon::prelude::*;

use super::layer::zero;
use super::micro_step::{MicroStep, WantedTarget};
use super::network::Network;
use super::norm::norm_back;
use super::product::weight_gradient;
use crate::forward::cpu::activations::Panels;
use crate::forward::cpu::lanes::{LANES, exp};
use crate::forward::cpu::multiply::multiply_row_group;
use crate::forward::cpu::norm::normalise;
use crate::forward::cpu::processor::{Processor, Work, run};
use crate::forward::cpu::transposed::multiply_transposed;
use crate::training::TrainError;

/// Columns whose logits are there at a time: 24 MiB of a vocabulary of 49,152, and enough that
/// unpacking the matrix costs little per column.
pub const CHUNK: usize = 128;

/// Scratch of the head.
#[derive(Debug, Default)]
pub struct HeadScratch {
    chosen: Panels,
    normed: Panels,
    logits: Panels,
    of_normed: Panels,
    of_chosen: Panels,
}

/// The loss of a batch, and what is wanted of its gradient.
#[derive(Debug)]
pub struct LossHead<'a> {
    /// What it is part of.
    pub network: &'a Network,
    /// The columns.
    pub batch: &'a MicroStep,
    /// What the sum of losses is divided by.
    pub total: f64,
}

impl LossHead<'_> {
    /// The sum of weighted losses. With `gradient`, writes the gradient of the mean loss with
    /// respect to the residual stream there, and adds those of what is trained to `sums`.
    pub fn loss(
        &self,
        residual: &Panels,
        scratch: &mut HeadScratch,
        mut back: Option<(&mut Panels, &mut [Vec<f32>])>,
    ) -> Result<f64, TrainError> {
        if let Some((gradient, _)) = &mut back {
            zero(gradient, residual.features(), residual.columns());
        }
        let mut sum = 0.0;
        for targets in self.batch.targets.chunks(CHUNK) {
            sum += self.chunk(residual, targets, scratch, &mut back)?;
        }
        Ok(sum)
    }

    fn chunk(
        &self,
        residual: &Panels,
        targets: &[WantedTarget],
        scratch: &mut HeadScratch,
        back: &mut Option<(&mut Panels, &mut [Vec<f32>])>,
    ) -> Result<f64, TrainError> {
        let HeadScratch { chosen, normed, logits, of_normed, of_chosen } = scratch;
        let epsilon = self.network.model.config().norm_epsilon;
        let norm = &self.network.output_norm;
        let weights = self.network.output();
        let matrix = self.network.matrix(weights);
        let count = targets.len();
        chosen.resize(residual.features(), count);
        for (to, target) in targets.iter().enumerate() {
            let pairs = chosen.column_mut(to).zip(residual.column(target.column));
            pairs.for_each(|(to, from)| to.copy_from_slice(from));
        }
        normalise(epsilon, &norm.0, chosen, normed);
        logits.resize(matrix.rows(), count);
        let input = normed.input(&[&matrix]);
        let groups = logits.as_mut_slice().par_chunks_mut(LANES * count).enumerate();
        groups.for_each(|(group, out)| multiply_row_group(&matrix, group, &input, out));
        let log_sums = log_sums(logits);
        let mut sum = 0.0;
        for (column, (target, log_sum)) in targets.iter().zip(&log_sums).enumerate() {
            let loss = log_sum - f64::from(logit(logits, column, target.token));
            if !loss.is_finite() {
                return Err(TrainError::Loss { sequence: target.sequence, loss });
            }
            sum += f64::from(target.weight) * loss;
        }
        let Some((gradient, sums)) = back else { return Ok(sum) };
        self.of_logits(targets, &log_sums, logits);
        if let Some(parameter) = self.network.parameter_of(weights) {
            weight_gradient(logits, normed, &mut sums[parameter]);
        }
        zero(of_normed, normed.features(), count);
        multiply_transposed(&matrix, logits, of_normed);
        zero(of_chosen, normed.features(), count);
        let of_weight = norm.1.map(|at| sums[at].as_mut_slice());
        norm_back(epsilon, &norm.0, chosen, of_normed, of_chosen, of_weight);
        for (from, target) in targets.iter().enumerate() {
            let pairs = gradient.column_mut(target.column).zip(of_chosen.column(from));
            pairs.for_each(|(to, from)| to.copy_from_slice(from));
        }
        Ok(sum)
    }

    /// Turns logits into the gradient of the mean loss with respect to them.
    fn of_logits(&self, targets: &[WantedTarget], log_sums: &[f64], logits: &mut Panels) {
        let rows = logits.features();
        let panels = logits.as_mut_slice().par_chunks_mut(LANES * targets.len()).enumerate();
        panels.for_each(|(panel, values)| {
            let first = panel * LANES;
            run(OfLogits { targets, log_sums, total: self.total, first, rows, values });
        });
    }
}

fn logit(logits: &Panels, column: usize, token: u32) -> f32 {
    let (panel, lane) = (token as usize / LANES, token as usize % LANES);
    logits.as_slice()[(panel * logits.columns() + column) * LANES + lane]
}

/// The logarithm of the sum of powers of e, of each column.
fn log_sums(logits: &Panels) -> Vec<f64> {
    let (rows, columns) = (logits.features(), logits.columns());
    let panels = logits.as_slice().par_chunks(LANES * columns).enumerate();
    let parts: Vec<Vec<(f32, f32)>> = panels
        .map(|(panel, values)| {
            let mut parts = vec![(0.0, 0.0); columns];
            let here = LANES.min(rows - panel * LANES);
            run(LogSums { values, here, parts: &mut parts });
            parts
        })
        .collect();
    let of_column = |column: usize| {
        let of = parts.iter().map(|parts| parts[column]);
        let most = of.clone().fold(f32::NEG_INFINITY, |most, (of, _)| most.max(of));
        let sum: f64 = of.map(|(of, sum)| f64::from(of - most).exp() * f64::from(sum)).sum();
        f64::from(most) + sum.ln()
    };
    (0..columns).map(of_column).collect()
}

/// The largest of each column's first `here` values of a panel, and the sum of their powers.
struct LogSums<'a> {
    values: &'a [f32],
    here: usize,
    parts: &'a mut [(f32, f32)],
}

impl Work for LogSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        for (values, part) in self.values.as_chunks::<LANES>().0.iter().zip(self.parts) {
            let mut most = f32::NEG_INFINITY;
            let mut sane = 0.0;
            for &value in &values[..self.here] {
                most = if value > most { value } else { most };
                sane += value;
            }
            let mut powers = [0.0; LANES];
            for lane in 0..LANES {
                powers[lane] = exp::<P::Vectors>(values[lane] - most);
            }
            // What is no number has no place in an order: it must not be lost here.
            let sum: f32 = powers[..self.here].iter().sum();
            *part = if sane.is_nan() { (most, f32::NAN) } else { (most, sum) };
        }
    }
}

struct OfLogits<'a> {
    targets: &'a [WantedTarget],
    log_sums: &'a [f64],
    total: f64,
    first: usize,
    rows: usize,
    values: &'a mut [f32],
}

impl Work for OfLogits<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, _: P) {
        let Self { targets, log_sums, total, first, rows, values } = self;
        let here = LANES.min(rows - first);
        let columns = values.as_chunks_mut::<LANES>().0.iter_mut();
        for ((values, target), log_sum) in columns.zip(targets).zip(log_sums) {
            let scale = (f64::from(target.weight) / total) as f32;
            let log_sum = *log_sum as f32;
            for value in values.iter_mut() {
                *value = exp::<P::Vectors>(*value - log_sum) * scale;
            }
            values[here..].fill(0.0);
            let token = target.token as usize;
            if (first..first + LANES).contains(&token) {
                values[token - first] -= scale;
            }
        }
    }
}
