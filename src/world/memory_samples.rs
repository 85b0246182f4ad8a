//! Whether memory stays flat: samples of it while a tour is taken, and what they come to.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::memory::own_in_bytes;

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(2);
/// What comes before is the start: caches fill and shaders are compiled.
const SETTLED: Duration = Duration::from_secs(60);

/// Samples of the memory that no file stands behind.
#[derive(Debug, Default)]
pub(crate) struct MemorySamples {
    start: Option<Instant>,
    samples: Vec<(Duration, u64)>,
}

/// What memory came to, in MiB. What is said of the time after the first minute is `None` where
/// there was no such time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct MemorySummary {
    /// Seconds from the first sample to the last.
    pub seconds: f64,
    /// After the first minute.
    pub after_a_minute_mib: Option<f64>,
    /// The most at any time.
    pub most_mib: f64,
    /// What it was in the end.
    pub at_end_mib: f64,
    /// By how much it grew in a minute, after the first: the slope of the line that fits best.
    pub growth_mib_a_minute: Option<f64>,
}

impl MemorySamples {
    /// Takes a sample if it is time for one.
    pub fn sample(&mut self, now: Instant) {
        let at = now - *self.start.get_or_insert(now);
        if self.samples.last().is_none_or(|(last, _)| at >= *last + EVERY)
            && let Some(bytes) = own_in_bytes()
        {
            self.samples.push((at, bytes));
        }
    }

    /// What the samples come to; `None` where the system tells nothing.
    pub fn summary(&self) -> Option<MemorySummary> {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (seconds, at_end) = *self.samples.last()?;
        let settled: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|(at, _)| *at >= SETTLED)
            .map(|&(at, bytes)| (at.as_secs_f64() / 60.0, mib(bytes)))
            .collect();
        Some(MemorySummary {
            seconds: seconds.as_secs_f64(),
            after_a_minute_mib: settled.first().map(|&(_, mib)| mib),
            most_mib: self.samples.iter().map(|&(_, bytes)| mib(bytes)).fold(0.0, f64::max),
            at_end_mib: mib(at_end),
            growth_mib_a_minute: slope(&settled),
        })
    }

    /// Minutes and MiB of each sample.
    pub(crate) fn samples(&self) -> impl Iterator<Item = [f64; 2]> + '_ {
        self.samples
            .iter()
            .map(|&(at, bytes)| [at.as_secs_f64() / 60.0, bytes as f64 / f64::from(1 << 20)])
    }
}

/// The slope of the line that fits points best, by least squares; `None` of fewer than two places.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    // Without points the means are NaN, but the spread is a sum of nothing: 0, and no slope.
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| both / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_after_the_first_minute() {
        let mib = |mib: u64| mib << 20;
        let at = Duration::from_secs;
        let samples = vec![
            (at(0), mib(10)),
            (at(30), mib(400)),
            (at(60), mib(200)),
            (at(120), mib(203)),
            (at(180), mib(206)),
        ];
        let soak = MemorySamples { start: None, samples };
        let found = soak.summary().unwrap();
        assert_eq!((found.seconds, found.most_mib, found.at_end_mib), (180.0, 400.0, 206.0));
        assert_eq!(found.after_a_minute_mib, Some(200.0));
        assert!((found.growth_mib_a_minute.unwrap() - 3.0).abs() < 1e-9, "{found:?}");
        assert_eq!(MemorySamples::default().summary(), None);
    }

    #[test]
    fn of_a_short_run_there_is_no_growth_to_tell() {
        let mut soak = MemorySamples::default();
        let now = Instant::now();
        soak.sample(now);
        soak.sample(now + Duration::from_secs(1));
        soak.sample(now + Duration::from_secs(2));
        if cfg!(target_os = "linux") {
            assert_eq!(soak.samples.len(), 2, "one in two seconds");
            let found = soak.summary().unwrap();
            assert!(found.at_end_mib > 1.0 && found.growth_mib_a_minute.is_none(), "{found:?}");
        }
    }
}
