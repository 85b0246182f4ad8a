//! The threads of a software adapter: how many there are, and a processor for each of them.
//!
//! Workgroups that wait for each other lose a time slice whenever two of their threads share a processor while another is free, and the system is slow
//! to notice. So the threads that a step kept busy are given a processor each. Only Linux lets a program see its threads.

/// Threads of a software adapter: Mesa's has one per processor, or as many as `LP_NUM_THREADS` says.
pub(crate) fn workers() -> u32 {
    /// Mesa has no more.
    const MOST: u32 = 16;
    let available = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let named = std::env::var("LP_NUM_THREADS").ok().and_then(|count| count.parse().ok());
    named.unwrap_or(available).min(MOST)
}

/// Times that the threads of this program have run, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Busy(Vec<(i32, u64)>);

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

    use super::Busy;

    impl Busy {
        /// The times until now.
        pub fn now() -> Self {
            let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Self::default() };
            let time = |path: std::path::PathBuf| -> Option<(i32, u64)> {
                let id = path.file_name()?.to_str()?.parse().ok()?;
                let times = std::fs::read_to_string(path.join("schedstat")).ok()?;
                Some((id, times.split_whitespace().next()?.parse().ok()?))
            };
            Self(threads.filter_map(|thread| time(thread.ok()?.path())).collect())
        }

        /// Gives the `count` threads that were the busiest since then a processor each. Where there are fewer processors or fewer busy threads,
        /// nothing happens.
        pub fn pin_busiest(&self, count: u32) {
            let before = |id| self.0.iter().find(|(known, _)| *known == id).map_or(0, |(_, time)| *time);
            let mut spent: Vec<(u64, i32)> =
                Self::now().0.into_iter().map(|(id, time)| (time - before(id).min(time), id)).collect();
            spent.sort_unstable_by(|a, b| b.cmp(a));
            spent.truncate(count as usize);
            let Ok(allowed) = sched_getaffinity(None) else { return };
            let processors: Vec<usize> =
                (0..CpuSet::MAX_CPU).filter(|&index| allowed.is_set(index)).take(spent.len()).collect();
            // A thread that did much less than the busiest is none of the adapter's workers.
            let least = spent.first().map_or(0, |(time, _)| time / 4).max(1);
            let few = spent.iter().filter(|(time, _)| *time >= least).count() < count as usize;
            if few || processors.len() < count as usize {
                return;
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
impl Busy {
    /// Nothing is known.
    pub fn now() -> Self {
        Self::default()
    }

    /// Nothing can be done.
    pub fn pin_busiest(&self, _count: u32) {}
}
