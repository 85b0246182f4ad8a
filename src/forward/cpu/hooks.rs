//! Hooks of the forward pass on the CPU: they watch or change values at every [`HookPoint`].
//!
//! Kernels call [`Tap`] at each place; without hooks that costs one branch, with hooks the values
//! are copied to rows, handed out, and copied back.

use super::Column;
use super::activations::{Panels, copy_runs};
use super::kernel_timings::{Kernel, KernelTimings};
use crate::forward::HookPoint;

/// Values at a place: one row of features per column.
#[derive(Debug)]
pub struct HookValues<'a> {
    /// The columns. A long pass is made in batches, and a hook sees the columns of one.
    pub columns: &'a [Column],
    /// Values per column.
    pub features: usize,
    /// `values[column * features + feature]`; what is written here is what the pass goes on with.
    pub values: &'a mut [f32],
}

impl HookValues<'_> {
    /// The values of a column of this batch.
    pub fn column(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.features..][..self.features]
    }
}

/// Watches or changes values as they pass. A pass runs on one of rayon's threads, so hooks go there
/// too.
pub trait Hooks: Send {
    /// Whether [`Hooks::visit`] wants to be called at a place; values at others are not copied.
    fn wants(&self, point: HookPoint) -> bool {
        let _ = point;
        true
    }

    /// Called with the values at a place.
    fn visit(&mut self, point: HookPoint, values: HookValues<'_>);
}

/// The hooks of a pass and its clock, if there are any.
pub(super) struct Tap<'h> {
    hooks: Option<&'h mut dyn Hooks>,
    laps: Option<&'h mut KernelTimings>,
    rows: Vec<f32>,
}

impl<'h> Tap<'h> {
    pub fn new(hooks: Option<&'h mut dyn Hooks>, laps: Option<&'h mut KernelTimings>) -> Self {
        Self { hooks, laps, rows: Vec::new() }
    }

    /// Notes that a kernel has run.
    pub fn lap(&mut self, kernel: Kernel) {
        if let Some(laps) = &mut self.laps {
            laps.lap(kernel);
        }
    }

    pub fn wants(&self, point: HookPoint) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.wants(point))
    }

    /// Shows panels at a place.
    pub fn panels(&mut self, point: HookPoint, columns: &[Column], panels: &mut Panels) {
        let Some(hooks) = self.hooks.as_mut().filter(|hooks| hooks.wants(point)) else { return };
        let features = panels.features();
        self.rows.resize(features * columns.len(), 0.0);
        for (column, row) in self.rows.chunks_exact_mut(features).enumerate() {
            copy_runs(panels.column(column), row);
        }
        hooks.visit(point, HookValues { columns, features, values: &mut self.rows });
        for (column, mut row) in self.rows.chunks_exact(features).enumerate() {
            for run in panels.column_mut(column) {
                let (head, tail) = row.split_at(run.len());
                run.copy_from_slice(head);
                row = tail;
            }
        }
    }

    /// Shows rows at a place: the first `features` of every `stride`.
    pub fn rows(
        &mut self,
        point: HookPoint,
        columns: &[Column],
        rows: &mut [f32],
        stride: usize,
        features: usize,
    ) {
        let Some(hooks) = self.hooks.as_mut().filter(|hooks| hooks.wants(point)) else { return };
        self.rows.clear();
        rows.chunks_exact(stride).for_each(|row| self.rows.extend_from_slice(&row[..features]));
        hooks.visit(point, HookValues { columns, features, values: &mut self.rows });
        for (row, values) in rows.chunks_exact_mut(stride).zip(self.rows.chunks_exact(features)) {
            row[..features].copy_from_slice(values);
        }
    }
}
