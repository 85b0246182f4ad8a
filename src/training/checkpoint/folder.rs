//! The folder of a run's checkpoints.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Checkpoint, RunIdentity, tensors};
use crate::model::{Adapter, Encoding, hex};
use crate::training::run::{LogLine, RunProgress};
use crate::training::trainer::TrainerState;

const STATE: &str = "state.safetensors";
const RUN: &str = "run.json";
const LOG: &str = "log.jsonl";

/// What was learnt in the form that others take, where it is an adapter.
pub const ADAPTER: &str = "adapter.gguf";

/// The version of the form; another one is refused.
const FORM: u32 = 1;

/// Begins the name of a checkpoint.
const STEP: &str = "step-";

/// Begins the name of one that is being written.
const PARTIAL: &str = ".partial-";

/// Begins the name of one that makes room for its successor of the same step.
const OLD: &str = ".old-";

/// Checkpoints that stay beside the best one.
const KEPT: usize = 2;

/// Why checkpoints cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder cannot be made or read.
    #[error("the folder of checkpoints {} cannot be used: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run writes into it.
    #[error(
        "another run writes its checkpoints into {}: wait for it, or name another --checkpoint",
        .0.display()
    )]
    InUse(PathBuf),
    /// A checkpoint could not be written. Nothing of it stays.
    #[error(
        "the checkpoint {} cannot be written: {problem}; {}",
        .path.display(),
        whole_one(.last.as_deref())
    )]
    Write {
        /// Where it was to be.
        path: PathBuf,
        /// What was wrong.
        problem: String,
        /// The newest one that is whole.
        last: Option<PathBuf>,
    },
    /// A checkpoint is damaged.
    #[error("the checkpoint {} is damaged: {problem}", .path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is none to go on from.
    #[error("there is no checkpoint in {}: leave out --resume to begin there", .0.display())]
    None(PathBuf),
    /// It is one of another run.
    #[error(
        "the checkpoint {} is of another run: {}; give what it was begun with, or begin anew \
         with another --checkpoint",
        .path.display(),
        .differences.join(", ")
    )]
    OtherRun {
        /// Where it is.
        path: PathBuf,
        /// What differs, with both values.
        differences: Vec<String>,
    },
}

fn whole_one(last: Option<&Path>) -> String {
    match last {
        Some(last) => format!("{} is whole", last.display()),
        None => "there was none before it".into(),
    }
}

/// What `run.json` holds.
#[derive(Serialize, Deserialize)]
struct RunFile {
    form: u32,
    identity: RunIdentity,
    progress: RunProgress,
    trainer_step: u64,
    parameters: Vec<String>,
    state_sha256: String,
    log_sha256: String,
}

/// A folder of checkpoints, which no other run uses meanwhile.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    /// Held, and with it the lock.
    _lock: File,
}

impl CheckpointFolder {
    /// Makes the folder where it is not there, and removes what a run that was killed left halfway.
    ///
    /// # Errors
    /// It cannot be used, or another run uses it.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::Folder { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(CheckpointError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.clear().map_err(failed)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what was being written, and puts back what had made room.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PARTIAL) {
                fs::remove_dir_all(path)?;
            } else if let Some(step) = name.strip_prefix(OLD) {
                let place = self.path.join(step);
                if place.exists() { fs::remove_dir_all(path)? } else { fs::rename(path, place)? }
            }
        }
        Ok(())
    }

    /// All checkpoints by their steps, the newest first.
    pub fn list(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let step = name.strip_prefix(STEP).and_then(|step| step.parse().ok());
            found.extend(step.map(|step| (step, entry.path())));
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found)
    }

    /// Where the checkpoint after so many steps is, or would be.
    pub fn place(&self, step: u64) -> PathBuf {
        self.path.join(format!("{STEP}{step:07}"))
    }

    /// Writes a checkpoint, with an adapter beside it, and removes those that are neither the last
    /// two nor the best.
    ///
    /// # Errors
    /// It cannot be written; what was there stays whole.
    pub fn save(
        &self,
        checkpoint: &Checkpoint,
        adapter: Option<&Adapter>,
    ) -> Result<PathBuf, CheckpointError> {
        let place = self.place(checkpoint.progress.step);
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let partial = self.path.join(format!("{PARTIAL}{name}"));
        let written = self
            .write(checkpoint, adapter, &partial)
            .and_then(|()| self.put(&partial, &place, &name).map_err(|error| error.to_string()));
        if let Err(problem) = written {
            // It takes room that may be what is missing.
            let _ = fs::remove_dir_all(&partial);
            let last = self.list().ok().and_then(|all| Some(all.first()?.1.clone()));
            return Err(CheckpointError::Write { path: place, problem, last });
        }
        let best = checkpoint.progress.best.map(|best| best.step);
        // What cannot be removed now is removed with the next one.
        for (_, old) in self
            .list()
            .unwrap_or_default()
            .into_iter()
            .skip(KEPT)
            .filter(|(step, _)| Some(*step) != best)
        {
            let _ = fs::remove_dir_all(old);
        }
        Ok(place)
    }

    fn write(
        &self,
        checkpoint: &Checkpoint,
        adapter: Option<&Adapter>,
        partial: &Path,
    ) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let _ = fs::remove_dir_all(partial);
        fs::create_dir(partial).map_err(failed)?;
        let Checkpoint { identity, progress, state } = checkpoint;
        let tensors = tensors::to_bytes(state).map_err(|error| error.to_string())?;
        let mut log = Vec::new();
        for line in &progress.log {
            serde_json::to_writer(&mut log, line).map_err(|error| error.to_string())?;
            log.push(b'\n');
        }
        let run = RunFile {
            form: FORM,
            identity: identity.clone(),
            progress: progress.clone(),
            trainer_step: state.step,
            parameters: state.parameters.iter().map(|it| it.name.clone()).collect(),
            state_sha256: hex(&Sha256::digest(&tensors)),
            log_sha256: hex(&Sha256::digest(&log)),
        };
        let run = serde_json::to_vec_pretty(&run).map_err(|error| error.to_string())?;
        for (name, bytes) in [(STATE, &tensors), (LOG, &log), (RUN, &run)] {
            let mut file = File::create(partial.join(name)).map_err(failed)?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        if let Some(adapter) = adapter {
            let place = partial.join(ADAPTER);
            adapter.write(place.as_path(), Encoding::F32).map_err(|error| error.to_string())?;
        }
        sync_folder(partial).map_err(failed)
    }

    /// Puts a whole one in its place; one of the same step makes room first.
    fn put(&self, partial: &Path, place: &Path, name: &str) -> io::Result<()> {
        let old = self.path.join(format!("{OLD}{name}"));
        if place.exists() {
            fs::rename(place, &old)?;
        }
        fs::rename(partial, place)?;
        sync_folder(&self.path)?;
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
        Ok(())
    }

    /// The newest checkpoint that is whole and of this run; damaged ones are passed over and told.
    ///
    /// # Errors
    /// There is none, all are damaged, or it is of another run.
    pub fn resume(
        &self,
        identity: &RunIdentity,
        damaged: &mut dyn FnMut(&CheckpointError),
    ) -> Result<(PathBuf, Checkpoint), CheckpointError> {
        let failed = |source| CheckpointError::Folder { path: self.path.clone(), source };
        let mut last = CheckpointError::None(self.path.clone());
        for (_, path) in self.list().map_err(failed)? {
            match read(&path, identity) {
                Ok(checkpoint) => return Ok((path, checkpoint)),
                Err(error @ CheckpointError::OtherRun { .. }) => return Err(error),
                Err(error) => {
                    damaged(&error);
                    last = error;
                }
            }
        }
        Err(last)
    }
}

fn read(path: &Path, identity: &RunIdentity) -> Result<Checkpoint, CheckpointError> {
    let damaged = |problem: String| CheckpointError::Damaged { path: path.to_owned(), problem };
    let file = |name: &str| {
        crate::files::read(&path.join(name)).map_err(|error| damaged(format!("{name}: {error}")))
    };
    let run: RunFile =
        serde_json::from_slice(&file(RUN)?).map_err(|error| damaged(format!("{RUN}: {error}")))?;
    if run.form != FORM {
        return Err(damaged(format!("{RUN}: form {} is not known, only {FORM}", run.form)));
    }
    let differences = identity.differences(&run.identity);
    if !differences.is_empty() {
        return Err(CheckpointError::OtherRun { path: path.to_owned(), differences });
    }
    let (state, log) = (file(STATE)?, file(LOG)?);
    for (name, bytes, sum) in [(STATE, &state, &run.state_sha256), (LOG, &log, &run.log_sha256)] {
        if hex(&Sha256::digest(bytes)) != *sum {
            return Err(damaged(format!("{name} is not what was written")));
        }
    }
    let parameters = tensors::from_bytes(&state, &run.parameters)
        .map_err(|problem| damaged(format!("{STATE}: {problem}")))?;
    let lines = serde_json::Deserializer::from_slice(&log).into_iter::<LogLine>();
    let log =
        lines.collect::<Result<_, _>>().map_err(|error| damaged(format!("{LOG}: {error}")))?;
    let progress = RunProgress { log, ..run.progress };
    let state = TrainerState { step: run.trainer_step, parameters };
    Ok(Checkpoint { identity: run.identity, progress, state })
}

/// Has the names in a folder survive a loss of power, where the system can say so.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
