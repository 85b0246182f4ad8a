//! What travels inside the program, and the folder that may stand in for it file by file.

use std::path::{Path, PathBuf};

use crate::model::{ModelError, PixelModel};

/// The name of the model that answers when none is named.
pub const DEFAULT_MODEL: &str = "models/seedling.pxi";

/// Bytes that begin where a memory page does, as a mapped file's would: tiles inside keep their alignment.
#[repr(C, align(4096))]
struct PageAligned<const N: usize>([u8; N]);

static SEEDLING: PageAligned<{ include_bytes!("../assets/models/seedling.pxi").len() }> =
    PageAligned(*include_bytes!("../assets/models/seedling.pxi"));

/// The assets: built in, and overridden by a folder where it has a file of the same name.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    folder: Option<PathBuf>,
}

impl Assets {
    /// Assets that a folder may override.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The path of an asset in the overriding folder, if it is there.
    pub fn overridden(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.as_deref()?.join(Path::new(name));
        path.is_file().then_some(path)
    }

    /// The model that answers when none is named.
    ///
    /// # Errors
    /// The overriding file is no sound model.
    pub fn default_model(&self) -> Result<PixelModel, ModelError> {
        match self.overridden(DEFAULT_MODEL) {
            Some(path) => PixelModel::open(&path),
            None => PixelModel::from_static("built-in seedling", &SEEDLING.0),
        }
    }
}
