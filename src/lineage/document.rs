//! The lineage as its file has it: entries one after the other, each with the SHA-256 of the one
//! before. Read, checked and replayed here; nothing here writes.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::entry::{LineageEntry, LineageVerdict, ParentRole, short};
use super::error::{LineageError, LineageProblem};
use crate::pxi::{DocumentError, damaged, hex};

/// What the file says of itself.
pub(super) const FORMAT: &str = "pixel-llm lineage 1";

/// All entries of a name, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    /// What people call the founder.
    pub name: String,
    entries: Vec<LineageEntry>,
    /// Each entry as it stands in the file.
    texts: Vec<String>,
    /// Children in use, the founder first: who took whose place.
    stack: Vec<String>,
    /// By child its entries.
    of_child: HashMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    format: String,
    name: String,
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
    last: String,
}

/// SHA-256 of some text, in hexadecimal.
pub fn digest(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Why a text is no lineage.
pub(super) enum Unreadable {
    Document(DocumentError),
    Problem(LineageProblem),
}

impl From<LineageProblem> for Unreadable {
    fn from(problem: LineageProblem) -> Self {
        Self::Problem(problem)
    }
}

impl Lineage {
    /// Nothing yet.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            entries: Vec::new(),
            texts: Vec::new(),
            stack: Vec::new(),
            of_child: HashMap::new(),
        }
    }

    /// Reads a file's text and checks all of it.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let of_json = |error| Unreadable::Document(damaged(&error));
        let document: Document<'_> = serde_json::from_str(text).map_err(of_json)?;
        if document.format != FORMAT {
            let found = document.format;
            return Err(LineageProblem::Format { found, expected: FORMAT }.into());
        }
        let mut entries = Vec::with_capacity(document.entries.len());
        let mut before = digest("");
        for (at, raw) in document.entries.iter().enumerate() {
            let entry: LineageEntry = serde_json::from_str(raw.get())
                .map_err(|error| Unreadable::Document(within(text, raw.get(), damaged(&error))))?;
            if entry.chain != before {
                if at == 0 {
                    return Err(LineageProblem::NoFounder.into());
                }
                return Err(LineageProblem::BrokenChain { entry: at }.into());
            }
            before = digest(raw.get());
            entries.push(entry);
        }
        if before != document.last {
            return Err(LineageProblem::BrokenEnd { entry: entries.len() }.into());
        }
        check_parents(&entries)?;
        let mut lineage = Self::new(&document.name);
        for (entry, raw) in entries.into_iter().zip(&document.entries) {
            lineage.take(entry, raw.get().to_owned())?;
        }
        Ok(lineage)
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let string = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        let (name, last) = (string(&self.name), self.last_digest());
        let entries = self.texts.join(",\n");
        format!(
            "{{\n\"format\": \"{FORMAT}\",\n\"name\": {name},\n\"entries\": [\n{entries}\n],\n\
             \"last\": \"{last}\"\n}}\n"
        )
    }

    /// SHA-256 of the last entry: the `chain` of the next one.
    pub fn last_digest(&self) -> String {
        digest(self.texts.last().map_or("", String::as_str))
    }

    /// Adds an entry, whose `chain` is set here.
    pub(super) fn push(&mut self, mut entry: LineageEntry) -> Result<(), LineageProblem> {
        entry.chain = self.last_digest();
        let text = serde_json::to_string(&entry).expect("an entry has only texts as keys");
        // What is kept is what is read back: numbers that JSON has not are `null`.
        let entry = serde_json::from_str(&text).expect("what was written can be read");
        self.take(entry, text)
    }

    /// One entry more, if it can follow those before.
    fn take(&mut self, entry: LineageEntry, text: String) -> Result<(), LineageProblem> {
        use LineageVerdict as V;
        let number = self.entries.len() + 1;
        let before = self.verdict(&entry.child);
        let is_founder = self.entries.is_empty();
        if is_founder && (entry.verdict != V::Promoted || entry.base().is_some()) {
            return Err(LineageProblem::NoFounder);
        }
        let may_follow = is_founder
            || match entry.verdict {
                V::Candidate => before.is_none(),
                V::Passed | V::Rejected => !matches!(before, None | Some(V::Promoted | V::Gone)),
                V::Promoted => matches!(before, Some(V::Passed)),
                V::RolledBack => matches!(before, Some(V::Promoted)),
                V::Gone => !matches!(before, None | Some(V::Promoted | V::Gone)),
            };
        if !may_follow {
            return Err(LineageProblem::Order {
                entry: number,
                child: entry.child,
                before: before.map_or("not there", V::words),
                after: entry.verdict,
            });
        }
        // A later entry of a child may not name what came after its first one.
        let first = |model: &str| self.of_child.get(model).map(|entries| entries[0]);
        let made = first(&entry.child).unwrap_or(self.entries.len());
        let is_earlier = |parent: &str| first(parent).is_some_and(|at| at < made);
        if let Some(parent) = known_parents(&entry).find(|it| !is_earlier(it)) {
            let (child, parent) = (entry.child.clone(), parent.to_owned());
            return Err(LineageProblem::UnknownParent { entry: number, child, parent });
        }
        match entry.verdict {
            V::Promoted if !is_founder => self.replace(number, &entry)?,
            V::Promoted => self.stack.push(entry.child.clone()),
            V::RolledBack => {
                if self.stack.len() < 2 || self.stack.last() != Some(&entry.child) {
                    let child = entry.child;
                    return Err(LineageProblem::NotCurrent { entry: number, child });
                }
                self.stack.pop();
            }
            _ => (),
        }
        self.of_child.entry(entry.child.clone()).or_default().push(self.entries.len());
        self.entries.push(entry);
        self.texts.push(text);
        Ok(())
    }

    /// A child takes the place of the current one, and of no other.
    fn replace(&mut self, number: usize, entry: &LineageEntry) -> Result<(), LineageProblem> {
        let current = self.current().unwrap_or_default().to_owned();
        let replaced = entry.replaces.clone().unwrap_or_default();
        if replaced != current {
            let child = entry.child.clone();
            return Err(LineageProblem::TwoCurrents { entry: number, child, replaced, current });
        }
        self.stack.push(entry.child.clone());
        Ok(())
    }

    /// All entries, the oldest first.
    pub fn entries(&self) -> &[LineageEntry] {
        &self.entries
    }

    /// SHA-256 of an entry, as it stands in the file.
    pub fn entry_digest(&self, at: usize) -> String {
        digest(&self.texts[at])
    }

    /// What is known of each child now, in the order of their first entries.
    pub fn children(&self) -> Vec<LineageEntry> {
        let mut firsts: Vec<(usize, &str)> =
            self.of_child.iter().map(|(child, entries)| (entries[0], child.as_str())).collect();
        firsts.sort_unstable();
        firsts.into_iter().filter_map(|(_, child)| self.now(child)).collect()
    }

    /// What became of a child last.
    pub fn verdict(&self, child: &str) -> Option<LineageVerdict> {
        let last = self.of_child.get(child)?.last()?;
        Some(self.entries[*last].verdict)
    }

    /// What is known of a child now: its first entry with the figures, the gate and the verdict of
    /// those that judged it later.
    pub fn now(&self, child: &str) -> Option<LineageEntry> {
        let mut of_child = self.of_child.get(child)?.iter().map(|&at| &self.entries[at]);
        let mut now = of_child.next()?.clone();
        for entry in of_child {
            if !entry.figures.is_empty() {
                now.figures.clone_from(&entry.figures);
            }
            if entry.gate.is_some() {
                now.gate.clone_from(&entry.gate);
            }
            // Of a role there may be several: the plain text and the questions of exams.
            let has = |role| entry.texts.iter().any(|text| text.role == role);
            now.texts.retain(|text| !has(text.role));
            now.texts.extend(entry.texts.iter().cloned());
            now.verdict = entry.verdict;
            now.place = entry.place.clone();
            now.by = entry.by.clone();
            now.time = entry.time.clone();
            now.chain.clone_from(&entry.chain);
            now.replaces.clone_from(&entry.replaces);
        }
        Some(now)
    }

    /// The child that is in use; `None` only where there are no entries.
    pub fn current(&self) -> Option<&str> {
        self.stack.last().map(String::as_str)
    }

    /// From the founder to the current one, each in the place of the one before.
    pub fn promoted(&self) -> &[String] {
        &self.stack
    }

    /// The child that a digest, or its first digits, name.
    ///
    /// # Errors
    /// No child, or several.
    pub fn find(&self, digits: &str) -> Result<&str, LineageError> {
        let digits = digits.to_lowercase();
        let found: Vec<&String> =
            self.of_child.keys().filter(|child| child.starts_with(&digits)).collect();
        match found[..] {
            _ if digits.is_empty() => Err(LineageError::UnknownChild(digits)),
            [] => Err(LineageError::UnknownChild(digits)),
            [one] => Ok(one),
            _ => Err(LineageError::Ambiguous { digest: digits, count: found.len() }),
        }
    }

    /// How many steps a child is from the founder.
    pub fn generations(&self) -> HashMap<String, usize> {
        let mut generations: HashMap<String, usize> = HashMap::new();
        for entry in &self.entries {
            if !generations.contains_key(&entry.child) {
                let of_parents = known_parents(entry).filter_map(|it| generations.get(it));
                let generation = of_parents.max().map_or(0, |most| most + 1);
                generations.insert(entry.child.clone(), generation);
            }
        }
        generations
    }

    /// The name with the digits of the current one.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, short(self.current().unwrap_or_default()))
    }
}

/// Parents that are models of the lineage: an adapter is a file of its own.
pub(super) fn known_parents(entry: &LineageEntry) -> impl Iterator<Item = &str> {
    let models = entry.parents.iter().filter(|parent| parent.role != ParentRole::Adapter);
    models.map(|parent| parent.digest.as_str())
}

/// Every parent is a child of an earlier entry, and no model comes from itself.
fn check_parents(entries: &[LineageEntry]) -> Result<(), LineageProblem> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        first.entry(&entry.child).or_insert(at);
    }
    let mut problem = None;
    for (at, entry) in entries.iter().enumerate() {
        for parent in known_parents(entry) {
            let is_later =
                first.get(parent).is_none_or(|&of_parent| of_parent >= first[&*entry.child]);
            if is_later && problem.is_none() {
                let (child, parent) = (entry.child.clone(), parent.to_owned());
                problem = Some(LineageProblem::UnknownParent { entry: at + 1, child, parent });
            }
        }
    }
    // Where all parents are earlier there is no way back.
    let Some(problem) = problem else { return Ok(()) };
    Err(cycle(entries).map_or(problem, LineageProblem::Cycle))
}

/// A way from a model over its parents to itself.
fn cycle(entries: &[LineageEntry]) -> Option<Vec<String>> {
    let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
    for entry in entries {
        parents.entry(&entry.child).or_default().extend(known_parents(entry));
    }
    let mut done: HashSet<&str> = HashSet::new();
    for entry in entries {
        // Depth first without recursion: a file may have thousands of generations.
        let mut way: Vec<(&str, usize)> = vec![(&entry.child, 0)];
        while let Some((model, next)) = way.last_mut() {
            let model = *model;
            let parent = parents.get(model).and_then(|of| of.get(*next)).copied();
            *next += 1;
            let Some(parent) = parent else {
                done.insert(model);
                way.pop();
                continue;
            };
            if let Some(start) = way.iter().position(|(on_way, _)| *on_way == parent) {
                let mut cycle: Vec<String> =
                    way[start..].iter().map(|(model, _)| (*model).to_owned()).collect();
                cycle.push(parent.to_owned());
                return Some(cycle);
            }
            if !done.contains(parent) {
                way.push((parent, 0));
            }
        }
    }
    None
}

/// A place within an entry as one within the file.
fn within(text: &str, part: &str, error: DocumentError) -> DocumentError {
    let DocumentError::Damaged { line, column, reason } = error else { return error };
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    let before = &text[..start];
    let lines = before.matches('\n').count();
    let first = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
    let column = if line == 1 { first + column } else { column };
    DocumentError::Damaged { line: lines + line, column, reason }
}
