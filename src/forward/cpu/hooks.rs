//! What a pass on the CPU does beside computing: hooks act at every [`HookPoint`], and kernels are
//! timed.
//!
//! Kernels call [`Tap`] at each place; without hooks that costs one branch, with hooks the values
//! are copied to rows, watched or changed there, and copied back.

use bytemuck::Zeroable;

use super::activations::{Panels, copy_runs};
use super::change::change;
use super::kernel_timings::{Kernel, KernelTimings};
use super::{Column, ForwardError};
use crate::forward::params::ChangeParams;
use crate::forward::{Hook, HookAction, HookPoint, Hooks, Watched};
use crate::model::ModelConfig;

impl Hooks {
    /// Forgets what was seen, and makes room for what is seen in a pass of these columns.
    pub(super) fn start(
        &mut self,
        config: &ModelConfig,
        columns: &[Column],
    ) -> Result<(), ForwardError> {
        self.watched.clear();
        for hook in &self.hooks {
            hook.check(config, columns)?;
            if hook.action == HookAction::Watch {
                self.watched.push(Watched {
                    point: hook.point,
                    columns: Vec::new(),
                    features: hook.point.features(config) as usize,
                    values: Vec::new(),
                });
            }
        }
        Ok(())
    }

    fn wants(&self, point: HookPoint) -> bool {
        self.hooks.iter().any(|hook| hook.point == point)
    }

    /// Acts on the rows of some columns, the first of which is column `first` of the pass.
    fn act(&mut self, point: HookPoint, columns: &[Column], first: usize, rows: &mut [f32]) {
        let features = rows.len() / columns.len();
        let mut watched = self.watched.iter_mut();
        for hook in &self.hooks {
            // Before any hook is passed over: the lists stand in the order of all that watch.
            let watched = (hook.action == HookAction::Watch).then(|| watched.next()).flatten();
            let start = (hook.columns.start as usize).max(first);
            let end = (hook.columns.end as usize).min(first + columns.len());
            if hook.point != point || start >= end {
                continue;
            }
            let rows = &mut rows[(start - first) * features..(end - first) * features];
            match watched {
                Some(watched) => {
                    watched.columns.extend_from_slice(&columns[start - first..end - first]);
                    watched.values.extend_from_slice(rows);
                }
                None => change_rows(hook, start, features, rows),
            }
        }
    }
}

/// Changes the rows from column `start` of the pass on.
fn change_rows(hook: &Hook, start: usize, features: usize, rows: &mut [f32]) {
    let zeros;
    // A hook may span batches: its values begin at its own first column.
    let given = |values: &'_ [f32]| (start - hook.columns.start as usize) * features..values.len();
    let (scale, added) = match &hook.action {
        HookAction::Watch => return,
        HookAction::Replace(values) => (0.0, &values[given(values)]),
        HookAction::Add(values) => (1.0, &values[given(values)]),
        HookAction::Scale(factor) => {
            zeros = vec![0.0; rows.len()];
            (*factor, &zeros[..])
        }
    };
    let columns = rows.len() / features;
    let starts: Vec<u32> = (0..columns).map(|column| (column * features) as u32).collect();
    let params = ChangeParams {
        features: features as u32,
        columns: columns as u32,
        scale,
        ..ChangeParams::zeroed()
    };
    change(&params, &starts, added, rows);
}

/// The hooks of a pass and its clock, if there are any.
pub(super) struct Tap<'h> {
    hooks: Option<&'h mut Hooks>,
    laps: Option<&'h mut KernelTimings>,
    rows: Vec<f32>,
    /// Columns before the batch, and those of them that want logits.
    before: [usize; 2],
}

impl<'h> Tap<'h> {
    pub fn new(hooks: Option<&'h mut Hooks>, laps: Option<&'h mut KernelTimings>) -> Self {
        Self { hooks, laps, rows: Vec::new(), before: [0; 2] }
    }

    /// Notes that a kernel has run.
    pub(crate) fn lap(&mut self, kernel: Kernel) {
        if let Some(laps) = &mut self.laps {
            laps.lap(kernel);
        }
    }

    /// Notes that a batch has gone through the model.
    pub(crate) fn end_batch(&mut self, columns: usize, wanted: usize) {
        self.before = [self.before[0] + columns, self.before[1] + wanted];
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
        hooks.act(point, columns, self.before[usize::from(point.is_of_logits())], &mut self.rows);
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
        hooks.act(point, columns, self.before[usize::from(point.is_of_logits())], &mut self.rows);
        for (row, values) in rows.chunks_exact_mut(stride).zip(self.rows.chunks_exact(features)) {
            row[..features].copy_from_slice(values);
        }
    }
}
