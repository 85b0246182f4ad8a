//! Between panels, which matrices read and write, and rows, which heads do.

use rayon::prelude::*;

use crate::forward::cpu::activations::{Panels, copy_runs};
use crate::forward::cpu::lanes::LANES;

/// All features of each column side by side.
pub fn to_rows(panels: &Panels, rows: &mut Vec<f32>) {
    let features = panels.features();
    rows.resize(features * panels.columns(), 0.0);
    rows.par_chunks_mut(features)
        .enumerate()
        .for_each(|(column, row)| copy_runs(panels.column(column), row));
}

/// Rows of `features` as panels.
pub fn to_panels(rows: &[f32], features: usize, panels: &mut Panels) {
    let columns = rows.len() / features;
    panels.resize(features, columns);
    let out = panels.as_mut_slice().par_chunks_mut(LANES * columns);
    out.enumerate().for_each(|(panel, out)| {
        let first = panel * LANES;
        let width = LANES.min(features - first);
        for (out, row) in out.chunks_exact_mut(LANES).zip(rows.chunks_exact(features)) {
            out[..width].copy_from_slice(&row[first..first + width]);
        }
    });
}

/// Adds panels to panels.
pub fn add(to: &mut Panels, from: &Panels, scale: f32) {
    let panel = LANES * to.columns();
    let pairs = to.as_mut_slice().par_chunks_mut(panel).zip(from.as_slice().par_chunks(panel));
    pairs.for_each(|(to, from)| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += scale * from);
    });
}
