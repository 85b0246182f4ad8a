//! Whether an adapter fits a model.

use super::{Adapter, AdapterError};
use crate::model::{PixelModel, hex};

impl Adapter {
    /// Whether it fits a model: the family, and the shape of every matrix that it changes. One that
    /// was trained on another model is refused unless `any_base`; one that does not say on which is
    /// taken.
    ///
    /// # Errors
    /// It does not fit; the error names the matrix or both root hashes.
    pub fn check(&self, model: &PixelModel, any_base: bool) -> Result<(), AdapterError> {
        let name = || model.path().display().to_string();
        let misfit = |problem: String| Err(AdapterError::Shape { model: name(), problem });
        let family = model.config().architecture;
        if self.architecture != family {
            return misfit(format!("it is for the {} family, not {family}", self.architecture));
        }
        for update in &self.updates {
            let (tensor, shape) = (&update.tensor, [update.outputs, update.inputs]);
            let Some(found) = model.tensor(tensor) else {
                return misfit(format!("it changes {tensor}, which the model does not have"));
            };
            let found = [found.tiling.rows, found.tiling.columns];
            if found != shape.map(|size| size as u64) {
                return misfit(format!(
                    "it changes {tensor} of {} x {}, which is {} x {} in the model",
                    shape[0], shape[1], found[0], found[1]
                ));
            }
        }
        match self.base {
            Some(base) if base != model.header().root && !any_base => Err(AdapterError::Base {
                model: name(),
                trained: hex(&base),
                found: hex(&model.header().root),
            }),
            _ => Ok(()),
        }
    }
}
