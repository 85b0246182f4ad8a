//! `NAME.KIND.patch.ron`: changes of single fields of what an earlier mod brings.
//!
//! A patch is a list of `(field: "prompts[0].text", value: ...)`, `(field: "prompts", append: ...)`
//! and `(field: "about", remove: true)`, done from first to last. What it puts in keeps its place
//! in the patch, so that a schema's complaint about it leads there.

use super::decode::MAX_PROBLEMS;
use super::problem::{Problem, did_you_mean, one_of};
use super::renamed::{Renamed, rename, rename_path};
use super::tree::{Field, FieldPath, Node, Place, Step, Value};

/// The most changes of one patch.
const MAX_CHANGES: usize = 10_000;

const FIELDS: [&str; 4] = ["field", "value", "append", "remove"];

/// The changes of a patch file.
#[derive(Debug, Clone)]
pub struct Patch {
    changes: Vec<PatchChange>,
}

#[derive(Debug, Clone)]
struct PatchChange {
    path: FieldPath,
    /// Where the path stands.
    place: Place,
    action: PatchAction,
}

#[derive(Debug, Clone)]
enum PatchAction {
    Set(Node),
    Append(Node),
    Remove,
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Vec<Problem>> {
        let Value::List(items) = &node.value else {
            let found = node.value.describe();
            let message = format!(
                "expected a list of changes such as [(field: \"title\", value: \"...\")], found \
                 {found}"
            );
            return Err(vec![Problem::at(&node.place, None, message)]);
        };
        if items.len() > MAX_CHANGES {
            let message = format!("expected at most {MAX_CHANGES} changes, found {}", items.len());
            return Err(vec![Problem::at(&node.place, None, message)]);
        }
        let mut problems = Vec::new();
        let mut changes = Vec::new();
        for item in items {
            changes.extend(read_change(item, &mut problems));
            if problems.len() >= MAX_PROBLEMS {
                break;
            }
        }
        if problems.is_empty() { Ok(Self { changes }) } else { Err(problems) }
    }

    /// Gives fields and variants the names that they have now.
    pub(super) fn rename(&mut self, renamed: Renamed, hints: &mut Vec<Problem>) {
        for change in &mut self.changes {
            rename_path(&mut change.path, &change.place, renamed, hints);
            if let PatchAction::Set(node) | PatchAction::Append(node) = &mut change.action {
                rename(node, renamed, hints);
            }
        }
    }

    /// The paths of the fields that it changes.
    pub fn fields(&self) -> impl Iterator<Item = String> + '_ {
        self.changes.iter().map(|change| change.path.to_string())
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// A path leads nowhere; all such paths are named.
    pub fn apply(&self, content: &mut Node) -> Result<(), Vec<Problem>> {
        // Goes on behind a change that fails: whoever gets an error drops what was changed.
        let wrong = self.changes.iter().filter_map(|change| change.apply(content).err());
        let wrong: Vec<_> = wrong.take(MAX_PROBLEMS).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

fn read_change(item: &Node, problems: &mut Vec<Problem>) -> Option<PatchChange> {
    let Value::Struct(None, fields) = &item.value else {
        let message = format!(
            "expected a change such as (field: \"title\", value: \"...\"), found {}",
            item.value.describe()
        );
        problems.push(Problem::at(&item.place, None, message));
        return None;
    };
    let before = problems.len();
    for field in fields.iter().filter(|field| !FIELDS.contains(&field.name.as_str())) {
        let message = format!(
            "unknown field; expected {}{}",
            one_of(&FIELDS),
            did_you_mean(&field.name, FIELDS)
        );
        problems.push(Problem::at(&field.place, Some(&field.name), message));
    }
    let find = |name: &str| fields.iter().find(|field| field.name == name).map(|field| &field.node);
    let path = match find("field") {
        None => {
            problems.push(Problem::at(&item.place, Some("field"), "this field is missing".into()));
            None
        }
        Some(Node { value: Value::Text(text), place }) => match FieldPath::parse(text) {
            Ok(path) => Some((path, place.clone())),
            Err(why) => {
                problems.push(Problem::at(place, Some("field"), why));
                None
            }
        },
        Some(other) => {
            let message = format!("expected a text in quotes, found {}", other.value.describe());
            problems.push(Problem::at(&other.place, Some("field"), message));
            None
        }
    };
    let action = match (find("value"), find("append"), find("remove")) {
        (Some(value), None, None) => Some(PatchAction::Set(value.clone())),
        (None, Some(value), None) => Some(PatchAction::Append(value.clone())),
        (None, None, Some(Node { value: Value::Bool(true), .. })) => Some(PatchAction::Remove),
        (None, None, Some(other)) => {
            let message = format!("expected `true`, found {}", other.value.describe());
            problems.push(Problem::at(&other.place, Some("remove"), message));
            None
        }
        // A field that is misspelt may have been one of them, and has been told of.
        _ if problems.len() > before => None,
        _ => {
            let message = "expected one of `value`, `append` and `remove` beside `field`";
            problems.push(Problem::at(&item.place, None, message.into()));
            None
        }
    };
    let ((path, place), action) = (path?, action?);
    (problems.len() == before).then_some(PatchChange { path, place, action })
}

impl PatchChange {
    fn wrong(&self, message: String) -> Problem {
        Problem::at(&self.place, Some(&self.path.to_string()), message)
    }

    fn apply(&self, content: &mut Node) -> Result<(), Problem> {
        let Some((last, way)) = self.path.0.split_last() else {
            return Err(self.wrong("the path is empty".into()));
        };
        let mut parent = content;
        for step in way {
            parent = self.step_into(parent, step)?;
        }
        match &self.action {
            PatchAction::Set(value) => self.set(parent, last, value),
            PatchAction::Append(value) => {
                let target = self.step_into(parent, last)?;
                let Value::List(items) = &mut target.value else {
                    return Err(self.wrong(format!(
                        "expected a list to append to, found {}",
                        target.value.describe()
                    )));
                };
                items.push(value.clone());
                Ok(())
            }
            PatchAction::Remove => self.remove(parent, last),
        }
    }

    fn step_into<'n>(&self, node: &'n mut Node, step: &Step) -> Result<&'n mut Node, Problem> {
        // Looked up twice, since the borrow of a successful look would otherwise outlive the
        // failing one.
        if node.child(step).is_none() {
            return Err(self.nowhere(node, step));
        }
        Ok(node.child_mut(step).expect("the same step was found above"))
    }

    fn nowhere(&self, node: &Node, step: &Step) -> Problem {
        match step {
            Step::Field(name) => {
                let names = node.names();
                let meant = did_you_mean(name, names.iter().copied());
                match names.is_empty() {
                    true => self
                        .wrong(format!("there is no field `{name}` in {}", node.value.describe())),
                    false => self.wrong(format!(
                        "there is no field `{name}`; there are {}{meant}",
                        one_of_all(&names)
                    )),
                }
            }
            Step::Index(index) => match &node.value {
                Value::List(items) | Value::Tuple(_, items) => self.wrong(format!(
                    "there is no [{index}]; the list has {} values, counted from 0",
                    items.len()
                )),
                other => self.wrong(format!("there is no [{index}] in {}", other.describe())),
            },
        }
    }

    /// Puts a value in. A struct gets the field if it left it out: the schema says whether it may
    /// have it.
    fn set(&self, parent: &mut Node, step: &Step, value: &Node) -> Result<(), Problem> {
        if let Some(child) = parent.child_mut(step) {
            *child = value.clone();
            return Ok(());
        }
        let new_field = |name: &str| Field {
            name: name.into(),
            place: self.place.clone(),
            node: value.clone(),
        };
        match (&mut parent.value, step) {
            (Value::Struct(_, fields), Step::Field(name)) => fields.push(new_field(name)),
            (Value::Map(pairs), Step::Field(name)) => {
                let key = Node { place: self.place.clone(), value: Value::Text(name.clone()) };
                pairs.push((key, value.clone()));
            }
            // `()` is read as a tuple, and may be a struct that leaves out all fields.
            (Value::Tuple(parent_name, items), Step::Field(name)) if items.is_empty() => {
                let parent_name = parent_name.take();
                parent.value = Value::Struct(parent_name, vec![new_field(name)]);
            }
            _ => return Err(self.nowhere(parent, step)),
        }
        Ok(())
    }

    fn remove(&self, parent: &mut Node, step: &Step) -> Result<(), Problem> {
        if parent.child(step).is_none() {
            return Err(self.nowhere(parent, step));
        }
        match (&mut parent.value, step) {
            (Value::Struct(_, fields), Step::Field(name)) => {
                fields.retain(|field| field.name != *name)
            }
            (Value::Map(pairs), Step::Field(name)) => {
                pairs.retain(|(key, _)| !super::tree::key_is(key, name))
            }
            // `child` found it above, so that `remove` cannot panic.
            (Value::List(items) | Value::Tuple(_, items), Step::Index(index)) => {
                drop(items.remove(*index))
            }
            _ => return Err(self.nowhere(parent, step)),
        }
        Ok(())
    }
}

/// The first names, and how many more there are.
fn one_of_all(names: &[&str]) -> String {
    const MOST: usize = 12;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
