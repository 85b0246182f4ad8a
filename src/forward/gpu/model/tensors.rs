//! Finds tensors by name, for the kernels' parameters.

use super::GpuModelError;
use crate::forward::params::MatrixParams;
use crate::model::{Encoding, PixelModel, quant::dequantize};

pub(super) struct Tensors<'a>(pub &'a PixelModel);

/// A matrix and how it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatrixRef {
    pub params: MatrixParams,
    pub encoding: Encoding,
    pub bytes: u64,
}

impl Tensors<'_> {
    pub fn matrix(&self, name: &str) -> Result<MatrixRef, GpuModelError> {
        let missing = || GpuModelError::Tensor(name.to_owned());
        let tensor = self.0.tensor(name).ok_or_else(missing)?;
        let params = MatrixParams::new(tensor).ok_or_else(missing)?;
        if !params.columns.is_multiple_of(32) {
            return Err(GpuModelError::Shape {
                what: "a matrix's inputs",
                found: params.columns,
                multiple: 32,
            });
        }
        let bytes = tensor.tiling.size_in_bytes();
        Ok(MatrixRef { params, encoding: tensor.tiling.encoding, bytes })
    }

    /// A vector's numbers, which are few.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>, GpuModelError> {
        let index =
            self.0.tensor_index(name).ok_or_else(|| GpuModelError::Tensor(name.to_owned()))?;
        let tiling = &self.0.tensors()[index].tiling;
        let mut numbers = vec![0.0; tiling.columns as usize];
        let bytes = &self.0.tensor_bytes(index)[..tiling.size_in_bytes() as usize];
        dequantize(tiling.encoding, bytes, &mut numbers);
        Ok(numbers)
    }
}
