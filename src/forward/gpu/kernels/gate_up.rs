//! Norm, gate and up.

use super::{
    KernelSource,
    layout::{layer_layout, per_encoding_and_columns},
};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "gate_up",
    layout: |textures| layer_layout("gate_up", textures),
    variants: per_encoding_and_columns,
};
