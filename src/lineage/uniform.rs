//! The control of a refit: the parent with all its matrices in one encoding, of as many bytes as a
//! child or the next more, encoded with importance as the child was. The gate makes it itself, so
//! that nobody brings a bad one to be better than.

use std::path::Path;

use super::error::LineageError;
use crate::forward::cpu::CpuModel;
use crate::model::Encoding;
use crate::model::rewrite::{matrices, size_in};
use crate::refit::{ChildTrial, RefitText, importance};

/// Encodings that a uniform file may be in.
const ENCODINGS: [Encoding; 8] = [
    Encoding::Q4_0,
    Encoding::Q4_K,
    Encoding::Q4_1,
    Encoding::Q5_0,
    Encoding::Q5_K,
    Encoding::Q5_1,
    Encoding::Q6_K,
    Encoding::Q8_0,
];

/// The uniform file of so many bytes or the next more, in a folder; `None` where none has as many.
pub(super) fn uniform_of(
    parent: &CpuModel,
    bytes: u64,
    calibration: &RefitText,
    folder: &Path,
) -> Result<Option<CpuModel>, LineageError> {
    let model = parent.model();
    let all = ENCODINGS.into_iter().filter_map(|encoding| {
        let mut encodings: Vec<Encoding> =
            model.tensors().iter().map(|tensor| tensor.encoding()).collect();
        for at in matrices(model) {
            size_in(model, at, encoding)?;
            encodings[at] = encoding;
        }
        let size = (0..encodings.len()).map(|at| size_in(model, at, encodings[at]).unwrap_or(0));
        Some((size.sum::<u64>(), encodings))
    });
    let enough = all.filter(|(size, _)| *size >= bytes).min_by_key(|(size, _)| *size);
    let Some((_, encodings)) = enough else { return Ok(None) };
    let importance = importance(parent, calibration, &|_| ())?;
    let trial = ChildTrial { model, importance: &importance, folder };
    Ok(Some(trial.child(&encodings)?))
}
