//! What streaming has done: counters that all threads of it add to, and a copy of them to look at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// What streaming has done since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ResidencyMetrics {
    /// Tiles that were wanted and there.
    pub hits: u64,
    /// Tiles that were wanted and had to be brought.
    pub misses: u64,
    /// Tiles that made room for others.
    pub evictions: u64,
    /// Tiles whose bytes do not match their checksum.
    pub bad_tiles: u64,
    /// Bytes on their way from the file to the device.
    pub bytes_in_flight: u64,
    /// Bytes copied out of the file's pages, first reads from the disk included.
    pub bytes_read: u64,
    /// Time spent with that, checksums included.
    pub read_seconds: f64,
    /// Bytes handed to the device.
    pub bytes_uploaded: u64,
    /// How often a pass had to wait for tiles.
    pub stalls: u64,
    /// How long passes waited, in seconds.
    pub stall_seconds: f64,
    /// Passes through the model.
    pub passes: u64,
    /// The time from the beginning of each to its last submission.
    pub pass_seconds: f64,
}

impl ResidencyMetrics {
    /// What was done after `earlier`. Bytes in flight are those of now.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            hits: self.hits - earlier.hits,
            misses: self.misses - earlier.misses,
            evictions: self.evictions - earlier.evictions,
            bad_tiles: self.bad_tiles - earlier.bad_tiles,
            bytes_in_flight: self.bytes_in_flight,
            bytes_read: self.bytes_read - earlier.bytes_read,
            read_seconds: self.read_seconds - earlier.read_seconds,
            bytes_uploaded: self.bytes_uploaded - earlier.bytes_uploaded,
            stalls: self.stalls - earlier.stalls,
            stall_seconds: self.stall_seconds - earlier.stall_seconds,
            passes: self.passes - earlier.passes,
            pass_seconds: self.pass_seconds - earlier.pass_seconds,
        }
    }

    /// Bytes per second at which the file's pages were read, as far as they were.
    pub fn read_rate(&self) -> Option<f64> {
        (self.read_seconds > 0.0).then(|| self.bytes_read as f64 / self.read_seconds)
    }
}

/// The counters behind [`ResidencyMetrics`].
#[derive(Debug, Default)]
pub struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    bad_tiles: AtomicU64,
    bytes_in_flight: AtomicU64,
    bytes_read: AtomicU64,
    read_nanos: AtomicU64,
    bytes_uploaded: AtomicU64,
    stalls: AtomicU64,
    stall_nanos: AtomicU64,
    passes: AtomicU64,
    pass_nanos: AtomicU64,
}

fn add(counter: &AtomicU64, value: u64) {
    // Relaxed: each counter stands for itself, and nothing is read by way of it.
    counter.fetch_add(value, Ordering::Relaxed);
}

fn add_time(counter: &AtomicU64, time: Duration) {
    add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

impl Counters {
    /// Tiles that were there.
    pub(crate) fn hit(&self, tiles: u64) {
        add(&self.hits, tiles);
    }

    /// Tiles that had to be brought.
    pub(crate) fn miss(&self, tiles: u64) {
        add(&self.misses, tiles);
    }

    /// Tiles that made room.
    pub fn evict(&self, tiles: u64) {
        add(&self.evictions, tiles);
    }

    /// A tile that is damaged.
    pub fn bad(&self) {
        add(&self.bad_tiles, 1);
    }

    /// Bytes that were read from the file and wait for the device.
    pub fn read(&self, bytes: u64, time: Duration) {
        add(&self.bytes_read, bytes);
        add(&self.bytes_in_flight, bytes);
        add_time(&self.read_nanos, time);
    }

    /// Bytes that were in flight and are handed to the device, or given up.
    pub(crate) fn landed(&self, bytes: u64) {
        self.bytes_in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes handed to the device.
    pub fn upload(&self, bytes: u64) {
        add(&self.bytes_uploaded, bytes);
    }

    /// A wait for tiles.
    pub(crate) fn stall(&self, time: Duration) {
        add(&self.stalls, 1);
        add_time(&self.stall_nanos, time);
    }

    /// A pass through the model.
    pub fn pass(&self, time: Duration) {
        add(&self.passes, 1);
        add_time(&self.pass_nanos, time);
    }

    /// What they have come to.
    pub fn figures(&self) -> ResidencyMetrics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = |counter: &AtomicU64| of(counter) as f64 * 1e-9;
        ResidencyMetrics {
            hits: of(&self.hits),
            misses: of(&self.misses),
            evictions: of(&self.evictions),
            bad_tiles: of(&self.bad_tiles),
            bytes_in_flight: of(&self.bytes_in_flight),
            bytes_read: of(&self.bytes_read),
            read_seconds: seconds(&self.read_nanos),
            bytes_uploaded: of(&self.bytes_uploaded),
            stalls: of(&self.stalls),
            stall_seconds: seconds(&self.stall_nanos),
            passes: of(&self.passes),
            pass_seconds: seconds(&self.pass_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_after_is_the_difference() {
        let counters = Counters::default();
        counters.read(100, Duration::from_millis(1));
        counters.hit(3);
        let earlier = counters.figures();
        counters.read(300, Duration::from_millis(2));
        counters.landed(150);
        counters.stall(Duration::from_millis(5));
        let later = counters.figures().since(&earlier);
        assert_eq!(
            (later.bytes_read, later.bytes_in_flight, later.hits, later.stalls),
            (300, 250, 0, 1)
        );
        assert!((later.read_rate().unwrap() - 150_000.0).abs() < 1.0);
        assert_eq!(ResidencyMetrics::default().read_rate(), None);
    }
}
