//! Files that a person names and that are written: neither what is read nor something that nobody
//! gave leave to replace.

use std::path::{Path, PathBuf};

/// Whether two names are of one file: by another path, a link, a hard link or a second mount. Of
/// what is not there yet, the folder and the name are compared. Terminals, sockets and devices
/// such as `/dev/null` lose nothing by being read and written, so they are no files here.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
        use std::os::unix::fs::FileTypeExt;
        let kind = one.file_type();
        let is_harmless = kind.is_char_device() || kind.is_socket();
        return !is_harmless && identity(&one) == identity(&other);
    }
    let (Some(one), Some(other)) = (whole(one), whole(other)) else { return false };
    let is_one_folder = || match (one.parent(), other.parent()) {
        (Some(one), Some(other)) => is_same_folder(one, other),
        _ => false,
    };
    one == other || (one.file_name() == other.file_name() && is_one_folder())
}

/// What the system knows a file by, whatever its name and wherever it is mounted.
#[cfg(unix)]
fn identity(about: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino())
}

/// Whether two whole names are of one folder, which may be mounted in two places.
fn is_same_folder(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
        return identity(&one) == identity(&other);
    }
    one == other
}

/// A path without links, also of a file that is not there yet.
fn whole(path: &Path) -> Option<PathBuf> {
    if let Ok(whole) = path.canonicalize() {
        return Some(whole);
    }
    // A link to nowhere names what is made when it is written to.
    let ahead = crate::pxi::followed(path, false).ok()?;
    let path = &ahead;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
}

/// What a command writes, as endings of names say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Bytes stored as pixels, a model among them: `.pxi`.
    Pxi,
    /// A model of llama.cpp: `.gguf`.
    Gguf,
    /// A picture of pixels or of a model: `.png`.
    Png,
    /// An archive of a mod: `.zip`.
    Zip,
    /// Text, whatever its ending: results, traces.
    Text,
    /// Somebody's bytes, whatever they are.
    Bytes,
}

/// Endings of formats that are no text.
const BINARY: [&str; 37] = [
    "pxi",
    "gguf",
    "ggml",
    "safetensors",
    "onnx",
    "pt",
    "pth",
    "npy",
    "npz",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "webp",
    "bmp",
    "tif",
    "tiff",
    "ico",
    "pdf",
    "zip",
    "gz",
    "tgz",
    "xz",
    "zst",
    "bz2",
    "7z",
    "rar",
    "tar",
    "mp3",
    "mp4",
    "wav",
    "exe",
    "dll",
    "so",
    "parquet",
    "sqlite",
    "docx",
];

/// Endings of formats that are text.
const TEXT: [&str; 20] = [
    "txt", "md", "json", "jsonl", "ndjson", "csv", "tsv", "ron", "toml", "yaml", "yml", "xml",
    "html", "svg", "wgsl", "rs", "py", "sh", "log", "c",
];

impl Format {
    fn ending(self) -> Option<&'static str> {
        match self {
            Self::Pxi => Some("pxi"),
            Self::Gguf => Some("gguf"),
            Self::Png => Some("png"),
            Self::Zip => Some("zip"),
            Self::Text | Self::Bytes => None,
        }
    }

    /// Whether an ending in small letters says that a file holds something else.
    fn contradicts(self, ending: &str) -> bool {
        match self {
            Self::Bytes => false,
            Self::Text => BINARY.contains(&ending),
            // Endings that no list has, such as .tmp and .v2, say nothing.
            _ => {
                self.ending() != Some(ending)
                    && (BINARY.contains(&ending) || TEXT.contains(&ending))
            }
        }
    }
}

/// Why a file is not written. Nothing has been touched.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The result would take the place of what it is made of.
    #[error("{} and {} are the same file; name another output", input.display(), output.display())]
    SameFile {
        /// What is read, as it was named.
        input: PathBuf,
        /// What would be written.
        output: PathBuf,
    },
    /// The name says another format than that of the result.
    #[error(
        "{}: its name ends in .{ending}, but {} would be written; give it another name",
        path.display(),
        written.ending().map_or_else(|| "text".to_owned(), |written| format!("a .{written} file")),
    )]
    Ending {
        /// What would be written.
        path: PathBuf,
        /// Its ending in small letters, without the dot.
        ending: String,
        /// What it would hold.
        written: Format,
    },
    /// A file is there, and nobody gave leave to replace it.
    #[error("{} exists already; give --force to replace it, or another name", .0.display())]
    Exists(PathBuf),
    /// A folder is there, or the name is that of one.
    #[error("{} is a folder; name a file in it", .0.display())]
    Folder(PathBuf),
    /// The folder is not there.
    #[error("{}: there is no folder {}; make it first", output.display(), folder.display())]
    NoFolder {
        /// What would be written.
        output: PathBuf,
        /// The folder that is not there, links followed.
        folder: PathBuf,
    },
    /// The output lies in a folder that is read as a whole.
    #[error(
        "{} is inside {}, which is read; name another output",
        output.display(),
        input.display()
    )]
    Inside {
        /// The folder that is read, as it was named.
        input: PathBuf,
        /// What would be written.
        output: PathBuf,
    },
}

/// Refuses an output that is one of the inputs. `-` is standard input or standard output.
///
/// # Errors
/// [`Refusal::SameFile`], or [`Refusal::Inside`] where an input is a folder.
pub(crate) fn refuse_input(
    output: &Path,
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), Refusal> {
    let written = stream(output, "/dev/stdout");
    for input in inputs {
        let input = input.as_ref();
        let read = stream(input, "/dev/stdin");
        let pair = || (input.to_owned(), output.to_owned());
        if is_same_file(read, written) {
            let (input, output) = pair();
            return Err(Refusal::SameFile { input, output });
        }
        // Standard input is what a shell opened, a folder only by mistake.
        if read == input && read.is_dir() && is_inside(written, read) {
            let (input, output) = pair();
            return Err(Refusal::Inside { input, output });
        }
    }
    Ok(())
}

/// Whether a file is in a folder or one of its folders.
fn is_inside(path: &Path, folder: &Path) -> bool {
    let (Some(path), Some(folder)) = (whole(path), whole(folder)) else { return false };
    path.ancestors().any(|above| is_same_folder(above, &folder))
}

fn stream<'a>(path: &'a Path, stream: &'a str) -> &'a Path {
    // Through /dev a shell's redirection is known as the file that it leads to.
    if cfg!(unix) && path == Path::new("-") { Path::new(stream) } else { path }
}

/// Refuses a name whose ending says another format than the one that is written.
///
/// # Errors
/// [`Refusal::Ending`].
pub(crate) fn refuse_ending(output: &Path, written: Format) -> Result<(), Refusal> {
    let ending = output.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    // A device or a pipe is called what it is called.
    let is_special = output.metadata().is_ok_and(|about| !about.is_file());
    match ending {
        Some(ending) if !is_special && written.contradicts(&ending) => {
            Err(Refusal::Ending { path: output.to_owned(), ending, written })
        }
        _ => Ok(()),
    }
}

/// Refuses a file that is there, unless `force` gives leave to replace it, and a folder in any
/// case. Standard output, pipes and devices are written to and not replaced, so they pass.
///
/// # Errors
/// [`Refusal::Exists`] or [`Refusal::Folder`].
pub(crate) fn refuse_existing(output: &Path, force: bool) -> Result<(), Refusal> {
    match output.metadata() {
        _ if output == Path::new("-") => Ok(()),
        // `new/` is a folder's name also where nothing is there.
        _ if crate::pxi::names_folder(output) => Err(Refusal::Folder(output.to_owned())),
        Ok(about) if about.is_dir() => Err(Refusal::Folder(output.to_owned())),
        Ok(about) if about.is_file() && !force => Err(Refusal::Exists(output.to_owned())),
        _ => Ok(()),
    }
}

/// Refuses an output in a folder that is not there, before there is work that would be lost.
///
/// # Errors
/// [`Refusal::NoFolder`].
pub(crate) fn refuse_missing_folder(output: &Path) -> Result<(), Refusal> {
    // That of the place a link leads to, where the file is made.
    let folder = crate::pxi::Target::from(output).folder();
    if output == Path::new("-") || folder.exists() {
        return Ok(());
    }
    Err(Refusal::NoFolder { output: output.to_owned(), folder })
}

/// All four: the output is no input, its ending is not that of another format, nothing is replaced
/// without leave, and its folder is there.
///
/// # Errors
/// The first [`Refusal`].
pub(crate) fn check_output(
    output: &Path,
    inputs: impl IntoIterator<Item = impl AsRef<Path>>,
    written: Format,
    force: bool,
) -> Result<(), Refusal> {
    // The input first: of an output that is one, `--force` would be the wrong advice.
    refuse_input(output, inputs)?;
    refuse_ending(output, written)?;
    refuse_existing(output, force)?;
    refuse_missing_folder(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        std::fs::write(at("b"), "a").unwrap();
        std::fs::create_dir(at("sub")).unwrap();
        assert!(is_same_file(&at("a"), &at("a")));
        assert!(is_same_file(&at("a"), &at("sub/../a")));
        assert!(!is_same_file(&at("a"), &at("b")), "the same bytes are not the same file");
        assert!(is_same_file(&at("new"), &at("sub/../new")), "also before it is there");
        assert!(!is_same_file(&at("new"), &at("newer")));
        assert!(!is_same_file(&at("none/a"), &at("none/a")), "nothing can be there");
        std::fs::hard_link(at("a"), at("hard")).unwrap();
        #[cfg(unix)]
        {
            assert!(is_same_file(&at("a"), &at("hard")));
            std::os::unix::fs::symlink(at("a"), at("soft")).unwrap();
            assert!(is_same_file(&at("soft"), &at("hard")));
            let null = Path::new("/dev/null");
            assert!(!is_same_file(null, null), "reading and writing it loses nothing");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("sub/new", at("ahead")).unwrap();
            assert!(is_same_file(&at("ahead"), &at("sub/new")), "a link to what is not there yet");
        }
        assert_eq!(refuse_existing(&at("sub"), true), Err(Refusal::Folder(at("sub"))));
        let inside = refuse_input(&at("sub/x"), [at("sub").as_path()]);
        assert!(matches!(inside, Err(Refusal::Inside { .. })), "{inside:?}");
        assert_eq!(refuse_input(&at("x"), [at("sub").as_path()]), Ok(()));
    }

    #[test]
    fn endings_say_formats() {
        let refused = |name: &str, format| refuse_ending(Path::new(name), format).is_err();
        for name in ["a.png", "a.ZIP", "a.gguf", "a.txt", "dir.pxi/a.json"] {
            assert!(refused(name, Format::Pxi), "{name}");
        }
        for name in ["a.pxi", "a.PXI", "a", "a.tmp", "a.v2", "a.gguf.pxi", ".png", "-"] {
            assert!(!refused(name, Format::Pxi), "{name}");
        }
        assert!(refused("a.pxi", Format::Gguf) && refused("a.jpg", Format::Png));
        assert!(refused("a.gguf", Format::Text) && !refused("a.csv", Format::Text));
        assert!(!refused("a.png", Format::Bytes), "bytes may be a picture");
    }
}
