//! Biases, norms per head and RoPE; keys and values to the cache.

use super::{KernelSource, layout::layer_layout};

/// The kernel as it is written down.
pub const SOURCE: KernelSource = KernelSource {
    name: "rotate",
    layout: |textures| layer_layout("rotate", textures),
    variants: || vec![vec![]],
};
