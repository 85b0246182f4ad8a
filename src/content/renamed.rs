//! Words of contents that were others in earlier versions: read as what they are called now, with a
//! hint for whoever wrote them.
//!
//! The tree is changed before anybody looks at it, so that schemas, reviews, patches and problems
//! know the words of now alone.

use super::problem::Problem;
use super::tree::{FieldPath, Node, Place, Step, Value};

/// Fields and variants of a kind: how each was called, and how it is now.
pub type Renamed = &'static [(&'static str, &'static str)];

/// Gives the fields and variants of a text the names that they have now.
pub(super) fn rename(node: &mut Node, renamed: Renamed, hints: &mut Vec<Problem>) {
    let Node { place, value } = node;
    match value {
        Value::Name(name) => rename_one(name, place, renamed, hints),
        Value::List(items) => items.iter_mut().for_each(|item| rename(item, renamed, hints)),
        // Keys are data: only values hold words of a schema.
        Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| rename(value, renamed, hints)),
        Value::Tuple(name, items) => {
            name.iter_mut().for_each(|name| rename_one(name, place, renamed, hints));
            items.iter_mut().for_each(|item| rename(item, renamed, hints));
        }
        Value::Struct(name, fields) => {
            name.iter_mut().for_each(|name| rename_one(name, place, renamed, hints));
            for field in fields {
                rename_one(&mut field.name, &field.place, renamed, hints);
                rename(&mut field.node, renamed, hints);
            }
        }
        _ => {}
    }
}

/// The same for the steps of a path that stands at a place.
pub(super) fn rename_path(
    path: &mut FieldPath,
    place: &Place,
    renamed: Renamed,
    hints: &mut Vec<Problem>,
) {
    for step in &mut path.0 {
        if let Step::Field(name) = step {
            rename_one(name, place, renamed, hints);
        }
    }
}

fn rename_one(name: &mut String, place: &Place, renamed: Renamed, hints: &mut Vec<Problem>) {
    let Some((old, new)) = renamed.iter().find(|(old, _)| old == name) else { return };
    *name = (*new).to_owned();
    let hint = Problem::at(place, Some(old), format!("this is called `{new}` now"));
    // A word is told of once in a file.
    if !hints.iter().any(|other| (&other.file, &other.field) == (&hint.file, &hint.field)) {
        hints.push(hint);
    }
}
