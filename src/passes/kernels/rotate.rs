//! Biases, norms per head and RoPE; keys and values to the cache.

use super::{
    KernelSource,
    layout::{Bound::*, layout},
};
use crate::passes::params::QkvParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "rotate",
    layout: || {
        layout("rotate", &[Params(size_of::<QkvParams>()), Read, Read, Read, Read, Write, Write, Write])
    },
    variants: || vec![vec![]],
};
