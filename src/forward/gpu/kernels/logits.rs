//! The last norm and the output matrix.

use super::KernelSource;
use super::bindings::{Bindings, LogitsBindings};
use super::variants::per_encoding_and_columns;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "logits",
    bindings: LogitsBindings::LIST,
    variants: per_encoding_and_columns,
};
