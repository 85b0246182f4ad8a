//! Zip archives. Every size is that of what came out, never what the archive says of itself.

use std::io::{Read, Seek};

use zip::ZipArchive;

use super::{Intake, SourceFile};
use crate::content::problem::Problem;

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
        Err(error) => {
            return intake.wrong("", format!("is no zip archive that can be read: {error}"));
        }
    };
    if archive.len() > MAX_ENTRIES {
        return intake.wrong("", format!("the archive has more than {MAX_ENTRIES} entries"));
    }
    let mut names = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let listed = archive.name_for_index(index).unwrap_or_default().to_owned();
        // Raw: nothing is unpacked for its name.
        names.push(match archive.by_index_raw(index) {
            Ok(entry) => name_of(entry.name_raw(), entry.name()),
            Err(error) => {
                intake.wrong(&shown(&listed), format!("cannot be read: {error}"));
                // Names keep the indices of their entries; an empty one is passed over below.
                String::new()
            }
        });
    }
    let top = common_folder(&names).to_owned();
    for (index, name) in names.iter().enumerate() {
        let path = name.strip_prefix(top.as_str()).unwrap_or(name);
        if path.is_empty() {
            continue;
        }
        if name.split('/').any(super::is_litter) {
            intake.leave_out(path);
            continue;
        }
        let entry = match archive.by_index(index) {
            Ok(entry) => entry,
            Err(error) => {
                intake.wrong(&shown(path), format!("cannot be read: {error}"));
                continue;
            }
        };
        if entry.is_symlink() {
            intake.wrong(&shown(path), "is a link; a mod holds its files itself");
            continue;
        }
        if path.ends_with('/') {
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
        // The last part is the file's name.
        if path.split('/').count() > super::MAX_FOLDERS_DEEP + 1 {
            intake.wrong(
                &shown(path),
                format!("folders are nested deeper than {}", super::MAX_FOLDERS_DEEP),
            );
        } else if intake.wants(path) {
            intake.take(path, entry);
        }
    }
}

/// A name for a message; a hostile one may be as long as it likes.
fn shown(name: &str) -> String {
    crate::content::tree::shortened(name)
}

/// The name of an entry, with `/` between folders. Those who write UTF-8 do not always say so, and
/// some systems write `\`, which is taken for `/` where that makes a path; else the name is refused
/// as it stands.
fn name_of(raw: &[u8], decoded: &str) -> String {
    let name = std::str::from_utf8(raw).unwrap_or(decoded);
    let path = name.replace('\\', "/");
    if super::check_path(path.trim_end_matches('/')).is_ok() { path } else { name.to_owned() }
}

/// The folder that holds everything, with its `/`, where the manifest is not at the top: archives
/// are often made of a folder. What file managers add beside it does not count.
fn common_folder(names: &[String]) -> &str {
    let mut names =
        names.iter().filter(|name| !name.is_empty() && !name.split('/').any(super::is_litter));
    let Some(first) = names.next() else { return "" };
    let Some(end) = first.find('/') else { return "" };
    let folder = &first[..=end];
    // A `/` alone is no folder to leave out: the path is absolute, and refused as such.
    if folder.len() > 1 && names.all(|name| name.starts_with(folder)) { folder } else { "" }
}
