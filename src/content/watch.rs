//! Hot reload: hears that a folder of mods has changed, loads it again on a thread of its own, and
//! keeps the last good state.
//!
//! In: two folders, that of the mods and the user's own. Out: [`News`], which a window asks for
//! once a frame. [`Reloader`] decides what is good; [`Watcher`] is told by the platform, through
//! `notify`, when to look.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::load::{Loaded, ModReport, State, load_with};
use super::problem::Problem;
use super::registry::Registry;

/// How long nothing must be written before the folder is read: editors write a file in several
/// steps.
// Nearly all of the 42 ms from a save to the news of it (benches/README.md, Mods).
const QUIET: Duration = Duration::from_millis(40);
/// How long is waited at most where something is always being written.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// What loading again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// What the folders come to has not changed.
    Unchanged,
    /// What the folders hold is in use.
    Taken,
    /// Something is wrong that was not wrong before: the last good state stays in use, and
    /// [`Reloader::latest`] says what is wrong.
    Kept,
}

/// Folders that are loaded again when they have changed.
pub struct Reloader {
    registry: Arc<Registry>,
    mods: Option<PathBuf>,
    own: Option<PathBuf>,
    good: Loaded,
    latest: Loaded,
}

impl Reloader {
    /// Begins with what was loaded of the folders.
    pub fn new(
        registry: Arc<Registry>,
        mods: Option<PathBuf>,
        own: Option<PathBuf>,
        loaded: Loaded,
    ) -> Self {
        Self { registry, mods, own, good: loaded.clone(), latest: loaded }
    }

    /// What is in use.
    pub fn good(&self) -> &Loaded {
        &self.good
    }

    /// What the folders came to when they were loaded last; its reports say what is wrong.
    pub fn latest(&self) -> &Loaded {
        &self.latest
    }

    /// Loads the folders again.
    pub fn reload(&mut self) -> Reload {
        let now = load_with(&self.registry, self.mods.as_deref(), self.own.as_deref());
        let same = now.contents == self.latest.contents
            && now.settings == self.latest.settings
            && problems(&now) == problems(&self.latest);
        if same {
            return Reload::Unchanged;
        }
        self.latest = now;
        // A mod that is in use and is bad now is somebody's unfinished work; one that never was in
        // use harms nobody.
        let is_bad =
            |report: &ModReport| matches!(report.state, State::Broken | State::Incompatible);
        let lost = |report: &ModReport| {
            report.state == State::Loaded
                && self.latest.mods.iter().any(|now| is_bad(now) && now.label == report.label)
        };
        let folder_is_bad = self.good.problems.is_empty() && !self.latest.problems.is_empty();
        if self.good.mods.iter().any(lost) || folder_is_bad {
            return Reload::Kept;
        }
        self.good = self.latest.clone();
        Reload::Taken
    }
}

/// Everything that is wrong with some mods and their folder.
pub fn problems(loaded: &Loaded) -> Vec<Problem> {
    loaded
        .problems
        .iter()
        .chain(loaded.mods.iter().flat_map(|report| &report.problems))
        .cloned()
        .collect()
}

/// What became of a change.
#[derive(Debug)]
pub struct News {
    /// What is in use from now on; none where the last good state stays.
    pub loaded: Option<Loaded>,
    /// Everything that is wrong now.
    pub problems: Vec<Problem>,
}

/// Watches folders until it is dropped.
pub struct Watcher {
    /// Its end closes the channel, and with it the thread ends.
    _platform: RecommendedWatcher,
    news: Mutex<Receiver<News>>,
}

impl Watcher {
    /// Watches the folders of a reloader. One that is not there is not watched.
    ///
    /// # Errors
    /// The platform gives no more watches, or the thread cannot be begun.
    pub fn new(mut reloader: Reloader) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (changed, changes) = channel();
        let (tell, news) = channel();
        let mut platform =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading the files is an event too, and would go on for ever. Events that were
                // lost are looked for.
                if event.is_ok_and(|event| event.kind.is_access()) {
                    return;
                }
                // When the other end is gone, nobody wants to know.
                let _ = changed.send(());
            })?;
        for folder in
            [&reloader.mods, &reloader.own].into_iter().flatten().filter(|folder| folder.is_dir())
        {
            platform.watch(folder, RecursiveMode::Recursive)?;
        }
        std::thread::Builder::new()
            .name("mods".into())
            .spawn(move || while wait(&changes) && look(&mut reloader, &tell) {})?;
        Ok(Self { _platform: platform, news: Mutex::new(news) })
    }

    /// The news since they were last taken, as one: what is in use now, and what is wrong now.
    pub fn take(&self) -> Option<News> {
        self.news.lock().ok()?.try_iter().reduce(News::followed_by)
    }
}

impl News {
    /// Where the good state stays, what came into use before is in use still.
    fn followed_by(self, later: Self) -> Self {
        Self { loaded: later.loaded.or(self.loaded), problems: later.problems }
    }
}

/// Waits for a change, and until nothing has changed for a while. False when nobody watches any
/// more.
fn wait(changes: &Receiver<()>) -> bool {
    if changes.recv().is_err() {
        return false;
    }
    let start = Instant::now();
    while start.elapsed() < LONGEST_WAIT {
        match changes.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

/// Loads again and tells. False when nobody listens any more.
fn look(reloader: &mut Reloader, tell: &Sender<News>) -> bool {
    let loaded = match reloader.reload() {
        Reload::Unchanged => return true,
        Reload::Taken => Some(reloader.good().clone()),
        Reload::Kept => None,
    };
    tell.send(News { loaded, problems: problems(reloader.latest()) }).is_ok()
}

/// Whether there is anything to watch.
pub(crate) fn can_watch(mods: Option<&Path>, own: Option<&Path>) -> bool {
    [mods, own].into_iter().flatten().any(Path::is_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_into_use_is_told_though_a_fault_followed_it() {
        let taken = || News { loaded: Some(Loaded::default()), problems: Vec::new() };
        let kept = || News { loaded: None, problems: Vec::new() };
        assert!(taken().followed_by(kept()).loaded.is_some());
        assert!(kept().followed_by(taken()).loaded.is_some());
        assert!(kept().followed_by(kept()).loaded.is_none());
    }
}
