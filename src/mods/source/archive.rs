//! Zip archives. Every size is that of what came out, never what the archive says of itself.

use std::io::{Read, Seek};

use zip::ZipArchive;

use super::{Intake, SourceFile};
use crate::mods::problem::Problem;

/// The most entries that an archive may list, folders included.
const MAX_ENTRIES: usize = 2 * super::MAX_FILES;

/// Reads the RON files of a zip archive in memory, as one that lies on the disk is read.
///
/// # Errors
/// Everything about the archive that cannot be.
pub fn read_archive(label: &str, archive: &[u8]) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut intake = Intake::new(label);
    read_into(std::io::Cursor::new(archive), &mut intake);
    intake.finish()
}

pub(super) fn read_into(file: impl Read + Seek, intake: &mut Intake<'_>) {
    let mut archive = match ZipArchive::new(file) {
        Ok(archive) => archive,
        Err(error) => return intake.wrong("", format!("is no zip archive that can be read: {error}")),
    };
    if archive.len() > MAX_ENTRIES {
        return intake.wrong("", format!("the archive has more than {MAX_ENTRIES} entries"));
    }
    let top = common_folder(&archive);
    for index in 0..archive.len() {
        let listed = archive.name_for_index(index).unwrap_or_default().to_owned();
        let entry = match archive.by_index(index) {
            Ok(entry) => entry,
            Err(error) => {
                intake.wrong(&shown(&listed), format!("cannot be read: {error}"));
                continue;
            }
        };
        let name = entry.name().to_owned();
        let path = name.strip_prefix(top.as_str()).unwrap_or(&name);
        if path.split('/').any(|part| part.starts_with('.') && part != "." && part != "..") {
            continue;
        }
        if entry.is_symlink() {
            intake.wrong(&shown(path), "is a link; a mod holds its files itself");
            continue;
        }
        if entry.is_dir() {
            let folder = path.trim_end_matches('/');
            if !folder.is_empty()
                && let Err(why) = super::check_path(folder)
            {
                intake.wrong(&shown(folder), why);
            }
            continue;
        }
        if !intake.has_room() {
            return;
        }
        if path.split('/').count() > super::MAX_FOLDERS_DEEP + 1 {
            intake.wrong(&shown(path), format!("folders are nested deeper than {}", super::MAX_FOLDERS_DEEP));
        } else if intake.wants(path) {
            let path = path.to_owned();
            intake.take(&path, entry);
        }
    }
}

/// A name for a message; a hostile one may be as long as it likes.
fn shown(name: &str) -> String {
    crate::mods::tree::shortened(name)
}

/// The folder that holds everything, with its `/`, where the manifest is not at the top: archives are often made of a folder.
fn common_folder<R: Read + Seek>(archive: &ZipArchive<R>) -> String {
    let mut names = archive.file_names();
    let Some((folder, _)) = names.next().and_then(|name| name.split_once('/')) else { return String::new() };
    let folder = format!("{folder}/");
    let is_plain = !folder.starts_with('.') && folder.len() > 1;
    if is_plain && archive.file_names().all(|name| name.starts_with(&folder)) {
        folder
    } else {
        String::new()
    }
}
