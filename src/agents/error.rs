//! What can go wrong with agents and their world.

use std::path::PathBuf;

use crate::coach::TaskId;

/// What can go wrong with agents and their world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentsError {
    /// A file is no RON of its kind.
    #[error("{file}:{line}:{column}: {problem}")]
    Syntax {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong, as the parser says.
        problem: String,
    },
    /// A file says something that cannot be.
    #[error("{file}: {problem}")]
    Content {
        /// The file, as it was named.
        file: String,
        /// What, and what was expected.
        problem: String,
    },
    /// An asset cannot be used.
    #[error(transparent)]
    Asset(#[from] crate::content::assets::AssetError),
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried: `read` or `write`.
        what: &'static str,
        /// The file that it is about.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A job depends on one that does not come before it.
    #[error("job {job} depends on job {dependency}, which does not come before it")]
    Dependency {
        /// The job's number on the board.
        job: u32,
        /// That of the other.
        dependency: u32,
    },
    /// There are more jobs than numbers for them.
    #[error("{count} jobs are too many, at most {limit} expected")]
    TooManyJobs {
        /// How many there were.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A job stands on a place that no map has.
    #[error("job {job} stands at ({x}, {y}), expected finite numbers")]
    Place {
        /// The task that the job is of.
        job: TaskId,
        /// Its column, in cells.
        x: f64,
        /// Its row, in cells.
        y: f64,
    },
}

impl AgentsError {
    pub(super) fn syntax(file: &str, error: &ron::error::SpannedError) -> Self {
        let start = error.span.start;
        let problem = error.code.to_string();
        Self::Syntax { file: file.into(), line: start.line, column: start.col, problem }
    }

    pub(super) fn content(file: &str, problem: impl Into<String>) -> Self {
        Self::Content { file: file.into(), problem: problem.into() }
    }
}
