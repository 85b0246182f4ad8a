//! A whole layer in one dispatch, by persistent workgroups, which wait for each other.
//!
//! Only for software adapters: on others nothing promises that workgroups run side by side, nor
//! that one sees what another has written. What would go wrong is found out: a barrier that takes
//! too long is counted, and a trial compares the result.

use bevy::shader::ShaderDefVal;

use super::{
    KernelSource, attend,
    bindings::{Bindings, LayerBindings},
    variants::{COLUMNS_TOGETHER, product_defs},
};
use crate::model::Encoding;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "fused_layer", bindings: LayerBindings::LIST, variants };

/// Words that a layer counts in: one per barrier, and one per phase for its work items.
pub(crate) const WORDS_PER_LAYER: u32 = 9;

/// Words before those of the layers: what failed, and the columns of the step.
pub(crate) const WORDS: u32 = 2;

/// The most columns of a step: beyond, what a dispatch costs is little beside what it does.
pub(crate) const MOST_COLUMNS: u32 = 8;

/// The most turns of loops that a workgroup may compute for. A software adapter ends all loops
/// after 65,535, and those who wait take 40,000 of them.
pub(crate) const MOST_TURNS: u32 = 20_000;

/// What compiles the kernel for an encoding of all the layer's matrices, a head size, a number of
/// heads together, and one of [`COLUMNS_TOGETHER`].
pub fn shader_defs(
    encoding: Encoding,
    head_size: u32,
    heads: u32,
    columns: u32,
) -> Vec<ShaderDefVal> {
    let mut defs = product_defs(encoding, columns);
    defs.extend(attend::shader_defs(head_size, heads));
    // Query, key and value together: in a layer that is one dispatch they share an encoding.
    defs.extend(
        [("FIRST_PART", 0), ("LAST_PART", 2)]
            .map(|(name, value)| ShaderDefVal::UInt(name.into(), value)),
    );
    defs
}

fn variants() -> Vec<Vec<ShaderDefVal>> {
    let variants = |encoding| COLUMNS_TOGETHER.map(|columns| shader_defs(encoding, 64, 3, columns));
    Encoding::ALL.into_iter().flat_map(variants).collect()
}
