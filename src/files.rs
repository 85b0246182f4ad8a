//! Files that a person names and that are read: a regular file where it has to be one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Something else than a plain file is where one belongs: the inside of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a regular file")]
pub struct NotRegular;

impl NotRegular {
    /// Whether an error is this one.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// Opens a file to read it, and never waits: opening a named pipe would wait for its writer.
///
/// # Errors
/// [`NotRegular`] for a folder, a pipe, a socket or a device; or the file cannot be opened.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    open_regular_with(path, OpenOptions::new().read(true))
}

/// The same with options of the caller's, which may make the file.
///
/// # Errors
/// As [`open_regular`].
pub(crate) fn open_regular_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Asked before opening, since that alone makes some devices do something.
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        return Err(io::Error::other(NotRegular));
    }
    // What takes the place of the file meanwhile is not waited for either.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, nix::libc::O_NONBLOCK);
    let file = options.open(path)?;
    // Asked of the open file: the name may lead elsewhere than a moment ago.
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NotRegular)) }
}

/// The bytes of a regular file.
///
/// # Errors
/// As [`open_regular`], or the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
/// As [`read`], or the bytes are not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "text");
        assert!(NotRegular::is_in(&open_regular(folder.path()).unwrap_err()));
        let missing = open_regular(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        #[cfg(unix)]
        for device in ["/dev/null", "/dev/zero"] {
            assert!(NotRegular::is_in(&read(Path::new(device)).unwrap_err()), "{device}");
        }
    }
}
