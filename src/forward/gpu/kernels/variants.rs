//! What kernels are compiled with: an encoding, and how many columns they multiply at once.

use bevy::shader::ShaderDefVal;

use crate::model::Encoding;

/// What compiles a kernel for an encoding.
pub fn encoding_def(encoding: Encoding) -> ShaderDefVal {
    ShaderDefVal::Bool(format!("ENCODING_{}", encoding.name()), true)
}

/// One variant per encoding.
pub(super) fn per_encoding() -> Vec<Vec<ShaderDefVal>> {
    Encoding::ALL.into_iter().map(|encoding| vec![encoding_def(encoding)]).collect()
}

/// How many columns a workgroup can multiply at once, one number for each variant of a product:
/// they share every decoded weight.
pub const COLUMNS_TOGETHER: [u32; 3] = [1, 4, 8];

/// Which of [`COLUMNS_TOGETHER`] is for a step of so many columns: the fewest that hold them all,
/// or else the most.
pub fn variant_for(columns: u32) -> usize {
    let holds = |together: &u32| *together >= columns;
    COLUMNS_TOGETHER.iter().position(holds).unwrap_or(COLUMNS_TOGETHER.len() - 1)
}

/// How often a step of so many columns reads every weight.
pub fn readings(columns: u32) -> u32 {
    columns.div_ceil(COLUMNS_TOGETHER[variant_for(columns)])
}

/// What compiles a product for one of [`COLUMNS_TOGETHER`].
pub fn product_defs(encoding: Encoding, columns: u32) -> Vec<ShaderDefVal> {
    vec![encoding_def(encoding), ShaderDefVal::UInt("COLUMNS".into(), columns)]
}

/// One variant of a product per encoding and number of columns.
pub(super) fn per_encoding_and_columns() -> Vec<Vec<ShaderDefVal>> {
    let variants = |encoding| COLUMNS_TOGETHER.map(|columns| product_defs(encoding, columns));
    Encoding::ALL.into_iter().flat_map(variants).collect()
}
