//! The model's weights by another way than the kernels': exported to GGUF, read there and unpacked
//! whole.

use std::path::PathBuf;

use super::{ModelContext, WorkError, WorkResult};
use crate::model::export::export;
use crate::model::gguf::{Gguf, GgufWriter, TensorInfo};
use crate::model::quant::dequantize;
use crate::model::resolve::check_temporary_room;
use crate::model::{Encoding, ModelError};

/// The GGUF file of a model in a folder that goes with this value.
#[derive(Debug)]
pub(super) struct ExportedModel {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
    pub gguf: Gguf,
}

/// A matrix: `columns` inputs, rows one after another.
#[derive(Debug)]
pub(super) struct PlainTensor {
    pub columns: usize,
    pub weights: Vec<f32>,
}

impl ExportedModel {
    pub fn new(context: &ModelContext) -> WorkResult<Self> {
        let folder = tempfile::tempdir().map_err(WorkError::other)?;
        let path = folder.path().join("source.gguf");
        check_temporary_room(folder.path(), context.model.header().model_size_in_bytes)?;
        export(&context.model, &path, &|_| ())?;
        let gguf = Gguf::open(&path).map_err(ModelError::from)?;
        Ok(Self { folder, path, gguf })
    }

    pub fn tensor(&self, name: &str) -> WorkResult<PlainTensor> {
        let tensor = self.gguf.tensor(name);
        let tensor =
            tensor.ok_or_else(|| WorkError::Other(format!("the model has no tensor {name}")))?;
        let bytes = self.gguf.read(tensor).map_err(ModelError::from)?;
        let count: u64 = tensor.dims.iter().product();
        let mut weights = vec![0.0; count as usize];
        dequantize(tensor.encoding, &bytes, &mut weights);
        Ok(PlainTensor { columns: tensor.dims[0] as usize, weights })
    }

    /// A tensor that a family may do without.
    pub(crate) fn optional(&self, name: &str) -> WorkResult<Option<PlainTensor>> {
        self.gguf.tensor(name).map(|_| self.tensor(name)).transpose()
    }

    /// Writes the same model with every weight unpacked to F32, tensor by tensor.
    pub(crate) fn write_unpacked(&self) -> WorkResult<PathBuf> {
        let path = self.folder.path().join("unpacked.gguf");
        let info = |tensor: &crate::model::gguf::GgufTensor| TensorInfo {
            name: tensor.name.clone(),
            dims: tensor.dims.clone(),
            encoding: Encoding::F32,
        };
        let infos: Vec<TensorInfo> = self.gguf.tensors().iter().map(info).collect();
        let weights: u64 = infos.iter().map(|info| info.dims.iter().product::<u64>()).sum();
        check_temporary_room(self.folder.path(), weights.saturating_mul(4))?;
        let mut writer =
            GgufWriter::create(&path, self.gguf.metadata(), &infos).map_err(ModelError::from)?;
        for info in &infos {
            let weights = self.tensor(&info.name)?.weights;
            let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
            writer.write(&bytes).map_err(ModelError::from)?;
        }
        writer.finish().map_err(ModelError::from)?;
        Ok(path)
    }
}

impl PlainTensor {
    /// Each row times `input`, in double precision.
    pub fn times(&self, input: &[f32]) -> Vec<f64> {
        let row =
            |row: &[f32]| row.iter().zip(input).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
        self.weights.chunks_exact(self.columns).map(row).collect()
    }
}
