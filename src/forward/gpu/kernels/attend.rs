//! Every query head over the keys and values of its sequence.

use bevy::shader::ShaderDefVal;

use super::{
    KernelSource,
    bindings::{Bindings, LayerBindings},
};

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "attend",
    bindings: LayerBindings::LIST,
    variants: || {
        [(8, 1), (32, 2), (64, 3), (64, 4), (96, 1), (128, 4)]
            .map(|(size, heads)| shader_defs(size, heads))
            .to_vec()
    },
};

/// The most query heads of a workgroup: what a lane holds for each is held for all.
const MOST_HEADS: u32 = 4;

/// How many query heads share a workgroup, of those that share a KV head.
pub(crate) fn heads_together(heads_per_kv: u32) -> u32 {
    // As many as can: they read each key and value together.
    (1..=MOST_HEADS).rev().find(|heads| heads_per_kv.is_multiple_of(*heads)).unwrap_or(1)
}

/// What compiles the kernel for a head size and a number of heads per workgroup.
pub fn shader_defs(head_size: u32, heads: u32) -> Vec<ShaderDefVal> {
    [("HEAD_SIZE", head_size), ("HEADS", heads)]
        .map(|(name, value)| ShaderDefVal::UInt(name.into(), value))
        .to_vec()
}
