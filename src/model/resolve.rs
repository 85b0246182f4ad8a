//! From what a person names to an opened model: a PXI-LLM file, or a GGUF file that is converted into a cache on first use.
//!
//! A conversion is known by all files it was made of. Before it is used, what is damaged is noticed and made anew; what
//! was not used for longest goes when there is too much.

mod keep;
mod key;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub use keep::{Entry, free_bytes};
use keep::{Note, Turn, entries, remove_leftovers, touch};
use key::{Key, parts};

use super::PixelModel;
use super::convert::{Progress, convert, file_size_in_bytes, work_in_bytes};
use super::error::ModelError;
use super::gguf::Gguf;
use super::verify::verify;
use crate::folders;

/// The variable that names the cache's folder.
pub const FOLDER_VARIABLE: &str = "PIXEL_LLM_CACHE";
/// The variable that bounds the cache.
pub const LIMIT_VARIABLE: &str = "PIXEL_LLM_CACHE_LIMIT";
/// The bound where nobody says.
const DEFAULT_LIMIT: u64 = 20 << 30;
/// What is left free on a disk for others.
const SPARE: u64 = 64 << 20;

/// How a model that is named is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
    /// Whether somebody named the folder, who then wants it and no other.
    named: bool,
}

impl Default for Cache {
    /// `$PIXEL_LLM_CACHE`, else the platform's cache folder for `pixel-llm`, else a folder beside the temporary files.
    fn default() -> Self {
        if let Some(own) = folders::variable(FOLDER_VARIABLE) {
            return Self::new(PathBuf::from(own));
        }
        let folder = folders::cache().map(|folder| folder.join("models"));
        let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("pixel-llm-models"));
        Self { folder, named: false }
    }
}

/// What a cache does that its user should hear of.
#[derive(Debug)]
#[non_exhaustive]
pub enum CacheNote {
    /// Another process converts the same model.
    Waiting,
    /// A conversion begins.
    Converting {
        /// The model.
        model: PathBuf,
        /// Where to.
        folder: PathBuf,
        /// How large it becomes.
        size_in_bytes: u64,
    },
    /// A conversion was damaged; it is made anew.
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// What killed runs left has been removed.
    Leftovers {
        /// How many files.
        count: u32,
        /// Their size.
        size_in_bytes: u64,
    },
    /// Conversions have been removed to make room.
    MadeRoom {
        /// How many.
        count: u32,
        /// Their size.
        size_in_bytes: u64,
    },
    /// The cache's folder cannot be used, so the conversion is not kept.
    NotKept {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl fmt::Display for CacheNote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => write!(out, "another process converts this model; waiting for it"),
            Self::Converting { model, folder, size_in_bytes } => {
                let (model, size) = (model.display(), megabytes(*size_in_bytes));
                write!(out, "{model} is converted once, to {size} in {}", folder.display())
            }
            Self::Damaged { file } => {
                write!(
                    out,
                    "the conversion {} is damaged and removed; the next use makes it anew",
                    file.display()
                )
            }
            Self::Leftovers { count, size_in_bytes } => {
                let size = megabytes(*size_in_bytes);
                write!(out, "{count} unfinished conversions of runs that were killed are removed ({size})")
            }
            Self::MadeRoom { count, size_in_bytes } => write!(
                out,
                "{count} old conversions are removed to make room ({}); {LIMIT_VARIABLE} sets how much is kept",
                megabytes(*size_in_bytes)
            ),
            Self::NotKept { folder, why } => write!(
                out,
                "{}: {why}; the conversion is not kept; {FOLDER_VARIABLE} names another folder to keep it in",
                folder.display()
            ),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The bound of the cache in bytes: `$PIXEL_LLM_CACHE_LIMIT`, such as `500M` or `8G`, else 20 GiB.
///
/// # Errors
/// The variable is no size.
pub fn limit() -> Result<u64, ModelError> {
    let Some(text) = folders::variable(LIMIT_VARIABLE) else { return Ok(DEFAULT_LIMIT) };
    let text = text.to_string_lossy().into_owned();
    parse_size(&text).ok_or_else(|| {
        ModelError::field(LIMIT_VARIABLE, format!("{text:?}"), "a size such as 500M, 8G or 8GiB")
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl Cache {
    /// A cache in a folder of the caller's.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), named: true }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its conversions, those first that were not used for longest.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, ModelError> {
        entries(&self.folder).map_err(self.failed("read"))
    }

    /// The conversion of a model as it is now, if it is there and sound. Nothing is made.
    pub fn find(&self, path: &Path, note: &mut dyn FnMut(CacheNote)) -> Option<PixelModel> {
        let cached = self.folder.join(Key::of(path).ok()?.file_name);
        self.known(&cached, path, note)
    }

    /// The conversions of a model, of now and of what its files were before.
    ///
    /// # Errors
    /// The model's files or the folder cannot be read.
    pub fn entries_of(&self, path: &Path) -> Result<Vec<Entry>, ModelError> {
        let key = Key::of(path).map_err(|source| read_error(path, source))?;
        Ok(self.entries()?.into_iter().filter(|entry| is_of(entry, &key)).collect())
    }

    /// Removes what killed runs left, and gives the number of files and their size in bytes.
    pub fn remove_leftovers(&self) -> (u32, u64) {
        remove_leftovers(&self.folder)
    }

    /// Opens a model. A `.gguf` is converted into the cache unless a conversion of the same files is there and sound.
    /// `note` hears what the user should; `start` is told the bytes of work when a conversion begins, and gives what hears of
    /// its progress.
    ///
    /// # Errors
    /// The file cannot be read, converted or opened, or the disk has no room.
    pub fn open(
        &self,
        path: &Path,
        note: &mut dyn FnMut(CacheNote),
        start: impl FnOnce(u64) -> Box<dyn Fn(u64) + Sync>,
    ) -> Result<PixelModel, ModelError> {
        if !is_gguf(path)? {
            return PixelModel::open(path);
        }
        let limit = limit()?;
        let (count, size_in_bytes) = self.remove_leftovers();
        if count > 0 {
            note(CacheNote::Leftovers { count, size_in_bytes });
        }
        let key = Key::of(path).map_err(|source| read_error(path, source))?;
        let cached = self.folder.join(&key.file_name);
        if let Some(model) = self.known(&cached, path, note) {
            return Ok(model);
        }
        let gguf = Gguf::open(path)?;
        let size = file_size_in_bytes(&gguf).map_err(|error| error.in_file(path))?;
        if let Err(why) = self.prepare() {
            if self.named {
                return Err(self.failed("use the folder of PIXEL_LLM_CACHE")(why));
            }
            note(CacheNote::NotKept { folder: self.folder.clone(), why });
            return convert_for_now(path, &gguf, size, note, start);
        }
        let turn = self.folder.join(format!(".{}.lock", key.file_name));
        let turn = Turn::take(&turn, || note(CacheNote::Waiting)).map_err(self.failed("lock"))?;
        // Who had the turn before has made it.
        if let Some(model) = self.known(&cached, path, note) {
            return Ok(model);
        }
        self.make_room(size, limit, &key, note)?;
        note(CacheNote::Converting { model: path.into(), folder: self.folder.clone(), size_in_bytes: size });
        convert_to(path, &gguf, &cached, start)?;
        if Key::of(path).ok().as_ref() != Some(&key) {
            // Made of neither the old files nor the new ones.
            let _ = std::fs::remove_file(&cached);
            let source = io::Error::other("the file changed while it was converted; try again");
            return Err(read_error(path, source));
        }
        Note::write(&cached, whole(path));
        let model = open_held(&cached);
        drop(turn);
        model
    }

    /// A conversion that is there and sound.
    fn known(&self, cached: &Path, path: &Path, note: &mut dyn FnMut(CacheNote)) -> Option<PixelModel> {
        if !cached.exists() {
            return None;
        }
        let damaged = |note: &mut dyn FnMut(CacheNote)| note(CacheNote::Damaged { file: cached.into() });
        let Ok(model) = open_held(cached) else {
            damaged(note);
            let _ = std::fs::remove_file(cached);
            return None;
        };
        if !Note::read(cached).is_some_and(|noted| noted.holds(cached)) {
            // Something touched it: every tile is looked at, once.
            if !verify(&model, &|_| ()).is_empty() {
                damaged(note);
                let _ = std::fs::remove_file(cached);
                return None;
            }
            Note::write(cached, whole(path));
        }
        touch(cached);
        Some(model)
    }

    /// Makes the folder, and finds out whether files can be made in it.
    fn prepare(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        tempfile::tempfile_in(&self.folder).map(drop)
    }

    /// Removes conversions of what the model was before, and those that were not used for longest, until a new one has room.
    fn make_room(
        &self,
        size: u64,
        limit: u64,
        key: &Key,
        note: &mut dyn FnMut(CacheNote),
    ) -> Result<(), ModelError> {
        let (old, others): (Vec<_>, Vec<_>) =
            self.entries()?.into_iter().partition(|entry| is_of(entry, key));
        old.iter().for_each(|entry| drop(entry.remove()));
        let mut kept: u64 = others.iter().map(|entry| entry.size_in_bytes).sum();
        let is_short = || free_bytes(&self.folder).is_some_and(|free| free < size.saturating_add(SPARE));
        let (mut count, mut removed) = (0, 0);
        for entry in &others {
            if kept.saturating_add(size) <= limit && !is_short() {
                break;
            }
            if entry.remove().unwrap_or(false) {
                count += 1;
                kept -= entry.size_in_bytes;
                removed += entry.size_in_bytes;
            }
        }
        if count > 0 {
            note(CacheNote::MadeRoom { count, size_in_bytes: removed });
        }
        check_room(&self.folder, size)
    }

    fn failed(&self, what: &str) -> impl Fn(io::Error) -> ModelError {
        let action = format!("{what} {}", self.folder.display());
        move |source| ModelError::Io { action: action.clone(), source }
    }
}

fn is_of(entry: &Entry, key: &Key) -> bool {
    entry.file.file_name().is_some_and(|name| name.to_string_lossy().contains(&key.place))
}

fn whole(path: &Path) -> Vec<PathBuf> {
    parts(path).iter().filter_map(|part| part.canonicalize().ok()).collect()
}

fn read_error(path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { action: format!("read {}", path.display()), source }
}

/// Opens a conversion and holds a lock on it, so that no other process removes it.
fn open_held(cached: &Path) -> Result<PixelModel, ModelError> {
    let held = File::open(cached).map_err(|source| read_error(cached, source))?;
    // Without a lock it can be removed while it is used, which costs no more than another conversion.
    let _ = held.try_lock_shared();
    PixelModel::open_held(cached, held)
}

/// Refuses what a disk has no room for, before anything is written.
fn check_room(folder: &Path, size: u64) -> Result<(), ModelError> {
    match free_bytes(folder) {
        Some(free) if free < size.saturating_add(SPARE) => {
            let (size, free) = (megabytes(size), megabytes(free));
            let source = io::Error::other(format!(
                "the conversion takes {size} and the disk has {free} free; make room or name a folder on another \
                 disk by {FOLDER_VARIABLE}"
            ));
            Err(ModelError::Io { action: format!("write to {}", folder.display()), source })
        }
        _ => Ok(()),
    }
}

fn convert_to(
    path: &Path,
    gguf: &Gguf,
    target: &Path,
    start: impl FnOnce(u64) -> Box<dyn Fn(u64) + Sync>,
) -> Result<(), ModelError> {
    let progress = start(work_in_bytes(gguf));
    let progress: Progress<'_> = &*progress;
    convert(gguf, target, progress).map(drop).map_err(|error| error.in_file(path))
}

/// Converts into a folder for temporary files, of which nothing stays.
fn convert_for_now(
    path: &Path,
    gguf: &Gguf,
    size: u64,
    note: &mut dyn FnMut(CacheNote),
    start: impl FnOnce(u64) -> Box<dyn Fn(u64) + Sync>,
) -> Result<PixelModel, ModelError> {
    let failed = |source| ModelError::Io { action: "make a folder for temporary files".into(), source };
    let folder = tempfile::Builder::new().prefix("pixel-llm-").tempdir().map_err(failed)?;
    check_room(folder.path(), size)?;
    let at = folder.path().to_owned();
    note(CacheNote::Converting { model: path.into(), folder: at, size_in_bytes: size });
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let short: String = stem.chars().take(60).collect();
    let target = folder.path().join(format!("{short}.pxi"));
    convert_to(path, gguf, &target, start)?;
    let model = PixelModel::open(&target)?;
    // A mapped file may lose its name here, and its bytes go with the process; elsewhere it has to stay.
    if cfg!(not(unix)) {
        let _ = folder.keep();
    }
    Ok(model)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, size) in [("0", 0), ("500M", 500_000_000), ("8 GiB", 8 << 30), ("7kb", 7000)] {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        for text in ["", "x", "-1", "1.5G", "9e9", "99999999999T"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
