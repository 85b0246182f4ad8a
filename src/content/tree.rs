//! A RON text as a tree in which every value knows its file, line and column.
//!
//! Serde has lost the places of values by the time a schema looks at them, and a patch mixes values
//! of two files. The tree keeps both. It is read by [`parse`](super::parse::parse) and given to
//! schemas by [`decode`](super::decode::decode).

use std::fmt;
use std::sync::Arc;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as problems name it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many bytes of the text are before it.
    pub offset: usize,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where its first character stands.
    pub place: Place,
    /// What is written there.
    pub value: Value,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, without `r#` before it.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// Its value, with the place behind the colon.
    pub node: Node,
}

/// What RON can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`, in JSON too.
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Any other number; never infinite in RON.
    Float(f64),
    /// `'c'`: one character in single quotes.
    Char(char),
    /// `"text"` or `r#"text"#`, without quotes and escapes.
    Text(String),
    /// `Name`, without values; JSON's `null` is the name `None`.
    Name(String),
    /// `[a, b]`, in its order.
    List(Vec<Node>),
    /// `{a: b}`, in the order of the text.
    Map(Vec<(Node, Node)>),
    /// `(a, b)` or `Name(a, b)`.
    Tuple(Option<String>, Vec<Node>),
    /// `(a: b)` or `Name(a: b)`.
    Struct(Option<String>, Vec<Field>),
}

impl Value {
    /// The value in a few words, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Bool(value) => format!("`{value}`"),
            Self::Unsigned(value) => format!("the number {value}"),
            Self::Signed(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Char(value) => format!("the character {value:?}"),
            Self::Text(value) => format!("the text {:?}", shortened(value)),
            Self::Name(name) => format!("the name `{name}`"),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a map".into(),
            Self::Tuple(None, items) if items.is_empty() => "`()`".into(),
            Self::Tuple(None, _) => "values in parentheses".into(),
            Self::Struct(None, _) => "fields in parentheses".into(),
            Self::Tuple(Some(name), _) | Self::Struct(Some(name), _) => format!("`{name}(...)`"),
        }
    }
}

/// A text as messages quote it: whole, or its beginning.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.into();
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}

impl Node {
    /// The value at a path such as `prompts[2].text`; of a path that leads nowhere, the last value
    /// on the way.
    pub fn nearest(&self, path: &FieldPath) -> &Self {
        let mut node = self;
        for step in &path.0 {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The value one step below.
    pub fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Field(name), Value::Struct(_, fields)) => {
                fields.iter().find(|field| field.name == *name).map(|field| &field.node)
            }
            (Step::Field(name), Value::Map(pairs)) => {
                pairs.iter().find(|(key, _)| key_is(key, name)).map(|(_, value)| value)
            }
            (Step::Index(index), Value::List(items) | Value::Tuple(_, items)) => items.get(*index),
            _ => None,
        }
    }

    /// The value one step below, to be changed.
    pub(crate) fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (step, &mut self.value) {
            (Step::Field(name), Value::Struct(_, fields)) => {
                fields.iter_mut().find(|field| field.name == *name).map(|field| &mut field.node)
            }
            (Step::Field(name), Value::Map(pairs)) => {
                pairs.iter_mut().find(|(key, _)| key_is(key, name)).map(|(_, value)| value)
            }
            (Step::Index(index), Value::List(items) | Value::Tuple(_, items)) => {
                items.get_mut(*index)
            }
            _ => None,
        }
    }

    /// The texts that a step from here may name.
    pub fn names(&self) -> Vec<&str> {
        match &self.value {
            Value::Struct(_, fields) => fields.iter().map(|field| field.name.as_str()).collect(),
            Value::Map(pairs) => pairs.iter().filter_map(|(key, _)| key_text(key)).collect(),
            _ => Vec::new(),
        }
    }
}

fn key_text(key: &Node) -> Option<&str> {
    match &key.value {
        Value::Text(text) | Value::Name(text) => Some(text),
        _ => None,
    }
}

/// Whether a key of a map is meant by a step of a path.
pub(crate) fn key_is(key: &Node, name: &str) -> bool {
    key_text(key) == Some(name)
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of a struct or a key of a map.
    Field(String),
    /// A place in a list or tuple, from 0.
    Index(usize),
}

/// The way from a file's value to one inside it, written `prompts[2].text`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(pub Vec<Step>);

/// The most steps of a path: the deepest that a text may nest.
const MAX_STEPS: usize = super::parse::MAX_DEPTH;

impl FieldPath {
    /// Reads a path. The error says what is wrong with it.
    ///
    /// # Errors
    /// The text is no path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| Err(format!("{:?} is no path of a field: {what}", shortened(text)));
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            // Only the first part may begin with an index: `[2].text`.
            if name.is_empty() && (rest.is_empty() || !steps.is_empty()) {
                return wrong("a name is missing; expected such as `prompts[2].text`");
            }
            if !name.is_empty() {
                steps.push(Step::Field(name.into()));
            }
            while let Some(after) = rest.strip_prefix('[') {
                let Some((digits, after)) = after.split_once(']') else {
                    return wrong("`]` is missing");
                };
                let Ok(index) = digits.parse() else {
                    return wrong("between `[` and `]` goes a number from 0");
                };
                steps.push(Step::Index(index));
                rest = after;
            }
            if !rest.is_empty() {
                return wrong("after `]` goes `.`, `[` or nothing");
            }
            if steps.len() > MAX_STEPS {
                return wrong("it has too many steps");
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_and_written_alike() {
        for text in ["a", "a.b", "a[0]", "a[3][4].b.c[1]", "[2]", "[2].a"] {
            assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", ".a", "a[", "a[x]", "a[1]b", "a[-1]", "a..b", "a.[1]"] {
            assert!(FieldPath::parse(text).is_err(), "{text}");
        }
    }
}
