//! Biases, norms per head and RoPE; keys and values to the cache.

use super::{
    KernelSource,
    bindings::{Bindings, LayerBindings},
};

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "rope", bindings: LayerBindings::LIST, variants: || vec![vec![]] };
