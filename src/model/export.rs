//! PXI-LLM back to GGUF: every tensor's bytes and every metadata pair as they were.

use rayon::prelude::*;

use super::adapter::bytes_of;
use super::convert::{Progress, band_bytes};
use super::error::ModelError;
use super::gguf::{GgufWriter, TensorInfo};
use super::pixel_model::PixelModel;
use super::quant::Encoding;
use super::rearrange::gather;
use super::tensors::Tensor;
use super::tiling::Layout;
use crate::pxi::Target;

/// Bands that are gathered side by side before they are written in order: enough for every core,
/// little in memory.
const BANDS_AT_ONCE: usize = 32;

/// Writes the model as a GGUF file. Every tile is verified on the way.
///
/// # Errors
/// A tile is damaged, or the file cannot be written. Nothing is left behind then.
pub fn export(
    model: &PixelModel,
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    let infos = tensor_infos(model);
    let mut writer = GgufWriter::create(target, model.metadata(), &infos)?;
    write_tensors(model, &mut writer, &|_, _, band| band, progress)?;
    writer.finish()?;
    Ok(())
}

/// Writes a model of the same shapes and metadata with other weights, as a GGUF file. `weights`
/// gives all numbers of a tensor by its place in the table, a row after another, or none where it
/// stays as it is. Matrices are stored in `encoding`, which is F32, F16 or BF16, vectors as F32.
///
/// # Errors
/// A number does not fit the encoding, a tile is damaged, or the file cannot be written. Nothing is
/// left behind then.
pub fn export_floats<'a>(
    model: &PixelModel,
    encoding: Encoding,
    weights: &(dyn Fn(usize) -> Option<&'a [f32]> + Sync),
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    let mut infos = tensor_infos(model);
    for (index, (info, tensor)) in infos.iter_mut().zip(model.tensors()).enumerate() {
        if weights(index).is_some() {
            info.encoding = match tensor.tiling.layout {
                Layout::Matrix => encoding,
                Layout::Vector => Encoding::F32,
            };
        }
    }
    let metadata = model.metadata().clone().with_file_type(encoding);
    let mut writer = GgufWriter::create(target, &metadata, &infos)?;
    let unfit = std::sync::OnceLock::new();
    let change = |index: usize, row: u64, band: Vec<u8>| {
        let Some(numbers) = weights(index) else { return band };
        let tensor = &model.tensors()[index];
        let before = tensor.encoding();
        let count = band.len() / before.block_bytes() * before.block_len();
        let first = (row * tensor.tiling.columns) as usize;
        let after = infos[index].encoding;
        bytes_of(&numbers[first..first + count], after).unwrap_or_else(|| {
            // The first is told; the file is given up below.
            let _ = unfit.set(index);
            vec![0; count / after.block_len() * after.block_bytes()]
        })
    };
    write_tensors(model, &mut writer, &change, progress)?;
    if let Some(&index) = unfit.get() {
        let problem = format!("a weight is infinite, no number or too large for {encoding}");
        return Err(ModelError::tensor(&model.tensors()[index].name, problem));
    }
    writer.finish()?;
    Ok(())
}

/// The tensors as a GGUF file's header has them.
pub(super) fn tensor_infos(model: &PixelModel) -> Vec<TensorInfo> {
    let info = |tensor: &Tensor| TensorInfo {
        name: tensor.name.clone(),
        dims: tensor.dimensions.clone(),
        encoding: tensor.encoding(),
    };
    model.tensors().iter().map(info).collect()
}

/// Writes the bytes of all tensors, band by band, as `change` gives them: it gets the tensor's
/// place in the table, the first row of the band (0 in vectors) and its bytes as they were.
/// Progress counts those.
pub(super) fn write_tensors(
    model: &PixelModel,
    writer: &mut GgufWriter,
    change: &(dyn Fn(usize, u64, Vec<u8>) -> Vec<u8> + Sync),
    progress: Progress<'_>,
) -> Result<(), ModelError> {
    let mut done = 0;
    for (index, tensor) in model.tensors().iter().enumerate() {
        let step = match tensor.tiling.layout {
            Layout::Matrix => tensor.tiling.tiles_across(),
            Layout::Vector => 1,
        };
        let starts: Vec<u64> = (0..tensor.tiling.tile_count()).step_by(step as usize).collect();
        for starts in starts.chunks(BANDS_AT_ONCE) {
            let changed = |&first: &u64| {
                let band = band(model, tensor, first, step)?;
                let row = tensor.tiling.tile(first).rows.start;
                Ok((band.len() as u64, change(index, row, band)))
            };
            let bands: Result<Vec<(u64, Vec<u8>)>, ModelError> =
                starts.par_iter().map(changed).collect();
            for (size, band) in bands? {
                writer.write(&band)?;
                done += size;
                progress(done);
            }
        }
    }
    Ok(())
}

/// The GGUF bytes of a row of tiles.
fn band(
    model: &PixelModel,
    tensor: &Tensor,
    first: u64,
    count: u64,
) -> Result<Vec<u8>, ModelError> {
    let (_, size) = band_bytes(tensor, first);
    let mut band = vec![0; size as usize];
    for index in first..first + count {
        let tile = model.tile(tensor.first_tile + index as u32)?;
        gather(&tensor.tiling, &tensor.tiling.tile(index), tile, &mut band);
    }
    Ok(band)
}
