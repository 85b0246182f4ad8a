//! What candidates may take: a number of them, bytes and minutes. And whether a person is asked
//! before one is promoted. `lineage.ron` in the user's settings.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::Lineage;
use super::entry::LineageVerdict;
use crate::size::MemorySize;

/// The file in the user's folder for settings.
pub const SETTINGS_FILE: &str = "lineage.ron";

/// Who promotes what passed its gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromoteWhen {
    /// A person gives leave.
    #[default]
    Asked,
    /// Whatever passed is promoted.
    OnGate,
}

/// What the user allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineageSettings {
    /// Who promotes what passed its gate.
    pub promote: PromoteWhen,
    /// Candidates that no gate has judged, at most.
    pub most_unjudged: usize,
    /// Bytes that the files of all children may take.
    pub most_bytes: u64,
    /// Minutes that making candidates may take since the last promotion.
    pub most_minutes: f64,
}

impl Default for LineageSettings {
    fn default() -> Self {
        Self {
            promote: PromoteWhen::Asked,
            most_unjudged: 3,
            most_bytes: 16 << 30,
            most_minutes: 240.0,
        }
    }
}

/// The user's settings cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SettingsProblem {
    path: String,
    reason: String,
}

impl LineageSettings {
    /// Reads a file, which need not be there.
    ///
    /// # Errors
    /// It is there and cannot be read; nothing may then be taken as said.
    pub fn read(path: &Path) -> Result<Self, SettingsProblem> {
        let problem = |reason: String| SettingsProblem { path: path.display().to_string(), reason };
        let text = match crate::files::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(problem(format!("cannot be read: {error}"))),
        };
        ron::from_str(&text).map_err(|error| problem(error.to_string()))
    }

    /// The user's own.
    ///
    /// # Errors
    /// As [`LineageSettings::read`].
    pub fn of_user() -> Result<Self, SettingsProblem> {
        let folder = crate::folders::settings();
        folder.map_or_else(|| Ok(Self::default()), |folder| Self::read(&folder.join(SETTINGS_FILE)))
    }
}

/// A candidate would be beyond what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TallyProblem {
    /// Others wait.
    #[error(
        "{waiting} candidates are not judged, and at most {most} may wait: judge them first \
         (`pixel-llm lineage judge`), or raise most_unjudged in {SETTINGS_FILE}"
    )]
    Unjudged {
        /// How many there are.
        waiting: usize,
        /// How many there may be.
        most: usize,
    },
    /// Files would take too much.
    #[error(
        "with its {}, children take {}, and {} are allowed: delete some (`lineage delete DIGEST`), \
         or raise most_bytes in {SETTINGS_FILE}",
        MemorySize(*.new), MemorySize(*.all), MemorySize(*.most)
    )]
    Bytes {
        /// Of the candidate.
        new: u64,
        /// Of all files.
        all: u64,
        /// What is allowed.
        most: u64,
    },
    /// Making candidates took too long.
    #[error(
        "making candidates took {all:.1} minutes since the last promotion, and {most} are allowed: \
         raise most_minutes in {SETTINGS_FILE}"
    )]
    Minutes {
        /// Of all of them.
        all: f64,
        /// What is allowed.
        most: f64,
    },
}

impl LineageSettings {
    /// Whether one more candidate, of so many bytes and made in so many seconds, is allowed.
    ///
    /// # Errors
    /// What it is beyond.
    pub fn check(&self, lineage: &Lineage, bytes: u64, seconds: f64) -> Result<(), TallyProblem> {
        let (mut waiting, mut all) = (0, bytes);
        for child in lineage.children() {
            waiting += usize::from(child.verdict == LineageVerdict::Candidate);
            all += child.place.bytes();
        }
        if waiting >= self.most_unjudged {
            return Err(TallyProblem::Unjudged { waiting, most: self.most_unjudged });
        }
        if all > self.most_bytes {
            return Err(TallyProblem::Bytes { new: bytes, all, most: self.most_bytes });
        }
        let made = lineage.entries().iter().rev();
        let made = made.take_while(|entry| entry.verdict != LineageVerdict::Promoted);
        let made = made.filter(|entry| entry.verdict == LineageVerdict::Candidate);
        let minutes = (made.map(|entry| entry.how.seconds).sum::<f64>() + seconds) / 60.0;
        if minutes > self.most_minutes {
            return Err(TallyProblem::Minutes { all: minutes, most: self.most_minutes });
        }
        Ok(())
    }
}
