//! The control of a refit: the parent with all its matrices in one encoding, of as many bytes as a
//! child or the next more, encoded with importance as the child was. The gate makes it itself, so
//! that nobody brings a bad one to be better than.

use std::path::Path;

use super::error::LineageError;
use crate::forward::cpu::CpuModel;
use crate::refit::{ChildTrial, ENCODINGS, RefitText, importance, uniform};

/// The uniform file of so many bytes or the next more, in a folder; `None` where none has as many.
pub(super) fn uniform_of(
    parent: &CpuModel,
    bytes: u64,
    calibration: &RefitText,
    folder: &Path,
) -> Result<Option<CpuModel>, LineageError> {
    let model = parent.model();
    let Some((_, encodings)) = uniform(model, &ENCODINGS, bytes) else { return Ok(None) };
    let importance = importance(parent, calibration, &|_| ())?;
    let trial = ChildTrial { model, importance: &importance, folder };
    Ok(Some(trial.child(&encodings)?))
}
