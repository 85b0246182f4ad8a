//! Counts of a server, and their text in the format that Prometheus reads.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the time to the first token, in seconds.
const FIRST_TOKEN: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds of the time per later token, in seconds.
const PER_TOKEN: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    Answered,
    /// It could not be answered, or was no request.
    Failed,
    /// The queue was full.
    Refused,
    /// Nobody waited for it any more.
    Abandoned,
}

impl RequestOutcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::Refused, "refused"),
        (Self::Abandoned, "abandoned"),
    ];
}

/// What a server counts.
#[derive(Debug, Default)]
pub struct ServerMetrics(Mutex<ServerCounts>);

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerCounts {
    outcomes: [u64; 4],
    pub running: usize,
    pub prompt_tokens: u64,
    pub shared_tokens: u64,
    pub completion_tokens: u64,
    pub positions: usize,
    first_token: TimeHistogram,
    per_token: TimeHistogram,
}

#[derive(Clone, Debug, Default)]
struct TimeHistogram {
    /// How many times lie within each bound and not within the one before.
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl TimeHistogram {
    fn add(&mut self, bounds: &[f64], seconds: f64) {
        self.counts.resize(bounds.len(), 0);
        if let Some(at) = bounds.iter().position(|&bound| seconds <= bound) {
            self.counts[at] += 1;
        }
        self.sum += seconds;
        self.count += 1;
    }

    fn write(&self, name: &str, help: &str, bounds: &[f64], text: &mut String) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut within = 0;
        for (at, bound) in bounds.iter().enumerate() {
            within += self.counts.get(at).copied().unwrap_or(0);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {within}");
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {}", self.sum, self.count);
    }
}

/// What does not change while the server runs, for the text.
pub(super) struct MetricFacts<'a> {
    pub model: &'a str,
    pub root: &'a str,
    pub device: &'a str,
    pub slots: usize,
    pub waiting: usize,
}

impl ServerMetrics {
    fn lock(&self) -> MutexGuard<'_, ServerCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the end of a request.
    pub(super) fn ended(&self, outcome: RequestOutcome) {
        self.lock().outcomes[outcome as usize] += 1;
    }

    /// Notes how long a request waited for its first token, from when it came.
    pub(super) fn first_token(&self, time: Duration) {
        self.lock().first_token.add(FIRST_TOKEN, time.as_secs_f64());
    }

    /// Notes how long the tokens of an answer behind the first took each.
    pub(super) fn per_token(&self, time: Duration) {
        self.lock().per_token.add(PER_TOKEN, time.as_secs_f64());
    }

    /// Sets what the loop counts.
    pub(super) fn update(&self, set: impl FnOnce(&mut ServerCounts)) {
        set(&mut self.lock());
    }

    /// The text of `/metrics`.
    pub(super) fn text(&self, facts: &MetricFacts<'_>) -> String {
        let counts = self.lock().clone();
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, values: &[(String, f64)]| {
            let _ = writeln!(text, "# HELP pixel_llm_{name} {help}");
            let _ = writeln!(text, "# TYPE pixel_llm_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "pixel_llm_{name}{labels} {value}");
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        add("requests_running", "gauge", "Requests that have a slot.", &one(counts.running as f64));
        add("requests_waiting", "gauge", "Requests that wait.", &one(facts.waiting as f64));
        let outcomes = RequestOutcome::ALL.map(|(outcome, word)| {
            (format!("{{outcome=\"{word}\"}}"), counts.outcomes[outcome as usize] as f64)
        });
        add("requests_total", "counter", "Requests that ended, by how.", &outcomes);
        for (name, help, count) in [
            ("prompt_tokens_total", "Tokens of prompts.", counts.prompt_tokens),
            (
                "prompt_tokens_shared_total",
                "Tokens of prompts that were taken over and not computed.",
                counts.shared_tokens,
            ),
            ("generation_tokens_total", "Tokens that were made.", counts.completion_tokens),
        ] {
            add(name, "counter", help, &one(count as f64));
        }
        add("slots", "gauge", "Requests that can run at once.", &one(facts.slots as f64));
        let positions = one(counts.positions as f64);
        add("kv_positions", "gauge", "Positions with keys and values, of all slots.", &positions);
        let labels = [("model", facts.model), ("root", facts.root), ("device", facts.device)];
        let labels = labels.map(|(name, value)| format!("{name}={}", quoted(value))).join(",");
        add("model_info", "gauge", "The model.", &[(format!("{{{labels}}}"), 1.0)]);
        counts.first_token.write(
            "pixel_llm_time_to_first_token_seconds",
            "From the arrival of a request to its first token.",
            FIRST_TOKEN,
            &mut text,
        );
        counts.per_token.write(
            "pixel_llm_time_per_token_seconds",
            "Per token behind the first.",
            PER_TOKEN,
            &mut text,
        );
        text
    }
}

/// The value of a label.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets_and_labels_are_quoted() {
        let metrics = ServerMetrics::default();
        metrics.ended(RequestOutcome::Refused);
        for milliseconds in [5, 30, 90_000] {
            metrics.first_token(Duration::from_millis(milliseconds));
        }
        let facts =
            MetricFacts { model: "a \"b\"", root: "0f", device: "cpu", slots: 8, waiting: 2 };
        let text = metrics.text(&facts);
        for line in [
            "pixel_llm_requests_total{outcome=\"refused\"} 1",
            "pixel_llm_requests_waiting 2",
            "pixel_llm_model_info{model=\"a \\\"b\\\"\",root=\"0f\",device=\"cpu\"} 1",
            "pixel_llm_time_to_first_token_seconds_bucket{le=\"0.01\"} 1",
            "pixel_llm_time_to_first_token_seconds_bucket{le=\"0.05\"} 2",
            "pixel_llm_time_to_first_token_seconds_bucket{le=\"60\"} 2",
            "pixel_llm_time_to_first_token_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
