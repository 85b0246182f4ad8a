//! The queue as a whole program uses it: changes from any thread, and the newest state for those
//! who must never wait for a disk.
//!
//! In: changes, one after the other. Out: the queue as it was after the last of them, or after
//! another process has changed the file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use super::{AgentKind, CoachError, Queue, QueueStore, TaskId, Worker};

/// How often the file is looked at for changes of other processes.
const LOOK: Duration = Duration::from_millis(300);

/// A queue and its newest state.
#[derive(Debug)]
pub struct SharedQueue {
    store: Mutex<QueueStore>,
    shown: Mutex<SharedState>,
}

#[derive(Debug, Default)]
struct SharedState {
    queue: Option<Arc<Queue>>,
    version: u64,
    seen: Option<(u64, SystemTime)>,
    problem: Option<String>,
    doing: BTreeMap<TaskId, String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in either is whole at any time: a thread that panicked has not left it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedQueue {
    /// A queue whose file is there.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn new(store: QueueStore) -> Result<Self, CoachError> {
        let shared = Self { store: Mutex::new(store), shown: Mutex::default() };
        shared.refresh()?;
        Ok(shared)
    }

    /// Changes the queue; see [`QueueStore::change`].
    ///
    /// # Errors
    /// What `change` says, or the queue cannot be read or written.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Queue) -> Result<T, CoachError>,
    ) -> Result<T, CoachError> {
        let store = locked(&self.store);
        let (result, queue) = store.change(|queue| {
            let result = change(queue)?;
            Ok((result, queue.clone()))
        })?;
        // While the store is still locked: no older state can come after a newer one.
        self.show(&store, queue);
        Ok(result)
    }

    fn show(&self, store: &QueueStore, queue: Queue) {
        let mut shown = locked(&self.shown);
        shown.seen = mark(store);
        shown.queue = Some(Arc::new(queue));
        shown.version += 1;
        shown.problem = None;
    }

    /// Reads the queue again if its file has changed.
    ///
    /// # Errors
    /// It cannot be read; the state is that of before.
    pub fn refresh(&self) -> Result<(), CoachError> {
        let store = locked(&self.store);
        let now = mark(&store);
        // Without a mark nothing is known; the reading says what is wrong.
        if now.is_some() && locked(&self.shown).seen == now {
            return Ok(());
        }
        let queue = store.read()?;
        self.show(&store, queue);
        Ok(())
    }

    /// Looks at the file now and then, on a thread of its own, until this is dropped.
    pub fn watch(self: &Arc<Self>) {
        let shared = Arc::downgrade(self);
        let look = move || {
            while let Some(shared) = shared.upgrade() {
                if let Err(error) = shared.refresh() {
                    shared.note_problem(&error);
                }
                // Not held while it sleeps: the thread keeps nothing alive.
                drop(shared);
                thread::sleep(LOOK);
            }
        };
        // Without the thread changes of other processes show with the next change of our own.
        let _ = thread::Builder::new().name("coach".into()).spawn(look);
    }

    /// A worker of this process; see [`QueueStore::worker`].
    ///
    /// # Errors
    /// The lock cannot be made.
    pub fn worker(&self, name: &str, agent: AgentKind) -> Result<Worker, CoachError> {
        locked(&self.store).worker(name, agent)
    }

    /// The newest state; never waits for a disk.
    pub fn queue(&self) -> Arc<Queue> {
        let shown = locked(&self.shown);
        Arc::clone(shown.queue.as_ref().expect("the queue was read when this was made"))
    }

    /// Grows with every new state.
    pub fn version(&self) -> u64 {
        locked(&self.shown).version
    }

    /// What is being done for a task, as its worker says.
    pub fn doing(&self, id: &TaskId) -> Option<String> {
        locked(&self.shown).doing.get(id).cloned()
    }

    /// Notes what is being done for a task, or that nothing is any more.
    pub fn say(&self, id: &TaskId, what: Option<String>) {
        let mut shown = locked(&self.shown);
        match what {
            Some(what) => drop(shown.doing.insert(id.clone(), what)),
            None => drop(shown.doing.remove(id)),
        }
    }

    /// Why the last change or look did not succeed.
    pub fn problem(&self) -> Option<String> {
        locked(&self.shown).problem.clone()
    }

    /// Notes why something did not succeed, for people.
    pub(crate) fn note_problem(&self, error: &CoachError) {
        locked(&self.shown).problem = Some(error.to_string());
    }

    /// Where the queue's file and the files of reports are.
    pub fn folder(&self) -> std::path::PathBuf {
        locked(&self.store).folder().to_owned()
    }
}

/// What tells one state of the file from the next: it is replaced whole.
fn mark(store: &QueueStore) -> Option<(u64, SystemTime)> {
    let about = fs::metadata(store.path()).ok()?;
    Some((about.len(), about.modified().ok()?))
}
