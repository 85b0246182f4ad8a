//! The matrix back to the residual stream.

use super::{
    KernelSource,
    bindings::{Bindings, LayerBindings},
    variants::per_encoding_and_columns,
};

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "down",
    bindings: LayerBindings::LIST,
    variants: per_encoding_and_columns,
};
