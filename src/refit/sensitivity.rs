//! What each matrix costs in each encoding: the divergence with that matrix alone in it, measured
//! on the calibration text. Kept in a file, so that what was measured is not measured again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::model::convert::convert;
use crate::model::gguf::Gguf;
use crate::model::rewrite::rewrite;
use crate::model::{Encoding, ModelError, PixelModel};

use super::RefitError;
use super::divergence::{Divergence, ParentFigures};
use super::importance::ColumnImportance;
use super::text::RefitText;

/// What the file says of itself.
const FORMAT: &str = "pixel-llm sensitivity 1";

/// What was measured of a model's matrices.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sensitivities {
    format: String,
    /// The root hash of the model, in hexadecimal.
    pub model: String,
    /// What the calibration text was, in words: other words, other figures.
    pub text: String,
    /// By name of tensor and encoding, the divergence.
    of: BTreeMap<String, BTreeMap<String, Divergence>>,
}

impl Sensitivities {
    /// Nothing measured yet.
    pub fn new(model: &str, text: &str) -> Self {
        let (model, text) = (model.to_owned(), text.to_owned());
        Self { format: FORMAT.into(), model, text, of: BTreeMap::new() }
    }

    /// What a file has of this model and text; nothing where it is of others, or not there.
    pub fn read(path: &Path, model: &str, text: &str) -> Self {
        let read = std::fs::read(path).ok();
        let read = read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        read.filter(|read| read.format == FORMAT && read.model == model && read.text == text)
            .unwrap_or_else(|| Self::new(model, text))
    }

    /// Writes the file; it is whole at any time.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// What was measured of a tensor in an encoding.
    pub fn get(&self, tensor: &str, encoding: Encoding) -> Option<Divergence> {
        self.of.get(tensor)?.get(encoding.name()).copied()
    }

    /// Keeps what was measured.
    pub fn put(&mut self, tensor: &str, encoding: Encoding, found: Divergence) {
        self.of.entry(tensor.to_owned()).or_default().insert(encoding.name().into(), found);
    }
}

/// Makes children and compares them with their parent.
#[derive(Debug)]
pub struct ChildTrial<'a> {
    /// The parent.
    pub model: &'a PixelModel,
    /// How much inputs matter.
    pub importance: &'a ColumnImportance,
    /// A folder for children that are gone again.
    pub folder: &'a Path,
}

impl ChildTrial<'_> {
    /// A child whose tensors are in these encodings.
    ///
    /// # Errors
    /// It cannot be written or opened.
    pub fn child(&self, encodings: &[Encoding]) -> Result<CpuModel, RefitError> {
        let (gguf, pixels) = (self.folder.join("child.gguf"), self.folder.join("child.pxi"));
        for path in [&gguf, &pixels] {
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        rewrite(self.model, encodings, &self.importance.of, &[], &gguf, &|_| ())?;
        convert(&Gguf::open(&gguf).map_err(ModelError::from)?, &pixels, &|_| ())?;
        let model = Arc::new(PixelModel::open(&pixels)?);
        // It was written just now; what computes with it needs no checksums.
        let options = CpuOptions { verify: false, ..CpuOptions::default() };
        Ok(CpuModel::new(model, options)?)
    }

    /// What a child comes to on a text.
    ///
    /// # Errors
    /// It cannot be made, or cannot compute.
    pub fn measure(
        &self,
        encodings: &[Encoding],
        parent: &ParentFigures,
        text: &RefitText,
    ) -> Result<Divergence, RefitError> {
        Ok(parent.compare(&self.child(encodings)?, text)?)
    }
}
