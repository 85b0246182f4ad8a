//! The matrix back to the residual stream.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::passes::params::DownParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "down",
    layout: || {
        layout("down", &[Pages, Read, Read, Params(size_of::<DownParams>()), Read, Write, Write, Write])
    },
    variants: per_encoding_and_columns,
};
