//! A node read step by step, for what no type can say: a value of several forms, a field that
//! decides what others mean. What is wrong is noted and the reading goes on, with a stand-in where
//! one is needed.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use super::access::{At, Path};
use crate::content::json;
use crate::content::problem::Problem;
use crate::content::tree::{Field, Node, Place, Value};

impl<'a> At<'a> {
    /// The way to the value: `body.stop[1]`.
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Where the value stands.
    pub fn place(&self) -> &'a Place {
        &self.node.place
    }

    /// The last name on the way to the value.
    pub fn name(&self) -> &'a str {
        let mut path = &self.path;
        loop {
            match path {
                Path::Root => return "",
                Path::Field(_, name) => return name,
                Path::Index(parent, _) => path = parent,
            }
        }
    }

    /// The value as it is written, where the text is JSON.
    pub fn json(&self) -> &'a str {
        self.findings.json.map_or("", |text| json::written(text, self.node.place.offset))
    }

    /// Whether this is JSON's `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.node.value, Value::Name(name) if name == "None")
    }

    /// Whether so much is wrong that nothing more is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.findings.is_full()
    }

    /// Notes what is wrong with the value.
    pub fn wrong(&self, message: impl Into<String>) {
        self.findings.push(self.problem(&self.node.place, message));
    }

    /// Notes what is wrong with there being the field, at its name. A name is wrong for one reason.
    pub(crate) fn wrong_name(&self, message: impl Into<String>) {
        let problem = self.problem(self.name_place, message);
        if !self.findings.has_one_at(&problem) {
            self.findings.push(problem);
        }
    }

    fn problem(&self, place: &Place, message: impl Into<String>) -> Problem {
        Problem::at(place, Some(&self.path()), message.into())
    }

    /// Notes that the value is another than it should be.
    pub fn expected(&self, expected: &str) {
        // To describe a value its text is read once more: not for a problem that would be dropped.
        if !self.is_full() {
            let found = match self.findings.json {
                Some(_) => json::describe(&self.node.value, self.json()),
                None => self.node.value.describe(),
            };
            self.wrong(format!("expected {expected}, found {found}"));
        }
    }

    /// Notes that a field is missing in this one.
    pub fn missing(&self, name: &str) {
        let path = Path::Field(&self.path, name).to_string();
        let message = "this field is missing".to_owned();
        self.findings.push(Problem::at(&self.node.place, Some(&path), message));
    }

    /// The value as a type, if it is one.
    pub(crate) fn peek<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(*self).ok()
    }

    /// The value as a type; what was expected is noted otherwise.
    pub fn read<T: DeserializeOwned>(&self, expected: &str) -> Option<T> {
        let value = self.peek();
        if value.is_none() {
            self.expected(expected);
        }
        value
    }

    /// The value if it is a text.
    pub(crate) fn peek_text(&self) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value { Some(text) } else { None }
    }

    /// The value as a text; what was expected is noted otherwise.
    pub fn text(&self, expected: &str) -> Option<&'a str> {
        let text = self.peek_text();
        if text.is_none() {
            self.expected(expected);
        }
        text
    }

    /// Whether the value has fields; else what was expected is noted, as is a field that is there
    /// twice.
    pub(crate) fn has_fields(&self, expected: &str) -> bool {
        let Value::Struct(_, fields) = &self.node.value else {
            self.expected(expected);
            return false;
        };
        // A set, since a line may have a million fields: to compare all pairs would be quadratic.
        let mut seen = HashSet::with_capacity(fields.len());
        for field in fields.iter().filter(|field| !seen.insert(field.name.as_str())) {
            self.at_field(field).wrong_name("given twice");
        }
        true
    }

    /// The fields in their order; none where the value has none.
    pub fn fields(&self) -> impl Iterator<Item = At<'_>> {
        let fields = match &self.node.value {
            Value::Struct(_, fields) => fields.as_slice(),
            _ => &[],
        };
        fields.iter().map(|field| self.at_field(field))
    }

    /// The field of a name, where it is there and not null.
    pub fn field(&self, name: &str) -> Option<At<'_>> {
        self.fields().find(|field| field.name() == name && !field.is_null())
    }

    fn at_field<'b>(&'b self, field: &'b Field) -> At<'b> {
        let at = self.inside(&field.node, Path::Field(&self.path, &field.name));
        At { name_place: &field.place, ..at }
    }

    /// The values of a list.
    pub fn items(&self) -> Option<impl ExactSizeIterator<Item = At<'_>>> {
        let Value::List(items) = &self.node.value else { return None };
        let item =
            |(index, node): (usize, &'a Node)| self.inside(node, Path::Index(&self.path, index));
        Some(items.iter().enumerate().map(item))
    }

    /// Whether this is a list without values.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }
}
