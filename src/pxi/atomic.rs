//! Files that appear whole or not at all: written under a temporary name beside the target, synced, and
//! renamed over it. Dropped without [`AtomicFile::commit`], one leaves nothing, and what was at the target
//! stays.
//!
//! Every temporary file is in a registry, so that an interrupt handler can remove them with [`abandon_all`].

use super::PxiError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    mem,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { temporary_paths: Vec::new(), abandoned: false });

struct Registry {
    temporary_paths: Vec<PathBuf>,
    abandoned: bool,
}

/// A panic elsewhere leaves the list whole, so a poisoned lock is no reason to leave files behind.
fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every temporary file and lets no new one be made or committed: for an interrupt handler, just
/// before the process ends.
pub fn abandon_all() {
    let mut registry = registry();
    registry.abandoned = true;
    for path in mem::take(&mut registry.temporary_paths) {
        // The process is ending; a file that cannot be removed is all that could be said.
        let _ = fs::remove_file(path);
    }
}

/// A file that replaces its target when it is committed.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    target: PathBuf,
    temporary: Temporary,
}

impl AtomicFile {
    /// Makes a temporary file in the target's folder, readable and writable.
    ///
    /// The target may exist if it is a regular file; its permissions are kept. A link is replaced, not followed.
    pub fn create(target: impl AsRef<Path>) -> Result<Self, PxiError> {
        let target = target.as_ref();
        Self::create_unlocated(target).map_err(|error| error.at(target))
    }

    fn create_unlocated(target: &Path) -> Result<Self, PxiError> {
        if target.file_name().is_none() {
            return Err(PxiError::NotRegular);
        }
        let replaced = match fs::metadata(target) {
            Ok(metadata) if !metadata.is_file() => return Err(PxiError::NotRegular),
            Ok(metadata) => Some(metadata),
            Err(_) => None,
        };
        let (file, temporary) = Temporary::create(folder_of(target))?;
        if let Some(metadata) = replaced {
            file.set_permissions(metadata.permissions()).map_err(PxiError::io("keep the permissions"))?;
        }
        Ok(Self { file, target: target.to_owned(), temporary })
    }

    /// Puts bytes in the place of what is at the target.
    ///
    /// # Errors
    /// The file cannot be made, written or renamed; what is at the target then stays.
    pub fn replace(target: impl AsRef<Path>, bytes: &[u8]) -> Result<(), PxiError> {
        let target = target.as_ref();
        let mut file = Self::create(target)?;
        file.write_all(bytes).map_err(|error| PxiError::io("write")(error).at(target))?;
        file.commit()
    }

    /// The file that is being written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs the file, renames it over the target, and syncs the folder.
    pub fn commit(self) -> Result<(), PxiError> {
        let Self { file, target, mut temporary } = self;
        let committed = file
            .sync_all()
            .map_err(PxiError::io("sync"))
            .and_then(|()| temporary.rename(&target))
            .and_then(|()| sync_folder(folder_of(&target)).map_err(PxiError::io("sync the folder")));
        committed.map_err(|error| error.at(&target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// A registered path that is removed when this is dropped.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(folder: &Path) -> Result<(File, Self), PxiError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            // Short and without the target's name, which may itself be as long as a name can be.
            let path = folder.join(format!(".pixel-llm-{}-{number}.tmp", process::id()));
            // Held while the file is made, so that an interrupt sees it in the list or prevents it.
            let mut registry = registry();
            if registry.abandoned {
                return Err(PxiError::Interrupted);
            }
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // Tells who tidies up that this process lives, also where it cannot be seen.
                    let _ = file.try_lock();
                    registry.temporary_paths.push(path.clone());
                    return Ok((file, Self { path, renamed: false }));
                }
                // Left by a process with the same number that was killed; the next number is free.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(PxiError::Io { action: "create", source }),
            }
        }
    }

    fn rename(&mut self, target: &Path) -> Result<(), PxiError> {
        let mut registry = registry();
        if registry.abandoned {
            return Err(PxiError::Interrupted);
        }
        fs::rename(&self.path, target).map_err(PxiError::io("rename into place"))?;
        registry.temporary_paths.retain(|path| path != &self.path);
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        let mut registry = registry();
        registry.temporary_paths.retain(|path| path != &self.path);
        // A destructor has nobody to tell, and the interrupt handler may have been here first.
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes the rename itself durable, where the system can sync a folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_committed_file_replaces_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        fs::write(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_dropped_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        fs::write(&target, "old").unwrap();
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        drop(file);
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read(&target).unwrap(), b"old");
    }

    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let refused = AtomicFile::create(folder.path()).unwrap_err();
        assert!(matches!(refused.inner(), PxiError::NotRegular), "{refused}");
        assert!(AtomicFile::create("..").is_err());
        assert!(AtomicFile::create("").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        AtomicFile::create(&target).unwrap().commit().unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
