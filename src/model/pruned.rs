//! A model without some of its heads or layers, written as a GGUF file of its own.
//!
//! A head that is muted stays in the file, since the shapes of a layer are those of all its heads:
//! the columns of the layer's output matrix that read it are zeros, exactly, so that it gives
//! nothing in any program. A layer that is left out is not in the file, and those behind it move
//! up.

use std::collections::BTreeSet;

use super::convert::Progress;
use super::error::ModelError;
use super::export::{tensor_infos, write_tensors};
use super::gguf::{GgufWriter, TensorInfo, Value};
use super::quant::silence;
use super::{PixelModel, Tensor};
use crate::pxi::Target;

/// The matrix that reads the heads of a layer.
const READS_HEADS: &str = "attn_output.weight";

/// Whether heads of a model can be muted in a file.
///
/// # Errors
/// A matrix has an encoding in whose groups a head does not begin or end; it is named.
pub fn check_heads(model: &PixelModel) -> Result<(), ModelError> {
    let size = model.config().head_size as usize;
    let reads = |tensor: &&Tensor| tensor.layer().is_some_and(|(_, name)| name == READS_HEADS);
    let unfit = |tensor: &&Tensor| !size.is_multiple_of(tensor.encoding().silent_unit());
    match model.tensors().iter().filter(reads).find(unfit) {
        None => Ok(()),
        Some(tensor) => {
            let (encoding, unit) = (tensor.encoding(), tensor.encoding().silent_unit());
            let problem = format!(
                "heads have {size} columns, and {encoding} can zero {unit} at a time: take the \
                 model in F16 or Q8_0"
            );
            Err(ModelError::tensor(&tensor.name, problem))
        }
    }
}

/// Writes the model with some heads muted, by layer and head, and more pairs of metadata.
///
/// # Errors
/// [`check_heads`] refuses it, a tile is damaged, or the file cannot be written. Nothing is left
/// behind then.
pub fn without_heads(
    model: &PixelModel,
    heads: &[(u32, u32)],
    extra: &[(String, Value)],
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    check_heads(model)?;
    let size = model.config().head_size as usize;
    let infos = tensor_infos(model);
    let mut writer = GgufWriter::create(target, &pairs(model, extra), &infos)?;
    let change = |index: usize, _: u64, mut band: Vec<u8>| {
        let tensor = &model.tensors()[index];
        let Some((layer, READS_HEADS)) = tensor.layer() else { return band };
        let encoding = tensor.encoding();
        let row_bytes = encoding.row_bytes(tensor.tiling.columns).unwrap_or(1) as usize;
        for &(_, head) in heads.iter().filter(|(of, _)| *of == layer) {
            let columns = head as usize * size..(head as usize + 1) * size;
            for row in band.chunks_exact_mut(row_bytes) {
                silence(encoding, row, columns.clone());
            }
        }
        band
    };
    write_tensors(model, &mut writer, &change, progress)?;
    writer.finish()?;
    Ok(())
}

/// Writes the model without some layers, and more pairs of metadata.
///
/// # Errors
/// No layer would be left, a pair of its metadata says something of each layer, a tile is damaged,
/// or the file cannot be written. Nothing is left behind then.
pub fn without_layers(
    model: &PixelModel,
    layers: &BTreeSet<u32>,
    extra: &[(String, Value)],
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    let config = model.config();
    let count = config.layer_count;
    let left = (0..count).filter(|layer| !layers.contains(layer)).count() as u32;
    if left == 0 {
        return Err(ModelError::field("block_count", 0, "at least one layer that is left"));
    }
    let key = format!("{}.block_count", config.architecture.name());
    let mut metadata = pairs(model, extra);
    for (name, value) in &mut metadata {
        match value {
            _ if *name == key => *value = Value::U32(left),
            Value::Array(array) if array.len() == count as usize => {
                let found = format!("something of each of {count} layers");
                return Err(ModelError::field(&*name, found, "nothing of single layers"));
            }
            _ => (),
        }
    }
    let is_left = |index: usize| {
        let layer = model.tensors()[index].layer();
        layer.is_none_or(|(layer, _)| !layers.contains(&layer))
    };
    let moved = |(index, mut info): (usize, TensorInfo)| {
        if let Some((layer, name)) = model.tensors()[index].layer() {
            let place = (0..layer).filter(|before| !layers.contains(before)).count();
            info.name = format!("blk.{place}.{name}");
        }
        info
    };
    let infos: Vec<TensorInfo> = tensor_infos(model)
        .into_iter()
        .enumerate()
        .filter(|(index, _)| is_left(*index))
        .map(moved)
        .collect();
    let mut writer = GgufWriter::create(target, &metadata, &infos)?;
    let change =
        |index: usize, _: u64, band: Vec<u8>| if is_left(index) { band } else { Vec::new() };
    write_tensors(model, &mut writer, &change, progress)?;
    writer.finish()?;
    Ok(())
}

/// The model's pairs of metadata, with more in the place of those of the same keys.
fn pairs(model: &PixelModel, extra: &[(String, Value)]) -> Vec<(String, Value)> {
    let mut pairs: Vec<(String, Value)> = model.metadata().clone().into();
    pairs.retain(|(key, _)| extra.iter().all(|(other, _)| other != key));
    pairs.extend(extra.iter().cloned());
    pairs
}
