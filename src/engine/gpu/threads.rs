//! The threads of a software adapter: how many there are, which they are, and a processor for each
//! of them.
//!
//! Workgroups that wait for each other lose a time slice whenever two of their threads share a
//! processor while another is free, and the system is slow to notice. So the threads that compute
//! are given a processor each. A thread hands its processors on to those that it makes: only
//! threads that a driver has made are ever given one, and never the one that opened the driver,
//! from which every later thread of the program comes. Only Linux lets a program see its threads.

use std::sync::OnceLock;

/// Threads of a software adapter: Mesa's has one per processor, or as many as `LP_NUM_THREADS`
/// says.
///
/// It is counted once: what a program is bound to later makes no other adapter of it.
pub(crate) fn workers() -> u32 {
    /// Mesa has no more.
    const MOST: u32 = 16;
    static WORKERS: OnceLock<u32> = OnceLock::new();
    *WORKERS.get_or_init(|| {
        let available = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let named = std::env::var("LP_NUM_THREADS").ok().and_then(|count| count.parse().ok());
        named.unwrap_or(available).min(MOST)
    })
}

/// Threads that a driver has made, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DriverThreads(Vec<i32>);

/// How long threads have run, by their ids, in nanoseconds.
#[derive(Debug, Default)]
struct Times(Vec<(i32, u64)>);

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::PathBuf;

    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

    use super::{DriverThreads, Times};

    const THREADS: &str = "/proc/self/task";

    fn threads() -> Vec<i32> {
        let Ok(threads) = fs::read_dir(THREADS) else { return Vec::new() };
        threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// What `/proc` says of a thread.
    fn read(id: i32, what: &str) -> Option<String> {
        let path: PathBuf = [THREADS, &id.to_string(), what].iter().collect();
        fs::read_to_string(path).ok()
    }

    impl DriverThreads {
        /// Does work that has a driver start, and tells which threads that driver has made.
        ///
        /// Mesa names those that draw `llvmpipe-0` and so on. Those that compute have no name of
        /// their own but that of the thread that opened the driver. Every thread with another name
        /// is somebody else's, whenever it began.
        pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
            let opener = gettid().as_raw_nonzero().get();
            let (before, result) = (threads(), work());
            let name = read(opener, "comm");
            // One that has ended has no name, and two missing names are not the same one.
            let is_drivers = |id: &i32| {
                let found = read(*id, "comm");
                let named = found.as_ref().is_some_and(|found| found.starts_with("llvmpipe-"));
                *id != opener
                    && !before.contains(id)
                    && (named || (found.is_some() && found == name))
            };
            (result, Self(threads().into_iter().filter(is_drivers).collect()))
        }

        /// How long they have run until now.
        pub(super) fn times(&self) -> Times {
            let time = |&id: &i32| {
                // The first word is the time on a processor, in nanoseconds.
                Some((id, read(id, "schedstat")?.split_whitespace().next()?.parse().ok()?))
            };
            Times(self.0.iter().filter_map(time).collect())
        }

        /// Gives the `count` threads that were the busiest since `before` a processor each. Where
        /// there are fewer processors or fewer busy threads, nothing happens.
        pub(super) fn pin_busiest(&self, before: &Times, count: u32) {
            let before =
                |id| before.0.iter().find(|(known, _)| *known == id).map_or(0, |(_, time)| *time);
            // `min`, since an id may be another thread's by now, which has run for less.
            let mut spent: Vec<(u64, i32)> = self
                .times()
                .0
                .into_iter()
                .map(|(id, time)| (time - before(id).min(time), id))
                .collect();
            spent.sort_unstable_by(|a, b| b.cmp(a));
            spent.truncate(count as usize);
            let Ok(allowed) = sched_getaffinity(None) else { return };
            let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
                .filter(|&index| allowed.is_set(index))
                .take(spent.len())
                .collect();
            // A thread that did much less than the busiest is none of the adapter's workers.
            let least = spent.first().map_or(0, |(time, _)| time / 4).max(1);
            let few = spent.iter().filter(|(time, _)| *time >= least).count() < count as usize;
            if few || processors.len() < count as usize {
                return;
            }
            // One that was taken for a worker last time, while another program kept that from its
            // processor, is free again.
            for id in self.0.iter().filter(|id| !spent.iter().any(|(_, chosen)| chosen == *id)) {
                let _ = sched_setaffinity(Pid::from_raw(*id), &allowed);
            }
            for ((_, id), processor) in spent.into_iter().zip(processors) {
                let mut one = CpuSet::new();
                one.set(processor);
                // A thread that has ended, or may not be moved, is as well where it is.
                let _ = sched_setaffinity(Pid::from_raw(id), &one);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl DriverThreads {
    /// Does the work; its threads are not known.
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        (work(), Self::default())
    }

    fn times(&self) -> Times {
        Times::default()
    }

    fn pin_busiest(&self, _before: &Times, _count: u32) {}
}

impl DriverThreads {
    /// Does work that all workers of the adapter take part in, and none by waiting for another;
    /// then gives each of them a processor.
    pub(crate) fn pin_after<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.times();
        let result = work();
        self.pin_busiest(&before, workers());
        result
    }

    /// Those of another start of the driver beside these.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn threads_that_were_there_before_and_those_with_names_are_no_drivers() {
        let (said, begun) = mpsc::channel();
        let wait = |builder: thread::Builder, said: mpsc::Sender<i32>| {
            let (sender, receiver) = mpsc::channel::<()>();
            builder
                .spawn(move || {
                    said.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                    receiver.recv().unwrap_err();
                })
                .unwrap();
            sender
        };
        let _early = wait(thread::Builder::new(), said.clone());
        let early = begun.recv().unwrap();
        let ((own, other, _kept), found) = DriverThreads::of(|| {
            let unnamed = wait(thread::Builder::new(), said.clone());
            let own = begun.recv().unwrap();
            let named = wait(thread::Builder::new().name("somebody".into()), said.clone());
            (own, begun.recv().unwrap(), (unnamed, named))
        });
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(found.0.contains(&own), "{found:?} has {own}");
        assert!(![early, other, me].iter().any(|id| found.0.contains(id)), "{found:?}");
    }
}
