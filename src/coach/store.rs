//! The queue in its file: one JSON document that a person can read, replaced whole on every change.
//!
//! In: changes. Out: the file, and the queue as it is now. Any number of processes may use one
//! file: each change takes a lock, reads, changes and replaces the file before it gives the lock
//! back, so what is acknowledged is on the disk. A worker's process holds a lock of its own while
//! it lives; work whose lock nobody holds comes back. Locks are the operating system's, which lets
//! go of them however a process ends. Spec: `specs/coach.md`.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use jiff::Zoned;

use super::{AgentKind, CoachError, Queue, Status, TaskId, Worker};
use crate::files::open_regular;
use crate::pxi::{DocumentError, LockedFile};

/// The largest file that is read: a hundred thousand tasks with their histories stay below it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Where a queue is kept.
#[derive(Debug)]
pub struct QueueStore {
    file: LockedFile,
    runner: Option<WorkerLock>,
}

/// The lock that this process holds while it lives.
#[derive(Debug)]
struct WorkerLock {
    name: String,
    path: PathBuf,
    /// Closing the file gives the lock back.
    _file: File,
}

impl Drop for WorkerLock {
    fn drop(&mut self) {
        // What is left behind is found free and removed by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

impl QueueStore {
    /// A queue in this file, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: LockedFile::new(path), runner: None }
    }

    /// The queue's file; a link is followed.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The folder of the file, where the files of reports go too.
    pub fn folder(&self) -> &Path {
        self.file.folder()
    }

    /// Whether there is a queue.
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    /// Begins the file. With `force` it replaces a queue that is there and sound.
    ///
    /// # Errors
    /// There is a file already, a damaged one in any case, or it cannot be written.
    pub fn create(&self, queue: &Queue, force: bool) -> Result<(), CoachError> {
        let folder = self.folder();
        fs::create_dir_all(folder).map_err(CoachError::io(folder, "make the folder"))?;
        // Held to the end, so that two who begin the file do not both find none.
        let _lock = self.lock()?;
        if self.exists() {
            if !force {
                return Err(CoachError::Exists(self.path().to_owned()));
            }
            // Only what can be read is replaced: a damaged file may still be mended.
            self.parse()?;
        }
        self.write(queue)
    }

    /// The queue as it is now.
    ///
    /// # Errors
    /// There is none, it is damaged, or it cannot be read.
    pub fn read(&self) -> Result<Queue, CoachError> {
        // A change, since whoever looks gives back the tasks of workers that are gone.
        self.change(|queue| Ok(queue.clone()))
    }

    /// Changes the queue. When this returns, the change is on the disk; when it fails, nothing has
    /// changed.
    ///
    /// # Errors
    /// What `change` says; or there is no queue, it is damaged, or it cannot be read or written.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Queue) -> Result<T, CoachError>,
    ) -> Result<T, CoachError> {
        // Before the lock, which would leave a file beside a queue that is not there.
        if !self.exists() {
            return Err(CoachError::NoQueue(self.path().to_owned()));
        }
        let _lock = self.lock()?;
        let mut queue = self.parse()?;
        let before = queue.revision();
        self.take_back(&mut queue)?;
        let result = change(&mut queue)?;
        // Looking must not touch the file: others read it again when it changes.
        if queue.revision() != before {
            self.write(&queue)?;
        }
        Ok(result)
    }

    /// A worker of this process: its tasks come back when the process ends.
    ///
    /// # Errors
    /// The lock cannot be made.
    pub fn worker(
        &mut self,
        name: impl Into<String>,
        agent: AgentKind,
    ) -> Result<Worker, CoachError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if self.runner.is_none() {
            // A process's id comes again, and a process may have several queues: hence the time
            // and a number.
            let started = Zoned::now().timestamp().as_nanosecond();
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{started:x}-{number}", process::id());
            let path = self.runner_path(&name);
            let file = File::create_new(&path).map_err(CoachError::io(&path, "make the lock"))?;
            file.lock().map_err(CoachError::io(&path, "lock"))?;
            self.runner = Some(WorkerLock { name, path, _file: file });
        }
        let lock = self.runner.as_ref().map(|runner| runner.name.clone());
        Ok(Worker { name: name.into(), agent, lock })
    }

    /// Gives back every task whose worker's process is gone.
    fn take_back(&self, queue: &mut Queue) -> Result<(), CoachError> {
        let in_progress = queue.tasks().iter().filter(|task| task.status == Status::InProgress);
        let locks = in_progress
            .filter_map(|task| Some((task.id.clone(), task.worker.as_ref()?.lock.clone()?)));
        let held: Vec<(TaskId, String)> = locks.collect();
        for (id, lock) in held {
            if self.is_alive(&lock)? {
                continue;
            }
            queue.release(&id, "its worker's process ended: given back", &Zoned::now())?;
        }
        Ok(())
    }

    fn is_alive(&self, lock: &str) -> Result<bool, CoachError> {
        if self.runner.as_ref().is_some_and(|runner| runner.name == lock) {
            return Ok(true);
        }
        // The name is from a file that people may edit: it must stay a name within the folder.
        if lock.contains(['/', '\\']) {
            return Ok(false);
        }
        let path = self.runner_path(lock);
        // It waits for no pipe of that name.
        let file = match open_regular(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(CoachError::io(path, "open")(error)),
        };
        // Shared, so that two who look at once do not take each other for the worker.
        match file.try_lock_shared() {
            Ok(()) => {
                // Only tidiness: a lock that nobody holds means the same as none.
                let _ = fs::remove_file(&path);
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(CoachError::io(path, "lock")(error)),
        }
    }

    fn runner_path(&self, name: &str) -> PathBuf {
        self.file.beside(&format!(".worker-{name}"))
    }

    /// The right to change the file.
    fn lock(&self) -> Result<File, CoachError> {
        let failed = |(action, error)| CoachError::io(self.file.lock_path(), action)(error);
        self.file.lock().map_err(failed)
    }

    fn parse(&self) -> Result<Queue, CoachError> {
        self.file.read_json(MAX_FILE_BYTES).map_err(|error| match error {
            DocumentError::Io(error) => CoachError::io(self.path(), "read")(error),
            DocumentError::Damaged { line, column, reason } => {
                CoachError::Damaged { path: self.path().to_owned(), line, column, reason }
            }
        })
    }

    fn write(&self, queue: &Queue) -> Result<(), CoachError> {
        let mut text = serde_json::to_string_pretty(queue).expect("a queue has only names as keys");
        text.push('\n');
        Ok(self.file.replace(text.as_bytes())?)
    }
}
