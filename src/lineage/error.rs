//! What can be wrong with a lineage, or keep a child from being proposed, judged or promoted.

use std::io;
use std::path::PathBuf;

use super::entry::{LineageVerdict, short};
use super::tally::TallyProblem;

/// What is wrong with the entries themselves. Entries are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineageProblem {
    /// It says that it is something else.
    #[error("it is \"{found}\", and this program reads \"{expected}\"")]
    Format {
        /// What it says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// An entry is not the one that the next one was written after.
    #[error("the chain is broken: entry {entry} was changed after entry {} was written", entry + 1)]
    BrokenChain {
        /// The entry that is another one now.
        entry: usize,
    },
    /// The last entry is not the one that was written.
    #[error("the chain is broken: the last entry, {entry}, was changed or others were cut off")]
    BrokenEnd {
        /// The entry that is another one now.
        entry: usize,
    },
    /// There is nothing to begin with.
    #[error("its first entry is no founder")]
    NoFounder,
    /// A parent that no entry has.
    #[error(
        "entry {entry}: {} names the parent {}, which is not there",
        short(.child), short(.parent)
    )]
    UnknownParent {
        /// The entry.
        entry: usize,
        /// Its child.
        child: String,
        /// What is not there.
        parent: String,
    },
    /// Models that come from themselves.
    #[error("a cycle: {}", .0.iter().map(|it| short(it)).collect::<Vec<_>>().join(" comes from "))]
    Cycle(Vec<String>),
    /// Two children took the place of one.
    #[error(
        "two are current: entry {entry} puts {} in the place of {}, where {} is already",
        short(.child), short(.replaced), short(.current)
    )]
    TwoCurrents {
        /// The entry.
        entry: usize,
        /// The second one.
        child: String,
        /// Whose place it takes.
        replaced: String,
        /// Who has that place.
        current: String,
    },
    /// What is not in use is rolled back.
    #[error("entry {entry} rolls {} back, which is not the current one", short(.child))]
    NotCurrent {
        /// The entry.
        entry: usize,
        /// What it rolls back.
        child: String,
    },
    /// A verdict that cannot follow the one before.
    #[error("entry {entry}: {} is {} and cannot be {}", short(.child), .before, .after.words())]
    Order {
        /// The entry.
        entry: usize,
        /// The child.
        child: String,
        /// What became of it before, in words.
        before: &'static str,
        /// What the entry says.
        after: LineageVerdict,
    },
}

/// Why something cannot be done with a lineage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// The system refused something with a file.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file that it is about.
        path: PathBuf,
        /// What was tried, in words that follow "cannot".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The lineage could not be replaced; it is as it was.
    #[error(transparent)]
    Write(#[from] crate::pxi::PxiError),
    /// It is not what this program writes.
    #[error("{}:{line}:{column}: damaged, and left as it is: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// In words.
        reason: String,
    },
    /// Its entries contradict each other.
    #[error("{}: {problem}; it is left as it is", .path.display())]
    Problem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: LineageProblem,
    },
    /// There is none.
    #[error("there is no {}: it begins with the first child that is proposed", .0.display())]
    None(PathBuf),
    /// It is that of another model.
    #[error("the lineage is that of {own}, and {opened} is none of its models")]
    OtherModel {
        /// Whose it is.
        own: String,
        /// What was opened.
        opened: String,
    },
    /// No child has such a digest.
    #[error("no child's digest begins with \"{0}\": `pixel-llm lineage` lists them")]
    UnknownChild(String),
    /// Several have.
    #[error("{count} digests begin with \"{digest}\": give more of its digits")]
    Ambiguous {
        /// What was given.
        digest: String,
        /// How many children.
        count: usize,
    },
    /// A child is in the lineage already.
    #[error("{} is there already: it is {}", short(.child), .verdict.words())]
    Known {
        /// The child.
        child: String,
        /// What became of it.
        verdict: LineageVerdict,
    },
    /// A child's file is not there.
    #[error(
        "{}: the file of {} is not there; if you deleted it, `lineage delete {}` notes so",
        .path.display(), short(.child), short(.child)
    )]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// The child.
        child: String,
    },
    /// The file is another one.
    #[error(
        "{}: it is {} and not {}, which the lineage has there",
        .path.display(), short(.found), short(.child)
    )]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The child.
        child: String,
        /// What the file is.
        found: String,
    },
    /// Texts that have to be different ones share something.
    #[error(
        "the {first} text and the {second} text share a part: what decides must be another one"
    )]
    Overlap {
        /// The role of the one.
        first: &'static str,
        /// The role of the other.
        second: &'static str,
    },
    /// A candidate would be beyond what is allowed.
    #[error(transparent)]
    Budget(#[from] TallyProblem),
    /// What is not so cannot be done.
    #[error("{}: {why}", short(.child))]
    Refused {
        /// The child.
        child: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A gate that cannot be used here.
    #[error("the gate {gate}: {why}")]
    Gate {
        /// Its name.
        gate: String,
        /// Why not.
        why: String,
    },
    /// A model's file cannot be used.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A model cannot be computed.
    #[error(transparent)]
    Forward(#[from] crate::forward::cpu::ForwardError),
    /// It cannot be made smaller for a comparison.
    #[error(transparent)]
    Refit(#[from] crate::refit::RefitError),
    /// Questions cannot be asked.
    #[error("the questions of {exam}: {why}")]
    Exam {
        /// The exam.
        exam: String,
        /// Why not.
        why: String,
    },
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

impl LineageError {
    /// Adds what was done, and to which file.
    pub(super) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}
