//! Makes a mod: a folder with commented templates, and the archive to hand on.

use std::fs;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::registry::Registry;
use super::source::{MAX_ARCHIVE_IN_BYTES, Source};

/// Why a mod could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Something of the name is there.
    #[error("{path} is there already")]
    Exists {
        /// The folder that was to be made.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder that failed.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody could use the archive.
    #[error(
        "the archive would have {size} bytes, and a mod's has at most {most}: hand the mod on as \
         a folder, or its model beside it",
        most = MAX_ARCHIVE_IN_BYTES
    )]
    TooLarge {
        /// How many bytes the archive would have.
        size: u64,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Archive(#[from] zip::result::ZipError),
}

/// The text of a new mod's manifest.
pub fn manifest_template(id: &str) -> String {
    include_str!("examples/mod.ron").replace("my-mod", id)
}

/// Writes a new mod with an example of each of the kinds.
///
/// # Errors
/// The folder is there, or cannot be written.
pub fn write_template(
    registry: &Registry,
    folder: &Path,
    id: &str,
    kinds: &[&str],
) -> Result<Vec<PathBuf>, PackError> {
    if folder.exists() {
        return Err(PackError::Exists { path: folder.into() });
    }
    let mut written = Vec::new();
    let mut write = |name: String, text: &str| {
        let path = folder.join(name);
        let failed = |source| PackError::File { path: path.clone(), source };
        fs::write(&path, text).map_err(failed)?;
        written.push(path);
        Ok::<_, PackError>(())
    };
    fs::create_dir_all(folder).map_err(|source| PackError::File { path: folder.into(), source })?;
    write(super::manifest::FILE_NAME.into(), &manifest_template(id))?;
    for kind in registry.kinds().iter().filter(|kind| kinds.contains(&kind.name())) {
        write(format!("{id}.{}.ron", kind.name()), kind.example())?;
    }
    Ok(written)
}

/// Writes the files of a mod, and those of its folder that it has beside them, as a zip archive.
/// The same files give the same bytes.
///
/// # Errors
/// A file cannot be read, or the archive cannot be written or is larger than one may be.
pub fn write_archive(
    source: &Source,
    folder: &Path,
    others: &[String],
    archive: impl Write + Seek,
) -> Result<(), PackError> {
    let mut zip = ZipWriter::new(archive);
    // Without a time of its own the archive does not change when nothing else does.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    for file in &source.files {
        zip.start_file(file.path.as_str(), options)?;
        zip.write_all(file.text.as_bytes()).map_err(zip::result::ZipError::from)?;
    }
    for name in others {
        let path = folder.join(name);
        let failed = |source| PackError::File { path: path.clone(), source };
        let mut file = crate::files::open_regular(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        // From 4 GiB on the format needs zip64, which not every reader knows.
        zip.start_file(name.as_str(), options.large_file(size > u64::from(u32::MAX)))?;
        io::copy(&mut file, &mut zip).map_err(failed)?;
    }
    let size = zip.finish()?.seek(io::SeekFrom::End(0)).map_err(zip::result::ZipError::from)?;
    if size > MAX_ARCHIVE_IN_BYTES { Err(PackError::TooLarge { size }) } else { Ok(()) }
}
