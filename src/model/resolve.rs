//! From what a person names to an opened model: a PXI-LLM file, or a GGUF file that is converted into a cache on first use.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::convert::{Progress, convert, work_in_bytes};
use super::error::ModelError;
use super::gguf::Gguf;
use super::{PixelModel, hex};
use crate::folders;

/// How a model that is named is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Default for Cache {
    /// `$PIXEL_LLM_CACHE`, else the platform's cache folder for `pixel-llm`, else a folder beside the temporary files.
    fn default() -> Self {
        let own = std::env::var_os("PIXEL_LLM_CACHE").map(PathBuf::from);
        let folder = own.or_else(|| Some(folders::cache()?.join("models")));
        Self { folder: folder.unwrap_or_else(|| std::env::temp_dir().join("pixel-llm-models")) }
    }
}

impl Cache {
    /// A cache in a folder of the caller's.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a model. A `.gguf` is converted into the cache unless a conversion of the same file, by path, size and time of
    /// change, is there and sound. `start` is told the bytes of work when a conversion begins, and gives what hears of its progress.
    ///
    /// # Errors
    /// The file cannot be read, converted or opened.
    pub fn open(
        &self,
        path: &Path,
        start: impl FnOnce(u64) -> Box<dyn Fn(u64) + Sync>,
    ) -> Result<PixelModel, ModelError> {
        if !is_gguf(path)? {
            return PixelModel::open(path);
        }
        let cached = self.folder.join(self.name_of(path)?);
        if let Ok(model) = PixelModel::open(&cached) {
            return Ok(model);
        }
        let io =
            |source| ModelError::Io { action: format!("make the folder {}", self.folder.display()), source };
        std::fs::create_dir_all(&self.folder).map_err(io)?;
        let gguf = Gguf::open(path)?;
        let progress = start(work_in_bytes(&gguf));
        let progress: Progress<'_> = &*progress;
        convert(&gguf, &cached, progress).map_err(|error| error.in_file(path))?;
        PixelModel::open(&cached)
    }

    /// A name that changes when the file does.
    fn name_of(&self, path: &Path) -> Result<String, ModelError> {
        let io = |source| ModelError::Io { action: format!("read {}", path.display()), source };
        let whole = path.canonicalize().map_err(io)?;
        let about = whole.metadata().map_err(io)?;
        let changed =
            about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let key = format!("{}\n{}\n{}\n1.0", whole.display(), about.len(), changed.as_nanos());
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(format!("{stem}-{}.pxi", &hex(&Sha256::digest(key))[..16]))
    }
}

/// Whether a file begins as GGUF does.
///
/// # Errors
/// The file cannot be opened.
pub fn is_gguf(path: &Path) -> Result<bool, ModelError> {
    use std::io::Read;
    let io = |source| ModelError::Io { action: format!("open {}", path.display()), source };
    let mut magic = [0; 4];
    let mut file = crate::files::open_regular(path).map_err(io)?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"GGUF")
}
