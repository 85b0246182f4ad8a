//! Files that appear whole or not at all: written under a temporary name beside the target, synced,
//! and renamed over it. Dropped without [`AtomicFile::commit`], one leaves nothing, and what was at
//! the target stays.
//!
//! A link is followed: the file that it leads to is the one that is replaced, and the link stays
//! one. A [`Target`] without leave to replace never does, also not what comes to be there
//! meanwhile.
//!
//! Every temporary file is in a registry, so that an interrupt handler can remove them with
//! [`abandon_all`].

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
use tempfile::TempPath;

static REGISTRY: Mutex<UnfinishedFiles> =
    Mutex::new(UnfinishedFiles { temporary_paths: Vec::new(), abandoned: false });

struct UnfinishedFiles {
    temporary_paths: Vec<PathBuf>,
    abandoned: bool,
}

/// A panic elsewhere leaves the list whole, so a poisoned lock is no reason to leave files behind.
fn registry() -> MutexGuard<'static, UnfinishedFiles> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every temporary file and lets no new one be made or committed: for an interrupt handler,
/// just before the process ends.
pub fn abandon_all() {
    let mut registry = registry();
    registry.abandoned = true;
    for path in mem::take(&mut registry.temporary_paths) {
        // The process is ending; a file that cannot be removed is all that could be said.
        let _ = fs::remove_file(path);
    }
}

/// Links that are followed one after another: as many as Linux does.
const MOST_LINKS: usize = 40;

/// Where a file is to be, and whether it may take the place of one that is there. A mere path may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    may_replace: bool,
}

impl Target {
    /// A place with a person's leave to replace what is there, or without.
    pub fn new(path: impl Into<PathBuf>, may_replace: bool) -> Self {
        Self { path: path.into(), may_replace }
    }

    /// The place as it was named, links not followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the file will be in: a link is followed.
    pub fn folder(&self) -> PathBuf {
        let place = followed(&self.path, self.path.exists()).unwrap_or_else(|_| self.path.clone());
        folder_of(&place).to_owned()
    }
}

impl<P: AsRef<Path>> From<P> for Target {
    fn from(path: P) -> Self {
        Self::new(path.as_ref(), true)
    }
}

/// A file that takes its place when it is committed.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// As it was named.
    target: PathBuf,
    /// Where that leads through links.
    place: Target,
    temporary: Temporary,
}

impl AtomicFile {
    /// Makes a temporary file in the target's folder, readable and writable.
    ///
    /// # Errors
    /// Something else than a regular file is at the target, or any file where none may be replaced;
    /// or the file cannot be made. Permissions of a file that is replaced are kept.
    pub fn create(target: impl Into<Target>) -> Result<Self, PxiError> {
        let Target { path, may_replace } = target.into();
        Self::create_unlocated(&path, may_replace).map_err(|error| error.at(&path))
    }

    fn create_unlocated(target: &Path, may_replace: bool) -> Result<Self, PxiError> {
        if target.file_name().is_none() || names_folder(target) {
            return Err(PxiError::NotRegular);
        }
        let replaced = match fs::metadata(target) {
            Ok(metadata) if !metadata.is_file() => return Err(PxiError::NotRegular),
            Ok(_) if !may_replace => return Err(PxiError::Exists),
            Ok(metadata) => Some(metadata),
            // Nothing is there yet, or what a link leads to is not; whatever else keeps one from
            // looking keeps the file from being made, and is told there.
            Err(_) => None,
        };
        let place =
            followed(target, replaced.is_some()).map_err(PxiError::io("follow the link"))?;
        let (file, temporary) = Temporary::create(folder_of(&place))?;
        if let Some(metadata) = replaced {
            // Before the rename: at no moment do the new bytes stand there with other permissions.
            file.set_permissions(metadata.permissions())
                .map_err(PxiError::io("keep the permissions"))?;
        }
        let place = Target::new(place, may_replace);
        Ok(Self { file, target: target.to_owned(), place, temporary })
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
    ///
    /// # Errors
    /// A file has come to be there that may not be replaced, or the system refuses. Nothing is
    /// left.
    pub(crate) fn commit(self) -> Result<(), PxiError> {
        let Self { file, target, place, mut temporary } = self;
        // Synced first: after a loss of power the name must not lead to a file without its bytes.
        let committed = file
            .sync_all()
            .map_err(PxiError::io("sync"))
            .and_then(|()| temporary.rename(&place))
            .and_then(|()| {
                sync_folder(folder_of(&place.path)).map_err(PxiError::io("sync the folder"))
            });
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

    fn rename(&mut self, place: &Target) -> Result<(), PxiError> {
        // Held over the rename, so that an interrupt comes before all of it or after.
        let mut registry = registry();
        if registry.abandoned {
            return Err(PxiError::Interrupted);
        }
        if place.may_replace {
            fs::rename(&self.path, &place.path).map_err(PxiError::io("rename into place"))?;
        } else {
            rename_to_new(&self.path, &place.path)?;
        }
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

/// Gives a file a name that no file has. The system does both in one step, so that a file which
/// comes to be there at the same time is not lost.
fn rename_to_new(temporary: &Path, place: &Path) -> Result<(), PxiError> {
    let failed = PxiError::io("rename into place");
    let Err(refused) =
        TempPath::try_from_path(temporary).map_err(&failed)?.persist_noclobber(place)
    else {
        return Ok(());
    };
    // Kept, since this path would remove the file that the rename below still needs.
    let temporary = refused.path.keep().map_err(|error| failed(error.error))?;
    // A few file systems have neither such a step nor hard links: there, one looks just before.
    if refused.error.kind() == io::ErrorKind::AlreadyExists || place.symlink_metadata().is_ok() {
        return Err(PxiError::Exists);
    }
    fs::rename(temporary, place).map_err(failed)
}

/// Whether a name ends as only that of a folder does: `new/`.
pub(crate) fn names_folder(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    // `new/.` is the name of a folder too.
    let name = name.strip_suffix(b".").unwrap_or(name);
    name.last().is_some_and(|last| std::path::is_separator(char::from(*last)))
}

/// Where a name leads through links, to a file that is there or not yet.
pub(crate) fn followed(target: &Path, is_there: bool) -> io::Result<PathBuf> {
    if is_there && target.is_symlink() {
        return target.canonicalize();
    }
    // One by one, since `canonicalize` refuses a link whose end is not there yet.
    let mut place = target.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&place) else { return Ok(place) };
        place = folder_of(&place).join(next);
    }
    Err(io::Error::other("it leads in a circle"))
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
        for name in ["new/", "new/."] {
            assert!(AtomicFile::create(folder.path().join(name)).is_err(), "{name}");
        }
        assert!(AtomicFile::create("").is_err());
    }

    #[test]
    fn what_comes_to_be_there_meanwhile_is_not_replaced_without_leave() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a");
        let mut file = AtomicFile::create(Target::new(&target, false)).unwrap();
        file.write_all(b"new").unwrap();
        fs::write(&target, "precious").unwrap();
        let refused = file.commit().unwrap_err();
        assert!(matches!(refused.inner(), PxiError::Exists), "{refused}");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(names(folder.path()), ["a"], "and nothing is left");
        let refused = AtomicFile::create(Target::new(&target, false)).unwrap_err();
        assert!(refused.to_string().contains("exists already"), "{refused}");
        let other = folder.path().join("b");
        AtomicFile::create(Target::new(&other, false)).unwrap().commit().unwrap();
        assert!(other.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_stays() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/a"), "old").unwrap();
        symlink("real/a", at("near")).unwrap();
        symlink(at("near"), at("far")).unwrap();
        AtomicFile::replace(at("far"), b"new").unwrap();
        assert!(at("near").is_symlink() && at("far").is_symlink());
        assert_eq!(fs::read(at("real/a")).unwrap(), b"new");
        // A link to nowhere says where the file is to be.
        symlink("real/b", at("ahead")).unwrap();
        AtomicFile::create(Target::new(at("ahead"), false)).unwrap().commit().unwrap();
        assert!(at("ahead").is_symlink() && at("real/b").is_file());
        symlink("none/b", at("lost")).unwrap();
        assert!(AtomicFile::replace(at("lost"), b"new").is_err() && at("lost").is_symlink());
        symlink("circle", at("circle")).unwrap();
        let circle = AtomicFile::create(at("circle")).unwrap_err().to_string();
        assert!(circle.contains("in a circle"), "{circle}");
        assert_eq!(names(&at("real")).len(), 2, "nothing else is left");
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
