//! What is wrong with a mod: where, in which field, and what was expected.

use std::fmt;

use serde::Serialize;

use super::tree::Place;
use crate::names::nearest;
use crate::terminal::one_line;

/// One thing that is wrong. Its text is `file:line:column: field: message`, without what is not
/// known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The mod's folder or archive and the file in it.
    pub file: String,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The path of the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub(crate) fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None, field: None, message: message.into() }
    }

    /// A problem at a place in a file.
    pub fn at(place: &Place, field: Option<&str>, message: String) -> Self {
        Self {
            file: place.file.to_string(),
            line: Some(place.line),
            column: Some(place.column),
            field: field.filter(|field| !field.is_empty()).map(Into::into),
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.file))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {}", one_line(field))?;
        }
        // A name from a hostile mod must not move the terminal's cursor or begin a new line.
        write!(f, ": {}", one_line(&self.message))
    }
}

/// `; did you mean x?`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Names for a message: `a`, `b` or `c`.
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}
