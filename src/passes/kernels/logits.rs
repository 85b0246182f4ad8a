//! The last norm and the output matrix.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::passes::params::LogitsParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "logits",
    layout: || {
        layout("logits", &[Pages, Read, Read, Read, Params(size_of::<LogitsParams>()), Read, Write, Write])
    },
    variants: per_encoding_and_columns,
};
