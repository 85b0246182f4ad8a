//! Lineage: every child of a model, how it was made, what was measured of it, and why it is in use
//! or not (specs/self.md).
//!
//! In: a child's file, with what it was made of. Out: an entry in `lineage.json` and, if its
//! [`Gate`] passes it, another current model, which can be taken back. A gate is data; the figures
//! that it decides on are measured here from the child's file. Follow [`MeasuredFigure`], [`Gate`],
//! [`LineageEntry`], [`Lineage`], [`LineageStore`], [`Judge`].

mod child;
mod document;
mod entry;
mod error;
mod exams;
mod figure;
mod gate;
mod judge;
mod measure;
mod picture;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod texts;
mod uniform;

pub use child::{export, origin_of, write_child, write_merged};
pub use document::{Lineage, digest};
pub use entry::{
    FilePlace, GateUse, LineageEntry, LineageParent, LineageVerdict, MadeBy, MakingOf, ParentRole,
    PlaceWord, TextRole, TextUse, short,
};
pub use error::{LineageError, LineageProblem};
pub use exams::{CorpusExams, parts_of, tokens_of};
pub use figure::{Against, FigureKind, FigureName, MeasuredFigure, UnknownFigure};
pub use gate::{Gate, GateExam, GateLine, GateLineOutcome, passes};
pub use judge::{Judge, Judgement};
pub use measure::{
    ChildMeasurement, Compared, ExamLines, ExamSource, FoundFigures, MeasureListener,
};
pub use picture::{FamilyPainting, Island, paint};
pub use store::{
    CHILDREN_FOLDER, LINEAGE_FILE, LineageProposal, LineageStore, base, digest_of, name_of,
};
pub use tally::{LineageSettings, PromoteWhen, SETTINGS_FILE, SettingsProblem, TallyProblem};
pub use texts::{disjoint, lines_use, own_text, text_use};
