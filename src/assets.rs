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

    /// Files of the overriding folder below `folder` that end in `suffix` and stand in for none of the built-in `names`, in the order of
    /// their names.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn others(
        &self,
        folder: &str,
        suffix: &str,
        names: &[&str],
    ) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
        let Some(root) = &self.folder else { return Ok(Vec::new()) };
        let path = root.join(folder);
        if !path.is_dir() {
            return Ok(Vec::new());
        }
        let failed = |source| (path.clone(), source);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let stands_in = names.iter().any(|name| root.join(name) == file);
            if !stands_in && file.to_string_lossy().ends_with(suffix) && file.is_file() {
                found.push(file);
            }
        }
        found.sort();
        Ok(found)
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
