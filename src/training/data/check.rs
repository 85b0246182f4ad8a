//! Whether an answer is right.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// How an answer is compared with the right one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Checker {
    /// It is equal, but for white space at the ends.
    #[default]
    Exact,
    /// It is one of these, but for white space at the ends.
    OneOf(Vec<String>),
    /// Its first number is that of the right answer, or no further from it than this.
    Number(f64),
    /// All of it is matched by this regular expression.
    Pattern(String),
}

impl Checker {
    /// Whether an answer has to be equal.
    pub fn is_exact(&self) -> bool {
        *self == Self::Exact
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Pattern(pattern) => pattern_of(pattern).err(),
            Self::Number(within) if !(within.is_finite() && *within >= 0.0) => {
                Some("expected a distance from 0".into())
            }
            Self::OneOf(texts) if texts.is_empty() => Some("expected at least one text".into()),
            _ => None,
        }
    }

    /// Whether an answer is right.
    pub fn is_right(&self, answer: &str, right: &str) -> bool {
        let answer = answer.trim();
        match self {
            Self::Exact => answer == right.trim(),
            Self::OneOf(texts) => texts.iter().any(|text| answer == text.trim()),
            Self::Number(within) => match (first_number(answer), first_number(right)) {
                (Some(found), Some(right)) => (found - right).abs() <= *within,
                _ => false,
            },
            Self::Pattern(pattern) => pattern_of(pattern).is_ok_and(|it| it.is_match(answer)),
        }
    }
}

fn pattern_of(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("not a pattern: {error}"))
}

fn first_number(text: &str) -> Option<f64> {
    let is_of_number = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '-');
    text.split(|letter| !is_of_number(letter))
        .find_map(|part| part.trim_end_matches('.').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_as_is_asked() {
        assert!(Checker::Exact.is_right(" red\n", "red") && !Checker::Exact.is_right("Red", "red"));
        let one = Checker::OneOf(vec!["red".into(), " crimson".into()]);
        assert!(one.is_right("crimson", "red") && !one.is_right("blue", "red"));
        let number = Checker::Number(0.01);
        assert!(number.is_right("It is 3.005.", "3") && !number.is_right("none", "3"));
        assert!(number.is_right("-2", " -2 left"));
        let pattern = Checker::Pattern("layer [0-9]+".into());
        assert!(pattern.is_right("layer 12", "") && !pattern.is_right("a layer 12", ""));
        assert!(Checker::Pattern("(".into()).problem().is_some());
        let json = r#"{"one_of":["red"]}"#;
        let read: Checker = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}
