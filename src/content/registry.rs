//! The kinds of content that a mod may bring. The loader knows none of them: the list of this
//! program's is given to it.

use serde::de::DeserializeOwned;

use super::decode::{MAX_PROBLEMS, decode, decode_renamed};
use super::problem::{Problem, did_you_mean};
use super::renamed::Renamed;
use super::tree::{FieldPath, Node};

/// A kind of content: files named `NAME.KIND.ron`.
pub struct Kind {
    name: &'static str,
    /// A complete example with comments, which `pixel-llm mods new` writes.
    example: &'static str,
    check: Box<dyn Fn(&Node, Renamed) -> Vec<Problem> + Send + Sync>,
    commands: Box<dyn Fn(&Node) -> Vec<String> + Send + Sync>,
    /// A field that no two contents of the kind have alike.
    unique: Option<(&'static str, Box<Read>)>,
    renamed: Renamed,
}

/// Reads a text from a sound content.
type Read = dyn Fn(&Node) -> Option<String> + Send + Sync;

impl Kind {
    /// A kind whose schema is a type. `review` looks for what a type cannot say, such as a number
    /// out of its range.
    pub fn new<T: DeserializeOwned + 'static>(
        name: &'static str,
        example: &'static str,
        review: fn(&T, &mut Review<'_>),
    ) -> Self {
        let check = move |node: &Node, renamed| match decode_renamed::<T>(node, renamed) {
            Err(problems) => problems,
            Ok(value) => {
                let mut findings = Review { node, problems: Vec::new() };
                review(&value, &mut findings);
                findings.problems
            }
        };
        Self {
            name,
            example,
            check: Box::new(check),
            commands: Box::new(|_| Vec::new()),
            unique: None,
            renamed: &[],
        }
    }

    /// A kind that this build has no type for: whatever is RON is taken.
    #[cfg(not(feature = "world"))]
    pub(crate) fn unread(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            example,
            check: Box::new(|_, _| Vec::new()),
            commands: Box::new(|_| Vec::new()),
            unique: None,
            renamed: &[],
        }
    }

    /// The same kind, of which no two contents have the same text in a field.
    #[must_use]
    pub(crate) fn with_unique<T: DeserializeOwned + 'static>(
        mut self,
        field: &'static str,
        text: fn(&T) -> &str,
    ) -> Self {
        let read = move |node: &Node| decode::<T>(node).ok().map(|value| text(&value).to_owned());
        self.unique = Some((field, Box::new(read)));
        self
    }

    /// The field that no two contents of the kind have alike, and what a content has there.
    pub(super) fn unique(&self, node: &Node) -> Option<(&'static str, String)> {
        let (field, read) = self.unique.as_ref()?;
        Some((field, read(node)?))
    }

    /// The same kind with what gives the commands that a content would have run. Each needs the
    /// user's consent.
    #[must_use]
    pub(crate) fn with_commands<T: DeserializeOwned + 'static>(
        mut self,
        commands: fn(&T) -> Vec<String>,
    ) -> Self {
        self.commands = Box::new(move |node| {
            decode::<T>(node).map_or_else(|_| Vec::new(), |value| commands(&value))
        });
        self
    }

    /// The same kind with fields and variants that had other names in earlier versions; files with
    /// the old ones are read, with a hint.
    #[must_use]
    pub(crate) fn with_renamed(self, renamed: Renamed) -> Self {
        Self { renamed, ..self }
    }

    /// The fields and variants that had other names.
    pub(super) fn renamed(&self) -> Renamed {
        self.renamed
    }

    /// The name, as in `NAME.KIND.ron`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A complete example with comments.
    pub fn example(&self) -> &'static str {
        self.example
    }

    /// Everything that is wrong with a content.
    pub fn check(&self, node: &Node) -> Vec<Problem> {
        (self.check)(node, self.renamed)
    }

    /// The commands that a sound content would have run.
    pub fn commands(&self, node: &Node) -> Vec<String> {
        (self.commands)(node)
    }
}

/// Where a kind's review says what it finds.
#[derive(Debug)]
pub struct Review<'a> {
    node: &'a Node,
    problems: Vec<Problem>,
}

impl Review<'_> {
    /// Something is wrong with the field of a path such as `prompts[2].text`. Where the field is
    /// left out, the place is that of what it would stand in.
    pub fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let steps = FieldPath::parse(path).unwrap_or_default();
        let place = &self.node.nearest(&steps).place;
        self.problems.push(Problem::at(place, Some(path), message.into()));
    }

    /// The problem, if `holds` is false.
    pub(crate) fn require(&mut self, holds: bool, path: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.wrong(path, message());
        }
    }
}

/// The kinds that are known: none at first.
#[derive(Default)]
pub struct Registry {
    kinds: Vec<Kind>,
}

impl Registry {
    /// Adds a kind, or puts it in the place of the one with its name.
    pub(crate) fn register(&mut self, kind: Kind) {
        self.kinds.retain(|known| known.name != kind.name);
        self.kinds.push(kind);
        self.kinds.sort_by_key(|kind| kind.name);
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind of a name.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// What a file brings, by its name without folders.
    ///
    /// # Errors
    /// The name is none that content has; the error says why.
    pub(crate) fn classify(&self, file_name: &str) -> Result<FileContent<'_>, String> {
        let Some(stem) = file_name.strip_suffix(".ron") else {
            return Err(format!("{file_name} is no RON file"));
        };
        let (stem, is_patch) = match stem.strip_suffix(".patch") {
            Some(stem) => (stem, true),
            None => (stem, false),
        };
        let names = || self.kinds.iter().map(|kind| kind.name);
        let Some((name, kind_name)) = stem.rsplit_once('.') else {
            return Err(format!(
                "the name has no kind of content; expected such as `{stem}.experiment.ron`, with \
                 one of the kinds {}",
                names().collect::<Vec<_>>().join(", ")
            ));
        };
        let Some(kind) = self.kind(kind_name) else {
            return Err(format!(
                "unknown kind of content `{kind_name}`; expected one of {}{}",
                names().collect::<Vec<_>>().join(", "),
                did_you_mean(kind_name, names())
            ));
        };
        check_id(name).map_err(|why| format!("the name {why}"))?;
        Ok(FileContent { kind, name: name.into(), is_patch })
    }
}

/// What a file brings.
pub(crate) struct FileContent<'a> {
    /// The kind that its name ends with.
    pub kind: &'a Kind,
    /// Its name within the kind.
    pub name: String,
    /// Whether it changes single fields of what another mod brings.
    pub is_patch: bool,
}

/// The longest id of a mod or name of a content.
const MAX_ID: usize = 64;

/// Whether a text can be the id of a mod or the name of a content.
///
/// # Errors
/// The error completes a sentence that begins with what the text is.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) || id.starts_with(['-', '_'])
    {
        return Err(format!(
            "{:?} is not of 1 to {MAX_ID} small letters, digits, `-` and `_`, with a letter or \
             digit first",
            super::tree::shortened(id)
        ));
    }
    Ok(())
}
