//! What can be wrong with a line.

use std::fmt;

/// Something wrong at one place of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// The column of the value, in characters from 1.
    pub column: usize,
    /// The field, with the path to it: `body.temperature`. Empty for the line itself.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// The line is not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// The line is longer than any request should be.
    #[error("the line is longer than {limit_in_bytes} bytes")]
    TooLong {
        /// The longest line that is read.
        limit_in_bytes: usize,
    },
    /// A value of another kind or outside its range.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What the field takes.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field that no request has.
    #[error("no such field{}", hint(.nearest))]
    Unknown {
        /// The field that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A field without which there is no request.
    #[error("this field is missing")]
    Missing,
    /// Two fields of one name, or two names of one thing.
    #[error("given twice")]
    Twice,
    /// Something others offer and this program does not.
    #[error("not supported here: {0}")]
    Unsupported(&'static str),
    /// Two lines with the same id.
    #[error("the id {id:?} was already used on line {first_line}")]
    DuplicateId {
        /// The id.
        id: String,
        /// The line that has it first.
        first_line: u64,
    },
}

fn hint(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: ", self.column)?;
        if !self.field.is_empty() {
            write!(f, "`{}`: ", self.field)?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for LineProblem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}
