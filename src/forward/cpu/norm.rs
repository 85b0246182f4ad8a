//! RMS norm: each column divided by the root of its mean square, times a weight per feature.

use super::activations::Panels;

/// Normalises every column of `input` into `out`.
pub(crate) fn normalise(epsilon: f32, weight: &[f32], input: &Panels, out: &mut Panels) {
    out.resize(input.features(), input.columns());
    for column in 0..input.columns() {
        let squares: f32 = input.column(column).map(sum_of_squares).sum();
        let scale = reciprocal_root(squares, weight.len(), epsilon);
        let mut weight = weight;
        for (out, input) in out.column_mut(column).zip(input.column(column)) {
            let (here, rest) = weight.split_at(out.len());
            for ((out, &value), &weight) in out.iter_mut().zip(input).zip(here) {
                *out = value * scale * weight;
            }
            weight = rest;
        }
    }
}

/// Normalises one head in place.
pub(crate) fn normalise_head(epsilon: f32, weight: &[f32], head: &mut [f32]) {
    let scale = reciprocal_root(sum_of_squares(head), head.len(), epsilon);
    for (value, &weight) in head.iter_mut().zip(weight) {
        *value = *value * scale * weight;
    }
}

fn reciprocal_root(squares: f32, len: usize, epsilon: f32) -> f32 {
    1.0 / (squares / len as f32 + epsilon).sqrt()
}

/// In sixteen partial sums, which is both faster and closer to the true sum than one.
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}
