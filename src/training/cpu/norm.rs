//! RMS norm backwards: `dx = rho g dy - x rho^3 / n * sum(g dy x)`, and for the norm's own weights
//! `dg = sum over columns of dy x rho`.

use crate::forward::cpu::activations::{Panels, copy_runs};

/// Adds the gradient of the inputs `input` of a norm with weights `weight` to `out`, given that of
/// its outputs; and that of the weights to `of_weight`, if it is wanted.
pub fn norm_back(
    epsilon: f32,
    weight: &[f32],
    input: &Panels,
    gradient: &Panels,
    out: &mut Panels,
    mut of_weight: Option<&mut [f32]>,
) {
    let features = weight.len();
    let mut rows = [vec![0.0; features], vec![0.0; features]];
    for column in 0..input.columns() {
        let [x, dy] = &mut rows;
        for (row, panels) in [(&mut *x, input), (&mut *dy, gradient)] {
            copy_runs(panels.column(column), row);
        }
        row_back(epsilon, weight, x, dy, of_weight.as_deref_mut());
        let mut rest = dy.as_slice();
        for run in out.column_mut(column) {
            let (head, tail) = rest.split_at(run.len());
            run.iter_mut().zip(head).for_each(|(out, dx)| *out += dx);
            rest = tail;
        }
    }
}

/// Turns the gradient `dy` of a normed row into that of the row `x` itself, in place.
pub fn row_back(
    epsilon: f32,
    weight: &[f32],
    x: &[f32],
    dy: &mut [f32],
    of_weight: Option<&mut [f32]>,
) {
    let count = x.len() as f64;
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let rho = 1.0 / (squares / count + f64::from(epsilon)).sqrt();
    if let Some(of_weight) = of_weight {
        for ((sum, dy), x) in of_weight.iter_mut().zip(&*dy).zip(x) {
            *sum += dy * x * rho as f32;
        }
    }
    let product = |((g, dy), x): ((&f32, &f32), &f32)| f64::from(g * dy) * f64::from(*x);
    let sum: f64 = weight.iter().zip(&*dy).zip(x).map(product).sum();
    let (rho, back) = (rho as f32, (rho.powi(3) / count * sum) as f32);
    for ((dy, g), x) in dy.iter_mut().zip(weight).zip(x) {
        *dy = rho * g * *dy - x * back;
    }
}
