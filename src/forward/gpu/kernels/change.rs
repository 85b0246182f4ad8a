//! A caller's change to values on their way.

use super::KernelSource;
use super::bindings::{Bindings, ChangeBindings};
use crate::forward::params::ChangeParams;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "change", bindings: ChangeBindings::LIST, variants: || vec![vec![]] };

/// The workgroups that change all columns.
pub fn workgroups(params: &ChangeParams) -> [u32; 3] {
    [params.features.div_ceil(32), params.columns, 1]
}
