//! A matrix of a layer with its bias and its update, forwards and backwards.

use rayon::prelude::*;

use super::low_rank::{outer, padded};
use super::micro_step::MicroStep;
use super::network::{LowRankUpdate, Network, TrainedLayer};
use super::rows::to_rows;
use crate::forward::bind::LayerVector;
use crate::forward::cpu::activations::{Input, Panels};
use crate::forward::cpu::lanes::LANES;
use crate::forward::cpu::multiply::{multiply_row_group, multiply_values};
use crate::forward::cpu::processor::{Processor, Work, run};
use crate::forward::cpu::transposed::multiply_transposed;
use crate::forward::cpu::unpack::{CHUNK, Values};
use crate::model::adapter::TARGETS;
use crate::training::start::noise;

/// Biases in the order of [`TARGETS`].
pub const BIASES: [LayerVector; 7] = [
    LayerVector::QueryBias,
    LayerVector::KeyBias,
    LayerVector::ValueBias,
    LayerVector::OutputBias,
    LayerVector::GateBias,
    LayerVector::UpBias,
    LayerVector::DownBias,
];

/// Inputs that the updates do not see in a step.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// The share of inputs, 0 for none.
    pub share: f32,
    /// The run's seed.
    pub seed: u64,
    /// The step, counted from 1.
    pub step: u32,
}

/// One of the matrices of a layer.
#[derive(Debug, Clone, Copy)]
pub struct LayerProduct<'a> {
    /// What it is part of.
    pub network: &'a Network,
    /// The layer's index.
    pub layer: usize,
    /// Index among [`TARGETS`].
    pub target: usize,
    /// What the update does not see.
    pub dropout: Dropout,
}

impl<'a> LayerProduct<'a> {
    fn of(&self) -> &'a TrainedLayer {
        &self.network.layers[self.layer]
    }

    fn update(&self) -> Option<&'a LowRankUpdate> {
        self.of().updates[self.target].as_ref()
    }

    /// Writes `W x + scale B (A x) + bias`.
    pub fn forward(&self, batch: &MicroStep, input: &Panels, out: &mut Panels) {
        let layer = self.of();
        let matrix = self.network.matrix(&layer.matrices[self.target]);
        let bias = layer.vector(BIASES[self.target]);
        out.resize(matrix.rows(), input.columns());
        let read = input.input(&[&matrix]);
        let columns: Vec<usize> = (0..input.columns()).collect();
        let narrow = |update| scaled(self.narrow(update, batch, input), update.scale);
        let update = self.update().map(|update| (update, narrow(update)));
        let groups = out.as_mut_slice().par_chunks_mut(LANES * input.columns());
        groups.enumerate().for_each(|(group, out)| {
            multiply_row_group(&matrix, group, &read, out);
            if let Some((update, ranks)) = &update {
                update.b.widen(group, ranks, &columns, out);
            }
            if let Some(bias) = bias.get(group * LANES..) {
                for column in out.chunks_exact_mut(LANES) {
                    column.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
            }
        });
    }

    /// `A x` of every column.
    fn narrow(&self, update: &LowRankUpdate, batch: &MicroStep, input: &Panels) -> Vec<f32> {
        match self.kept(batch, input) {
            Some(kept) => update.a.narrow(&kept),
            None => update.a.narrow(input),
        }
    }

    /// The inputs that the update sees, if it does not see all.
    fn kept(&self, batch: &MicroStep, input: &Panels) -> Option<Panels> {
        let Dropout { share, .. } = self.dropout;
        if share == 0.0 {
            return None;
        }
        let mut kept = input.clone();
        self.drop_out(batch, &mut kept);
        Some(kept)
    }

    /// Multiplies what is dropped with 0 and the rest with `1 / (1 - share)`.
    fn drop_out(&self, batch: &MicroStep, panels: &mut Panels) {
        let Dropout { share, seed, step } = self.dropout;
        let stream = format!("blk.{}.{}.weight.lora_a", self.layer, TARGETS[self.target]);
        let word = noise(seed, &stream, step);
        let (features, columns) = (panels.features(), panels.columns());
        let least = (f64::from(share) * 2.0f64.powi(32)) as u64;
        let factor = 1.0 / (1.0 - share);
        let of_panel = |(panel, values): (usize, &mut [f32])| {
            for (column, values) in values.chunks_exact_mut(LANES).enumerate() {
                let first = (batch.first_column + column) * features + panel * LANES;
                for (value, at) in values.iter_mut().zip(first as u64..) {
                    *value *= if u64::from(word(at)) < least { 0.0 } else { factor };
                }
            }
        };
        panels.as_mut_slice().par_chunks_mut(LANES * columns).enumerate().for_each(of_panel);
    }

    /// Adds the gradients of what is trained, and that of the input to `of_input` if it is wanted.
    pub fn back(
        &self,
        batch: &MicroStep,
        (input, gradient): (&Panels, &Panels),
        of_input: Option<&mut Panels>,
        sums: &mut [Vec<f32>],
    ) {
        let layer = self.of();
        let weights = &layer.matrices[self.target];
        if let Some(bias) = layer.vector_parameter(BIASES[self.target]) {
            sum_columns(gradient, &mut sums[bias]);
        }
        if let Some(parameter) = self.network.parameter_of(weights) {
            weight_gradient(gradient, input, &mut sums[parameter]);
        }
        let errors = self
            .update()
            .map(|update| (update, self.update_back(update, batch, (input, gradient), sums)));
        let Some(of_input) = of_input else { return };
        multiply_transposed(&self.network.matrix(weights), gradient, of_input);
        let Some((update, errors)) = errors else { return };
        let panel = LANES * of_input.columns();
        let mut dropped = Panels::default();
        let out = if self.dropout.share == 0.0 {
            &mut *of_input
        } else {
            dropped.resize(of_input.features(), of_input.columns());
            &mut dropped
        };
        let panels = out.as_mut_slice().par_chunks_mut(panel).enumerate();
        let columns: Vec<usize> = (0..input.columns()).collect();
        let errors = scaled(errors, update.scale);
        panels.for_each(|(index, out)| update.a.widen(index, &errors, &columns, out));
        if self.dropout.share > 0.0 {
            self.drop_out(batch, &mut dropped);
            super::rows::add(of_input, &dropped, 1.0);
        }
    }

    /// Adds the gradients of A and B; returns `B^T dy` of every column.
    fn update_back(
        &self,
        update: &LowRankUpdate,
        batch: &MicroStep,
        (input, gradient): (&Panels, &Panels),
        sums: &mut [Vec<f32>],
    ) -> Vec<f32> {
        let (rank, scale) = (update.rank, update.scale);
        let kept = self.kept(batch, input);
        let input = kept.as_ref().unwrap_or(input);
        let ranks = update.a.narrow(input);
        let errors = update.b.narrow(gradient);
        debug_assert_eq!(ranks.len(), input.columns() * padded(rank));
        let of_b = &mut sums[update.parameter + 1];
        outer(gradient, &ranks, rank, |row, k, sum| of_b[row * rank + k] += scale * sum);
        let inputs = input.features();
        let of_a = &mut sums[update.parameter];
        outer(input, &errors, rank, |at, k, sum| of_a[k * inputs + at] += scale * sum);
        errors
    }
}

/// Numbers times a factor.
fn scaled(mut numbers: Vec<f32>, factor: f32) -> Vec<f32> {
    numbers.iter_mut().for_each(|number| *number *= factor);
    numbers
}

/// Adds the sum over columns to a vector.
pub fn sum_columns(panels: &Panels, sums: &mut [f32]) {
    for column in 0..panels.columns() {
        let values = panels.column(column).flatten();
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

/// Adds `gradient^T input`, the gradient of a matrix, to `[outputs, inputs]` numbers.
pub fn weight_gradient(gradient: &Panels, input: &Panels, sums: &mut [f32]) {
    let (columns, inputs) = (gradient.columns(), input.features());
    // Columns are what is summed over: they become the features of a row for each output.
    let room = columns.next_multiple_of(LANES);
    let mut rows = Vec::new();
    to_rows(gradient, &mut rows);
    let outputs = gradient.features();
    let mut turned = vec![0.0; outputs * room];
    turned.par_chunks_mut(room).enumerate().for_each(|(output, row)| {
        for (value, of_column) in row.iter_mut().zip(rows.chunks_exact(outputs)) {
            *value = of_column[output];
        }
    });
    let read = Input::rows(&turned, room, &[]);
    let products: Vec<Vec<f32>> = (0..inputs.div_ceil(LANES))
        .into_par_iter()
        .map(|panel| {
            let x = &input.as_slice()[panel * LANES * columns..][..LANES * columns];
            let mut out = vec![0.0; outputs * LANES];
            run(WeightGradient { x, read: &read, out: &mut out });
            out
        })
        .collect();
    for (panel, product) in products.iter().enumerate() {
        let first = panel * LANES;
        let width = LANES.min(inputs - first);
        let rows = sums.chunks_exact_mut(inputs).zip(product.chunks_exact(LANES));
        for (row, product) in rows {
            let sums = row[first..first + width].iter_mut().zip(product);
            sums.for_each(|(sum, product)| *sum += product);
        }
    }
}

struct WeightGradient<'a> {
    /// `[columns, 64]`
    x: &'a [f32],
    read: &'a Input<'a>,
    /// `[outputs, 64]`
    out: &'a mut [f32],
}

impl Work for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        let Self { x, read, out } = self;
        let out = out.as_chunks_mut::<LANES>().0;
        let mut values = Values::default();
        for (index, columns) in x.as_chunks::<LANES>().0.chunks(CHUNK).enumerate() {
            values.0[..columns.len()].copy_from_slice(columns);
            values.0[columns.len()..].fill([0.0; LANES]);
            multiply_values(processor.vectors(), &values, read, index * CHUNK, out);
        }
    }
}
