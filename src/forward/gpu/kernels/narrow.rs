//! What the first factors of adapters make of what a layer's matrices read.

use bevy::shader::ShaderDefVal;

use super::KernelSource;
use super::bindings::{Bindings, LayerBindings};
use super::family::adapters_def;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "narrow", bindings: LayerBindings::LIST, variants };

/// What compiles the kernel for one of the four points of a layer: what query, key and value read,
/// the output matrix, gate and up, down.
pub fn shader_defs(point: u32) -> Vec<ShaderDefVal> {
    vec![ShaderDefVal::UInt("POINT".into(), point)]
}

fn variants() -> Vec<Vec<ShaderDefVal>> {
    (0..4).map(|point| [shader_defs(point), vec![adapters_def()]].concat()).collect()
}
