//! The parameters of the kernels, shared by a kernel and its twin. Field for field those of `shaders/types.wgsl`.

use bytemuck::{Pod, Zeroable};

/// Parameters of `rms_norm`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct RmsNormParams {
    /// Rows, each normalised by itself.
    pub rows: u32,
    /// Values in a row.
    pub width: u32,
    /// Added to the mean of the squares, so that a row of zeros stays finite.
    pub epsilon: f32,
    /// Makes the struct a multiple of 16 bytes, as a uniform must be.
    pub padding: u32,
}

impl RmsNormParams {
    /// Parameters for `rows` rows of `width` values.
    pub fn new(rows: u32, width: u32, epsilon: f32) -> Self {
        Self { rows, width, epsilon, padding: 0 }
    }
}
