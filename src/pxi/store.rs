//! A folder of `.pxi` files that are known by name. A name never leaves the folder.
//!
//! A name is one or more parts joined by `/`; the file is at the same place with `.pxi` added, if
//! the name has not got it. Parts that some system gives another meaning are refused everywhere, so
//! that a store can be moved.

use super::{PxiError, PxiFile, PxiHeader, PxiWriter, Target, WriteOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How deep [`PxiStore::list`] looks: no store is nested like this by intent, and a walk must end.
const MAX_DEPTH: usize = 32;
const EXTENSION: &str = ".pxi";

/// A folder and the files in it.
#[derive(Clone, Debug)]
pub struct PxiStore {
    /// Canonical, so that a path can be compared with it.
    root: PathBuf,
}

/// A file of a store as it is listed.
#[derive(Debug)]
pub struct PxiEntry {
    /// Its name in the store.
    pub name: String,
    /// The path of its file, within the folder.
    pub path: PathBuf,
    /// Its length in bytes, where it could be opened.
    pub file_len: Option<u64>,
    /// Its header, or what is wrong with it.
    pub header: Result<PxiHeader, PxiError>,
}

impl PxiStore {
    /// Opens a folder, which must exist.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, PxiError> {
        let folder = folder.as_ref();
        let root = folder
            .canonicalize()
            .map_err(|error| PxiError::io("open the folder")(error).at(folder))?;
        if !root.is_dir() {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(PxiError::Io { action: "open the folder", source }.at(folder));
        }
        Ok(Self { root })
    }

    /// The folder, without links in its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of this name is, or would be. Links that lead out of the folder are refused.
    pub fn path(&self, name: &str) -> Result<PathBuf, PxiError> {
        let path = self.root.join(file_name(name)?);
        // What exists of the path must lie inside once its links are followed; what does not exist
        // yet has no links. (A link made between this and the use of the path is not seen.)
        for existing in path.ancestors() {
            match existing.canonicalize() {
                Ok(real) if real.starts_with(&self.root) => return Ok(path),
                Ok(_) => return Err(name_error(name, "leads out of the store through a link")),
                // A link to nowhere would be followed once its target exists.
                Err(_) if existing.is_symlink() => {
                    return Err(name_error(name, "is a link to nowhere"));
                }
                Err(_) => {}
            }
        }
        Err(name_error(name, "is not in the store"))
    }

    /// Opens a file to read.
    pub fn read(&self, name: &str) -> Result<PxiFile, PxiError> {
        PxiFile::open(self.path(name)?)
    }

    /// Starts a file, and makes the folders of its name.
    pub fn write(&self, name: &str, options: WriteOptions) -> Result<PxiWriter, PxiError> {
        self.write_with(name, options, true)
    }

    /// The same, with leave to replace a file of this name or without.
    pub(crate) fn write_with(
        &self,
        name: &str,
        options: WriteOptions,
        may_replace: bool,
    ) -> Result<PxiWriter, PxiError> {
        let path = self.path(name)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| PxiError::io("make the folder")(error).at(folder))?;
        }
        PxiWriter::create(Target::new(path, may_replace), options)
    }

    /// The header and the length in bytes of a file.
    pub fn info(&self, name: &str) -> Result<(PxiHeader, u64), PxiError> {
        self.read(name).map(|file| (*file.header(), file.file_len()))
    }

    /// Removes the file of a name; its folders stay.
    pub fn delete(&self, name: &str) -> Result<(), PxiError> {
        let path = self.path(name)?;
        fs::remove_file(&path).map_err(|error| PxiError::io("delete")(error).at(&path))
    }

    /// Every `.pxi` file of the folder and its subfolders, by name. Hidden files and linked folders
    /// are passed by.
    pub fn list(&self) -> Result<Vec<PxiEntry>, PxiError> {
        let mut entries = Vec::new();
        let mut folders = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let read_error = |error| PxiError::io("list the folder")(error).at(&folder);
            for item in fs::read_dir(&folder).map_err(read_error)? {
                let item = item.map_err(read_error)?;
                let kind = item.file_type().map_err(read_error)?;
                // A name that is no Unicode cannot be asked for by name either.
                let Ok(file_name) = item.file_name().into_string() else { continue };
                if file_name.starts_with('.') {
                    continue;
                }
                let path = item.path();
                // The entry's own type: a linked folder is none, so the walk stays in the store and
                // ends.
                if kind.is_dir() {
                    if depth < MAX_DEPTH {
                        folders.push((path, format!("{prefix}{file_name}/"), depth + 1));
                    }
                } else if let Some(stem) = file_name.strip_suffix(EXTENSION) {
                    entries.push(self.entry(format!("{prefix}{stem}"), path));
                }
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn entry(&self, name: String, path: PathBuf) -> PxiEntry {
        match self.read(&name) {
            Ok(file) => {
                PxiEntry { name, path, file_len: Some(file.file_len()), header: Ok(*file.header()) }
            }
            Err(error) => {
                let file_len = fs::metadata(&path).ok().map(|metadata| metadata.len());
                PxiEntry { name, path, file_len, header: Err(error) }
            }
        }
    }
}

/// The relative path of a name, once each of its parts has been checked.
fn file_name(name: &str) -> Result<String, PxiError> {
    let stem = name.strip_suffix(EXTENSION).unwrap_or(name);
    for part in stem.split('/') {
        // A dot in front hides a file and makes `..`; Windows drops dots and spaces at the end, so
        // that two names would be one file.
        let problem = if part.is_empty() {
            "has an empty part"
        } else if part.starts_with('.') {
            "has a part that starts with a dot"
        } else if part.ends_with(['.', ' ']) {
            "has a part that ends with a dot or a space"
        } else if part
            .contains(|letter: char| letter.is_control() || r#"\:*?"<>|"#.contains(letter))
        {
            "has a character that file names cannot have everywhere"
        } else {
            continue;
        };
        return Err(name_error(name, problem));
    }
    Ok(format!("{stem}{EXTENSION}"))
}

fn name_error(name: &str, problem: &'static str) -> PxiError {
    PxiError::Name { name: name.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn store() -> (tempfile::TempDir, PxiStore) {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let store = PxiStore::open(inside).unwrap();
        (folder, store)
    }

    fn put(store: &PxiStore, name: &str, payload: &[u8]) {
        let mut writer = store.write(name, WriteOptions::default()).unwrap();
        writer.write_all(payload).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn a_file_is_written_listed_read_and_deleted_by_name() {
        let (_folder, store) = store();
        put(&store, "b", b"one");
        put(&store, "sub/a.pxi", b"two");
        fs::write(store.root().join("broken.pxi"), "no").unwrap();
        fs::write(store.root().join("other.txt"), "no").unwrap();
        let entries = store.list().unwrap();
        let listed: Vec<_> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.header.is_ok())).collect();
        assert_eq!(listed, [("b", true), ("broken", false), ("sub/a", true)]);
        assert_eq!(store.read("sub/a").unwrap().read_all().unwrap(), b"two");
        assert_eq!(store.info("b").unwrap().0.original_size(), 3);
        store.delete("b").unwrap();
        assert!(store.read("b").is_err());
        assert!(store.delete("b").is_err());
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let (folder, store) = store();
        fs::write(folder.path().join("secret.pxi"), "secret").unwrap();
        let names = [
            "..",
            ".",
            "",
            "/",
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "a//b",
            "a/",
            "/a",
            "a/./b",
            ".hidden",
            "a\0b",
            "a\\b",
            "C:a",
            "a\nb",
            "a.",
            "a ",
            "..pxi",
            ".pxi",
            "../secret.pxi",
        ];
        for name in names {
            let refused = store.path(name);
            assert!(matches!(refused, Err(PxiError::Name { .. })), "{name:?}: {refused:?}");
            assert!(store.delete(name).is_err());
        }
        assert!(folder.path().join("secret.pxi").exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_that_leave_the_folder_are_refused() {
        use std::os::unix::fs::symlink;
        let (folder, store) = store();
        let outside = folder.path().join("outside.pxi");
        fs::write(&outside, "outside").unwrap();
        symlink(folder.path(), store.root().join("up")).unwrap();
        symlink(&outside, store.root().join("file.pxi")).unwrap();
        symlink(folder.path().join("not-yet.pxi"), store.root().join("dangling.pxi")).unwrap();
        for name in ["up/outside", "up/new", "up/new/deeper", "file", "dangling"] {
            let refused = store.write(name, WriteOptions::default()).map(|_| ());
            assert!(matches!(refused, Err(PxiError::Name { .. })), "{name}: {refused:?}");
        }
        assert_eq!(fs::read(&outside).unwrap(), b"outside");
        // A link within the folder is no way out.
        put(&store, "a", b"payload");
        symlink("a.pxi", store.root().join("b.pxi")).unwrap();
        assert_eq!(store.read("b").unwrap().read_all().unwrap(), b"payload");
    }

    #[test]
    fn a_store_needs_a_folder() {
        let (folder, store) = store();
        put(&store, "a", b"");
        assert!(PxiStore::open(folder.path().join("missing")).is_err());
        assert!(PxiStore::open(store.root().join("a.pxi")).is_err());
    }
}
