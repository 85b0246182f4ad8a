//! Whether a file of results is still where it was: what rotates logs moves or replaces files that
//! are being written.

use std::fs::File;
use std::path::Path;

use super::OutputError;

/// Says when another process took the file away. What would be lost with the file is first put
/// beside its place.
#[cfg(unix)]
pub(super) fn check(path: &Path, file: &mut File) -> Result<(), OutputError> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata().map_err(OutputError::Write)?;
    let is_there =
        |there: std::fs::Metadata| (there.dev(), there.ino()) == (held.dev(), held.ino());
    if path.metadata().is_ok_and(is_there) {
        return Ok(());
    }
    // A file that still has a name is not lost.
    let kept = match held.nlink() {
        0 => Some(rescue(path, file).map_err(OutputError::Write)?),
        _ => None,
    };
    Err(OutputError::Displaced { path: path.to_owned(), kept })
}

/// Copies a file that has no name any more to a new one beside its place.
#[cfg(unix)]
fn rescue(path: &Path, file: &mut File) -> std::io::Result<std::path::PathBuf> {
    use std::io::{ErrorKind, Seek};
    file.rewind()?;
    for number in 1.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".kept-{number}"));
        let kept = path.with_file_name(name);
        // Never over a file of that name: it may hold an earlier rescue.
        match File::create_new(&kept) {
            Ok(mut copy) => {
                std::io::copy(file, &mut copy)?;
                copy.sync_all()?;
                return Ok(kept);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Other systems keep a file that is open where it is.
#[cfg(not(unix))]
pub(super) fn check(_: &Path, _: &mut File) -> Result<(), OutputError> {
    Ok(())
}
