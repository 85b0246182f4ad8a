//! What the streaming of a model that does not fit the device came to.

use std::time::Duration;

use serde::Serialize;

use crate::app::cli::numbers::{human_bytes, thousands};
use crate::app::cli::table::{Align, Table};
use crate::residency::ResidencyMetrics;

/// What streaming did while the speeds were measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Streaming {
    #[serde(flatten)]
    figures: ResidencyMetrics,
    /// Bytes that came from the file for one pass, which is one token of one answer, or a part of a
    /// prompt.
    bytes_per_pass: f64,
    /// Of all the time, that in which nothing could be computed because tiles were missing.
    waiting_share: f64,
    /// Of the thread that reads, checksums of first reads included, in 1e9 bytes.
    read_gigabytes_per_second: Option<f64>,
    /// What that speed would allow if nothing had to be computed.
    passes_per_second_by_reading: Option<f64>,
    passes_per_second: f64,
}

impl Streaming {
    /// From the figures of so much time.
    pub fn of(figures: &ResidencyMetrics, time: Duration) -> Self {
        let (passes, seconds) = (figures.passes.max(1) as f64, time.as_secs_f64().max(1e-9));
        let (bytes_per_pass, rate) = (figures.bytes_read as f64 / passes, figures.read_rate());
        Self {
            figures: *figures,
            bytes_per_pass,
            waiting_share: figures.stall_seconds / seconds,
            read_gigabytes_per_second: rate.map(|rate| rate / 1e9),
            passes_per_second_by_reading: rate.map(|rate| rate / bytes_per_pass.max(1.0)),
            passes_per_second: figures.passes as f64 / seconds,
        }
    }

    /// The table of the page.
    pub fn table(&self) -> String {
        let mut table = Table::new([("STREAMING", Align::Left), ("", Align::Right)]);
        let figures = &self.figures;
        let passes = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!("{rate:.1}"));
        for (name, value) in [
            ("bytes per pass", human_bytes(self.bytes_per_pass as u64)),
            ("waiting for tiles", format!("{:.1} %", self.waiting_share * 100.0)),
            (
                "reading, GB/s",
                self.read_gigabytes_per_second.map_or(String::new(), |rate| format!("{rate:.2}")),
            ),
            ("passes/s that reading allows", passes(self.passes_per_second_by_reading)),
            ("passes/s", passes(Some(self.passes_per_second))),
            ("hits", thousands(figures.hits)),
            ("misses", thousands(figures.misses)),
            ("evictions", thousands(figures.evictions)),
            ("stalls", thousands(figures.stalls)),
            ("in flight", human_bytes(figures.bytes_in_flight)),
            ("uploaded", human_bytes(figures.bytes_uploaded)),
        ] {
            table.row([name.to_owned(), value]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reading_allows_is_its_speed_by_the_bytes_of_a_pass() {
        let figures = ResidencyMetrics {
            bytes_read: 8_000_000_000,
            read_seconds: 2.0,
            passes: 100,
            stall_seconds: 1.0,
            ..ResidencyMetrics::default()
        };
        let streaming = Streaming::of(&figures, Duration::from_secs(4));
        assert_eq!(streaming.bytes_per_pass, 80_000_000.0);
        assert_eq!(streaming.passes_per_second_by_reading, Some(50.0));
        assert_eq!((streaming.waiting_share, streaming.passes_per_second), (0.25, 25.0));
        let table = streaming.table();
        assert!(table.contains("25.0 %") && table.contains("4.00"), "{table}");
    }
}
