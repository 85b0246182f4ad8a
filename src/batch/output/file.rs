//! The file of results: locked, appended to line by line, resumed.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::place;
use super::resume::{Extent, FinishedLine, ResumeVerdict, ScanError, scan};
use crate::batch::input::IdHash;

/// What to do with an output file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing: it is an error, unless the file is empty.
    Refuse,
    /// Replace what it holds.
    Overwrite,
    /// Go on behind its last whole line.
    Resume {
        /// Take out the lines with errors, so that their requests run again.
        retry_failed: bool,
    },
}

/// Why results cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file is there, and nothing was said about it.
    #[error("{path} exists; go on with it by --resume, or start it anew by --overwrite")]
    Exists {
        /// The file that holds something already.
        path: PathBuf,
    },
    /// Another run writes to it.
    #[error("{path} is being written by another run")]
    Locked {
        /// The file whose lock another run has.
        path: PathBuf,
    },
    /// The file to resume holds something else.
    #[error(
        "{path}: line {line} is not a result of a batch, so the run cannot be resumed with this \
         file"
    )]
    Foreign {
        /// The file that was to be resumed.
        path: PathBuf,
        /// The first line that is no result, from 1.
        line: u64,
    },
    /// The file could not be opened, read or replaced.
    #[error("cannot use {path} for results: {source}")]
    Open {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has taken the file away, or put another in its place.
    #[error(
        "{path} was moved, removed or replaced by another process, so the run stops; {}",
        where_kept(kept.as_deref())
    )]
    Displaced {
        /// Where the file was.
        path: PathBuf,
        /// Where its lines were put, if it had no name any more.
        kept: Option<PathBuf>,
    },
    /// A line could not be written. What was written before it is kept.
    #[error("cannot write results: {0}")]
    Write(#[source] io::Error),
}

fn where_kept(kept: Option<&Path>) -> String {
    match kept {
        Some(kept) => {
            format!("its results are kept in {}, go on with it by --resume", kept.display())
        }
        None => "its results are in the file that was moved, go on with it by --resume".into(),
    }
}

impl OutputError {
    /// Whether the reader of a pipe went away, which ends a run quietly.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What was found in a file that is resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Results of earlier runs that stay.
    pub kept: u64,
    /// Of them, results of requests that the input does not have.
    pub strangers: u64,
    /// Lines that were taken out, to run again.
    pub retried: u64,
    /// The length of the torn line that was cut off.
    pub torn_in_bytes: u64,
}

/// Where result lines go.
///
/// A file is as it was found until [`begin`](Self::begin): whatever fails before, such as opening
/// the model, costs no earlier result.
pub struct OutputFile {
    target: OutputTarget,
    /// Lines are counted for the summary.
    written: u64,
}

enum OutputTarget {
    /// A file of which only this run has the lock. `locks` holds the locks of files it has
    /// replaced.
    File {
        file: File,
        /// Where the next line goes.
        len: u64,
        /// Whether what lay behind `len` is still to be cut off.
        untouched: bool,
        /// The path, if the file was not there before.
        created: Option<PathBuf>,
        /// Where it is looked for, to notice when another process takes it away.
        path: PathBuf,
        _locks: Vec<File>,
    },
    /// A pipe, a terminal or a device.
    Stream(Box<dyn Write + Send>),
}

impl OutputFile {
    /// Lines to a stream. It cannot be resumed.
    pub fn stream(stream: impl Write + Send + 'static) -> Self {
        Self { target: OutputTarget::Stream(Box::new(stream)), written: 0 }
    }

    /// Opens and locks a file. When it is resumed, `finished` is told the id of every result that
    /// stays, and says whether the input has it.
    pub fn open(
        path: &Path,
        existing: Existing,
        mut finished: impl FnMut(IdHash) -> bool,
    ) -> Result<(Self, Resumed), OutputError> {
        Self::open_judged(path, existing, |line| match finished(line.id) {
            true => ResumeVerdict::Keep,
            false => ResumeVerdict::Stranger,
        })
    }

    /// The same, where every line that would stay is judged by more than its id. An error that is
    /// to be tried again is not asked about.
    pub(crate) fn open_judged(
        path: &Path,
        existing: Existing,
        mut judge: impl FnMut(&FinishedLine) -> ResumeVerdict,
    ) -> Result<(Self, Resumed), OutputError> {
        let failed = |source| OutputError::Open { path: path.to_owned(), source };
        // What is no regular file keeps nothing that could be locked or resumed.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let stream = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok((Self::stream(stream), Resumed::default()));
        }
        let (mut file, created) = open_or_create(path).map_err(failed)?;
        // Before anything is read, since another run may be writing.
        lock(&file, path)?;
        let mut locks = Vec::new();
        let mut resumed = Resumed::default();
        let mut len = 0;
        match existing {
            Existing::Refuse => {
                if file.metadata().map_err(failed)?.len() > 0 {
                    return Err(OutputError::Exists { path: path.to_owned() });
                }
            }
            Existing::Overwrite => {}
            Existing::Resume { retry_failed } => {
                let of_scan = |error| match error {
                    ScanError::Read(source) => OutputError::Open { path: path.to_owned(), source },
                    ScanError::Foreign { line } => {
                        OutputError::Foreign { path: path.to_owned(), line }
                    }
                };
                let (mut number, mut again) = (0, HashSet::new());
                let extent = scan(BufReader::new(&file), |line, _| {
                    let verdict = if line.failed && retry_failed {
                        ResumeVerdict::Again
                    } else {
                        judge(&line)
                    };
                    if verdict == ResumeVerdict::Again {
                        resumed.retried += 1;
                        again.insert(number);
                    } else {
                        resumed.kept += 1;
                        resumed.strangers += u64::from(verdict == ResumeVerdict::Stranger);
                    }
                    number += 1;
                    Ok(())
                });
                let Extent { whole_in_bytes, torn_in_bytes } = extent.map_err(of_scan)?;
                resumed.torn_in_bytes = torn_in_bytes;
                len = whole_in_bytes;
                if resumed.retried > 0 {
                    let (without, kept) = without(&mut file, path, &again)?;
                    // The old file's lock stays: who has opened it already must find it locked.
                    locks.push(std::mem::replace(&mut file, without));
                    len = kept;
                }
            }
        }
        file.seek(SeekFrom::Start(len)).map_err(failed)?;
        let created = created.then(|| path.to_owned());
        let path = path.to_owned();
        let target =
            OutputTarget::File { file, len, untouched: true, created, path, _locks: locks };
        Ok((Self { target, written: 0 }, resumed))
    }

    /// Writes a whole line with its newline, at once, so that a killed run tears at most its last
    /// line.
    pub fn write_line(&mut self, line: &str) -> Result<(), OutputError> {
        assert!(line.ends_with('\n'));
        self.begin()?;
        match &mut self.target {
            OutputTarget::File { file, len, path, .. } => {
                if let Err(source) = file.write_all(line.as_bytes()) {
                    // A full disk may have taken half of the line. If this fails too, resuming cuts
                    // it off.
                    let _ = file.set_len(*len);
                    return Err(OutputError::Write(source));
                }
                *len += line.len() as u64;
                // After the line is written, so that what is rescued has it.
                place::check(path, file)?;
            }
            OutputTarget::Stream(stream) => {
                stream
                    .write_all(line.as_bytes())
                    .and_then(|()| stream.flush())
                    .map_err(OutputError::Write)?;
            }
        }
        self.written += 1;
        Ok(())
    }

    /// How many lines were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Leaves things as they were found: a file that was not there is gone again, unless the run
    /// has begun.
    pub(crate) fn abandon(self) {
        if let OutputTarget::File { file, created: Some(path), untouched: true, .. } = self.target {
            drop(file);
            // An empty file that stays is in nobody's way: the next run takes it.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Cuts off what lies behind the lines that stay. The first line written does it too.
    pub fn begin(&mut self) -> Result<(), OutputError> {
        if let OutputTarget::File { file, len, untouched, .. } = &mut self.target
            && *untouched
        {
            file.set_len(*len).map_err(OutputError::Write)?;
            *untouched = false;
        }
        Ok(())
    }

    /// Waits until the disk has everything.
    pub fn sync(&mut self) -> Result<(), OutputError> {
        self.begin()?;
        match &mut self.target {
            OutputTarget::File { file, path, .. } => {
                file.sync_data().map_err(OutputError::Write)?;
                place::check(path, file)
            }
            OutputTarget::Stream(stream) => stream.flush().map_err(OutputError::Write),
        }
    }
}

/// The file, and whether it is new.
fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        // A link that leads nowhere is there too, and opening it makes the file it names.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).truncate(false).open(path).map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), OutputError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OutputError::Locked { path: path.to_owned() },
        TryLockError::Error(source) => OutputError::Open { path: path.to_owned(), source },
    })
}

/// Puts a copy without some lines, counted from 0, in the file's place, locked before anyone can
/// see it, and gives it with its length. A run that is killed before the copy is complete leaves
/// the file as it was.
fn without(file: &mut File, path: &Path, again: &HashSet<u64>) -> Result<(File, u64), OutputError> {
    let failed = |source| OutputError::Open { path: path.to_owned(), source };
    // The file a link leads to is replaced, not the link.
    let path = &path.canonicalize().map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut copy =
        tempfile::Builder::new().prefix(".pixel-llm-").tempfile_in(folder).map_err(failed)?;
    lock(copy.as_file(), path)?;
    file.rewind().map_err(failed)?;
    let mut len = 0;
    let mut writer = BufWriter::new(copy.as_file_mut());
    let mut number = 0;
    let scanned = scan(BufReader::new(&*file), |_, bytes| {
        number += 1;
        if again.contains(&(number - 1)) {
            return Ok(());
        }
        len += bytes.len() as u64;
        writer.write_all(bytes)
    });
    match scanned {
        Ok(_) => {}
        Err(ScanError::Read(source)) => return Err(failed(source)),
        Err(ScanError::Foreign { line }) => {
            return Err(OutputError::Foreign { path: path.to_owned(), line });
        }
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    // A temporary file is its owner's alone; the copy is for whom the old file was.
    let permissions = file.metadata().map_err(failed)?.permissions();
    copy.as_file().set_permissions(permissions).map_err(failed)?;
    // Before the name is given: after a crash it must not lead to less than the old file.
    copy.as_file().sync_data().map_err(failed)?;
    let file = copy.persist(path).map_err(|error| failed(error.error))?;
    Ok((file, len))
}
