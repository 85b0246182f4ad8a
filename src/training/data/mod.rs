//! From a file of JSON lines to [`Example`]s, all of them checked before the first step.
//!
//! In: a file of lines in one of three shapes (prompt and completion, messages, text), a
//! [`ModelText`] and [`DataOptions`]. Out: a [`Dataset`], or every line that is wrong with its line
//! and column. [`Feed`] puts the examples into steps.

mod check;
mod encode;
mod feed;
mod line;
mod lines;

pub use check::Checker;
pub use encode::{DataOptions, DataQuestion, Example, TargetChoice};
pub use feed::{DataPlace, Feed};
pub use line::{DataLine, LineShape, parse_data_line};
pub use lines::{BadDataLines, DataError, Dataset, Duplicate};

#[cfg(doc)]
use crate::batch::ModelText;
