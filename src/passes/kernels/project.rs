//! The attention output matrix, added to the residual stream.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::passes::params::ProjectParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "project",
    layout: || {
        layout("project", &[Pages, Read, Read, Params(size_of::<ProjectParams>()), Read, Write, Write, Write])
    },
    variants: per_encoding_and_columns,
};
