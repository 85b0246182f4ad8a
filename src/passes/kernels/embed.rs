//! Token ids to rows of the residual stream.

use super::{
    KernelSource,
    layout::{Bound::*, layout, per_encoding},
};
use crate::passes::params::EmbedParams;

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "embed",
    layout: || {
        layout("embed", &[Pages, Read, Read, Params(size_of::<EmbedParams>()), Read, Write, Write, Write])
    },
    variants: per_encoding,
};
