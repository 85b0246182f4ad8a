//! A model in other encodings: each matrix in the one that is chosen for it, written as a GGUF file
//! of its own. Vectors stay as they are.
//!
//! In: a model, an encoding for each tensor and, if it is known, how much each input of a matrix
//! matters. Out: a GGUF file. The model's own bytes are not touched; what is in its encoding
//! already is copied bit for bit.

use std::sync::{Mutex, PoisonError};

use super::convert::Progress;
use super::error::ModelError;
use super::export::{tensor_infos, write_tensors};
use super::gguf::{GgufWriter, Metadata, Value};
use super::quant::{dequantize, encode};
use super::tiling::Layout;
use super::{Encoding, PixelModel};
use crate::pxi::Target;

/// The tensors whose encoding can be chosen, by their place in the table: matrices.
pub fn matrices(model: &PixelModel) -> impl Iterator<Item = usize> {
    let tensors = model.tensors().iter().enumerate();
    tensors.filter(|(_, tensor)| tensor.tiling.layout == Layout::Matrix).map(|(index, _)| index)
}

/// Bytes of a tensor in an encoding; `None` where its rows are no whole number of blocks.
pub fn size_in(model: &PixelModel, tensor: usize, encoding: Encoding) -> Option<u64> {
    let tiling = &model.tensors()[tensor].tiling;
    encoding.row_bytes(tiling.columns)?.checked_mul(tiling.rows)
}

/// Writes the model with its tensors in other encodings, one for each in the order of the table.
/// `importance` has, for a tensor, a number for each of its columns, or nothing.
///
/// # Errors
/// A tile is damaged, a weight does not fit its encoding, or the file cannot be written. Nothing is
/// left behind then.
///
/// # Panics
/// There is not one encoding for each tensor, or one that its rows are no whole blocks of.
pub fn rewrite(
    model: &PixelModel,
    encodings: &[Encoding],
    importance: &[Option<Vec<f32>>],
    extra: &[(String, Value)],
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    let mut infos = tensor_infos(model);
    assert!(infos.len() == encodings.len() && infos.len() == importance.len());
    infos.iter_mut().zip(encodings).for_each(|(info, encoding)| info.encoding = *encoding);
    let metadata = metadata(model, encodings, extra);
    let mut writer = GgufWriter::create(target, &metadata, &infos)?;
    let problem = Mutex::new(None);
    let change = |index: usize, row: u64, band: Vec<u8>| {
        let tensor = &model.tensors()[index];
        let (before, after) = (tensor.encoding(), encodings[index]);
        if before == after {
            return band;
        }
        let columns = tensor.tiling.columns as usize;
        match reencode(before, after, columns, &band, importance[index].as_deref()) {
            Ok(bytes) => bytes,
            Err((at, error)) => {
                let error = format!("row {}: {error}", row + at as u64);
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some((index, error));
                let rows = band.len() / before.row_bytes(columns as u64).unwrap_or(1) as usize;
                vec![0; rows * after.row_bytes(columns as u64).unwrap_or(0) as usize]
            }
        }
    };
    write_tensors(model, &mut writer, &change, progress)?;
    if let Some((index, problem)) = problem.into_inner().unwrap_or_default() {
        return Err(ModelError::tensor(&model.tensors()[index].name, problem));
    }
    writer.finish()?;
    Ok(())
}

/// Rows in another encoding, or the first that cannot be and why.
fn reencode(
    before: Encoding,
    after: Encoding,
    columns: usize,
    band: &[u8],
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, (usize, crate::model::quant::BlockError)> {
    let row_bytes = columns / before.block_len() * before.block_bytes();
    let mut weights = vec![0.0; columns];
    let mut out = Vec::new();
    for (row, bytes) in band.chunks_exact(row_bytes).enumerate() {
        dequantize(before, bytes, &mut weights);
        out.extend(encode(after, &weights, importance).map_err(|error| (row, error))?);
    }
    Ok(out)
}

/// The model's pairs, with the type of the file that most of its weights have now, and more.
fn metadata(model: &PixelModel, encodings: &[Encoding], extra: &[(String, Value)]) -> Metadata {
    let weights = |wanted: Encoding| -> u64 {
        let tensors = model.tensors().iter().zip(encodings);
        tensors.filter(|(_, is)| **is == wanted).map(|(tensor, _)| tensor.weight_count()).sum()
    };
    let most = Encoding::ALL.into_iter().max_by_key(|encoding| weights(*encoding));
    let metadata = model.metadata().clone().with_file_type(most.unwrap_or(Encoding::F32));
    let mut pairs: Vec<(String, Value)> = metadata.into();
    pairs.retain(|(key, _)| extra.iter().all(|(other, _)| other != key));
    pairs.extend(extra.iter().cloned());
    pairs.into()
}
