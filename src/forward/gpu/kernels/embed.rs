//! Token ids to rows of the residual stream.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding},
};
use crate::forward::params::{EmbedParams, Places};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "embed",
    layout: |textures| {
        let bound = [
            Pages,
            Read,
            Quads,
            Params(size_of::<Places>()),
            Params(size_of::<EmbedParams>()),
            Read,
            Read,
            Write,
        ];
        layout("embed", &bound, textures)
    },
    variants: per_encoding,
};
