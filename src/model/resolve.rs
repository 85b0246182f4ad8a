//! From what a person names to an opened model: a PXI-LLM file, or a GGUF file that is converted
//! into a cache on first use.
//!
//! A conversion is known by all files it was made of. Before it is used, what is damaged is noticed
//! and made anew; what was not used for longest goes when there is too much.

mod keep;
mod key;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use keep::distrust;
use keep::{KeepTurn, Note, entries, touch};
pub use keep::{KeptEntry, free_bytes, remove_leftovers};
use key::ConversionKey;
pub use key::parts;

use super::PixelModel;
use super::convert::{Progress, convert, file_size_in_bytes, work_in_bytes};
use super::error::ModelError;
use super::gguf::Gguf;
use crate::files::open_regular;
use crate::folders;
use crate::size::MemorySize;
use crate::words::{counted, one_or_more};

/// The variable that names the cache's folder.
pub(crate) const FOLDER_VARIABLE: &str = "PIXEL_LLM_CACHE";
/// The variable that bounds the cache.
pub(crate) const LIMIT_VARIABLE: &str = "PIXEL_LLM_CACHE_LIMIT";
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
    /// `$PIXEL_LLM_CACHE`, else the platform's cache folder for `pixel-llm`, else a folder beside
    /// the temporary files.
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
    /// A conversion into the cache begins.
    Converting {
        /// The model that was named.
        model: PathBuf,
        /// The folder that the conversion goes to.
        folder: PathBuf,
        /// How large it becomes.
        size_in_bytes: u64,
    },
    /// A conversion was damaged; it is removed and made anew.
    Damaged {
        /// The conversion that was damaged.
        file: PathBuf,
    },
    /// What killed runs left has been removed.
    Leftovers {
        /// How many files they were.
        count: u32,
        /// The size of those files together.
        size_in_bytes: u64,
    },
    /// Conversions of what the model was before have been removed.
    Outdated {
        /// Those that are gone, with their sizes.
        removed: Vec<KeptEntry>,
    },
    /// Conversions have been removed to make room.
    MadeRoom {
        /// Those that are gone, not used for longest first.
        removed: Vec<KeptEntry>,
    },
    /// A conversion is larger than the bound leaves room for, so it is not kept.
    TooLarge {
        /// The size of the conversion.
        size_in_bytes: u64,
        /// The size of those that are in use, which stay.
        in_use: u64,
        /// The bound of the whole cache.
        limit: u64,
    },
    /// The cache's folder cannot be used, so the conversion is not kept.
    NotKept {
        /// The folder that was tried.
        folder: PathBuf,
        /// What the operating system said.
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
                    "the conversion {} was damaged; it is made anew from the model",
                    file.display()
                )
            }
            Self::Leftovers { count, size_in_bytes } => write!(
                out,
                "{} of runs that were killed {} removed ({})",
                counted(*count, "unfinished conversion"),
                one_or_more(*count, "is", "are"),
                megabytes(*size_in_bytes)
            ),
            Self::Outdated { removed } => {
                let what = counted(removed.len() as u64, "outdated conversion");
                write!(out, "{what} {}", Removed(removed))
            }
            Self::MadeRoom { removed } => {
                let what = counted(removed.len() as u64, "old conversion");
                write!(out, "{what} {} to make room; ", Removed(removed))?;
                write!(out, "{LIMIT_VARIABLE} sets how much is kept")
            }
            Self::TooLarge { size_in_bytes, in_use, limit } => {
                let (size, limit) = (megabytes(*size_in_bytes), megabytes(*limit));
                write!(out, "the conversion takes {size}, and {limit} may be kept")?;
                if *in_use > 0 {
                    write!(out, ", {} of which are in use", megabytes(*in_use))?;
                }
                write!(out, "; it is not kept, unless {LIMIT_VARIABLE} is raised")
            }
            Self::NotKept { folder, why } => write!(
                out,
                "{}: {why}; the conversion is not kept; {FOLDER_VARIABLE} names another folder to \
                 keep it in",
                folder.display()
            ),
        }
    }
}

/// Conversions that are removed, by size and by the models that they were made of.
struct Removed<'a>(&'a [KeptEntry]);

impl fmt::Display for Removed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.iter().map(|entry| entry.size_in_bytes).sum();
        let is = one_or_more(self.0.len() as u64, "is", "are");
        write!(out, "{is} removed ({}", megabytes(size))?;
        for (index, entry) in self.0.iter().enumerate() {
            let of = entry.made_of.first().unwrap_or(&entry.file);
            write!(out, "{} {}", if index == 0 { ":" } else { "," }, of.display())?;
        }
        write!(out, ")")
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The bound of the cache in bytes: `$PIXEL_LLM_CACHE_LIMIT`, such as `500M` or `8GiB`, as
/// [`MemorySize`] reads it, else 20 GiB.
///
/// # Errors
/// The variable is no size.
pub fn limit() -> Result<u64, ModelError> {
    let Some(text) = folders::variable(LIMIT_VARIABLE) else { return Ok(DEFAULT_LIMIT) };
    let text = text.to_string_lossy().into_owned();
    let size = text.parse::<MemorySize>().map_err(|_| {
        ModelError::field(LIMIT_VARIABLE, format!("{text:?}"), "a size such as 500M, 8GiB or 8GB")
    });
    size.map(|size| size.0)
}

/// What is kept of a model as it is now.
#[derive(Debug)]
pub enum Kept {
    /// There is no conversion of the model as it is.
    Nothing,
    /// A conversion with a sound head. Its tiles have not been looked at.
    Conversion(Box<PixelModel>),
    /// A conversion whose head is damaged, so that its tiles cannot be told apart.
    Damaged {
        /// The conversion's file in the cache.
        file: PathBuf,
        /// What is wrong with it.
        error: ModelError,
    },
}

/// How closely a conversion is looked at before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileCheck {
    /// Every tile: for whoever is about to read them all. Each is found good once, so that it costs
    /// nothing twice.
    Whole,
    /// The head, and tiles only where something has touched the file: for whoever shows the model
    /// at once and reads tiles as they come into view. See [`PixelModel::tile`] for those.
    Quick,
}

impl Cache {
    /// A cache in a folder of the caller's.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), named: true }
    }

    /// The folder that conversions are kept in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its conversions, those first that were not used for longest.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn entries(&self) -> Result<Vec<KeptEntry>, ModelError> {
        entries(&self.folder).map_err(self.failed("read"))
    }

    /// What is kept of a model as it is now. Nothing is made, removed or changed.
    pub fn find(&self, path: &Path) -> Kept {
        let Ok(key) = ConversionKey::of(path) else { return Kept::Nothing };
        let file = self.folder.join(key.file_name);
        match open_held(&file) {
            Ok(model) => Kept::Conversion(Box::new(model)),
            Err(_) if !file.exists() => Kept::Nothing,
            Err(error) => Kept::Damaged { file, error },
        }
    }

    /// The conversions of a model, of now and of what its files were before.
    ///
    /// # Errors
    /// The model's files or the folder cannot be read.
    pub(crate) fn entries_of(&self, path: &Path) -> Result<Vec<KeptEntry>, ModelError> {
        let key = ConversionKey::of(path).map_err(|source| read_error(path, source))?;
        Ok(self.entries()?.into_iter().filter(|entry| is_of(entry, &key)).collect())
    }

    /// Removes what killed runs left, and gives the number of files and their size in bytes.
    pub fn remove_leftovers(&self) -> (u32, u64) {
        remove_leftovers(&self.folder)
    }

    /// Opens a model. A `.gguf` is converted into the cache unless a conversion of the same files
    /// is there and sound. A damaged one is made anew. A model that is no conversion is not looked
    /// at beyond its head. `note` hears what the user should; `start` is told the bytes of work
    /// when a conversion begins, and gives what hears of its progress.
    ///
    /// # Errors
    /// The file cannot be read, converted or opened, or the disk has no room.
    pub fn open(
        &self,
        path: &Path,
        check: TileCheck,
        note: &mut dyn FnMut(CacheNote),
        start: impl FnOnce(u64) -> Box<dyn Fn(u64) + Sync>,
    ) -> Result<PixelModel, ModelError> {
        if !is_gguf(path)? {
            return PixelModel::open(path);
        }
        // Before any work: a bound that is no size is told at once.
        let limit = limit()?;
        let (count, size_in_bytes) = self.remove_leftovers();
        if count > 0 {
            note(CacheNote::Leftovers { count, size_in_bytes });
        }
        let key = ConversionKey::of(path).map_err(|source| read_error(path, source))?;
        let cached = self.folder.join(&key.file_name);
        if let Some(model) = self.known(&cached, path, check, note) {
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
        let turn =
            KeepTurn::take(&turn, || note(CacheNote::Waiting)).map_err(self.failed("lock"))?;
        // Who had the turn before has made it.
        if let Some(model) = self.known(&cached, path, check, note) {
            return Ok(model);
        }
        let is_kept = self.make_room(size, limit, &key, note)?;
        note(CacheNote::Converting {
            model: path.into(),
            folder: self.folder.clone(),
            size_in_bytes: size,
        });
        convert_to(path, &gguf, &cached, start)?;
        if ConversionKey::of(path).ok().as_ref() != Some(&key) {
            // Made of neither the old files nor the new ones.
            let _ = std::fs::remove_file(&cached);
            let source = io::Error::other("the file changed while it was converted; try again");
            return Err(read_error(path, source));
        }
        if is_kept {
            Note::write(&cached, whole(path));
        }
        let model = open_held(&cached);
        // A mapped file may lose its name here, and its bytes go with the process; elsewhere it is
        // what goes first when room is needed.
        if !is_kept && cfg!(unix) {
            let _ = std::fs::remove_file(&cached);
        }
        drop(turn);
        model
    }

    /// A conversion that is there and sound. One that is not is removed.
    fn known(
        &self,
        cached: &Path,
        path: &Path,
        check: TileCheck,
        note: &mut dyn FnMut(CacheNote),
    ) -> Option<PixelModel> {
        if !cached.exists() {
            return None;
        }
        // What something touched is looked at whole, once.
        let is_noted = Note::read(cached).is_some_and(|noted| noted.holds(cached));
        let looks_whole = check == TileCheck::Whole || !is_noted;
        let model =
            open_held(cached).ok().filter(|model| !looks_whole || model.check_tiles().is_ok());
        let Some(model) = model else {
            let _ = std::fs::remove_file(cached);
            note(CacheNote::Damaged { file: cached.into() });
            return None;
        };
        if !is_noted {
            Note::write(cached, whole(path));
        }
        touch(cached);
        Some(model)
    }

    /// Makes the folder, and finds out whether files can be made in it.
    fn prepare(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        // Only making one tells: permissions say nothing of a disk that is mounted read-only.
        tempfile::tempfile_in(&self.folder).map(drop)
    }

    /// Removes conversions of what the model was before, and those that were not used for longest,
    /// until a new one has room on the disk and within the bound. What removing cannot help stays.
    /// Gives whether the new one may be kept.
    fn make_room(
        &self,
        size: u64,
        limit: u64,
        key: &ConversionKey,
        note: &mut dyn FnMut(CacheNote),
    ) -> Result<bool, ModelError> {
        let remove = |entry: &KeptEntry| entry.remove().unwrap_or(false);
        // Nothing finds those again: the files that they were made of are no more.
        let (outdated, others): (Vec<_>, Vec<_>) =
            self.entries()?.into_iter().partition(|entry| is_of(entry, key));
        let (removed, stuck): (Vec<_>, Vec<_>) = outdated.into_iter().partition(remove);
        if !removed.is_empty() {
            note(CacheNote::Outdated { removed });
        }
        let sum =
            |entries: &[KeptEntry]| entries.iter().map(|entry| entry.size_in_bytes).sum::<u64>();
        let (used, idle): (Vec<_>, Vec<_>) = others.into_iter().partition(KeptEntry::is_in_use);
        let in_use = sum(&used).saturating_add(sum(&stuck));
        let is_kept = in_use.saturating_add(size) <= limit;
        if !is_kept {
            note(CacheNote::TooLarge { size_in_bytes: size, in_use, limit });
        }
        // Where the system does not tell, the write will.
        let free = || free_bytes(&self.folder).unwrap_or(u64::MAX);
        let needed = size.saturating_add(SPARE);
        let mut kept = in_use.saturating_add(sum(&idle));
        let is_enough =
            |kept: u64| (!is_kept || kept.saturating_add(size) <= limit) && free() >= needed;
        let mut removed = Vec::new();
        // Where even removing all would leave the disk too full, nothing goes for it.
        if free().saturating_add(sum(&idle)) >= needed {
            for entry in idle {
                if is_enough(kept) {
                    break;
                }
                if remove(&entry) {
                    kept -= entry.size_in_bytes;
                    removed.push(entry);
                }
            }
        }
        if !removed.is_empty() {
            note(CacheNote::MadeRoom { removed });
        }
        check_room(&self.folder, size, SPARE, FOLDER_ADVICE)?;
        Ok(is_kept)
    }

    fn failed(&self, what: &str) -> impl Fn(io::Error) -> ModelError {
        let action = format!("{what} {}", self.folder.display());
        move |source| ModelError::Io { action: action.clone(), source }
    }
}

fn is_of(entry: &KeptEntry, key: &ConversionKey) -> bool {
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
    let held = open_regular(cached).map_err(|source| read_error(cached, source))?;
    // Without a lock it can be removed while it is used, which costs no more than another
    // conversion.
    let _ = held.try_lock_shared();
    PixelModel::open_held(cached, held)
}

/// What to do where a conversion has no room.
const FOLDER_ADVICE: &str = "make room or name a folder on another disk by PIXEL_LLM_CACHE";

/// Refuses what a disk has no room for, before anything is written. `spare` bytes are left to
/// others.
///
/// # Errors
/// The disk of the folder has no room; `advice` says what to do then.
pub(crate) fn check_room(
    folder: &Path,
    size: u64,
    spare: u64,
    advice: &str,
) -> Result<(), ModelError> {
    let Some(free) = free_bytes(folder).filter(|free| *free < size.saturating_add(spare)) else {
        return Ok(());
    };
    let left = if spare > 0 {
        format!(", {} are left to others", megabytes(spare))
    } else {
        String::new()
    };
    let (size, free) = (megabytes(size), megabytes(free));
    let source =
        io::Error::other(format!("it takes {size}{left}, and the disk has {free} free; {advice}"));
    Err(ModelError::Io { action: format!("write to {}", folder.display()), source })
}

/// Refuses copies of a model, made for a while, that the disk for temporary files has no room for.
///
/// # Errors
/// As [`check_room`].
pub(crate) fn check_temporary_room(folder: &Path, size: u64) -> Result<(), ModelError> {
    check_room(folder, size, SPARE, "make room or name a folder on another disk by TMPDIR")
}

/// Removes what killed runs left of conversions among temporary files.
fn remove_temporary_leftovers() -> (u32, u64) {
    let (mut count, mut size) = (0, 0);
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        // Not through a link, which anybody may have put there.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let (found, bytes) = remove_leftovers(&entry.path());
        if found > 0 {
            let _ = std::fs::remove_dir(entry.path());
        }
        count += found;
        size += bytes;
    }
    (count, size)
}

/// How folders for temporary conversions begin.
const TEMPORARY: &str = "pixel-llm-";

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
    let failed =
        |source| ModelError::Io { action: "make a folder for temporary files".into(), source };
    let (count, size_in_bytes) = remove_temporary_leftovers();
    if count > 0 {
        note(CacheNote::Leftovers { count, size_in_bytes });
    }
    let folder = tempfile::Builder::new().prefix(TEMPORARY).tempdir().map_err(failed)?;
    check_room(folder.path(), size, SPARE, FOLDER_ADVICE)?;
    let at = folder.path().to_owned();
    note(CacheNote::Converting { model: path.into(), folder: at, size_in_bytes: size });
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let short: String = stem.chars().take(60).collect();
    let target = folder.path().join(format!("{short}.pxi"));
    convert_to(path, gguf, &target, start)?;
    let model = PixelModel::open(&target)?;
    // A mapped file may lose its name here, and its bytes go with the process; elsewhere it has to
    // stay.
    if cfg!(not(unix)) {
        let _ = folder.keep();
    }
    Ok(model)
}

/// Whether a file begins as GGUF does.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn is_gguf(path: &Path) -> Result<bool, ModelError> {
    use std::io::Read;
    let io = |source| ModelError::Io { action: format!("open {}", path.display()), source };
    let mut magic = [0; 4];
    let mut file = open_regular(path).map_err(io)?;
    // A shorter file is none, and what is wrong with it is for its own reader to say.
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"GGUF")
}
