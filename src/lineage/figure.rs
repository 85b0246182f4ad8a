//! Figures: what is measured of a child beside its parent, each with its standard error.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FigureKind {
    /// Divergence from the parent, in nats per token.
    Divergence,
    /// The part of places with the parent's most probable token.
    SameBest,
    /// Loss of the text, in nats per token.
    Loss,
    /// The part of questions that are answered exactly.
    ExactMatch,
    /// The part of sampled answers that are different from each other.
    Distinct,
    /// Entropy of the first token of an answer, in nats.
    FirstTokenEntropy,
    /// Bytes of all tensors.
    Bytes,
    /// Tokens per second.
    TokensPerSecond,
}

impl FigureKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Divergence,
        Self::SameBest,
        Self::Loss,
        Self::ExactMatch,
        Self::Distinct,
        Self::FirstTokenEntropy,
        Self::Bytes,
        Self::TokensPerSecond,
    ];

    /// The name as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Divergence => "divergence",
            Self::SameBest => "same_best",
            Self::Loss => "loss",
            Self::ExactMatch => "exact_match",
            Self::Distinct => "distinct",
            Self::FirstTokenEntropy => "first_token_entropy",
            Self::Bytes => "bytes",
            Self::TokensPerSecond => "tokens_per_second",
        }
    }

    /// Whether more of it is better.
    pub const fn is_better_when_more(self) -> bool {
        !matches!(self, Self::Divergence | Self::Loss | Self::Bytes)
    }

    /// Whether it is of an exam, and not of the plain text or of the file.
    pub const fn is_of_exam(self) -> bool {
        matches!(self, Self::ExactMatch | Self::Distinct | Self::FirstTokenEntropy)
    }
}

/// A figure by its name: `loss`, or `exact_match.sums` of an exam's questions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FigureName {
    /// What is measured.
    pub kind: FigureKind,
    /// The exam, or the kind of its questions; `None` for the plain text, or all questions.
    pub of: Option<String>,
}

impl FigureName {
    /// A figure of the plain text or the file.
    pub const fn plain(kind: FigureKind) -> Self {
        Self { kind, of: None }
    }

    /// A figure of an exam.
    pub fn of(kind: FigureKind, exam: impl Into<String>) -> Self {
        Self { kind, of: Some(exam.into()) }
    }
}

impl fmt::Display for FigureName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.name())?;
        self.of.as_ref().map_or(Ok(()), |of| write!(formatter, ".{of}"))
    }
}

/// No figure has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no figure \"{name}\"{}; there are {}", meant(.name), all_names())]
pub struct UnknownFigure {
    /// What was written.
    pub name: String,
}

fn all_names() -> String {
    FigureKind::ALL.map(FigureKind::name).join(", ")
}

fn meant(name: &str) -> String {
    let kind = name.split('.').next().unwrap_or(name);
    let near = crate::names::nearest(kind, FigureKind::ALL.map(FigureKind::name));
    near.map_or_else(String::new, |near| format!(": did you mean \"{near}\"?"))
}

impl FromStr for FigureName {
    type Err = UnknownFigure;

    fn from_str(name: &str) -> Result<Self, UnknownFigure> {
        let unknown = || UnknownFigure { name: name.to_owned() };
        let (kind, of) = match name.split_once('.') {
            Some((kind, of)) => (kind, Some(of)),
            None => (name, None),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let kind = FigureKind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = kind.ok_or_else(unknown)?;
        // The file and the plain text have no kinds of questions.
        if of.is_some_and(|of| of.is_empty() || !of.chars().all(is_plain) || !kind.is_of_exam()) {
            return Err(unknown());
        }
        Ok(Self { kind, of: of.map(str::to_owned) })
    }
}

impl TryFrom<String> for FigureName {
    type Error = UnknownFigure;

    fn try_from(name: String) -> Result<Self, UnknownFigure> {
        name.parse()
    }
}

impl From<FigureName> for String {
    fn from(name: FigureName) -> Self {
        name.to_string()
    }
}

/// What a child is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The parent.
    #[default]
    Parent,
    /// The parent with all matrices in one encoding, of as many bytes as the child or the next
    /// more. The gate makes it.
    Uniform,
}

impl Against {
    /// The word as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Uniform => "uniform",
        }
    }

    fn is_parent(&self) -> bool {
        *self == Self::Parent
    }
}

/// What was measured of a child and of what it is compared with, on one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFigure {
    /// What was measured.
    pub name: FigureName,
    /// What `parent` is of.
    #[serde(default, skip_serializing_if = "Against::is_parent")]
    pub against: Against,
    /// Of the parent, or of the control that `against` names.
    #[serde(with = "number")]
    pub parent: f64,
    /// Of the child.
    #[serde(with = "number")]
    pub child: f64,
    /// The child's less the parent's: the mean over the text's parts.
    #[serde(with = "number")]
    pub difference: f64,
    /// The standard error of the difference, paired over the text's parts.
    #[serde(with = "number")]
    pub error: f64,
    /// The digest of the text, or empty where it is a figure of the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl MeasuredFigure {
    /// Of values of the same parts of a text: windows, or questions. More parts on one side than on
    /// the other are no pairs, and the difference is no number then.
    pub fn paired(
        name: FigureName,
        against: Against,
        text: &str,
        [parent, child]: [&[f64]; 2],
    ) -> Self {
        let differences: Vec<f64> =
            parent.iter().zip(child).map(|(parent, child)| child - parent).collect();
        let (mut difference, mut error) = mean_and_error(&differences);
        if parent.len() != child.len() || parent.is_empty() {
            (difference, error) = (f64::NAN, f64::NAN);
        }
        let (parent, child) = (mean_and_error(parent).0, mean_and_error(child).0);
        Self { name, against, parent, child, difference, error, text: text.to_owned() }
    }

    /// As [`Self::paired`], of parts in groups that are right or wrong together: the error is that
    /// of the groups. Questions about 2 and 3 are no more than one witness of the others.
    pub fn paired_in_groups(
        name: FigureName,
        text: &str,
        [parent, child]: [&[f64]; 2],
        groups: &[u64],
    ) -> Self {
        let mut figure = Self::paired(name, Against::Parent, text, [parent, child]);
        let mean = figure.difference;
        let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
        for ((parent, child), group) in parent.iter().zip(child).zip(groups) {
            *sums.entry(*group).or_default() += child - parent - mean;
        }
        let (parts, count) = (parent.len() as f64, sums.len() as f64);
        let squares: f64 = sums.values().map(|sum| sum * sum).sum();
        // With as many groups as parts it is the error of the parts.
        figure.error = (squares * count / (count - 1.0).max(1.0)).sqrt() / parts;
        if groups.len() != parent.len() {
            figure.error = f64::NAN;
        }
        figure
    }

    /// Of what is counted and not estimated.
    pub fn exact(name: FigureName, against: Against, parent: f64, child: f64) -> Self {
        let (difference, text) = (child - parent, String::new());
        Self { name, against, parent, child, difference, error: 0.0, text }
    }

    /// By how much the child is better; negative where it is worse.
    pub fn gain(&self) -> f64 {
        if self.name.kind.is_better_when_more() { self.difference } else { -self.difference }
    }
}

/// The mean of some numbers and its standard error.
fn mean_and_error(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// Numbers as JSON has them; what is none is `null`, and no number again.
mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        number.is_finite().then_some(*number).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_an_unknown_one_is_refused_by_name() {
        for name in ["divergence", "loss", "exact_match", "exact_match.sums", "bytes"] {
            assert_eq!(name.parse::<FigureName>().unwrap().to_string(), name);
        }
        let error = "divergance".parse::<FigureName>().unwrap_err().to_string();
        assert!(error.contains("\"divergance\": did you mean \"divergence\"?"), "{error}");
        for name in ["", "loss.", "loss.sums", "exact_match.", "exact_match.a.b", "x"] {
            assert!(name.parse::<FigureName>().is_err(), "{name}");
        }
    }

    #[test]
    fn pairs_have_the_error_of_their_differences() {
        let loss = || FigureName::plain(FigureKind::Loss);
        let figure = MeasuredFigure::paired(
            loss(),
            Against::Parent,
            "t",
            [&[1.0, 5.0, 9.0], &[0.5, 4.5, 8.5]],
        );
        assert_eq!((figure.difference, figure.error, figure.gain()), (-0.5, 0.0, 0.5));
        let figure =
            MeasuredFigure::paired(loss(), Against::Parent, "t", [&[1.0, 1.0], &[1.0, 3.0]]);
        assert_eq!((figure.difference, figure.error), (1.0, 1.0));
        let figure = MeasuredFigure::paired(loss(), Against::Parent, "t", [&[1.0], &[1.0, 3.0]]);
        assert!(figure.difference.is_nan(), "what is no pair is not compared");
        let of_groups = |groups: &[u64]| {
            let pair = [&[0.0, 0.0, 1.0, 1.0][..], &[1.0, 1.0, 1.0, 1.0]];
            let name = FigureName::plain(FigureKind::ExactMatch);
            (
                MeasuredFigure::paired_in_groups(name.clone(), "t", pair, groups).error,
                MeasuredFigure::paired(name, Against::Parent, "t", pair).error,
            )
        };
        let (grouped, alone) = of_groups(&[1, 2, 3, 4]);
        assert!((grouped - alone).abs() < 1e-12, "each its own group: {grouped} and {alone}");
        let (grouped, alone) = of_groups(&[1, 1, 2, 2]);
        assert!((grouped - 0.5).abs() < 1e-12 && alone < 0.3, "{grouped} and {alone}");
        assert!(of_groups(&[1]).0.is_nan(), "a group is missing");
        let text = serde_json::to_string(&figure).unwrap();
        assert!(serde_json::from_str::<MeasuredFigure>(&text).unwrap().gain().is_nan(), "{text}");
    }
}
