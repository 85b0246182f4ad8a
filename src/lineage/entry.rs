//! Entries: what was made of which parent, how, what was measured, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::figure::MeasuredFigure;
use super::gate::{Gate, GateLineOutcome, passes};

/// What one model is for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentRole {
    /// It was changed.
    Base,
    /// It was laid over the base: the SHA-256 of its file.
    Adapter,
    /// It was mixed with the base.
    Sibling,
}

/// A model, or an adapter, that a child was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageParent {
    /// Its root hash in hexadecimal.
    pub digest: String,
    /// What it is for the child.
    pub role: ParentRole,
}

/// How a child was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakingOf {
    /// The action, as plans name it; `founder` of what all others come from.
    pub action: String,
    /// What it was told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// What everything that was drawn follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// This program's name and version.
    pub program: String,
    /// What computed.
    pub device: String,
    /// Seconds that it took.
    #[serde(default)]
    pub seconds: f64,
}

impl MakingOf {
    /// By this program on the processor.
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            program: format!("pixel-llm {}", env!("CARGO_PKG_VERSION")),
            device: "processor".into(),
            ..Self::default()
        }
    }

    /// With something that it was told.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }
}

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextRole {
    /// It may be looked at.
    Calibration,
    /// It decides.
    Gate,
    /// It is looked at once, when a child is promoted, and decides nothing.
    Report,
}

impl TextRole {
    /// The word as it is written in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Gate => "gate",
            Self::Report => "report",
        }
    }
}

/// A text that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextUse {
    /// What for.
    pub role: TextRole,
    /// SHA-256 of its parts' digests.
    pub digest: String,
    /// How long it is.
    pub tokens: u64,
    /// The first 12 digits of the SHA-256 of each window or line: texts of different roles share
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// Who made a child, or decided on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// The agent, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

impl MadeBy {
    /// An agent alone.
    pub fn agent(name: impl Into<String>) -> Self {
        Self { agent: Some(name.into()), person: None }
    }

    /// A person alone.
    pub fn a_person() -> Self {
        Self { agent: None, person: Some("a person".into()) }
    }
}

impl fmt::Display for MadeBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.agent.iter().chain(&self.person).map(String::as_str).collect();
        formatter.write_str(&names.join(" and "))
    }
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineageVerdict {
    /// It was made, and no gate has judged it.
    Candidate,
    /// It passed its gate, and a person is asked.
    Passed,
    /// It is what is used now.
    Promoted,
    /// It failed its gate.
    Rejected,
    /// It was in use and is no longer: what it took the place of is in use again.
    RolledBack,
    /// Its file was deleted.
    Gone,
}

impl LineageVerdict {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Candidate => "not judged",
            Self::Passed => "passed",
            Self::Promoted => "promoted",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled back",
            Self::Gone => "gone",
        }
    }
}

/// Where a child is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FilePlace {
    /// A file, by its path from the lineage's folder.
    File {
        /// The path.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// `gone`, or `founder`: the model itself, whose file is the user's own.
    Word(PlaceWord),
}

/// Where there is no file in the lineage's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceWord {
    /// It was deleted.
    Gone,
    /// It is the model that all others come from.
    Founder,
}

impl FilePlace {
    /// Its size; nothing where there is none in the lineage's folder.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::File { bytes, .. } => *bytes,
            Self::Word(_) => 0,
        }
    }
}

/// The gate that judges a child, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateUse {
    /// Its name among the contents.
    pub name: String,
    /// What it asks.
    pub data: Gate,
    /// The verdict of each line; none before it was judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<GateLineOutcome>,
}

impl GateUse {
    /// A gate that has not judged yet.
    pub fn new(name: impl Into<String>, data: Gate) -> Self {
        Self { name: name.into(), data, outcome: Vec::new() }
    }

    /// Whether all lines hold.
    pub fn passes(&self) -> bool {
        passes(&self.outcome)
    }
}

/// One entry. It is never changed but by a later one of the same child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineageEntry {
    /// The root hash of the child in hexadecimal.
    pub child: String,
    /// What it was made of; empty of the founder.
    pub parents: Vec<LineageParent>,
    /// How it was made.
    pub how: MakingOf,
    /// The texts, which share nothing.
    pub texts: Vec<TextUse>,
    /// Who made it or decided.
    pub by: MadeBy,
    /// What was measured on the gate text, and on the report text of what was promoted.
    pub figures: Vec<MeasuredFigure>,
    /// What decides.
    pub gate: Option<GateUse>,
    /// What became of it.
    pub verdict: LineageVerdict,
    /// Where it is.
    pub place: FilePlace,
    /// When.
    pub time: Zoned,
    /// Of what is promoted, the child whose place it takes as the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// SHA-256 of the entry before, as its bytes stand in the file; of the first one, of nothing.
    pub chain: String,
}

impl LineageEntry {
    /// The model that was changed; `None` of the founder.
    pub fn base(&self) -> Option<&str> {
        let base = self.parents.iter().find(|parent| parent.role == ParentRole::Base);
        base.map(|parent| parent.digest.as_str())
    }
}

/// The first digits of a root hash, as people are shown them.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
