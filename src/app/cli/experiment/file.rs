//! The file of an experiment's lines: locked, resumable, and never anything but whole lines after a
//! resume.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::batch::output::Existing;
use crate::experiment::{CellSink, cell_id};
use crate::terminal::{self, Escapes};

/// How every line begins; what begins otherwise is another's file.
const LINE_BEGINS: &str = "{\"cell\":";

/// Where lines go: a file, or standard output.
pub struct CellFile {
    file: Option<File>,
    done: BTreeSet<String>,
    /// Lines of this run.
    pub written: u64,
}

#[derive(Deserialize)]
struct ResultLine {
    cell: String,
    #[serde(default)]
    error: Option<String>,
}

impl CellFile {
    /// Opens and locks a file, and reads which cells it has.
    pub fn open(path: Option<&Path>, existing: Existing) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { file: None, done: BTreeSet::new(), written: 0 });
        };
        let shown = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // Another run may be writing it, which only the lock below tells.
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot use {shown} for results"))?;
        // Held until the file is closed, so that lines of two runs do not mix.
        file.try_lock().with_context(|| format!("{shown} is being written by another run"))?;
        let mut done = BTreeSet::new();
        let mut whole = 0;
        match existing {
            Existing::Refuse => anyhow::ensure!(
                file.metadata()?.len() == 0,
                "{shown} exists; go on with it by --resume, or start it anew by --overwrite"
            ),
            Existing::Overwrite => {}
            Existing::Resume { .. } => {
                let mut reader = BufReader::new(&file);
                let mut line = Vec::new();
                for number in 1.. {
                    line.clear();
                    let length = reader.read_until(b'\n', &mut line)?;
                    if length == 0 {
                        break;
                    }
                    let foreign = || {
                        format!(
                            "{shown}: line {number} is no cell of an experiment, so the run \
                             cannot be resumed with this file"
                        )
                    };
                    // A killed run tears its last line, which is cut off if it began as ours do.
                    if line.last() != Some(&b'\n') {
                        let begins = LINE_BEGINS.as_bytes();
                        anyhow::ensure!(
                            line.starts_with(begins) || begins.starts_with(&line),
                            foreign()
                        );
                        break;
                    }
                    let read: ResultLine = serde_json::from_slice(&line).with_context(foreign)?;
                    // A cell that failed is measured again and gets a second line.
                    if read.error.is_none() {
                        done.insert(read.cell);
                    }
                    whole += length as u64;
                }
            }
        }
        // Nothing is changed before, so that a file that is refused stays as it is.
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        Ok(Self { file: Some(file), done, written: 0 })
    }

    /// How many cells were there already.
    pub fn kept(&self) -> usize {
        self.done.len()
    }

    /// Waits until the disk has everything.
    pub fn sync(&mut self) -> anyhow::Result<()> {
        match &mut self.file {
            Some(file) => file.sync_data(),
            None => terminal::stdout().flush(),
        }
        .context("cannot write results")
    }
}

impl CellSink for CellFile {
    fn has(&self, experiment: &str, prompt: &str, condition: &str) -> bool {
        self.done.contains(&cell_id(experiment, prompt, condition))
    }

    /// Writes a whole line at once, so that a killed run tears at most its last one.
    fn write(&mut self, line: &str) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => terminal::stdout().with_escapes(Escapes::Json).write_all(line.as_bytes()),
        }?;
        self.written += 1;
        Ok(())
    }
}
