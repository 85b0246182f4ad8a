//! Acceptance checks: what must hold of a task's report. Data in a plan, evaluated here.

use serde::{Deserialize, Serialize};

use super::TaskReport;

/// What must hold of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// A metric is exactly this.
    Equals {
        /// The metric's name; one that was not reported fails.
        #[serde(alias = "figure")]
        metric: String,
        /// What it must be.
        value: f64,
    },
    /// A metric is no more than this.
    AtMost {
        /// The metric's name; one that was not reported fails.
        #[serde(alias = "figure")]
        metric: String,
        /// The most that it may be.
        value: f64,
    },
    /// A metric is no less than this.
    AtLeast {
        /// The metric's name; one that was not reported fails.
        #[serde(alias = "figure")]
        metric: String,
        /// The least that it may be.
        value: f64,
    },
    /// The text that was written has all of these words, in any case.
    Mentions(Vec<String>),
    /// All of these hold.
    All(Vec<Check>),
    /// At least one of these holds.
    Any(Vec<Check>),
}

impl Check {
    /// Whether it holds.
    ///
    /// # Errors
    /// What does not hold, with the value that was found.
    pub fn holds(&self, report: &TaskReport) -> Result<(), String> {
        match self {
            // Exactly: plans ask for counts, such as no damaged tile.
            Self::Equals { metric, value } => {
                compare(report, metric, "=", *value, |found| found == *value)
            }
            Self::AtMost { metric, value } => {
                compare(report, metric, "<=", *value, |found| found <= *value)
            }
            Self::AtLeast { metric, value } => {
                compare(report, metric, ">=", *value, |found| found >= *value)
            }
            Self::Mentions(words) => {
                let text = report.text.as_deref().unwrap_or_default().to_lowercase();
                match words.iter().find(|word| !text.contains(&word.to_lowercase())) {
                    Some(word) => Err(format!("the text does not mention \"{word}\"")),
                    None => Ok(()),
                }
            }
            Self::All(checks) => checks.iter().try_for_each(|check| check.holds(report)),
            Self::Any(checks) => {
                let mut reasons = Vec::new();
                for check in checks {
                    match check.holds(report) {
                        Ok(()) => return Ok(()),
                        Err(reason) => reasons.push(reason),
                    }
                }
                Err(format!("none holds: {}", reasons.join("; ")))
            }
        }
    }
}

fn compare(
    report: &TaskReport,
    metric: &str,
    sign: &str,
    value: f64,
    holds: impl Fn(f64) -> bool,
) -> Result<(), String> {
    match report.metrics.get(metric) {
        Some(&found) if holds(found) => Ok(()),
        Some(found) => Err(format!("{metric} = {found}, but {metric} {sign} {value} is asked for")),
        None => Err(format!(
            "no metric {metric} was reported, but {metric} {sign} {value} is asked for"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_does_not_hold() {
        let report = TaskReport::new("x").with("bad_tiles", 2.0);
        let at_most = |value| Check::AtMost { metric: "bad_tiles".into(), value };
        assert_eq!(at_most(2.0).holds(&report), Ok(()));
        let reason = at_most(0.0).holds(&report).unwrap_err();
        assert_eq!(reason, "bad_tiles = 2, but bad_tiles <= 0 is asked for");
        assert!(Check::Any(vec![at_most(0.0), at_most(2.0)]).holds(&report).is_ok());
        assert!(Check::All(vec![at_most(0.0), at_most(2.0)]).holds(&report).is_err());
        assert!(Check::Any(Vec::new()).holds(&report).is_err(), "of nothing, nothing holds");
        let missing =
            Check::AtLeast { metric: "tiles".into(), value: 1.0 }.holds(&report).unwrap_err();
        assert!(missing.starts_with("no metric tiles"), "{missing}");
    }

    #[test]
    fn a_text_is_searched_whatever_its_case() {
        let mut report = TaskReport::new("x");
        let check = Check::Mentions(vec!["Tile".into()]);
        assert!(check.holds(&report).is_err());
        report.text = Some("the TILES".into());
        assert!(check.holds(&report).is_ok());
    }
}
