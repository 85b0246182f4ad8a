//! What a conversion is known by: the files it was made of, and what the system says of each.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::model::hex;

/// The version of conversions: one of another version is made anew.
const VERSION: &str = "1.2";

/// Characters of a model's name in that of its conversion: names have a longest length.
const LONGEST_STEM: usize = 60;

/// The files that a model named by `path` is made of, in order: those of a split that are there,
/// else the one.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let split = || {
        let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (base, number) = rest.rsplit_once('-')?;
        let is_number =
            |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let last: u32 = count.parse().ok().filter(|_| is_number(number) && is_number(count))?;
        let part = |number| path.with_file_name(format!("{base}-{number:05}-of-{count}.gguf"));
        Some((1..=last).map(part).filter(|part| part == path || part.exists()).collect())
    };
    split().filter(|parts: &Vec<_>| !parts.is_empty()).unwrap_or_else(|| vec![path.to_owned()])
}

/// What changes when a file does, and also when another of the same size and time takes its place.
pub fn state(about: &Metadata) -> String {
    let time = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time = time.unwrap_or_default().as_nanos();
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // The time of change cannot be set by anybody.
        let changed = (about.ctime(), about.ctime_nsec(), about.ino());
        format!("{} {time} {changed:?}", about.len())
    }
    #[cfg(not(unix))]
    format!("{} {time}", about.len())
}

/// The name of a model's conversion: `STEM-PLACE-STATE.pxi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConversionKey {
    /// `-PLACE-`: the same for all conversions of the files of these names.
    pub place: String,
    /// The whole name, which changes when a file of the model does.
    pub file_name: String,
}

impl ConversionKey {
    /// The key of a model as it is now.
    ///
    /// # Errors
    /// One of its files cannot be found.
    pub fn of(path: &Path) -> io::Result<Self> {
        let parts = parts(path);
        let (mut places, mut states) = (Sha256::new(), Sha256::new());
        states.update(VERSION);
        for part in &parts {
            let whole = part.canonicalize()?;
            places.update(format!("{}\n", whole.display()));
            states.update(format!("{}\n{}\n", whole.display(), state(&whole.metadata()?)));
        }
        let short = |hash: Sha256| hex(&hash.finalize())[..16].to_owned();
        // A link gives no name of its own: by any name a model has one conversion.
        let first = parts[0].canonicalize()?;
        let stem = first.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let stem: String = stem.chars().take(LONGEST_STEM).collect();
        let place = format!("-{}-", short(places));
        Ok(Self { file_name: format!("{stem}{place}{}.pxi", short(states)), place })
    }
}

/// Whether a name is one that conversions have, of now or of earlier versions of the program.
pub(crate) fn is_conversion(name: &str) -> bool {
    let digits =
        name.strip_suffix(".pxi").and_then(|stem| stem.rsplit_once('-')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_and_every_change_is_in_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
        names.iter().for_each(|name| std::fs::write(at(name), "part").unwrap());
        assert_eq!(parts(&at(names[1])), names.map(at));
        let before = ConversionKey::of(&at(names[0])).unwrap();
        assert_eq!(before, ConversionKey::of(&at(names[1])).unwrap(), "any part names the model");
        assert!(is_conversion(&before.file_name) && !is_conversion("mine.pxi"));
        // Another file of the same size and time, put in the place of the second.
        let time = at(names[1]).metadata().unwrap().modified().unwrap();
        std::fs::write(at("new"), "trap").unwrap();
        std::fs::File::options().write(true).open(at("new")).unwrap().set_modified(time).unwrap();
        std::fs::rename(at("new"), at(names[1])).unwrap();
        let after = ConversionKey::of(&at(names[0])).unwrap();
        assert_ne!(before.file_name, after.file_name);
        assert_eq!(before.place, after.place);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_names_the_conversion_of_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.gguf"), "a").unwrap();
        std::fs::write(at("b.gguf"), "b").unwrap();
        std::os::unix::fs::symlink("a.gguf", at("link.gguf")).unwrap();
        assert_eq!(
            ConversionKey::of(&at("link.gguf")).unwrap(),
            ConversionKey::of(&at("a.gguf")).unwrap()
        );
        std::fs::remove_file(at("link.gguf")).unwrap();
        std::os::unix::fs::symlink("b.gguf", at("link.gguf")).unwrap();
        assert_eq!(
            ConversionKey::of(&at("link.gguf")).unwrap(),
            ConversionKey::of(&at("b.gguf")).unwrap()
        );
    }

    #[test]
    fn long_names_stay_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{}.gguf", "é".repeat(120)));
        std::fs::write(&path, "x").unwrap();
        assert!(ConversionKey::of(&path).unwrap().file_name.len() < 200);
    }
}
