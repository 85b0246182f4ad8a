//! What is wrong with a line.

use std::fmt;

use crate::content::Problem;

/// All that is wrong with a line, in the order of the columns: at least one problem, each with its
/// column and, but for what is wrong with the line as a whole, its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblems(Vec<Problem>);

impl LineProblems {
    /// One problem with a line, at a column in characters from 1.
    pub(crate) fn one(column: usize, message: impl Into<String>) -> Self {
        let column = Some(u32::try_from(column).unwrap_or(u32::MAX));
        Self(vec![Problem { column, ..Problem::of_file("", message) }])
    }

    /// The problems in the order of their columns, at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The field of the first problem, with the path to it: `body.temperature`.
    pub(crate) fn field(&self) -> Option<&str> {
        self.0.first()?.field.as_deref()
    }
}

impl From<Vec<Problem>> for LineProblems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl fmt::Display for LineProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}column {}: ", problem.column.unwrap_or(1))?;
            if let Some(field) = &problem.field {
                write!(f, "`{field}`: ")?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for LineProblems {}
