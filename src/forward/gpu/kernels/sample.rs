//! The next token, sampled and fed back.

use bevy::shader::ShaderDefVal;

use super::KernelSource;
use super::bindings::{Bindings, SampleBindings};

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "sample",
    bindings: SampleBindings::LIST,
    variants: || [false, true].map(shader_defs).to_vec(),
};

/// What compiles the kernel: as the chain has it, or greedy: only the most probable
/// token.
pub fn shader_defs(greedy: bool) -> Vec<ShaderDefVal> {
    if greedy { vec![ShaderDefVal::Bool("GREEDY".into(), true)] } else { Vec::new() }
}
