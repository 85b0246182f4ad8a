//! Gates: which figures decide, and within which limits. Data in RON, evaluated here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figure::{Against, FigureKind, FigureName, MeasuredFigure};
use crate::content::Review;

/// What a child must be measured to be. `NAME.gate.ron`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Tokens of the plain text, which the founder writes.
    #[serde(default = "default_tokens")]
    pub tokens: u32,
    /// The seed of that text; the report's is the next one.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Questions by the name that figures have: `sums` of `exact_match.sums`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exams: BTreeMap<String, GateExam>,
    /// All of them must hold.
    pub lines: Vec<GateLine>,
}

/// Questions that were never learnt, with their right answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateExam {
    /// Held-out lines of a corpus.
    Corpus {
        /// The corpus.
        name: String,
        /// Lines to learn that it makes, as those that were learnt.
        lines: usize,
        /// Lines that are held out.
        valid_lines: usize,
        /// The seed, as that of the lines that were learnt.
        #[serde(default)]
        seed: u64,
    },
    /// Held-out exercises of a subject of the school.
    Subject {
        /// The subject.
        name: String,
        /// How many.
        exercises: usize,
        /// The seed.
        #[serde(default)]
        seed: u64,
    },
}

/// A figure and its limit, of which there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLine {
    /// What is measured.
    pub figure: FigureName,
    /// Better than this by more than the difference's standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better_than: Option<Against>,
    /// By more than so many standard errors, at least 1, which is what holds where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<f64>,
    /// Worse than this by no more than `by` and the difference's standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worse_than: Option<Against>,
    /// In the figure's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<f64>,
    /// The child's figure is no more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The child's figure is no less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

/// A limit as it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum GateLimit {
    BetterThan(Against, f64),
    NoWorseThan(Against, f64),
    AtMost(f64),
    AtLeast(f64),
}

const fn default_tokens() -> u32 {
    4096
}

const fn default_seed() -> u64 {
    1 << 32
}

/// The largest plain text of a gate: what both expect of it is kept in memory.
const MAX_TOKENS: u32 = 1 << 16;

impl GateLine {
    fn limit(&self) -> Option<GateLimit> {
        let (by, errors) = (self.by.unwrap_or(0.0), self.errors.unwrap_or(1.0));
        let mut limits = [
            self.better_than.map(|against| GateLimit::BetterThan(against, errors)),
            self.no_worse_than.map(|against| GateLimit::NoWorseThan(against, by)),
            self.at_most.map(GateLimit::AtMost),
            self.at_least.map(GateLimit::AtLeast),
        ]
        .into_iter()
        .flatten();
        match (limits.next(), limits.next()) {
            (Some(limit), None) => Some(limit),
            _ => None,
        }
    }

    /// What the child is compared with.
    pub fn against(&self) -> Against {
        self.better_than.or(self.no_worse_than).unwrap_or_default()
    }

    /// The line as people read it.
    pub fn words(&self) -> String {
        let figure = &self.figure;
        match self.limit() {
            Some(GateLimit::BetterThan(than, 1.0)) => {
                format!("{figure} better than {}", than.name())
            }
            Some(GateLimit::BetterThan(than, errors)) => {
                format!("{figure} better than {} by {errors} errors", than.name())
            }
            Some(GateLimit::NoWorseThan(than, by)) => {
                format!("{figure} no worse than {} by {by}", than.name())
            }
            Some(GateLimit::AtMost(most)) => format!("{figure} at most {most}"),
            Some(GateLimit::AtLeast(least)) => format!("{figure} at least {least}"),
            None => format!("{figure} without one limit"),
        }
    }

    fn review(&self, path: &str, review: &mut Review<'_>) {
        review.require(self.limit().is_some(), path, || {
            "expected one limit: better_than, no_worse_than, at_most or at_least".into()
        });
        let numbers = [self.by, self.errors, self.at_most, self.at_least];
        let is_sound = numbers.iter().flatten().all(|number| number.is_finite());
        review.require(is_sound, path, || "expected a number, found one without end".into());
        let allows = self.by.is_none_or(|by| by >= 0.0 && self.no_worse_than.is_some());
        review.require(allows, path, || {
            "expected by to be at least 0 and beside no_worse_than".into()
        });
        let asks = self.errors.is_none_or(|errors| errors >= 1.0 && self.better_than.is_some());
        review.require(asks, path, || {
            "expected errors to be at least 1 and beside better_than".into()
        });
        let is_of_school =
            matches!(self.figure.kind, FigureKind::Distinct | FigureKind::FirstTokenEntropy);
        review.require(!is_of_school, path, || {
            format!("{} is measured in a round of school, and by no gate of a file", self.figure)
        });
        let is_plain = !self.figure.kind.is_of_exam();
        review.require(self.against() == Against::Parent || is_plain, path, || {
            format!("{} is not measured of the uniform file", self.figure)
        });
    }

    /// Whether it holds of what was measured, and why.
    fn judge(&self, figures: &[MeasuredFigure]) -> GateLineOutcome {
        let against = self.against();
        let found = figures.iter().find(|it| it.name == self.figure && it.against == against);
        let (holds, because) = match (found, self.limit()) {
            (None, _) => (false, format!("{} was not measured", self.figure)),
            (_, None) => (false, format!("{} has no limit, or several", self.figure)),
            (Some(figure), Some(limit)) => limit.judge(figure),
        };
        GateLineOutcome { line: self.clone(), holds, because }
    }
}

impl GateLimit {
    /// What is no number holds of nothing.
    fn judge(self, figure: &MeasuredFigure) -> (bool, String) {
        let MeasuredFigure { name, parent, child, error, .. } = figure;
        let (gain, than) = (figure.gain(), figure.against.name());
        let pair = format!("{name} is {child:.6} for {parent:.6} of {than}");
        match self {
            Self::BetterThan(_, errors) => {
                let holds = gain > errors * error;
                let by = if gain >= 0.0 { "better by" } else { "worse by" };
                let needs = match errors {
                    1.0 => String::new(),
                    errors => format!(", of which {errors} are asked for"),
                };
                let gain = gain.abs();
                (holds, format!("{pair}: {by} {gain:.6} with an error of {error:.6}{needs}"))
            }
            Self::NoWorseThan(_, by) => {
                let holds = -gain <= by + error;
                let word = if gain >= 0.0 { "better by" } else { "worse by" };
                let why = format!("{:.6}, {by} and an error of {error:.6} are allowed", gain.abs());
                (holds, format!("{pair}: {word} {why}"))
            }
            Self::AtMost(most) => (*child <= most, format!("{name} is {child}, at most {most}")),
            Self::AtLeast(least) => {
                (*child >= least, format!("{name} is {child}, at least {least}"))
            }
        }
    }
}

/// What came of one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLineOutcome {
    /// The line.
    pub line: GateLine,
    /// Whether it holds.
    pub holds: bool,
    /// With the figures, in words.
    pub because: String,
}

impl Gate {
    /// Every line on what was measured.
    pub fn judge(&self, figures: &[MeasuredFigure]) -> Vec<GateLineOutcome> {
        self.lines.iter().map(|line| line.judge(figures)).collect()
    }

    /// Whether a line compares with something.
    pub fn compares_with(&self, against: Against) -> bool {
        self.lines.iter().any(|line| line.against() == against)
    }

    /// What is wrong with it that its type cannot say.
    pub(crate) fn review(&self, review: &mut Review<'_>) {
        review.require(!self.lines.is_empty(), "lines", || {
            "expected a line: a gate without one lets everything through".into()
        });
        review.require((1..=MAX_TOKENS).contains(&self.tokens), "tokens", || {
            format!("expected 1 to {MAX_TOKENS}, found {}", self.tokens)
        });
        for (at, line) in self.lines.iter().enumerate() {
            line.review(&format!("lines[{at}]"), review);
        }
    }
}

/// Whether all lines hold; nothing is promoted by a gate without lines.
pub fn passes(outcome: &[GateLineOutcome]) -> bool {
    !outcome.is_empty() && outcome.iter().all(|line| line.holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(lines: &str) -> Gate {
        let options = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        options.from_str(&format!("(lines: [{lines}])")).unwrap()
    }

    fn figure(name: &str, parent: &[f64], child: &[f64]) -> MeasuredFigure {
        MeasuredFigure::paired(name.parse().unwrap(), Against::Parent, "t", [parent, child])
    }

    #[test]
    fn better_needs_more_than_the_error_and_no_worse_has_it_added() {
        let better = gate(r#"(figure: "loss", better_than: parent)"#);
        let holds = |gate: &Gate, parent: &[f64], child: &[f64]| {
            passes(&gate.judge(&[figure("loss", parent, child)]))
        };
        assert!(holds(&better, &[1.0, 2.0], &[0.9, 1.9]));
        assert!(!holds(&better, &[1.0, 2.0], &[1.0, 2.0]), "the same is not better");
        // Mean 0.5, error 0.5: no more than it.
        assert!(!holds(&better, &[1.0, 2.0], &[0.0, 2.0]));
        let twice = gate(r#"(figure: "loss", better_than: parent, errors: 2)"#);
        // Better by 0.5 with an error of 0.29.
        let pair: [&[f64]; 2] = [&[1.0, 1.0, 1.0], &[0.0, 0.5, 1.0]];
        assert!(holds(&better, pair[0], pair[1]) && !holds(&twice, pair[0], pair[1]));
        assert!(holds(&twice, &[1.0, 2.0], &[0.9, 1.9]));
        let no_worse = gate(r#"(figure: "loss", no_worse_than: parent, by: 0.1)"#);
        assert!(holds(&no_worse, &[1.0, 2.0], &[1.09, 2.09]));
        assert!(!holds(&no_worse, &[1.0, 2.0], &[1.2, 2.2]));
        assert!(holds(&no_worse, &[1.0, 2.0], &[1.0, 2.3]), "0.15, of which 0.15 is error");
        assert!(!holds(&no_worse, &[1.0, 2.0], &[1.0, f64::NAN]), "no number holds of nothing");
        assert!(!holds(&better, &[1.0, 2.0], &[f64::NEG_INFINITY, f64::NAN]));
    }

    #[test]
    fn what_was_not_measured_or_against_another_does_not_hold() {
        let gate = gate(r#"(figure: "loss", no_worse_than: uniform, by: 9)"#);
        let outcome = gate.judge(&[figure("loss", &[1.0], &[1.0])]);
        assert!(!passes(&outcome) && outcome[0].because.contains("was not measured"));
        assert!(!passes(&[]));
        let both = GateLine { at_most: Some(9.0), ..gate.lines[0].clone() };
        assert!(!both.judge(&[figure("loss", &[1.0], &[1.0])]).holds, "two limits are none");
    }
}
