//! The last norm and the output matrix.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::passes::params::{LogitsParams, Places};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "logits",
    layout: || {
        let params = [Params(size_of::<Places>()), Params(size_of::<LogitsParams>())];
        layout("logits", &[Pages, Read, Write, params[0], params[1], Read, Write, Write])
    },
    variants: per_encoding_and_columns,
};
