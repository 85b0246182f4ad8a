//! The last norm and the output matrix.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding_and_columns},
};
use crate::forward::params::{LogitsParams, Places};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "logits",
    layout: |textures| {
        let params = [Params(size_of::<Places>()), Params(size_of::<LogitsParams>())];
        layout("logits", &[Pages, Read, Quads, params[0], params[1], Read, Write, Write], textures)
    },
    variants: per_encoding_and_columns,
};
