//! Reviewers that are reached by a command: an agent's file in RON says which, and code reads the
//! reply.

use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::work::process::{self, ProcessError};
use super::{CoachError, ReviewVerdict, Task};
use crate::content::assets::{AssetError, Assets};

/// The longest that a reviewer may take, in seconds.
pub(crate) const MAX_SECONDS: u32 = 3600;
/// The longest reply that is read, in bytes.
pub(crate) const MAX_REPLY: usize = 16 << 20;

/// An agent that is a command: the prompt on its standard input, the reply on its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewer {
    /// What it is called.
    pub name: String,
    /// The program and its arguments; no shell reads them.
    #[serde(alias = "line")]
    pub command: Vec<String>,
    /// The longest that it may take.
    pub seconds: u32,
    /// The most bytes of a reply.
    pub max_reply_bytes: usize,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The command gave no reply.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The reply has no score.
    #[error("the reply has no line \"score: N\" with N from 0 to 10")]
    Nonsense,
    /// The loaded model could not write one.
    #[error("{0}")]
    Work(String),
}

impl Reviewer {
    /// The reviewer of that name among the assets; none where a mod has a word in its command and
    /// the user has not allowed it.
    ///
    /// # Errors
    /// The user's own folder is broken.
    pub fn load(name: &str, assets: &Assets) -> Result<Option<Self>, CoachError> {
        match assets.content("reviewer", name) {
            Ok(reviewer) if assets.loaded().unallowed("reviewer", name).is_empty() => {
                Ok(Some(reviewer))
            }
            Ok(_) | Err(AssetError::NotThere { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Its command as `mods allow` takes it: a text that cannot be read in two ways.
    pub(crate) fn command_line(&self) -> String {
        crate::terminal::command(&self.command)
    }

    /// What it replies.
    ///
    /// # Errors
    /// It is not there, hangs, floods or fails.
    pub fn ask(&self, prompt: &str, cancel: &AtomicBool) -> Result<String, ProcessError> {
        process::run(&self.command, prompt, self.seconds, self.max_reply_bytes, cancel)
    }

    /// Its verdict on what came of a task.
    ///
    /// # Errors
    /// It gives no reply, or one without a score.
    pub fn review(&self, task: &Task, cancel: &AtomicBool) -> Result<ReviewVerdict, ReviewError> {
        let reply = self.ask(&review_prompt(task), cancel)?;
        verdict(&reply, &self.name).ok_or(ReviewError::Nonsense)
    }
}

/// What a reviewer is asked.
pub(crate) fn review_prompt(task: &Task) -> String {
    let report = task.report.as_ref();
    let text = report.and_then(|report| report.text.as_deref()).unwrap_or_default();
    let summary = report.map_or("", |report| report.summary.as_str());
    format!(
        "Judge this work.\nTask: {}\n{}\nResult: {summary}\n{text}\n\n\
         Answer with a line \"score: N\", N from 0 to 10, then what to do better.\n",
        task.title, task.description
    )
}

/// Reads a reply: a line `score: N`, with or without `/10`, and the rest as feedback.
pub fn verdict(reply: &str, reviewer: &str) -> Option<ReviewVerdict> {
    // It goes into the next prompt and into the queue's file.
    /// The longest feedback that is kept.
    const MAX_FEEDBACK: usize = 2000;
    let score_of = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        let rest = line.strip_prefix("score")?.trim_start_matches([':', '=', ' ']);
        let number = rest.split(['/', ' ']).next()?;
        number.parse::<f64>().ok().filter(|score| (0.0..=10.0).contains(score))
    };
    let score = reply.lines().find_map(score_of)?;
    let lines: Vec<&str> = reply.lines().filter(|line| score_of(line).is_none()).collect();
    let feedback = lines.join("\n").trim().chars().take(MAX_FEEDBACK).collect();
    Some(ReviewVerdict { score, feedback, reviewer: reviewer.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_read_and_nonsense_is_none() {
        let found = verdict("Well.\nScore: 7.5/10\nMore colours.", "r").unwrap();
        assert_eq!((found.score, found.feedback.as_str()), (7.5, "Well.\nMore colours."));
        for nonsense in ["", "seven", "score: eleven", "score: 11", "score: -1", "score: NaN"] {
            assert_eq!(verdict(nonsense, "r"), None, "{nonsense}");
        }
    }
}
