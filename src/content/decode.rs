//! Gives a [`Node`] to a schema, which is any type with serde's `Deserialize`, and finds everything
//! that is wrong.
//!
//! A derived `Deserialize` stops at the first thing that it cannot take. So what it stopped at is
//! noted, in the next attempt any value that the type takes stands in for it (see `stand_in`), and
//! so on until an attempt goes through. Unknown fields are found on the way: they are never passed
//! over.

mod access;
mod at;
mod stand_in;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, DeserializeOwned, Unexpected};

use super::problem::{Problem, did_you_mean, one_of};
use super::renamed::Renamed;
use super::tree::{Node, Place};
pub use access::At;

/// The most problems that are looked for in one file; whoever has so many mends the first ones
/// first.
pub(crate) const MAX_PROBLEMS: usize = 50;

/// Reads a value by a schema.
///
/// # Errors
/// Everything that the schema does not take, in the order of the places.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Problem>> {
    decode_renamed(node, &[])
}

/// The same of a tree whose words are those of now: problems do not tell of the others, which
/// schemas that files are read by elsewhere have as aliases.
pub(super) fn decode_renamed<T: DeserializeOwned>(
    node: &Node,
    renamed: Renamed,
) -> Result<T, Vec<Problem>> {
    let findings = Findings { renamed, ..Findings::default() };
    // Ends: a turn notes a node or a field that was not noted before, or is the last.
    loop {
        let error = match T::deserialize(At::root(node, &findings)) {
            Ok(value) => {
                let problems = findings.into_sorted();
                return if problems.is_empty() { Ok(value) } else { Err(problems) };
            }
            Err(error) => error,
        };
        if !findings.note(*error.0, node) {
            return Err(findings.into_sorted());
        }
    }
}

/// What the attempts so far have found. Nodes are known by their addresses, which stay while the
/// tree is borrowed.
#[derive(Default)]
pub(super) struct Findings<'t> {
    /// The text, where it is JSON: problems name values as they stand there.
    json: Option<&'t str>,
    /// Words that no problem tells of.
    renamed: Renamed,
    problems: RefCell<Vec<Problem>>,
    /// Nodes that a stand-in takes the place of.
    bad: RefCell<BTreeSet<*const Node>>,
    /// Fields that structs lack and a stand-in is given for.
    missing: RefCell<BTreeMap<*const Node, Vec<&'static str>>>,
}

impl<'t> Findings<'t> {
    /// Nothing yet, of a text that is JSON.
    pub(super) fn of_json(text: &'t str) -> Self {
        Self { json: Some(text), ..Self::default() }
    }

    /// Whether there is a problem where another would be.
    fn has_one_at(&self, problem: &Problem) -> bool {
        let place = |problem: &Problem| (problem.line, problem.column);
        self.problems.borrow().iter().any(|other| place(other) == place(problem))
    }

    fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        // Every attempt meets the unknown fields of the attempts before it again.
        if !problems.contains(&problem) && problems.len() < MAX_PROBLEMS {
            problems.push(problem);
        }
    }

    /// Whether nothing more is looked for.
    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }

    /// Notes why an attempt ended. False if another attempt would end the same way.
    fn note(&self, error: Stop, root: &Node) -> bool {
        // A conversion of the whole value (`serde(try_from)`) fails after the reading, and has no
        // place.
        let place = error.place.unwrap_or_else(|| root.place.clone());
        let node = error.node.unwrap_or(root);
        let is_new = match error.missing {
            Some(field) => {
                let mut missing = self.missing.borrow_mut();
                let fields = missing.entry(node).or_default();
                let is_new = !fields.contains(&field);
                if is_new {
                    fields.push(field);
                }
                is_new
            }
            None => self.bad.borrow_mut().insert(node),
        };
        // An error at a stand-in is an echo of one that is known.
        if is_new {
            self.push(Problem::at(&place, Some(&error.path), error.message));
        }
        is_new && !self.is_full()
    }

    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        // By file first: a patched tree has places in two files.
        problems.sort_by_key(|problem| (problem.file.clone(), problem.line, problem.column));
        problems
    }
}

/// Why an attempt ended.
#[derive(Debug, Default)]
struct Stop {
    message: String,
    missing: Option<&'static str>,
    place: Option<Place>,
    path: String,
    node: Option<*const Node>,
}

/// The error that serde passes through a schema's code.
#[derive(Debug)]
pub struct DecodeError(Box<Stop>);

impl DecodeError {
    fn new(message: String) -> Self {
        Self(Box::new(Stop { message, ..Stop::default() }))
    }

    /// The error with its place, unless it has one from further inside.
    fn placed(mut self, at: &At<'_>) -> Self {
        if self.0.place.is_none() {
            self.0.place = Some(at.node.place.clone());
            self.0.path = at.path.to_string();
            self.0.node = Some(at.node);
            if let Some(field) = self.0.missing {
                let dot = if self.0.path.is_empty() { "" } else { "." };
                self.0.path = format!("{}{dot}{field}", self.0.path);
            }
        }
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found {}", plain(&expected.to_string()), describe(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        let values = if length == 1 { "value" } else { "values" };
        Self::new(format!("expected {}, found {length} {values}", plain(&expected.to_string())))
    }

    fn unknown_variant(name: &str, expected: &'static [&'static str]) -> Self {
        let meant = did_you_mean(name, expected.iter().copied());
        Self::new(format!("unknown name `{name}`; expected {}{meant}", one_of(expected)))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown_field(name, expected))
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self::new("this field is there twice".into())
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new("this field is missing".into());
        error.0.missing = Some(field);
        error
    }
}

/// What is said of a field that no schema has.
fn unknown_field(name: &str, expected: &[&str]) -> String {
    format!(
        "unknown field; expected {}{}",
        one_of(expected),
        did_you_mean(name, expected.iter().copied())
    )
}

/// What serde calls a type, in the words of somebody who edits a text.
fn plain(expected: &str) -> String {
    let named =
        |prefix: &str| expected.strip_prefix(prefix).map(|name| name.trim_matches('`').to_owned());
    let word = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" => "a text in quotes",
        "a character" => "a character in single quotes",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list in brackets",
        "a map" => "a map in braces",
        "unit" => "`()`",
        _ => {
            return if named("struct ").is_some() {
                "fields in parentheses".into()
            } else if let Some(name) = named("enum ") {
                format!("a name that {name} has")
            } else {
                // A schema's own `expecting` is written for people already.
                expected.into()
            };
        }
    };
    word.into()
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Char(value) => format!("the character {value:?}"),
        Unexpected::Str(text) => format!("the text {:?}", super::tree::shortened(text)),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}
