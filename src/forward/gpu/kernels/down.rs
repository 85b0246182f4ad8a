//! The matrix back to the residual stream.

use super::{
    KernelSource,
    layout::{layer_layout, per_encoding_and_columns},
};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "down",
    layout: |textures| layer_layout("down", textures),
    variants: per_encoding_and_columns,
};
