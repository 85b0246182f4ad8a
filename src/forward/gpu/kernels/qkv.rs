//! Norm, and the query, key and value matrices.

use bevy::shader::ShaderDefVal;

use super::{
    KernelSource,
    bindings::{Bindings, LayerBindings},
    variants::{COLUMNS_TOGETHER, product_defs},
};
use crate::model::Encoding;

/// The kernel as it is written down.
pub(crate) const SOURCE: KernelSource =
    KernelSource { name: "qkv", bindings: LayerBindings::LIST, variants };

/// What compiles the kernel for the matrices `first` to `last` (0 query, 1 key, 2 value), stored in
/// `encoding`, and for `columns` columns per workgroup.
pub fn shader_defs(encoding: Encoding, first: u32, last: u32, columns: u32) -> Vec<ShaderDefVal> {
    let part = |name: &str, value| ShaderDefVal::UInt(name.into(), value);
    let mut defs = product_defs(encoding, columns);
    defs.extend([part("FIRST_PART", first), part("LAST_PART", last)]);
    defs
}

fn variants() -> Vec<Vec<ShaderDefVal>> {
    let mut variants = Vec::new();
    for columns in COLUMNS_TOGETHER {
        variants
            .extend(Encoding::ALL.into_iter().map(|encoding| shader_defs(encoding, 0, 2, columns)));
        for (first, last) in [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)] {
            variants.push(shader_defs(Encoding::Q4_K, first, last, columns));
        }
    }
    variants
}
